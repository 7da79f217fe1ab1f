"""The CPU paths of the Jacobian's operators, and of ``hyperelastic``: the same derivatives, and another price."""

from __future__ import annotations

import functools
import itertools
from typing import Any, NamedTuple

import torch
from torch import Tensor

from medloss.ops import native
from medloss.ops.axes import planes_first
from medloss.ops.differences.reference import REACH
from medloss.ops.dispatch import PathOfBoth
from medloss.ops.jacobian.arguments import Arguments, Call
from medloss.ops.masking import accumulation_dtype

MODES = {"determinant": 0, "folding": 1, "log": 2, "volume": 3, "sdlog": 4, "hyperelastic": 5, "hinge": 6}
LEAST_FLOOR = 1e-30
"""Below it a float32 has no logarithm of the kernel's."""


class NativeJacobian(native.NativePath[Arguments], PathOfBoth[Arguments]):
    """One sweep over the voxels, without a map of any derivative."""

    differentiable = ("field",)

    def unfit(self, args: Arguments) -> list[str]:
        """Why the kernel cannot take these arguments; empty where it can."""
        call = args.call()
        found = call.misfits()
        if call.floor < LEAST_FLOOR and call.mode != "hinge":
            found.append(f"the floor lies below {LEAST_FLOOR}")
        return found

    def forward(self, args: Arguments) -> Tensor:
        """The map, or one number for each sample."""
        call = args.call()
        dtype, batch = accumulation_dtype(call.field), call.field.shape[0]
        if call.reduce or call.mode == "sdlog":
            found = _sums(call)
            value = found[:, 2].clamp_min(0).sqrt() if call.mode == "sdlog" else found[:, 0].clone()
            return value.to(dtype)
        interior = call.inner()
        maps = (_scheme(call.stencil, len(interior)).simplices,) if call.mode == "determinant" else ()
        map = torch.empty((batch, *maps, *interior), dtype=dtype, device="cpu")
        native.call("jacobian_forward", dtype, *_operands(call), map, None)
        return map

    def backward(self, grad: Tensor, args: Arguments) -> Tensor:
        """The gradient of the field, in its dtype."""
        call = args.call()
        dtype = accumulation_dtype(call.field)
        grad, centre = grad.to(dtype).contiguous(), None
        if call.mode == "sdlog":
            mass, mean, variance = _sums(call).unbind(1)
            flat = variance <= 0  # the root has no gradient at 0
            scale = mass * torch.where(flat, torch.ones_like(variance), variance).sqrt()
            grad = torch.where(flat, torch.zeros_like(scale), grad / scale).to(dtype)
            centre = mean.contiguous()
        upstream = (None, grad) if call.reduce or call.mode == "sdlog" else (grad, None)
        result = torch.empty(call.field.shape, dtype=dtype, device="cpu")
        native.call("jacobian_backward", dtype, *_operands(call), *upstream, centre, None, result)
        return result.to(call.field.dtype)

    def both(self, grad: Tensor, args: Arguments) -> tuple[Tensor, Tensor]:
        """The sums, and the gradient of the field, in one sweep where there is one."""
        call = args.call()
        if not call.reduce or call.mode in ("determinant", "sdlog", "hyperelastic"):
            return self.forward(args), self.backward(grad, args)
        dtype = accumulation_dtype(call.field)
        planes = planes_first(call.inner(), 1)[0]
        costs = torch.zeros((call.field.shape[0], planes), dtype=torch.float64, device="cpu")
        result = torch.empty(call.field.shape, dtype=dtype, device="cpu")
        upstream = grad.to(dtype).contiguous()
        native.call("jacobian_backward", dtype, *_operands(call), None, upstream, None, costs, result)
        return costs.sum(1).to(dtype), result.to(call.field.dtype)


class Scheme(NamedTuple):
    """Where a stencil reads, as the kernel takes it: numbers of points and simplices, and the points' offsets."""

    points: int
    simplices: int
    offsets: Tensor
    reach: list[int]


@functools.lru_cache(32)
def _scheme(stencil: str, rank: int) -> Scheme:
    """The corners of a cell, or of each axis its low end and then of each its high end."""
    if stencil == "all":
        points = list(itertools.product((0, 1), repeat=rank))
    else:
        ends = {"central": (-1, 1), "forward": (0, 1), "backward": (-1, 0)}[stencil]
        points = [tuple(end * (axis == other) for other in range(rank)) for end in ends for axis in range(rank)]
    simplices = {1: 2, 2: 4, 3: 10}[rank] if stencil == "all" else 1
    reach = [number for each in REACH[stencil] for number in planes_first([each] * rank, 0)]
    return Scheme(
        len(points), simplices, torch.tensor([planes_first(point, 0) for point in points], device="cpu"), reach
    )


def _operands(call: Call) -> tuple[Any, ...]:
    """The kernel's first operands."""
    dtype = accumulation_dtype(call.field)
    batch, rank, *spatial = call.field.shape
    scheme = _scheme(call.stencil, rank)
    weight, _ = native.shared_weight(call.mask, call.field, dtype, joint=True)
    step = 0.5 if call.stencil == "central" else 1.0
    along = call.mode == "hyperelastic"  # the Jacobian is in voxels: each component by the voxel's size along its axis
    scale = [step * call.axis_scale[min(i if along else k, rank - 1)] for i in range(3) for k in range(3)]
    options = [rank, scheme.points, scheme.simplices, *scheme.reach, int(call.border == "replicate")]
    return (
        call.field.detach().to(dtype).contiguous(), weight, batch, native.integers(planes_first(spatial, 1)),
        native.integers(options), scheme.offsets,
        native.reals([*scale, call.floor, *call.prices]),
        MODES[call.mode],
    )  # fmt: skip


def _sums(call: Call) -> Tensor:
    """Of each sample its sum; of ``"sdlog"`` weight, mean and variance of the logarithms. B 3, in double."""
    found = torch.empty((call.field.shape[0], 3), dtype=torch.float64, device="cpu")
    native.call("jacobian_forward", accumulation_dtype(call.field), *_operands(call), None, found)
    return found
