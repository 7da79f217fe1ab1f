"""The reduction of a map of voxels that an operator has weighted, or summed already."""

from __future__ import annotations

from torch import Tensor

from medloss.reduction import ratio


def voxel_mean(values: Tensor, input: Tensor, mask: Tensor | None, reduction: str) -> Tensor:
    """``"none"``, ``"sum"`` or ``"mean"`` over all voxels and channels of ``input``, by their weights in the mask."""
    if reduction == "none":
        return values
    if reduction == "sum":
        return values.sum()
    if mask is None:
        return values.sum() / input.numel()
    return ratio(values.sum(), mask.expand(input.shape).sum(dtype=values.dtype))
