"""The GPU path of ``erosion_hausdorff``: launches ``erosion_triton_kernels.py`` for some volumes at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from medloss.ops import triton_path
from medloss.ops.masking import accumulation_dtype
from medloss.ops.soft_morphology.reference import ErosionArguments
from medloss.ops.soft_morphology.triton_launch import AXES, SCRATCH_BYTES, WARPS, TritonMorphology
from medloss.ops.triton_numbers import packed
from medloss.ops.triton_tiles import readable, shared_weight, tiles

BLOCK = 4096
"""Parts of rows that the one program of a volume looks at together."""


class TritonErosions(TritonMorphology[ErosionArguments]):
    """The erosions of the error. A gradient keeps the means of some volumes, which it makes again."""

    differentiable = ("input", "target")

    def forward(self, args: ErosionArguments) -> Tensor:
        """B C [spatial]."""
        with triton_path.on_device(args.input):
            launcher = ErosionLauncher(args)
            result = torch.zeros(args.input.shape, dtype=launcher.dtype, device=args.input.device)
            for start, volumes in launcher.groups(2 if launcher.k else 0):
                launcher.erosions(start, volumes, launcher.scratch(2, volumes), result)
        return result

    def backward_of(self, name: str, grad: Tensor, args: ErosionArguments) -> Tensor:
        """The gradient of prediction or target, in its dtype."""
        with triton_path.on_device(args.input):
            launcher = ErosionLauncher(args)
            own, sign = (args.input, 1) if name == "input" else (args.target, -1)
            result = torch.zeros(own.shape, dtype=own.dtype, device=own.device)
            grad = grad.to(launcher.dtype).contiguous()
            for start, volumes in launcher.groups(launcher.k + 2 if launcher.k else 0):
                launcher.gradient(start, volumes, grad, sign, result)
        return result


class ErosionLauncher:
    """The launches of one call."""

    def __init__(self, args: ErosionArguments) -> None:
        from medloss.ops.soft_morphology import erosion_triton_kernels

        input, mask = args.input, args.mask
        self.kernels, self.k, self.dtype = erosion_triton_kernels, max(args.k, 0), accumulation_dtype(input)
        self.input, self.target, self.device = readable(input), readable(args.target), input.device
        self.mask, self.shared = shared_weight(mask, self.input)
        self.total = input.shape[0] * input.shape[1]
        self.sizes = (1,) * (AXES + 2 - input.ndim) + tuple(input.shape[2:])
        self.options = {
            "TERMS": 2 * (input.ndim - 2) + 1, "MASKED": mask is not None, "num_warps": WARPS,
            "enable_fp_fusion": False,  # squares are rounded before they are added, as torch does
        }  # fmt: skip
        self.factors = [packed((float(step) ** args.alpha,), self.dtype) for step in range(1, self.k + 2)]
        shape = (self.k + 1, self.total, erosion_triton_kernels.NUMBERS.value)
        self.numbers = torch.zeros(shape, dtype=self.dtype, device=self.device)

    def groups(self, maps: int) -> Iterator[tuple[int, int]]:
        """Volumes, the first and how many, of which so many maps are kept; none where there is no erosion."""
        if not maps:
            return
        room = max(SCRATCH_BYTES // (maps * self.dtype.itemsize * self.input[0, 0].numel()), 1)
        for start in range(0, self.total, room):
            yield start, min(room, self.total - start)

    def scratch(self, maps: int, volumes: int) -> Tensor:
        """Maps of some volumes."""
        return torch.empty((maps, volumes * self.input[0, 0].numel()), dtype=self.dtype, device=self.device)

    def erosions(self, start: int, volumes: int, means: Tensor, result: Tensor | None) -> None:
        """The means of each erosion into ``means``, in turn, and all of them added up in ``result``."""
        kernels, (tile, lines) = self.kernels, self._tiles(volumes)
        parts = torch.empty((lines * tile.across, 2), dtype=self.dtype, device=self.device)
        for step in range(self.k + (result is not None)):
            first = step == 0
            here = means[step % means.shape[0]]
            kernels.erode[(tile.programs(lines),)](
                self.input if first else means[(step - 1) % means.shape[0]], self.target, self.mask,
                self.numbers[max(step - 1, 0)], self.factors[max(step - 1, 0)], here, parts,
                here if result is None else result, start, lines, self.shared, *self.sizes,
                KIND=kernels.ERRORS if first else kernels.MEANS, LAST=step == self.k,
                SUMMED=result is not None and not first, ADDED=step > 1, **self.options, **tile.options,
            )  # fmt: skip
            if step < self.k:
                entries = lines // volumes * tile.across
                kernels.settle[(volumes,)](parts, self.numbers[step], start, entries, BLOCK=BLOCK, num_warps=16)

    def gradient(self, start: int, volumes: int, grad: Tensor, sign: int, result: Tensor) -> None:
        """The gradient of prediction (``sign`` 1) or target (-1)."""
        kernels, (tile, lines) = self.kernels, self._tiles(volumes)
        means, (behind, here) = self.scratch(self.k, volumes), self.scratch(2, volumes)
        self.erosions(start, volumes, means, None)
        parts = torch.empty((lines * tile.across, 4), dtype=self.dtype, device=self.device)
        told = (start, lines, self.shared, *self.sizes)
        for step in range(self.k - 1, -1, -1):
            after = min(step + 1, self.k - 1)
            kernels.cotangents[(tile.programs(lines),)](
                behind, means[after], self.numbers[after], means[step], self.numbers[step], self.mask,
                self.factors[step], grad, here, parts, *told, FIRST=step == self.k - 1, **self.options, **tile.options,
            )  # fmt: skip
            entries = lines // volumes * tile.across
            kernels.share_out[(volumes,)](parts, self.numbers[step], start, entries, BLOCK=BLOCK, num_warps=16)
            behind, here = here, behind
        kernels.finish[(tile.programs(lines),)](
            behind, means[0], self.numbers[0], self.input, self.target, self.mask, result, *told,
            SIGN=sign, **self.options, **tile.options,
        )  # fmt: skip

    def _tiles(self, volumes: int) -> tuple[Any, int]:
        lines = volumes * self.sizes[0] * self.sizes[1]
        return tiles(lines, self.sizes[2], self.dtype), lines
