"""The GPU path of ``jaccard_extension``: torch's stable sort between the kernels, some rows at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from medloss.ops import triton_path, triton_volume
from medloss.ops.jaccard_extension.reference import Arguments
from medloss.ops.masking import accumulation_dtype

MOST_CLASSES = 256
SCRATCH_BYTES = 2**30
"""What errors, their order and the sort may take, where a row alone does not take more."""
ENTRY_BYTES = 48
"""Of an error: itself, sorted, its place, and both again within the sort."""
BLOCK = 1024
"""Positions of a sorted row that a program adds up."""


class TritonJaccardExtension(triton_path.TritonPath[Arguments]):
    """Every class in its exact order, in double; no map beside the rows that are being sorted."""

    def unfit(self, args: Arguments) -> list[str]:
        """Why the kernels cannot take these arguments; empty where they can."""
        found = triton_volume.misfits(args.input, args.target, args.indexed, MOST_CLASSES)
        if args.joined and args.input.numel() // max(args.input.shape[1], 1) > triton_volume.MOST_VOXELS:
            found.append(f"the batch has more than {triton_volume.MOST_VOXELS} voxels")
        return found

    def forward(self, args: Arguments) -> Tensor:
        """B C - first 3, or 1 C - first 3."""
        input = args.input
        with triton_path.on_device(input):
            call = Call(args)
            result = torch.empty(call.rows, call.kept, 3, dtype=torch.float64, device=input.device)
            for start, samples, low, high in call.groups():
                order, values = call.sort(start, samples, low, high)
                parts, totals = call.shares(order, start, low, high)
                sums = torch.empty(parts.shape[:2], dtype=torch.float64, device=input.device)
                call.rank(order, values, parts, totals, sums, start, low, high, False)
                rows = result[start // call.samples : (start + samples) // call.samples, low - call.first :]
                rows = rows[:, : high - low]
                rows[..., 0] = sums.sum(1).view(rows.shape[:2])
                rows[..., 1] = totals[:, 0].view(rows.shape[:2])
                rows[..., 2] = totals.sum(1).view(rows.shape[:2])
        return result.to(call.dtype)

    def backward(self, grad: Tensor, args: Arguments) -> Tensor:
        """The gradient of input, in input's dtype and layout."""
        input = args.input
        with triton_path.on_device(input):
            call = Call(args)
            gradient = torch.empty_like(input)
            in_place = gradient.dtype == call.dtype and gradient.is_contiguous()
            steps = gradient if in_place else torch.empty(input.shape, dtype=call.dtype, device=input.device)
            for start, samples, low, high in call.groups():
                order, values = call.sort(start, samples, low, high)
                parts, totals = call.shares(order, start, low, high)
                call.rank(order, values, parts, totals, steps, start, low, high, True)
            call.slopes(steps, grad.contiguous(), gradient)
        return gradient


class Call:
    """The launches of one call. A row is a class of one sample, or of all ``samples`` of a joined batch."""

    def __init__(self, args: Arguments) -> None:
        from medloss.ops.jaccard_extension import triton_kernels as kernels

        self.first = args.first
        hinge = args.errors == "hinge"
        self.kernels, self.dtype = kernels, accumulation_dtype(args.input)
        self.volume = triton_volume.volume(
            args.input, args.target, args.mask, "none" if hinge else args.errors, args.indexed, args.ignore_index
        )
        self.samples = self.volume.batch if args.joined else 1
        self.rows, self.kept = self.volume.batch // self.samples, self.volume.classes - self.first
        self.length = self.samples * self.volume.voxels
        warps = 4 if self.volume.padded <= 64 else 8
        tile = min(warps * 32 * (8 if self.dtype == torch.float64 else 16) // self.volume.padded, 1024)
        self.tiles = {
            "C": self.volume.padded, "TILE": tile, "EVEN": self.volume.voxels % tile == 0, "num_warps": warps,
            "HINGE": hinge,
        }  # fmt: skip
        told = self.volume.options
        self.options = {name: told[name] for name in ("CLASSES", "INDEXED", "IGNORE", "MASK")} | {"BLOCK": BLOCK}
        self.blocks = -(-self.length // BLOCK)

    def groups(self) -> Iterator[tuple[int, int, int, int]]:
        """Samples (the first, and how many) and classes (from, and up to) whose rows the scratch has room for."""
        room = min(max(SCRATCH_BYTES // (ENTRY_BYTES * self.length), 1), triton_volume.MOST_SAMPLES)
        classes = min(room, self.kept)
        step = self.samples * max(room // self.kept, 1)
        for start in range(0, self.volume.batch, step):
            for low in range(self.first, self.volume.classes, classes):
                samples = min(step, self.volume.batch - start)
                yield start, samples, low, min(low + classes, self.volume.classes)

    def sort(self, start: int, samples: int, low: int, high: int) -> tuple[Tensor, Tensor]:
        """Places and errors of rows, the largest error first; of equals, and there are many, as they lie."""
        volume = self.volume
        shape = (samples // self.samples * (high - low), self.length)
        errors = torch.empty(shape, dtype=self.dtype, device=volume.tensors[0].device)
        self.kernels.write_errors[(-(-volume.voxels // self.tiles["TILE"]), samples)](
            *volume.tensors, errors, *volume.numbers, start, self.samples, low, high, **volume.options, **self.tiles
        )
        values, order = torch.sort(errors, dim=-1, descending=True, stable=True)
        return order, values

    def shares(self, order: Tensor, start: int, low: int, high: int) -> tuple[Tensor, Tensor]:
        """What lies before each block of the sorted rows, and what the rows weigh: of the class, and of the others."""
        parts = torch.empty((order.shape[0], self.blocks, 2), dtype=torch.float64, device=order.device)
        totals = torch.empty((order.shape[0], 2), dtype=torch.float64, device=order.device)
        self.kernels.weigh[(self.blocks, order.shape[0])](
            *self.volume.tensors[1:], order, parts, *self._numbers(start, low, high), **self.options
        )
        self.kernels.continued[(order.shape[0],)](parts, totals, self.blocks, BLOCKS=BLOCK)
        return parts, totals

    def rank(
        self, order: Tensor, values: Tensor, parts: Tensor, totals: Tensor, result: Tensor, start: int, low: int,
        high: int, steps: bool,
    ) -> None:  # fmt: skip
        """The steps where their voxels lie, or the sums of each block's steps times errors."""
        self.kernels.rank[(self.blocks, order.shape[0])](
            *self.volume.tensors[1:], order, values, parts, totals, result, *self._numbers(start, low, high),
            **self.options, STEPS=steps,
        )  # fmt: skip

    def slopes(self, steps: Tensor, grad: Tensor, gradient: Tensor) -> None:
        """The gradient from the steps of all classes."""
        volume = self.volume
        apart = 0 if self.samples == volume.batch and self.rows == 1 else 3 * self.kept
        self.kernels.backward[(-(-volume.voxels // self.tiles["TILE"]), volume.batch)](
            *volume.tensors, steps, grad, gradient, *volume.numbers, triton_volume.steps(gradient), self.first, apart,
            **volume.options, **self.tiles,
        )  # fmt: skip

    def _numbers(self, start: int, low: int, high: int) -> tuple[Any, ...]:
        ignore, voxels, _, *steps = self.volume.numbers
        return ignore, voxels, *steps, start, self.samples, low, high, self.length
