"""What the Triton paths share: whether Triton is there, and which tensors it may be given.

A ``triton_kernels.py`` is imported at its first call, never before: importing Triton takes a second, and that import
settles whether kernels are compiled or interpreted (``TRITON_INTERPRET=1``, for tests on a machine without a GPU).
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import os
import re
import shutil
import sys
import sysconfig
from pathlib import Path

import torch
from torch import Tensor

from medloss.ops.dispatch import A_contra, FastPath, forced_backend

OLDEST = (8, 0)
"""The first compute capability that Triton and the half precision of its kernels are made for."""


OLDEST_TRITON = (3, 6)
"""The first that compiles every kernel. 3.2 fails at most of them, 3.3 at labelled volumes and windows, 3.4 and 3.5 at
windows: nothing falls back behind a kernel that does not compile."""


@functools.cache
def unavailable() -> str:
    """Why there is no Triton that serves; empty where there is one."""
    found = importlib.util.find_spec("triton")
    if found is None:
        return "triton is not installed"
    version = _version(found.origin)
    if version and tuple(map(int, version.split(".")[:2])) < OLDEST_TRITON:
        wanted = ".".join(map(str, OLDEST_TRITON))
        return f"triton is {version}, the kernels want {wanted} or later, which torch 2.10 and later bring"
    return ""


def _version(origin: str | None) -> str:
    """As Triton's own file says, which is not imported for it: its packages have many names. Empty: it does not say."""
    if "triton" in sys.modules:
        return getattr(sys.modules["triton"], "__version__", "")
    text = Path(origin).read_text(errors="replace") if origin and Path(origin).is_file() else ""
    said = re.search(r"""^__version__\s*=\s*["'](\d+\.\d+[^"']*)""", text, re.M)
    return said[1] if said else ""


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
    found = [] if os.name == "nt" else _missing_tools()  # on Windows Triton brings its own
    capability = torch.cuda.get_device_capability(index)
    if torch.version.hip is None and capability < OLDEST:
        found.append(f"the GPU's compute capability {capability} is below {OLDEST}")
    return found


def _missing_tools() -> list[str]:
    """What Triton's launcher cannot be compiled without."""
    found, named = [], os.environ.get("CC")
    if named and not shutil.which(named):
        found.append(f"triton needs a C compiler, and CC names {named!r}, which is none")
    elif not (named or shutil.which("gcc") or shutil.which("clang")):
        found.append("triton needs a C compiler, and found neither gcc nor clang")
    folder = _headers()
    others = os.pathsep.join(os.environ.get(name, "") for name in ("CPATH", "C_INCLUDE_PATH"))
    if not any((Path(each) / "Python.h").is_file() for each in (folder, *others.split(os.pathsep)) if each):
        found.append(
            f"triton needs Python.h, which is not in {folder}: install python3-dev (Debian, Ubuntu) or its like"
        )
    return found


def _headers() -> str:
    """Where Triton looks for Python's headers: on Debian not where the default scheme says."""
    scheme = sysconfig.get_default_scheme()
    return sysconfig.get_paths(scheme="posix_prefix" if scheme == "posix_local" else scheme)["include"]


def precision(dtype: torch.dtype) -> str:
    """Of products of matrices: three of 10 bits have float32's digits; AMD's GPUs multiply in float32 itself."""
    return "tf32x3" if dtype == torch.float32 and torch.version.hip is None else "ieee"


def on_device(tensor: Tensor) -> contextlib.AbstractContextManager[object]:
    """Launches inside the block go to the tensor's GPU, which need not be the current one."""
    return torch.cuda.device(tensor.device) if tensor.device.type == "cuda" else contextlib.nullcontext()


class TritonPath(FastPath[A_contra]):
    """What the GPU paths of all operators share. A subclass writes ``unfit``, ``forward`` and ``backward``."""

    name = "triton"

    def reasons(self, args: A_contra, needs: tuple[str, ...] | None = None) -> list[str]:
        """Why the kernels cannot serve; empty where they can."""
        return reasons(args[0]) + super().reasons(args, needs)
