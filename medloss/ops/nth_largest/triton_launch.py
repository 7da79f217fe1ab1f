"""The GPU path of ``nth_largest``: a fixed number of launches of ``triton_kernels.py``, without a synchronisation."""

from __future__ import annotations

import torch
from torch import Tensor

from medloss.ops import triton_path
from medloss.ops.nth_largest.reference import Arguments
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


class TritonNthLargest(triton_path.TritonPath[Arguments]):
    """Counts the values by their leading digits, then those that share them by the next ones; nothing is sorted."""

    differentiable = ()

    def unfit(self, args: Arguments) -> list[str]:
        """Why the kernels cannot take these arguments; empty where they can."""
        values = args.values
        found = args.misfits(BITS)
        if values.numel() == 0:
            found.append("there are no values")
        if values.shape[1] > MOST_VALUES:
            found.append(f"a row has more than {MOST_VALUES} values")
        return found

    def forward(self, args: Arguments) -> Tensor:
        """R 1."""
        from medloss.ops.nth_largest import triton_kernels as kernels

        values, counted, n = map(readable, (args.values, args.counted, args.n))
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
