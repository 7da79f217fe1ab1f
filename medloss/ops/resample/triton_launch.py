"""The GPU path of ``resample``: says what ``triton_kernels.py`` can take, and hands it the volumes.

The gradient in the values is a scatter. Atomic sums of floats would depend on the order in which threads come, so it is
added up in whole numbers of 64 bits, whose unit follows from the sum of the sizes of a channel's cotangents: finer than
the last digit of a float, for some more bytes of scratch. No result varies from run to run.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from medloss.ops import triton_path
from medloss.ops.masking import accumulation_dtype
from medloss.ops.misfits import REALS, dtype_misfits
from medloss.ops.resample.reference import Arguments
from medloss.ops.triton_numbers import table
from medloss.ops.triton_tiles import tiles
from medloss.ops.triton_volume import LABELS

AXES = 3
MOST = 2**31 - 2**12
"""Points of a sample, or voxels of a channel: a number within has 32 bits, and a tile may reach beyond the last one."""
MOST_SCALE = 1000.0
ROOM = 59
"""Bits of the whole number that all shares of a channel add up to at most."""
SCRATCH_BYTES = 2**29
BLOCK = 1024
PROGRAMS = 256
"""Of a channel, that add up sizes."""
WARPS = 8


class TritonResample(triton_path.TritonPath[Arguments]):
    """Positions and weights are found once for all channels, and never kept."""

    differentiable = ("values", "positions")

    def unfit(self, args: Arguments) -> list[str]:
        """Why the kernels cannot take these arguments; empty where they can."""
        positions = args.positions
        found = args.misfits(MOST) + dtype_misfits(REALS, values=args.values)
        if positions.dtype not in LABELS or positions.dtype == torch.bool:
            found.append(f"positions are {positions.dtype}")
        if positions.numel() and positions[0, 0].numel() > MOST:
            found.append(f"a sample has more than {MOST} points")
        return found

    def forward(self, args: Arguments) -> Tensor:
        """The values there."""
        from medloss.ops.resample import triton_kernels as kernels

        values = args.values
        work = _Work(args)
        result = values.new_empty((*values.shape[:2], *args.positions.shape[2:]), dtype=work.dtype)
        with triton_path.on_device(values):
            kernels.read[work.grid](
                values.detach().contiguous(), work.positions, work.spacing, result, work.lines, *work.numbers,
                **work.options,
            )  # fmt: skip
        return result

    def backward(self, grad: Tensor, args: Arguments) -> Tensor:
        """The gradient of the values, in their dtype."""
        from medloss.ops.resample import triton_kernels as kernels

        values, work = args.values, _Work(args)
        grad, fine = grad.to(work.dtype).contiguous(), work.dtype == torch.float64
        result = torch.empty_like(values, memory_format=torch.contiguous_format)
        voxels, blocks = values[0, 0].numel(), -(-values[0, 0].numel() // BLOCK)
        with triton_path.on_device(values):
            units = _units(grad)
            for start, samples, low, high in _groups(values, fine):
                tile, lines = work.tiles(samples, torch.float64)  # addresses of sums take most registers
                sums = torch.zeros((1 + fine, samples * (high - low) * voxels), dtype=torch.int64, device=grad.device)
                kernels.scatter[(tile.programs(lines),)](
                    work.positions, work.spacing, grad, units, sums[0], sums[-1], start, low, high, lines,
                    *work.numbers, FINE=fine, **work.options | tile.options,
                )  # fmt: skip
                first = start * values.shape[1] + low
                kernels.settle[(samples * (high - low) * blocks,)](
                    sums[0], sums[-1], units[first:], result.view(-1, voxels)[first:], voxels, blocks, FINE=fine,
                    BLOCK=BLOCK, num_warps=WARPS,
                )  # fmt: skip
        return result

    def backward_of(self, name: str, grad: Tensor, args: Arguments) -> Tensor:
        """The gradient of the positions, in their dtype."""
        from medloss.ops.resample import triton_kernels as kernels

        work = _Work(args)
        result = torch.empty_like(args.positions, memory_format=torch.contiguous_format)
        with triton_path.on_device(args.values):
            kernels.move[work.grid](
                args.values.detach().contiguous(), work.positions, work.spacing, grad.to(work.dtype).contiguous(),
                result, work.lines, *work.numbers, **work.options,
            )  # fmt: skip
        return result


class _Work:
    """What the kernels are given. Points that are on no grid are one row of each sample."""

    def __init__(self, args: Arguments) -> None:
        self.dtype, (self.batch, channels, *sizes) = accumulation_dtype(args.values), args.values.shape
        rank = len(sizes)
        missing = [1] * (AXES - rank)
        self.positions = args.positions.detach().contiguous()
        self.spacing = table((*map(float, missing), *(args.spacing or [1.0] * rank)), self.dtype, args.values.device)
        points = args.positions[0, 0].numel()
        grid = [1, 1, points] if args.spacing is None else [*missing, *args.positions.shape[2:]]
        self.rows, self.width = grid[0] * grid[1], grid[2]
        self.numbers = (channels, points, *missing, *sizes, *grid)
        tile, self.lines = self.tiles(self.batch, self.dtype)
        self.grid = (tile.programs(self.lines),)
        self.options = {"RANK": rank, "GRID": args.spacing is not None, **tile.options, "num_warps": WARPS}

    def tiles(self, samples: int, dtype: torch.dtype) -> tuple[Any, int]:
        """Tiles of the points of some samples, and the number of their rows."""
        lines = samples * self.rows
        return tiles(lines, self.width, dtype), lines


def _units(grad: Tensor) -> Tensor:
    """For each channel, how many units one is: all that its points give back adds up to less than 2^ROOM of them."""
    from medloss.ops.resample import triton_kernels as kernels

    volumes, points = grad.shape[0] * grad.shape[1], grad[0, 0].numel()
    programs = min(-(-points // BLOCK), PROGRAMS)
    parts = torch.empty((volumes, programs), dtype=torch.float64, device=grad.device)
    kernels.sizes[(volumes * programs,)](grad, parts, points, programs, BLOCK=BLOCK, num_warps=WARPS)
    exponent = torch.frexp(parts.sum(1)).exponent
    return torch.exp2((ROOM - exponent).clamp(-MOST_SCALE, MOST_SCALE).double())


def _groups(values: Tensor, fine: bool) -> Iterator[tuple[int, int, int, int]]:
    """Samples and channels that there is room for at a time: the first sample and how many, channels from and up to."""
    batch, channels = values.shape[:2]
    room = max(SCRATCH_BYTES // (8 * (1 + fine) * values[0, 0].numel()), 1)
    samples = max(room // channels, 1)
    for start in range(0, batch, samples):
        for low in range(0, channels, room if room < channels else channels):
            yield start, min(samples, batch - start), low, min(channels, low + room)
