"""The GPU path of ``adjacent_differences``: one pass for the sums, one for the gradient."""

from __future__ import annotations

import torch
from torch import Tensor

from medloss.ops import triton_path
from medloss.ops.adjacent_differences.penalties import code_of
from medloss.ops.adjacent_differences.reference import Arguments
from medloss.ops.masking import accumulation_dtype
from medloss.ops.misfits import dtype_misfits
from medloss.ops.triton_numbers import table
from medloss.ops.triton_tiles import shared_weight, tiles
from medloss.ops.triton_volume import REALS

AXES = 3
WARPS = 8


class TritonAdjacentDifferences(triton_path.TritonPath[Arguments]):
    """Penalties of the steps between neighbours, without a map of the steps."""

    differentiable = ("input", "target")

    def unfit(self, args: Arguments) -> list[str]:
        """Why the kernels cannot take these arguments; empty where they can."""
        found = args.misfits() + dtype_misfits(REALS, input=args.input)
        if args.target is not None and args.target.dtype not in REALS:
            found.append("target is no image")
        return found

    def forward(self, args: Arguments) -> Tensor:
        """B C."""
        with triton_path.on_device(args.input):
            call = Call(args, accumulation_dtype(args.input))
            totals, masses = call.sums()
            if args.average:
                totals = totals / torch.where(masses > 0, masses, 1.0)
            return totals.sum(1).to(call.dtype).view(args.input.shape[:2])

    def backward(self, grad: Tensor, args: Arguments) -> Tensor:
        """The gradient of input, in its dtype."""
        with triton_path.on_device(args.input):
            return Call(args, accumulation_dtype(args.input)).gradient(grad)

    def backward_of(self, name: str, grad: Tensor, args: Arguments) -> Tensor:
        """The gradient of the target, which stands to the input as the input to it."""
        assert args.target is not None
        with triton_path.on_device(args.input):
            exchanged = args._replace(input=args.target, target=args.input)
            return Call(exchanged, accumulation_dtype(args.input)).gradient(grad)


class Call:
    """The launches over one image."""

    def __init__(self, args: Arguments, dtype: torch.dtype) -> None:
        from medloss.ops.adjacent_differences import triton_kernels as kernels

        input, mask, self.average = args.input, args.mask, args.average
        self.kernels, self.dtype, self.rank = kernels, dtype, input.ndim - 2
        code = code_of(args.penalty, args.shape)
        self.options = {"PENALTY": code, "RANK": self.rank, "MASKED": mask is not None, "num_warps": WARPS}
        self.input = input.detach().contiguous()
        paired = self.input if args.target is None else args.target.detach().contiguous()
        weight, self.shared = shared_weight(mask, self.input)
        self.isotropic, self.masked = args.penalty == "isotropic", mask is not None
        missing = AXES - self.rank
        self.sizes = (1,) * missing + tuple(input.shape[2:])
        scales = table((0.0,) * missing + tuple(map(float, args.axis_scale)), dtype, input.device)
        self.images = (self.input, paired, weight, scales)
        self.volumes = input.shape[0] * input.shape[1]
        self.lines = self.volumes * self.sizes[0] * self.sizes[1]
        self.tile = tiles(self.lines, self.sizes[2], dtype)

    def sums(self) -> tuple[Tensor, Tensor]:
        """What the pairs of each axis of each volume cost, and what they weigh, in double."""
        parts = torch.zeros((self.lines * self.tile.across, 6), dtype=self.dtype, device=self.input.device)
        self.kernels.sums[(self.tile.programs(self.lines),)](
            *self.images, parts, self.lines, self.shared, *self.sizes, **self.options, **self.tile.options
        )
        sums = parts.view(self.volumes, -1, 3, 2).sum(1, dtype=torch.float64)
        return sums[..., 0], sums[..., 1]

    def gradient(self, grad: Tensor) -> Tensor:
        """The gradient of the image, in its dtype."""
        rates = grad.to(torch.float64).reshape(-1, 1).expand(-1, AXES)
        if self.average:
            masses = self.sums()[1] if self.masked else self._counts()
            masses = masses[:, :1] if self.isotropic else masses
            rates = rates / torch.where(masses > 0, masses, 1.0)
        result = torch.empty_like(self.input)
        self.kernels.gradient[(self.tile.programs(self.lines),)](
            *self.images, rates.to(self.dtype).contiguous(), result, self.lines, self.shared, *self.sizes,
            **self.options, **self.tile.options,
        )  # fmt: skip
        return result

    def _counts(self) -> Tensor:
        """How many pairs each axis has, or voxels, where all count alike."""
        voxels = self.input[0, 0].numel()
        pairs = [voxels // size * (size - 1) for size in self.sizes]
        counts = [voxels] * AXES if self.isotropic else pairs
        return table(tuple(map(float, counts)), torch.float64, self.input.device).view(1, AXES)
