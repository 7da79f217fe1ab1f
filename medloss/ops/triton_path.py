"""What the Triton paths share: whether Triton is there, and which tensors it may be given.

A ``kernel.py`` is imported at its first call, never before: importing Triton takes a second, and whether its kernels
are compiled or interpreted (``TRITON_INTERPRET=1``, the test of a machine without a GPU) is settled at that import.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import os
import shutil

import torch
from torch import Tensor

from medloss.ops.dispatch import forced_backend

OLDEST = (8, 0)
"""The first compute capability that Triton and the half precision of its kernels are made for."""


@functools.cache
def unavailable() -> str:
    """Why there is no Triton; empty where there is one."""
    return "" if importlib.util.find_spec("triton") else "triton is not installed"


def interpreting() -> bool:
    """Whether the kernels are interpreted, on the CPU."""
    return os.environ.get("TRITON_INTERPRET") == "1"


def reasons(tensor: Tensor) -> list[str]:
    """Why Triton cannot be given this tensor; empty where it can. The interpreter is slow and serves only if forced."""
    if unavailable():
        return [unavailable()]
    if tensor.device.type == "cuda":
        return _unfit(tensor.device.index)
    if interpreting() and forced_backend() == "triton":
        return []
    return [f"input is on {tensor.device}, the kernel runs on CUDA"]


@functools.cache
def _unfit(index: int | None) -> list[str]:
    """Why a GPU cannot be served: Triton's launcher is compiled at first use, and its kernels need a recent GPU."""
    found = []
    if not (os.environ.get("CC") or shutil.which("gcc") or shutil.which("clang")):
        found.append("triton needs a C compiler, and found neither gcc nor clang")
    capability = torch.cuda.get_device_capability(index)
    if torch.version.hip is None and capability < OLDEST:
        found.append(f"the GPU's compute capability {capability} is below {OLDEST}")
    return found


def on_device(tensor: Tensor) -> contextlib.AbstractContextManager[object]:
    """Launches inside the block go to the tensor's GPU, which need not be the current one."""
    return torch.cuda.device(tensor.device) if tensor.device.type == "cuda" else contextlib.nullcontext()
