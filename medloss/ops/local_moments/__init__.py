"""``local_moments``: how well two images correlate in the window around each voxel, from the window's moments."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from medloss.ops.local_moments import reference
from medloss.ops.operator import Operator
from medloss.ops.voxels import accumulation_dtype

__all__ = ["local_moments"]


def _fake(
    input: Tensor,
    target: Tensor,
    mask: Tensor | None,
    window: list[float],
    renormalise: bool,
    smooth_nr: float,
    smooth_dr: float,
    reduce: bool,
) -> Tensor:
    shape = input.shape[:2] if reduce else input.shape
    return input.new_empty(shape, dtype=accumulation_dtype(input))


OPERATOR = Operator("local_moments", reference.local_moments, _fake)


def local_moments(
    input: Tensor,
    target: Tensor,
    mask: Tensor | None = None,
    *,
    window: Sequence[float],
    renormalise: bool = False,
    smooth_nr: float = 0.0,
    smooth_dr: float = 1e-5,
    reduce: bool = False,
) -> Tensor:
    r"""Squared local correlation :math:`(A^2 + nr) / (\max(B, dr) \max(C, dr))` at every voxel.

    With window weights k, voxel weights w, and sums over the window, :math:`V = \sum k w`,
    :math:`A = \sum k w x y - \sum k w x \sum k w y / V`, and B, C likewise for xx and yy. A constant is taken off both
    images first, which changes no A, B or C, and saves their digits. A window whose variance is no more than the
    rounding of its sums is constant: its A, B and C are 0.

    Args:
        input: image, B C [spatial], any floating dtype.
        target: image, B C [spatial].
        mask: weight of each voxel, at least 0, B 1 [spatial] or B C [spatial]. Windows count weighted voxels alone, and
            the result is weighted too. Nothing under a zero is looked at.
        window: separable weights of odd length, the same along each axis.
        renormalise: windows at the border count the voxels that they hold; by default zeros lie beyond it. Always so
            under a mask.
        smooth_nr: added to the numerator.
        smooth_dr: least value of each variance (times V).
        reduce: sum over the voxels.

    Returns:
        B C [spatial], or B C with ``reduce``; float64 for double input and float32 otherwise.
    """
    return OPERATOR(
        input, target, mask, [float(k) for k in window], renormalise, float(smooth_nr), float(smooth_dr), reduce
    )
