"""``differences``: energies of a vector field's derivatives."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from medloss.ops.differences import reference
from medloss.ops.differences.cpu import NativeDifferences
from medloss.ops.differences.reference import JOINT, REACH, interior_weight
from medloss.ops.differences.triton_launch import TritonDifferences
from medloss.ops.masking import accumulation_dtype
from medloss.ops.operator import Operator

__all__ = [
    "BORDERS",
    "REACH",
    "STENCILS",
    "differences",
    "interior_weight",
]

BORDERS = ("interior", "replicate")
STENCILS = {
    "diffusion": ("central", "forward"),
    "variation": ("central", "forward"),
    "elasticity": ("central", "forward"),
    "bending": ("compact", "wide"),
    "curvature": ("compact", "wide"),
    "jacobian": ("central", "forward", "backward", "all"),
}


def _fake(args: reference.Arguments) -> Tensor:
    field = args.field
    maps = (field.shape[0], 1 if args.energy in JOINT else field.shape[1])
    spatial = [] if args.reduce else args.inner()
    return field.new_empty((*maps, *spatial), dtype=accumulation_dtype(field))


OPERATOR = Operator(
    "differences", reference.Arguments, reference.differences, _fake, (NativeDifferences(), TritonDifferences())
)


def differences(
    field: Tensor,
    mask: Tensor | None = None,
    *,
    energy: str,
    stencil: str,
    axis_scale: Sequence[float],
    component_scale: Sequence[float],
    reduce: bool = False,
    border: str = "interior",
    lame: Sequence[float] | None = None,
) -> Tensor:
    r"""Energy density of a field, at the voxels whose stencil lies inside.

    Of each component: ``energy="diffusion"`` is :math:`\sum_i (\partial_i u_c)^2`, ``"variation"`` is
    :math:`\sum_i |\partial_i u_c|`, ``"bending"`` is :math:`\sum_i (\partial_{ii} u_c)^2 + 2 \sum_{i<j} (\partial_{ij}
    u_c)^2`, and ``"curvature"`` is :math:`(\sum_i \partial_{ii} u_c)^2`. Of the whole vector: ``"elasticity"`` is
    :math:`\frac{\lambda}{2} (\sum_i \partial_i u_i)^2 + \frac{\mu}{4} \sum_{j,k} (\partial_j u_k + \partial_k u_j)^2`.

    Args:
        field: vectors, B d [spatial], any floating dtype.
        mask: weight of each voxel, B 1 [spatial]; a stencil that touches a zero is left out.
        energy: see above.
        stencil: ``"central"`` or ``"forward"`` for the first derivative (a central one cannot see a checkerboard);
            ``"compact"`` [1, -2, 1] or ``"wide"`` [1, 0, -2, 0, 1] / 4 for the pure second ones.
        axis_scale: factor on each derivative along an axis, one over the voxel's size. An axis of scale 0 is not
            differentiated, and no neighbour is needed along it.
        component_scale: factor on each component.
        reduce: sum over the voxels.
        border: ``"interior"``: only voxels whose neighbours are inside the volume; ``"replicate"``: all, the field
            and the mask being continued beyond the border by their values there.
        lame: :math:`\lambda` and :math:`\mu` of the elasticity, 1 and 1 where not given.

    Returns:
        B d [interior], or B d with ``reduce``, with 1 for d where the energy is of the whole vector; float64 for double
        input and float32 otherwise.
    """
    axis, component = [float(s) for s in axis_scale], [float(s) for s in component_scale]
    constants = None if lame is None else [float(constant) for constant in lame]
    return OPERATOR(field, mask, energy, stencil, axis, component, reduce, border, constants)
