"""Calls the kernels of the native library without copying; :mod:`medloss.ops.library` finds it or builds it."""

from __future__ import annotations

import ctypes
import functools
import logging
import os
from array import array
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from medloss.ops import build, library
from medloss.ops.dispatch import A_contra, FastPath

LABELS = {
    torch.uint8: 0,
    torch.bool: 0,
    torch.int8: 1,
    torch.int16: 2,
    torch.int32: 3,
    torch.int64: 4,
    torch.float32: 5,
    torch.float64: 6,
}
WORTH_THREADS = 32768
"""Entries of the largest tensor from which on waking other threads pays."""
REALS = {torch.float32: "f32", torch.float64: "f64"}


@functools.cache
def _load() -> tuple[ctypes.CDLL | None, str]:
    """The library, or None and why there is none; it never raises."""
    # torch is imported before, so that one OpenMP runtime, torch's own, serves both
    found = library.loaded()
    return found.library, found.reason


def unavailable() -> str:
    """Why there is no native library; empty where there is one."""
    return _load()[1]


def serving() -> str:
    """Which library serves, and with which instruction set; why there is none where there is none."""
    path = library.loaded().path
    return f"{_short(path)} ({level()})" if path else unavailable()


def _short(path: Path) -> str:
    """A path as it reads on any machine: from the package or from the user's home, where it lies in one of them."""
    for name, folder in ("medloss/ops", library.OPS), ("~", Path(os.path.expanduser("~"))):
        if path.is_relative_to(folder):
            return f"{name}/{path.relative_to(folder).as_posix()}"
    return str(path)


@functools.cache
def level() -> str:
    """The instruction set of the kernels that run here: ``"v4"`` (AVX-512), ``"v3"`` (AVX2), or ``"base"``.

    ``MEDLOSS_LEVEL`` asks for a lower one.
    """
    able = library.loaded().levels
    wanted = os.environ.get("MEDLOSS_LEVEL")
    if wanted and able and wanted not in able:
        logging.getLogger(__name__).warning("MEDLOSS_LEVEL=%s is none of %s: %s runs", wanted, ", ".join(able), able[0])
    return wanted if wanted in able else able[0] if able else "base"


@functools.cache
def slow_machine() -> bool:
    """Whether only baseline x86-64 kernels would run, which lose to torch."""
    return build.machine() == "x86_64" and level() == "base"


def _prepared(kernel: str, dtype: torch.dtype, args: tuple[Any, ...]) -> tuple[Any, list[int]]:
    """The function, and which of its operands are addresses: a kernel's are of the same kinds at every call."""
    found = _functions.get((kernel, dtype))
    if found is None:
        function = getattr(_load()[0], f"{kernel}_{REALS[dtype]}_{level()}")
        function.restype, function.argtypes = ctypes.c_int, [*map(_kind, args), ctypes.c_int]
        found = function, [at for at, kind in enumerate(function.argtypes) if kind is ctypes.c_void_p]
        _functions[kernel, dtype] = found
    return found


_functions: dict[tuple[str, torch.dtype], tuple[Any, list[int]]] = {}


def call(kernel: str, dtype: torch.dtype, *args: Tensor | array | int | float | None) -> None:
    """Call a kernel. Tensors and arrays are passed by address and stay alive until it returns, as ``args`` holds them.

    Raises:
        MemoryError: the kernel found no scratch memory.
    """
    function, addresses = _prepared(kernel, dtype, args)
    largest, passed = 0, list(args)
    for at in addresses:
        value = args[at]
        if value is None:
            continue
        if isinstance(value, array):
            passed[at] = value.buffer_info()[0]
            continue
        assert isinstance(value, Tensor)  # numbers are passed by value
        if not value.is_cpu:
            raise ValueError(f"a native kernel was given a tensor on {value.device}")
        largest = max(largest, value.numel())
        passed[at] = value.data_ptr()
    threads = torch.get_num_threads() if largest >= WORTH_THREADS else 1
    if function(*passed, threads):
        raise MemoryError(f"{kernel} found no memory for its scratch")


def integers(values: Iterable[int]) -> array:
    """Numbers for a kernel, at a tenth of the time that a tensor of them takes to make."""
    return array("q", values)


def reals(values: Iterable[float]) -> array:
    """The same in double."""
    return array("d", values)


def _kind(value: Tensor | array | int | float | None) -> Any:
    if value is None or isinstance(value, (Tensor, array)):
        return ctypes.c_void_p
    return ctypes.c_double if isinstance(value, float) else ctypes.c_int64


def shared_weight(
    mask: Tensor | None, image: Tensor, dtype: torch.dtype, joint: bool = False
) -> tuple[Tensor | None, int]:
    """The weights of an image's voxels as a kernel reads them, and how many volumes share one.

    Where the kernel joins the channels (``joint``) they are one volume, whose weight is the least of theirs.
    """
    if mask is None:
        return None, 1
    batch, channels, *spatial = image.shape
    weight = mask.detach().to(dtype)
    weight = weight.amin(1, keepdim=True) if joint else weight
    return weight.expand(batch, weight.shape[1], *spatial).contiguous(), 1 if joint else channels // weight.shape[1]


class NativePath(FastPath[A_contra]):
    """What the CPU paths of all operators share. A subclass writes ``unfit``, ``forward`` and ``backward``.

    Attributes:
        wants_avx2: whether torch is faster where only baseline kernels would run; no x86-64 library has those of a
            kernel that is not named in ``build.UNVECTORISED``.
    """

    name = "native"
    wants_avx2 = True

    def reasons(self, args: A_contra, needs: tuple[str, ...] | None = None) -> list[str]:
        """Why the kernel cannot serve; empty where it can."""
        if args[0].device.type != "cpu":
            return [f"input is on {args[0].device}, the kernel runs on the CPU"]
        found = super().reasons(args, needs)
        if unavailable():
            return [f"there is no native library: {unavailable()}", *found]
        if self.wants_avx2 and slow_machine():
            return ["the processor has no AVX2, without which torch is faster", *found]
        return found
