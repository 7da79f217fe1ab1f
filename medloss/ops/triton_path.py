"""What the Triton paths share: whether Triton is there, and which tensors it may be given.

A ``kernel.py`` is imported at its first call, never before: importing Triton takes a second, and whether its kernels
are compiled or interpreted (``TRITON_INTERPRET=1``, the test of a machine without a GPU) is settled at that import.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import os

import torch
from torch import Tensor

from medloss.ops.dispatch import forced_backend


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
    if tensor.device.type == "cuda" or (interpreting() and forced_backend() == "triton"):
        return []
    return [f"input is on {tensor.device}, the kernel runs on CUDA"]


def on_device(tensor: Tensor) -> contextlib.AbstractContextManager[object]:
    """Launches inside the block go to the tensor's GPU, which need not be the current one."""
    return torch.cuda.device(tensor.device) if tensor.device.type == "cuda" else contextlib.nullcontext()
