"""The mean over the voxels that count, of a sum that an operator has taken over them."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from medloss.reduction import ratio


def mass(mask: Tensor | None, shape: Sequence[int], like: Tensor) -> Tensor:
    """The sum of the weights of each sample and channel, B C, in the dtype of ``like``."""
    voxels = 1
    for size in shape[2:]:
        voxels *= size
    if mask is None:
        return like.new_full(tuple(shape[:2]), float(voxels))
    return mask.expand(tuple(shape)).sum(tuple(range(2, len(shape))), dtype=like.dtype)


def voxel_mean(sums: Tensor, mask: Tensor | None, shape: Sequence[int], reduction: str) -> Tensor:
    """The mean over all voxels, or the sum, from the sums of each sample and channel.

    Args:
        sums: of weighted values, B C.
        mask: the weights, B 1 or B C [spatial], or None where each is 1.
        shape: of the values that were summed, B C [spatial].
        reduction: ``"mean"`` or ``"sum"``.
    """
    total = sums.sum()
    return total if reduction == "sum" else ratio(total, mass(mask, shape, sums).sum())
