"""The GPU path of ``nth_largest``: a fixed number of launches of ``triton_kernels.py``, without a synchronisation."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from medloss.ops import triton_path
from medloss.ops.triton_tiles import readable

BITS = {
    torch.float64: (torch.int64, 0x7FF << 52),
    torch.float32: (torch.int32, 0xFF << 23),
    torch.bfloat16: (torch.int16, 0xFF << 7),
    torch.float16: (torch.int16, 0x1F << 10),
}
"""What a value's bits are looked at as, and which are those of infinity: a NaN's are beyond, without the sign."""
DIGIT, BINS = 8, 256
TILE = 4096
"""Values that a program counts at once; half as many in double, or registers would spill."""
PROGRAMS = 2048
"""Of a launch at most, as far as rows leave the choice."""
MOST_VALUES = 2**30
"""Of one row: a value's number is an int32. Offsets have 64 bits."""


class TritonNthLargest:
    """Counts the values by their leading digits, then those that share them by the next ones; nothing is sorted."""

    name = "triton"

    def reasons(self, args: tuple[Any, ...], needs: tuple[bool, ...] | None = None) -> list[str]:
        """Why the kernels cannot serve; empty where they can."""
        values, counted, n = args
        found = triton_path.reasons(values)
        if values.dtype not in BITS:
            found.append(f"values are {values.dtype}, the kernel takes {', '.join(str(t)[6:] for t in BITS)}")
        if counted.dtype != torch.bool or counted.shape != values.shape or n.shape != (values.shape[0], 1):
            found.append("counted and n do not fit the values")
        if n.dtype != torch.int64:
            found.append(f"n is {n.dtype}, the kernel takes int64")
        if values.numel() == 0:
            found.append("there are no values")
        if values.shape[1] > MOST_VALUES:
            found.append(f"a row has more than {MOST_VALUES} values")
        if needs is not None:
            found.append("a place in an order has no gradient")
        return found

    def forward(self, args: tuple[Any, ...]) -> Tensor:
        """R 1."""
        from medloss.ops.nth_largest import triton_kernels as kernels

        values, counted, n = (readable(tensor) for tensor in args)
        (rows, length), (bits, infinity) = values.shape, BITS[values.dtype]
        width = torch.iinfo(bits).bits
        rounds = width // DIGIT
        tile = TILE // 2 if width == 64 else TILE
        programs = min(-(-length // tile), max(PROGRAMS // rows, 1))
        counts = torch.zeros(rounds, rows, BINS, dtype=torch.int64, device=values.device)
        states = torch.empty(rounds, rows, 2, dtype=torch.int64, device=values.device)
        result = torch.empty(rows, 1, dtype=bits, device=values.device)
        with triton_path.on_device(values):
            for round in range(rounds):
                kernels.count_digits[(rows * programs,)](
                    values.view(bits), counted, n, counts, states, length, rows, programs, round,
                    FIRST=round == 0, WIDTH=width, INFINITY=infinity, TILE=tile, num_warps=8,
                )  # fmt: skip
            kernels.write_values[(rows,)](counts, states, n, result, rows, rounds, WIDTH=width, INFINITY=infinity)
        return result.view(values.dtype)

    def backward(self, grad: Tensor, args: tuple[Any, ...]) -> Tensor:
        """There is none."""
        raise NotImplementedError("a place in an order has no gradient")
