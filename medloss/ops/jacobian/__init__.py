"""``jacobian``: how a deformation changes volumes, by finite differences, and what that costs."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from medloss.ops.jacobian import reference
from medloss.ops.jacobian.arguments import DeterminantArguments, PenaltyArguments
from medloss.ops.jacobian.cpu import NativeJacobian
from medloss.ops.jacobian.triton_launch import TritonJacobian
from medloss.ops.masking import accumulation_dtype
from medloss.ops.operator import Operator

__all__ = ["PENALTIES", "jacobian_determinant", "jacobian_penalty"]

PENALTIES = ("folding", "log", "volume", "sdlog", "hinge")


def _fake_determinants(args: DeterminantArguments) -> Tensor:
    field = args.field
    count = 1 if args.stencil == "central" else len(list(reference.simplices(args.stencil, field.ndim - 2)))
    shape = (field.shape[0], count, *args.call().inner())
    return field.new_empty(shape, dtype=accumulation_dtype(field))


def _fake_penalty(args: PenaltyArguments) -> Tensor:
    spatial = [] if args.reduce or args.penalty == "sdlog" else args.call().inner()
    return args.field.new_empty((args.field.shape[0], *spatial), dtype=accumulation_dtype(args.field))


PATHS = (NativeJacobian(), TritonJacobian())
DETERMINANT = Operator("jacobian_determinant", DeterminantArguments, reference.determinants, _fake_determinants, PATHS)
PENALTY = Operator("jacobian_penalty", PenaltyArguments, reference.penalties, _fake_penalty, PATHS)


def jacobian_determinant(
    field: Tensor,
    mask: Tensor | None = None,
    *,
    stencil: str = "central",
    axis_scale: Sequence[float],
    border: str = "interior",
) -> Tensor:
    r"""The determinant of :math:`I + \nabla u`: 1 keeps volume, 0 and less folds.

    Args:
        field: displacement u, B d [spatial] with d up to 3, any floating dtype.
        mask: weight of each voxel, B 1 [spatial]; where a stencil touches a zero the determinant is 1.
        stencil: ``"central"``, ``"forward"`` or ``"backward"`` differences; ``"all"``: of each cell of 2^d voxels the
            2^d combinations of forward and backward differences at its corners, then in 3D its two inner tetrahedra.
        axis_scale: one over the voxel's size along each axis, in the unit of the field.
        border: ``"interior"`` or ``"replicate"``, as in :func:`medloss.ops.differences.differences`.

    Returns:
        B 1 [interior], or B k [interior] for the k simplices of ``"all"`` (2 in 1D, 4 in 2D, 10 in 3D); float64 for
        double input and float32 otherwise.
    """
    return DETERMINANT(field, mask, stencil, [float(scale) for scale in axis_scale], border)


def jacobian_penalty(
    field: Tensor,
    mask: Tensor | None = None,
    *,
    penalty: str,
    floor: float,
    stencil: str,
    axis_scale: Sequence[float],
    border: str = "interior",
    reduce: bool = False,
) -> Tensor:
    r"""What the determinants J of :func:`jacobian_determinant` cost.

    ``"folding"`` is :math:`\max(0, -J)`, ``"hinge"`` is :math:`\max(0, m - J)^2` with the floor as m, ``"log"`` is
    :math:`(\log J)^2`, ``"volume"`` is :math:`|J - 1|`, and ``"sdlog"`` the standard deviation of :math:`\log J` over
    the voxels of a sample. The simplices of ``"all"`` count by their share of the volume.

    Args:
        field, mask, stencil, axis_scale, border: as there; the weights of the mask count.
        penalty: see above.
        floor: below it the logarithm goes on as its tangent; for ``"hinge"`` below it a determinant costs.
        reduce: sum over the voxels.

    Returns:
        B [interior], or B with ``reduce`` and for ``"sdlog"``.
    """
    return PENALTY(field, mask, penalty, float(floor), stencil, [float(s) for s in axis_scale], border, reduce)
