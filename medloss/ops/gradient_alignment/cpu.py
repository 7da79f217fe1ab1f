"""The CPU path of ``gradient_alignment``: sweeps of C over both images for the energies, the values and a gradient."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from medloss.ops import native
from medloss.ops.dispatch import KeepingPath
from medloss.ops.gradient_alignment.reference import Arguments
from medloss.ops.masking import accumulation_dtype


class NativeGradientAlignment(KeepingPath[Arguments], native.NativePath[Arguments]):
    """No map of derivatives is made. Kept for the gradient are six numbers of each volume."""

    differentiable = ("input", "target")

    def unfit(self, args: Arguments) -> list[str]:
        """Why the kernel cannot take these arguments; empty where it can."""
        found = args.misfits()
        if args.input.dtype != args.target.dtype and torch.float64 in (args.input.dtype, args.target.dtype):
            found.append(f"input is {args.input.dtype} and target {args.target.dtype}")
        return found

    def forward_keeping(self, args: Arguments) -> tuple[Tensor, tuple[Tensor, ...]]:
        """The map or its sums; and the energies, their slopes and masses of each volume."""
        input, reduce, dtype = args.input, args.reduce, accumulation_dtype(args.input)
        operands = _operands(args)
        energy, mass = _energies(args, operands)
        map = None if reduce else torch.empty(input.shape, dtype=dtype, device="cpu")
        sums = _sums(args, operands, energy, None, map)
        result = sums[:, 0].to(dtype).view(input.shape[:2]) if map is None else map
        return result, (energy, mass, sums[:, 1:])

    def backward(self, grad: Tensor, args: Arguments) -> Tensor:
        """The gradient of input."""
        return self.backward_of("input", grad, args)

    def backward_from(self, kept: tuple[Tensor, ...], grad: Tensor, args: Arguments) -> Tensor:
        """The gradient of input, from what the forward kept; for a map, the slopes are to be weighted first."""
        energy, mass, slopes = kept
        return self._gradient("input", grad, args, energy, mass, slopes if args.reduce else None)

    def backward_of(self, name: str, grad: Tensor, args: Arguments) -> Tensor:
        """The gradient of either image, in its dtype."""
        energy, mass = _energies(args, _operands(args))
        return self._gradient(name, grad, args, energy, mass, None)

    def _gradient(
        self, name: str, grad: Tensor, args: Arguments, energy: Tensor, mass: Tensor, slopes: Tensor | None
    ) -> Tensor:
        dtype, operands, index = accumulation_dtype(args.input), _operands(args), int(name == "target")
        grad = grad.to(dtype).contiguous()
        if not args.relative:
            pull = torch.zeros_like(mass)
        else:
            if slopes is None:
                slopes = _sums(args, operands, energy, None if args.reduce else grad, None)[:, 1:]
            pull = 2 * args.edge**2 / mass * slopes[:, index] * (grad.flatten().double() if args.reduce else 1)
        if index:  # the alignment does not know which image is which
            operands, energy = (operands[1], operands[0], *operands[2:]), energy.flip(1).contiguous()
        result = torch.empty(args.input.shape, dtype=dtype, device="cpu")
        upstream = (None, grad) if args.reduce else (grad, None)
        native.call("gradient_alignment_backward", dtype, *operands, energy, pull.contiguous(), *upstream, result)
        return result.to(getattr(args, name).dtype)


def _energies(args: Arguments, operands: tuple[Any, ...]) -> tuple[Tensor, Tensor]:
    """The square of each image's edge, and the mass that the mean squares are over; volumes 2, and volumes."""
    edge, relative, volumes = args.edge, args.relative, math.prod(args.input.shape[:2])
    if not relative:
        return torch.full((volumes, 2), edge**2, dtype=torch.float64, device="cpu"), torch.ones(
            volumes, dtype=torch.float64, device="cpu"
        )
    sums = _sums(args, operands, None, None, None)
    mass = torch.where(sums[:, 2] > 0, sums[:, 2], torch.ones_like(sums[:, 2]))
    return edge**2 * sums[:, :2] / mass[:, None], mass


def _sums(
    args: Arguments, operands: tuple[Any, ...], energy: Tensor | None, grad: Tensor | None, map: Tensor | None
) -> Tensor:
    """Three sums of each volume: those of the energies, or of the values where the energies are given."""
    sums = torch.empty((math.prod(args.input.shape[:2]), 3), dtype=torch.float64, device="cpu")
    native.call("gradient_alignment_sums", accumulation_dtype(args.input), *operands, energy, grad, map, sums)
    return sums


def _operands(args: Arguments) -> tuple[Any, ...]:
    """Both images, the mask and how many volumes share it, the volumes with three axes, and their factors."""
    dtype, (batch, channels, *spatial) = accumulation_dtype(args.input), args.input.shape
    images = [image.detach().to(dtype).contiguous() for image in (args.input, args.target)]
    mask, shared = native.shared_weight(args.mask, args.input, dtype)
    missing = 3 - len(spatial)
    scale = native.reals([0.0] * missing + list(args.axis_scale))
    return (*images, mask, shared, batch * channels, *[1] * missing, *spatial, scale)
