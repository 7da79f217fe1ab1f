"""The GPU path of ``gradient_alignment``: a pass for the energies, one for the values, and one for a gradient."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from medloss.ops import triton_path
from medloss.ops.dispatch import KeepingPath
from medloss.ops.gradient_alignment.reference import Arguments
from medloss.ops.masking import accumulation_dtype
from medloss.ops.misfits import REALS, dtype_misfits
from medloss.ops.triton_numbers import table
from medloss.ops.triton_tiles import Tiles, readable, shared_weight, tiles

AXES = 3
WARPS = 8
GATHERED = 256
"""Voxels of a program of the gradient, one for each thread: derivatives of its neighbours take many registers."""
REGISTERS = {} if torch.version.hip else {"maxnreg": 128}
"""Of a thread; unasked, the assembler would rather put some numbers into memory than let fewer programs in at once."""


class TritonGradientAlignment(KeepingPath[Arguments], triton_path.TritonPath[Arguments]):
    """No map of derivatives is made. Kept for the gradient are five numbers of each volume."""

    differentiable = ("input", "target")

    def unfit(self, args: Arguments) -> list[str]:
        """Why the kernels cannot take these arguments; empty where they can."""
        return args.misfits() + dtype_misfits(REALS, input=args.input, target=args.target)

    def forward_keeping(self, args: Arguments) -> tuple[Tensor, tuple[Tensor, ...]]:
        """The map or its sums; and the energies and masses of each volume, and of sums their slopes by the energies."""
        input, reduce = args.input, args.reduce
        with triton_path.on_device(input):
            call = Call(args)
            energy, mass = call.energies()
            if not reduce:
                return call.map(energy), (energy, mass)
            sums = call.sums(energy)
            return sums[:, 0].to(call.dtype).view(input.shape[:2]), (energy, mass, sums[:, 1:])

    def backward_from(self, kept: tuple[Tensor, ...], grad: Tensor, args: Arguments) -> Tensor:
        """The gradient of input, from what the forward kept."""
        with triton_path.on_device(args.input):
            return Call(args).gradient(kept[0], kept[1], kept[2] if args.reduce else None, grad)

    def backward(self, grad: Tensor, args: Arguments) -> Tensor:
        """The gradient of input."""
        return self.backward_of("input", grad, args)

    def backward_of(self, name: str, grad: Tensor, args: Arguments) -> Tensor:
        """The gradient of either image, in its dtype: the alignment does not know which one is which."""
        with triton_path.on_device(args.input):
            call = Call(args, swapped=name == "target")
            return call.gradient(*call.energies(), None, grad)


class Call:
    """The launches over two images, of which the first one's gradient may be asked for."""

    def __init__(self, args: Arguments, swapped: bool = False) -> None:
        from medloss.ops.gradient_alignment import triton_kernels as kernels

        input, mask = args.input, args.mask
        self.edge, self.relative, self.reduce = args.edge, args.relative, args.reduce
        self.kernels, self.dtype = kernels, accumulation_dtype(input)
        x, y = (readable(image) for image in ((args.target, input) if swapped else (input, args.target)))
        weight, self.shared = shared_weight(mask, x)
        missing = AXES - len(args.axis_scale)
        self.sizes = (1,) * missing + tuple(input.shape[2:])
        scales = table((0.0,) * missing + tuple(map(float, args.axis_scale)), self.dtype, input.device)
        self.images = (x, y, weight, scales)
        self.volumes = input.shape[0] * input.shape[1]
        self.lines = self.volumes * self.sizes[0] * self.sizes[1]
        self.options = {"RANK": len(args.axis_scale), "MASKED": mask is not None, "num_warps": WARPS}

    def energies(self) -> tuple[Tensor, Tensor]:
        """The square of each image's edge, and the mass that the mean squares are over; volumes 2, and volumes."""
        if not self.relative:
            energy = self._numbers(2, fill=self.edge**2)
            return energy, torch.ones_like(energy[:, 0])
        parts = self._parts()
        self._launch(self.kernels.energies, parts)
        sums = self._added(parts)
        mass = torch.where(sums[:, 2] > 0, sums[:, 2], 1.0)
        return self.edge**2 * sums[:, :2] / mass[:, None], mass

    def map(self, energy: Tensor) -> Tensor:
        """The values."""
        result = torch.empty(self.images[0].shape, dtype=self.dtype, device=energy.device)
        self._launch(self.kernels.values, energy, result, result, SUMS=False, WEIGHTED=False)
        return result

    def sums(self, energy: Tensor, grad: Tensor | None = None) -> Tensor:
        """Of each volume the sum of the values, and its slopes by both energies, weighted by a map where one is given.

        Volumes 3, in double.
        """
        parts = self._parts()
        weights = parts if grad is None else grad
        self._launch(self.kernels.values, energy, weights, parts, SUMS=True, WEIGHTED=grad is not None)
        return self._added(parts)

    def gradient(self, energy: Tensor, mass: Tensor, slopes: Tensor | None, grad: Tensor) -> Tensor:
        """The gradient of the first image, in its dtype."""
        grad = grad.to(self.dtype).contiguous()
        pull = torch.zeros_like(mass)
        if self.relative:
            if slopes is None:
                slopes = self.sums(energy, None if self.reduce else grad)[:, 1:]
            pull = 2 * self.edge**2 / mass * slopes[:, 0]
            pull = pull * grad.view(-1) if self.reduce else pull
        result = torch.empty_like(self.images[0])
        self._launch(self.kernels.gradient, energy, pull, grad, result, size=GATHERED, MAP=not self.reduce, **REGISTERS)
        return result

    def _tiles(self, size: int = 0) -> Tiles:
        return tiles(self.lines, self.sizes[2], self.dtype, size)

    def _launch(self, kernel: Any, *tensors: Tensor, size: int = 0, **options: int) -> None:
        tile = self._tiles(size)
        kernel[(tile.programs(self.lines),)](
            *self.images, *tensors, self.lines, self.shared, *self.sizes, **options, **self.options, **tile.options
        )

    def _parts(self) -> Tensor:
        """Three sums of each part of a row."""
        shape = (self.lines * self._tiles().across, 3)
        return torch.empty(shape, dtype=self.dtype, device=self.images[0].device)

    def _added(self, parts: Tensor) -> Tensor:
        return parts.view(self.volumes, -1, 3).sum(1, dtype=torch.float64)

    def _numbers(self, columns: int, fill: float) -> Tensor:
        return torch.full((self.volumes, columns), fill, dtype=torch.float64, device=self.images[0].device)
