"""``differences``: the energy of a vector field's first or second derivatives at every interior voxel."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from medloss.ops.differences import reference
from medloss.ops.differences.reference import REACH, interior_weight
from medloss.ops.operator import Operator
from medloss.ops.voxels import accumulation_dtype

__all__ = ["REACH", "STENCILS", "differences", "interior_weight"]

STENCILS = {"diffusion": ("central", "forward"), "bending": ("compact", "wide")}


def _fake(
    field: Tensor,
    mask: Tensor | None,
    energy: str,
    stencil: str,
    axis_scale: list[float],
    component_scale: list[float],
    reduce: bool,
) -> Tensor:
    spatial = [] if reduce else [size - sum(REACH[stencil]) for size in field.shape[2:]]
    return field.new_empty((*field.shape[:2], *spatial), dtype=accumulation_dtype(field))


OPERATOR = Operator("differences", reference.differences, _fake)


def differences(
    field: Tensor,
    mask: Tensor | None = None,
    *,
    energy: str,
    stencil: str,
    axis_scale: Sequence[float],
    component_scale: Sequence[float],
    reduce: bool = False,
) -> Tensor:
    r"""Energy density of each component of a field, at the voxels whose stencil lies inside.

    ``energy="diffusion"`` is :math:`\sum_i (\partial_i u_c)^2`, ``energy="bending"`` is
    :math:`\sum_i (\partial_{ii} u_c)^2 + 2 \sum_{i<j} (\partial_{ij} u_c)^2`.

    Args:
        field: vectors, B d [spatial], any floating dtype.
        mask: weight of each voxel, B 1 [spatial]; a stencil that touches a zero is left out.
        energy: ``"diffusion"`` or ``"bending"``.
        stencil: ``"central"`` or ``"forward"`` for the first derivative (a central one cannot see a checkerboard);
            ``"compact"`` [1, -2, 1] or ``"wide"`` [1, 0, -2, 0, 1] / 4 for the pure second ones.
        axis_scale: factor on each derivative along an axis, one over the voxel's size.
        component_scale: factor on each component.
        reduce: sum over the voxels.

    Returns:
        B d [interior], or B d with ``reduce``; float64 for double input and float32 otherwise.
    """
    axis, component = [float(s) for s in axis_scale], [float(s) for s in component_scale]
    return OPERATOR(field, mask, energy, stencil, axis, component, reduce)
