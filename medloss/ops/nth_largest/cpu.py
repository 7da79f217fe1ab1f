"""The CPU path of ``nth_largest``: passes the rows to ``cpu_kernel.cpp``."""

from __future__ import annotations

from torch import Tensor

from medloss.ops import native
from medloss.ops.nth_largest.reference import Arguments


class NativeNthLargest(native.NativePath[Arguments]):
    """Counts the values by their leading digits, then those that share them by the next ones; nothing is sorted."""

    differentiable = ()
    wants_avx2 = False

    def unfit(self, args: Arguments) -> list[str]:
        """Why the kernel cannot take these arguments; empty where it can."""
        return args.misfits(native.REALS)

    def forward(self, args: Arguments) -> Tensor:
        """R 1."""
        values, counted, n = (tensor.contiguous() for tensor in (args.values, args.counted, args.n))
        found = values.new_empty((values.shape[0], 1))
        native.call("nth_largest", values.dtype, values, counted, n, *values.shape, found)
        return found
