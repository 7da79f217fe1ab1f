"""The CPU paths of the Jacobian's operators, and of ``hyperelastic``: the same derivatives, and another price."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from medloss.ops import native
from medloss.ops.differences.reference import REACH, interior_sizes
from medloss.ops.dispatch import PathOfBoth
from medloss.ops.masking import accumulation_dtype

MODES = {"determinant": 0, "folding": 1, "log": 2, "volume": 3, "sdlog": 4, "hyperelastic": 5, "hinge": 6}
LEAST_FLOOR = 1e-30
"""Below it a float32 has no logarithm of the kernel's."""


class Call(NamedTuple):
    """What the operators ask of the kernel, each from its own arguments."""

    mode: str
    field: Tensor
    mask: Tensor | None
    stencil: str
    axis_scale: Sequence[float]
    border: str
    reduce: bool = False
    floor: float = 1.0
    prices: Sequence[float] = (0.0, 0.0, 0.0)


def determinant_call(args: tuple[Any, ...]) -> Call:
    """The determinants of each simplex."""
    return Call("determinant", *args)


def penalty_call(args: tuple[Any, ...]) -> Call:
    """What the determinants cost."""
    field, mask, penalty, floor, stencil, axis_scale, border, reduce = args
    return Call(penalty, field, mask, stencil, axis_scale, border, reduce, floor)


def hyperelastic_call(args: tuple[Any, ...]) -> Call:
    """What lengths, areas and volumes cost."""
    field, mask, prices, floor, stencil, axis_scale, border, reduce = args
    return Call("hyperelastic", field, mask, stencil, axis_scale, border, reduce, floor, prices)


def misfits(call: Call, needs: tuple[bool, ...] | None) -> list[str]:
    """Why no kernel can take the call; empty where one can."""
    field, mask, found = call.field, call.mask, []
    if not 3 <= field.ndim <= 5 or field.shape[1] != field.ndim - 2:
        found.append("the kernel takes one component for each of 1 to 3 axes")
    elif not all(call.axis_scale):
        found.append("an axis is not differentiated")
    elif min(interior_sizes(field, call.stencil, call.axis_scale, call.border)) < 1 or field.numel() == 0:
        found.append("no stencil lies inside")
    if mask is not None and (mask.shape[2:] != field.shape[2:] or mask.shape[0] not in (1, field.shape[0])):
        found.append("the mask does not fit the field")
    if needs is not None and any(needs[1:]):
        found.append("a gradient of the mask is asked for")
    return found


class NativeJacobian(native.NativePath, PathOfBoth):
    """One sweep over the voxels, without a map of any derivative.

    Args:
        call: names the call in an operator's arguments.
    """

    told = "field is"

    def __init__(self, call: Callable[[tuple[Any, ...]], Call]) -> None:
        self.call = call

    def unfit(self, args: tuple[Any, ...], needs: tuple[bool, ...] | None) -> list[str]:
        """Why the kernel cannot take these arguments; empty where it can."""
        call = self.call(args)
        found = misfits(call, needs)
        if call.floor < LEAST_FLOOR and call.mode != "hinge":
            found.append(f"the floor lies below {LEAST_FLOOR}")
        return found

    def forward(self, args: tuple[Any, ...]) -> Tensor:
        """The map, or one number for each sample."""
        call = self.call(args)
        dtype, batch = accumulation_dtype(call.field), call.field.shape[0]
        if call.reduce or call.mode == "sdlog":
            found = _sums(call)
            value = found[:, 2].clamp_min(0).sqrt() if call.mode == "sdlog" else found[:, 0].clone()
            return value.to(dtype)
        interior = interior_sizes(call.field, call.stencil, call.axis_scale, call.border)
        maps = (_scheme(call.stencil, len(interior)).simplices,) if call.mode == "determinant" else ()
        map = torch.empty((batch, *maps, *interior), dtype=dtype, device="cpu")
        native.call("jacobian_forward", dtype, *_operands(call), map, None)
        return map

    def backward(self, grad: Tensor, args: tuple[Any, ...]) -> Tensor:
        """The gradient of the field, in its dtype."""
        call = self.call(args)
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

    def both(self, grad: Tensor, args: tuple[Any, ...]) -> tuple[Tensor, Tensor]:
        """The sums, and the gradient of the field, in one sweep where there is one."""
        call = self.call(args)
        if not call.reduce or call.mode in ("determinant", "sdlog", "hyperelastic"):
            return self.forward(args), self.backward(grad, args)
        dtype = accumulation_dtype(call.field)
        planes = _placed(interior_sizes(call.field, call.stencil, call.axis_scale, call.border), 1)[0]
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
    reach = [number for each in REACH[stencil] for number in _placed([each] * rank, 0)]
    return Scheme(len(points), simplices, torch.tensor([_placed(point, 0) for point in points], device="cpu"), reach)


def _placed(values: Sequence[int], missing: int) -> list[int]:
    """One number for depth, height and width, from one for each axis that the field has: planes go along the first."""
    return {1: [missing, missing, *values], 2: [values[0], missing, values[-1]], 3: list(values)}[len(values)]


def _operands(call: Call) -> tuple[Any, ...]:
    """The kernel's first operands."""
    dtype = accumulation_dtype(call.field)
    batch, rank, *spatial = call.field.shape
    scheme = _scheme(call.stencil, rank)
    step, weight = 0.5 if call.stencil == "central" else 1.0, call.mask
    along = call.mode == "hyperelastic"  # the Jacobian is in voxels: each component by the voxel's size along its axis
    scale = [step * call.axis_scale[min(i if along else k, rank - 1)] for i in range(3) for k in range(3)]
    if weight is not None:
        weight = weight.detach().to(dtype).amin(1, keepdim=True).expand(batch, 1, *spatial).contiguous()
    options = [rank, scheme.points, scheme.simplices, *scheme.reach, int(call.border == "replicate")]
    return (
        call.field.detach().to(dtype).contiguous(), weight, batch, torch.tensor(_placed(spatial, 1), device="cpu"),
        torch.tensor(options, device="cpu"), scheme.offsets,
        torch.tensor([*scale, call.floor, *call.prices], dtype=torch.float64, device="cpu"),
        MODES[call.mode],
    )  # fmt: skip


def _sums(call: Call) -> Tensor:
    """Of each sample its sum; of ``"sdlog"`` weight, mean and variance of the logarithms. B 3, in double."""
    found = torch.empty((call.field.shape[0], 3), dtype=torch.float64, device="cpu")
    native.call("jacobian_forward", accumulation_dtype(call.field), *_operands(call), None, found)
    return found


DETERMINANT, PENALTY, HYPERELASTIC = map(NativeJacobian, (determinant_call, penalty_call, hyperelastic_call))
