"""``adjacent_differences``: what the differences between neighbouring voxels of an image cost."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from medloss.ops.adjacent_differences import reference
from medloss.ops.adjacent_differences.cpu import NativeAdjacentDifferences
from medloss.ops.adjacent_differences.triton_launch import TritonAdjacentDifferences
from medloss.ops.masking import accumulation_dtype
from medloss.ops.operator import Operator

__all__ = ["PENALTIES", "adjacent_differences"]

PENALTIES = ("absolute", "isotropic", "magnitude", "edge_aware")


def _fake(args: reference.Arguments) -> Tensor:
    return args.input.new_empty(args.input.shape[:2], dtype=accumulation_dtype(args.input))


OPERATOR = Operator(
    "adjacent_differences",
    reference.Arguments,
    reference.adjacent_differences,
    _fake,
    (NativeAdjacentDifferences(), TritonAdjacentDifferences()),
)


def adjacent_differences(
    input: Tensor,
    target: Tensor | None = None,
    mask: Tensor | None = None,
    *,
    penalty: str,
    axis_scale: Sequence[float],
    shape: float = 1.0,
    average: bool = True,
) -> Tensor:
    r"""A penalty on the forward differences of an image, averaged along each axis and added over the axes.

    With :math:`d_a` the difference of two voxels that are neighbours along axis a, times the axis's scale, and
    :math:`e_a` that of the target: ``"absolute"`` is :math:`|d_a|`; ``"magnitude"`` :math:`||d_a| - |e_a||^{shape}`;
    ``"edge_aware"`` :math:`|d_a| \exp(-shape \cdot \mathrm{mean}_c |e_a|)`. A pair of neighbours counts with the lesser
    weight of the two. ``"isotropic"`` is the length :math:`\sqrt{\sum_a d_a^2}` at each voxel, of the pairs with its
    next neighbours that count.

    Args:
        input: image, B C [spatial], any floating dtype.
        target: image, B C [spatial] for ``"magnitude"``, any channels for ``"edge_aware"``, None otherwise.
        mask: weight of each voxel, at least 0, B 1 [spatial] or B C [spatial]. Nothing under a zero is looked at.
        penalty: one of :data:`PENALTIES`.
        axis_scale: factor on the differences along each axis, one over the voxel's size.
        shape: exponent of ``"magnitude"``, or factor on the target's differences of ``"edge_aware"``.
        average: the mean over the pairs of each axis (voxels for ``"isotropic"``), else the sum.

    Returns:
        B C; float64 for double input and float32 otherwise. An axis without pairs adds 0.

    Raises:
        ValueError: an unknown penalty.
    """
    if penalty not in PENALTIES:
        raise ValueError(f"penalty {penalty!r} is unknown: choose one of {', '.join(PENALTIES)}")
    return OPERATOR(input, target, mask, penalty, float(shape), [float(s) for s in axis_scale], average)
