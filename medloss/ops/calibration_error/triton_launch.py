"""The GPU path of ``calibration_error``: one sweep for the bins, one for the gradient."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from medloss.ops import triton_path, triton_volume
from medloss.ops.calibration_error.reference import Arguments
from medloss.ops.dispatch import KeepingPath
from medloss.ops.masking import accumulation_dtype
from medloss.ops.triton_tiles import padded
from medloss.ops.triton_volume import readable, steps

MOST_BINS = 128
HELD = 32
"""Bins of a program, whose threads have registers for no more: where there are more, voxels are read again."""
LANES = 128
"""Threads of a program, each with bins of its own."""
MOST_STEPS = 256
"""Voxels of a thread, which adds up in single precision."""
TILE = 1024
"""Voxels of a program of the gradient."""


class TritonCalibrationError(KeepingPath[Arguments], triton_path.TritonPath[Arguments]):
    """Mass and excess of each bin, without a map; what is kept for the gradient is one slope for each bin."""

    def unfit(self, args: Arguments) -> list[str]:
        """Why the kernels cannot take these arguments; empty where they can."""
        most = triton_volume.MOST_SAMPLES
        found = triton_volume.misfits(args.input, args.target, True, most) + args.misfits(MOST_BINS)
        if args.input.shape[0] * args.input.shape[1] > most:
            found.append(f"classes of all samples are more than {most}")
        return found

    def forward_keeping(self, args: Arguments) -> tuple[Tensor, tuple[Tensor, ...]]:
        """B C, and the slope of each bin."""
        from medloss.ops.calibration_error import triton_kernels as kernels

        input, bins = args.input, args.bins
        rows, voxels, options = _sizes(args)
        x, t, weight = input.detach(), readable(args.target), _weight(input, args.mask)
        held = min(padded(bins), HELD)
        chunks, tiles = -(-bins // held), -(-voxels // LANES)
        programs = max(min(tiles, max(triton_volume.PROGRAMS // rows, 1)), -(-tiles // MOST_STEPS))
        dtype, device = accumulation_dtype(input), input.device
        partials = torch.empty((rows, programs, chunks * held, 2), dtype=dtype, device=device)
        sums = torch.empty((rows, chunks * held, 2), dtype=torch.float64, device=device)
        errors = torch.empty(input.shape[:2], dtype=dtype, device=device)
        slopes = torch.empty((rows, bins), dtype=dtype, device=device)
        with triton_path.on_device(input):
            kernels.count[(programs * chunks, rows)](
                x, t, weight, partials, voxels, steps(x), steps(t), steps(weight), **options, HELD=held, LANES=LANES,
                EVEN=voxels % LANES == 0, num_warps=LANES // 32,
            )  # fmt: skip
            triton_volume.add_rows(partials, sums)
            kernels.close[(rows,)](
                sums, errors, slopes, BINS=bins, ALL=chunks * held, PADDED=padded(bins), num_warps=1
            )  # fmt: skip
        return errors, (slopes,)

    def backward_from(self, kept: tuple[Tensor, ...], grad: Tensor, args: Arguments) -> Tensor:
        """The gradient of input, in its dtype and layout, from the slopes of the bins."""
        from medloss.ops.calibration_error import triton_kernels as kernels

        input = args.input
        rows, voxels, options = _sizes(args)
        x, weight, result = input.detach(), _weight(input, args.mask), torch.empty_like(input)
        with triton_path.on_device(input):
            kernels.gradient[(-(-voxels // TILE), rows)](
                x, weight, *kept, grad.contiguous(), result, voxels, steps(x), steps(weight), steps(result), **options,
                TILE=TILE, EVEN=voxels % TILE == 0, num_warps=8,
            )  # fmt: skip
        return result


def _sizes(args: Arguments) -> tuple[int, int, dict[str, Any]]:
    """Classes of all samples, voxels of each, and what the kernels are compiled for."""
    from triton import language

    input = args.input
    real = language.float64 if accumulation_dtype(input) == torch.float64 else language.float32
    options = {"CLASSES": input.shape[1], "BINS": args.bins, "MASKED": args.mask is not None, "ACC": real}
    return input.shape[0] * input.shape[1], input[0, 0].numel(), options


def _weight(input: Tensor, mask: Tensor | None) -> Tensor:
    """The mask as kernels read it, or in its place what they do not read."""
    return input.detach() if mask is None else readable(mask.expand(input.shape[0], -1, *input.shape[2:]))
