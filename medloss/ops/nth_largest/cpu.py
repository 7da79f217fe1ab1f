"""The CPU path of ``nth_largest``: passes the rows to ``cpu_kernel.c``."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from medloss.ops import native


class NativeNthLargest(native.NativePath):
    """Counts the values by their leading digits, then those that share them by the next ones; nothing is sorted."""

    told = "values are"
    wants_avx2 = False

    def unfit(self, args: tuple[Any, ...], needs: tuple[bool, ...] | None) -> list[str]:
        """Why the kernel cannot take these arguments; empty where it can."""
        values, counted, n = args
        found = []
        if values.dtype not in native.REALS:
            found.append(f"values are {values.dtype}, the kernel takes float32 and float64")
        if counted.dtype != torch.bool or counted.shape != values.shape or n.shape != (values.shape[0], 1):
            found.append("counted and n do not fit the values")
        if n.dtype != torch.int64:
            found.append(f"n is {n.dtype}, the kernel takes int64")
        if needs is not None:
            found.append("a place in an order has no gradient")
        return found

    def forward(self, args: tuple[Any, ...]) -> Tensor:
        """R 1."""
        values, counted, n = (tensor.contiguous() for tensor in args)
        found = values.new_empty((values.shape[0], 1))
        native.call("nth_largest", values.dtype, values, counted, n, *values.shape, found)
        return found

    def backward(self, grad: Tensor, args: tuple[Any, ...]) -> Tensor:
        """There is none."""
        raise NotImplementedError("a place in an order has no gradient")
