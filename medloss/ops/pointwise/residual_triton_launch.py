"""The GPU paths of ``pointwise``: which one takes a penalty, and that of the penalties that compare two images."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from medloss.ops import triton_path, triton_volume
from medloss.ops.masking import accumulation_dtype, fits
from medloss.ops.pointwise.cpu import at_its_limits
from medloss.ops.pointwise.penalties import DIVERGENCE, RESIDUAL
from medloss.ops.pointwise.triton_launch import TritonLikelihoods
from medloss.ops.triton_numbers import table
from medloss.ops.triton_volume import LABELS, REALS, readable, steps

TILES = {torch.float32: 1024, torch.float64: 512}
WARPS = 4


class TritonResiduals:
    """A penalty of the difference of two images, or a divergence: nothing is made but the result."""

    name = "triton"

    def reasons(self, args: tuple[Any, ...], needs: tuple[bool, ...] | None = None) -> list[str]:
        """Why the kernels cannot serve; empty where they can."""
        input, target, mask, _, indexed = args[:5]
        found = triton_path.reasons(input)
        if input.dtype not in REALS:
            found.append(f"input is {input.dtype}, the kernel takes {', '.join(str(t)[6:] for t in REALS)}")
        if target.dtype not in LABELS:
            found.append(f"target is {target.dtype}")
        if indexed or target.shape != input.shape:
            found.append("target is not an image of the input's shape")
        if mask is not None and not fits(mask, input):
            found.append("the mask does not fit the images")
        if input.numel() == 0:
            found.append("input has no voxel")
        if needs is not None and any(needs[2:]):
            found.append("a gradient of the mask is asked for")
        return found

    def forward(self, args: tuple[Any, ...]) -> Tensor:
        """The map, its sum over the channels, over the voxels, or over both."""
        from medloss.ops.pointwise import residual_triton_kernels

        input, joined, work = args[0], args[11], _Work(args)
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

    def backward(self, grad: Tensor, args: tuple[Any, ...]) -> Tensor:
        """The gradient of input, in its dtype."""
        return self.backward_of(0, grad, args)

    def backward_of(self, index: int, grad: Tensor, args: tuple[Any, ...]) -> Tensor:
        """The gradient of input or target, in its dtype."""
        from medloss.ops.pointwise import residual_triton_kernels

        work, result = _Work(args), torch.empty_like(args[index])
        if steps(result) is None:
            result = torch.empty_like(args[index], memory_format=torch.contiguous_format)
        if work.given == "sums":
            grad = grad.expand(work.batch, work.channels)
        with triton_path.on_device(args[0]):
            residual_triton_kernels.differentiate[(work.batch * work.channels * work.programs,)](
                *work.tensors, grad.to(work.dtype).contiguous(), result, *work.numbers, steps(result),
                TARGET=index == 1, **work.options,
            )  # fmt: skip
        return result


class _Work:
    """What the kernels are given."""

    def __init__(self, args: tuple[Any, ...]) -> None:
        from triton import language

        input, target, mask, penalty, _, _, gamma, _, _, reduce, scale, joined = args
        self.dtype, (self.batch, self.channels) = accumulation_dtype(input), input.shape[:2]
        double, voxels, tile = self.dtype == torch.float64, input[0, 0].numel(), TILES[self.dtype]
        if penalty == "general":
            penalty, gamma, scale = at_its_limits(gamma, scale)
        images = [readable(image) for image in (input, target)]
        weight = images[0] if mask is None else readable(mask.expand(self.batch, *mask.shape[1:]))
        self.given = "sums" if reduce else "joined" if joined else "map"
        most = triton_volume.PROGRAMS // (self.batch * self.channels)
        self.programs = min(-(-voxels // tile), max(most, 1))
        self.tensors = (*images, weight, table((scale, gamma, abs(gamma - 2)), self.dtype, input.device))
        self.numbers = (self.programs, self.channels, voxels, *map(steps, (*images, weight)))
        self.options = {
            "FORM": penalty, "GIVEN": self.given, "TILE": tile, "num_warps": WARPS,
            "MASK": "none" if mask is None else "voxel" if mask.shape[1] == 1 else "class",
            "ACC": language.float64 if double else language.float32,
        }  # fmt: skip


class TritonPointwise:
    """The kernel of the penalty's kind."""

    name = "triton"

    def __init__(self) -> None:
        self._residuals, self._likelihoods = TritonResiduals(), TritonLikelihoods()

    def _of(self, args: tuple[Any, ...]) -> TritonResiduals | TritonLikelihoods:
        return self._residuals if args[3] in RESIDUAL or args[3] in DIVERGENCE else self._likelihoods

    def reasons(self, args: tuple[Any, ...], needs: tuple[bool, ...] | None = None) -> list[str]:
        """Why the kernels cannot serve; empty where they can."""
        return self._of(args).reasons(args, needs)

    def forward(self, args: tuple[Any, ...]) -> Tensor:
        """The map or its sums."""
        return self._of(args).forward(args)

    def backward(self, grad: Tensor, args: tuple[Any, ...]) -> Tensor:
        """The gradient of input."""
        return self._of(args).backward(grad, args)

    def backward_of(self, index: int, grad: Tensor, args: tuple[Any, ...]) -> Tensor:
        """The gradient of the target of a comparison."""
        return self._residuals.backward_of(index, grad, args)
