"""``hyperelastic``: what a deformation stretches in length, in area and in volume, at every voxel."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from medloss.ops.differences.reference import Stencil, interior_weight
from medloss.ops.jacobian import PATHS
from medloss.ops.jacobian.arguments import HyperelasticArguments
from medloss.ops.masking import accumulation_dtype, added, blank
from medloss.ops.operator import Operator

__all__ = ["hyperelastic"]


def reference(args: HyperelasticArguments) -> Tensor:
    """See :func:`hyperelastic`. Plain torch: the specification of the operator."""
    field, stencil, border = args.field, args.stencil, args.border
    weight = None if args.mask is None else args.mask.to(accumulation_dtype(field))
    slopes = Stencil(blank(field.to(accumulation_dtype(field)), weight), stencil, args.axis_scale, border)
    along = [slopes.first(axis) for axis in slopes.scale]  # along[j][:, k] is the derivative of u_k along axis j
    length, surface, volume = args.prices
    map = length / 2 * added((slope * slope).sum(1) for slope in along)
    edges = [[slope[:, k] + float(j == k) for k in range(len(along))] for j, slope in enumerate(along)]
    if len(edges) == 3:
        faces = [cross(edges[1], edges[2]), cross(edges[2], edges[0]), cross(edges[0], edges[1])]
        growth = added(edge * normal for edge, normal in zip(edges[0], faces[0]))
        map = map + surface * added(torch.relu(added(n * n for n in normal) - 1) ** 2 for normal in faces)
    elif len(edges) == 2:
        growth = edges[0][0] * edges[1][1] - edges[0][1] * edges[1][0]
    else:
        growth = edges[0][0]
    map = map + volume * swelling(growth, args.floor)
    if weight is not None:
        map = map * interior_weight(weight.amin(1, keepdim=True), stencil, border)[:, 0]
    return map.flatten(1).sum(1) if args.reduce else map


def cross(a: Sequence[Tensor], b: Sequence[Tensor]) -> list[Tensor]:
    """The cross product of two vectors of maps."""
    return [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]


def swelling(growth: Tensor, floor: float) -> Tensor:
    """((v - 1)^2 / v)^2, and below the floor its tangent there: a fold costs more the worse it is, but has a slope."""
    inside = growth.clamp_min(floor)
    change = inside - 1
    slope = 2 * (floor - 1) ** 3 * (floor + 1) / floor**3
    return (change * change / inside) ** 2 + slope * (growth - inside)


def _fake(args: HyperelasticArguments) -> Tensor:
    spatial = [] if args.reduce else args.call().inner()
    return args.field.new_empty((args.field.shape[0], *spatial), dtype=accumulation_dtype(args.field))


OPERATOR = Operator("hyperelastic", HyperelasticArguments, reference, _fake, PATHS)


def hyperelastic(
    field: Tensor,
    mask: Tensor | None = None,
    *,
    prices: Sequence[float],
    floor: float,
    stencil: str,
    axis_scale: Sequence[float],
    border: str = "interior",
    reduce: bool = False,
) -> Tensor:
    r"""The hyperelastic energy density of a deformation :math:`y = x + u`.

    .. math::
        \frac{\alpha_l}{2} |\nabla u|^2 + \alpha_s \sum_i \max(|c_i|^2 - 1, 0)^2
        + \alpha_v \Bigl( \frac{(v - 1)^2}{v} \Bigr)^2

    with the rows :math:`c_i` of the cofactors of :math:`\nabla y` (in 3D alone) and its determinant v.

    Args:
        field: displacement u, B d [spatial] with d up to 3, any floating dtype.
        mask: weight of each voxel, B 1 [spatial]; a stencil that touches a zero is left out.
        prices: of length, surface and volume.
        floor: below it the last term goes on as its tangent.
        stencil: ``"forward"`` or ``"central"`` differences.
        axis_scale: one over the voxel's size along each axis, in the unit of the field.
        border: ``"interior"`` or ``"replicate"``, as in :func:`medloss.ops.differences.differences`.
        reduce: sum over the voxels.

    Returns:
        B [interior], or B with ``reduce``; float64 for double input and float32 otherwise.
    """
    scale = [float(factor) for factor in axis_scale]
    return OPERATOR(field, mask, [float(price) for price in prices], float(floor), stencil, scale, border, reduce)
