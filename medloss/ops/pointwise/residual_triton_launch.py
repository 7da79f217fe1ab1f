"""The GPU path of ``pointwise`` for penalties that compare two images."""

from __future__ import annotations

import torch
from torch import Tensor

from medloss.ops import triton_path, triton_volume
from medloss.ops.masking import accumulation_dtype
from medloss.ops.misfits import REALS, dtype_misfits
from medloss.ops.pointwise.cpu import at_its_limits
from medloss.ops.pointwise.reference import Arguments
from medloss.ops.triton_numbers import table
from medloss.ops.triton_volume import LABELS, readable, steps

TILES = {torch.float32: 1024, torch.float64: 512}
WARPS = 4


class TritonResiduals(triton_path.TritonPath[Arguments]):
    """A penalty of the difference of two images, or a divergence: nothing is made but the result."""

    differentiable = ("input", "target")

    def unfit(self, args: Arguments) -> list[str]:
        """Why the kernels cannot take these arguments; empty where they can."""
        found = args.misfits() + dtype_misfits(REALS, input=args.input)
        if args.target.dtype not in LABELS:
            found.append(f"target is {args.target.dtype}")
        return found

    def forward(self, args: Arguments) -> Tensor:
        """The map, its sum over the channels, over the voxels, or over both."""
        from medloss.ops.pointwise import residual_triton_kernels

        input, joined, work = args.input, args.joined, _Work(args)
        if work.given == "sums":
            result = input.new_empty((work.batch, work.programs, work.channels), dtype=work.dtype)
        else:
            result = input.new_empty((work.batch, 1 if joined else work.channels, *input.shape[2:]), dtype=work.dtype)
        groups = work.batch * (1 if work.given == "joined" else work.channels)
        with triton_path.on_device(input):
            residual_triton_kernels.compare[(groups * work.programs,)](
                *work.tensors, result, *work.numbers, **work.options
            )
            if work.given != "sums":
                return result
            sums = result.new_empty((work.batch, work.channels))
            triton_volume.add_rows(result, sums)
        return sums.sum(1, keepdim=True) if joined else sums

    def backward(self, grad: Tensor, args: Arguments) -> Tensor:
        """The gradient of input, in its dtype."""
        return self.backward_of("input", grad, args)

    def backward_of(self, name: str, grad: Tensor, args: Arguments) -> Tensor:
        """The gradient of input or target, in its dtype."""
        from medloss.ops.pointwise import residual_triton_kernels

        work, own = _Work(args), args.target if name == "target" else args.input
        result = torch.empty_like(own)
        if steps(result) is None:
            result = torch.empty_like(own, memory_format=torch.contiguous_format)
        if work.given == "sums":
            grad = grad.expand(work.batch, work.channels)
        with triton_path.on_device(args.input):
            residual_triton_kernels.differentiate[(work.batch * work.channels * work.programs,)](
                *work.tensors, grad.to(work.dtype).contiguous(), result, *work.numbers, steps(result),
                TARGET=name == "target", **work.options,
            )  # fmt: skip
        return result


class _Work:
    """What the kernels are given."""

    def __init__(self, args: Arguments) -> None:
        from triton import language

        input, mask, penalty, gamma, scale = args.input, args.mask, args.penalty, args.gamma, args.scale
        self.dtype, (self.batch, self.channels) = accumulation_dtype(input), input.shape[:2]
        double, voxels, tile = self.dtype == torch.float64, input[0, 0].numel(), TILES[self.dtype]
        if penalty == "general":
            penalty, gamma, scale = at_its_limits(gamma, scale)
        images = [readable(image) for image in (input, args.target)]
        weight = images[0] if mask is None else readable(mask.expand(self.batch, *mask.shape[1:]))
        self.given = "sums" if args.reduce else "joined" if args.joined else "map"
        most = triton_volume.PROGRAMS // (self.batch * self.channels)
        self.programs = min(-(-voxels // tile), max(most, 1))
        self.tensors = (*images, weight, table((scale, gamma, abs(gamma - 2)), self.dtype, input.device))
        self.numbers = (self.programs, self.channels, voxels, *map(steps, (*images, weight)))
        self.options = {
            "FORM": penalty, "GIVEN": self.given, "TILE": tile, "num_warps": WARPS,
            "MASK": "none" if mask is None else "voxel" if mask.shape[1] == 1 else "class",
            "ACC": language.float64 if double else language.float32,
        }  # fmt: skip
