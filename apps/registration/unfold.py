"""The last step: a displacement that folds nowhere, whatever the losses allowed."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from medloss.apps.common.deformation import continued
from medloss.ops import jacobian_determinant

LEAST = 0.01
"""Determinants below it are repaired: what is written in float32, and resampled, has room to stay above 0."""
MOST_ROUNDS = 200


@torch.no_grad()
def smallest_determinants(ddf: Tensor) -> Tensor:
    """The smallest of the determinants of ``x + ddf(x)`` about each voxel, ``(1, 1, *spatial)``.

    By central differences, which are one-sided at the border, and by forward and by backward ones.
    """
    wide = ddf
    for axis in range(2, ddf.ndim):
        wide = continued(wide, axis)
    scale = [1.0] * ddf.shape[1]
    found = jacobian_determinant(wide, stencil="central", axis_scale=scale)
    inner = [slice(None, -1), slice(1, None)]
    for stencil, part in zip(("forward", "backward"), inner):
        sided = jacobian_determinant(ddf, stencil=stencil, axis_scale=scale)
        at = found[(..., *[part] * (ddf.ndim - 2))]
        at.copy_(torch.minimum(at, sided))
    return found


@torch.no_grad()
def unfold(ddf: Tensor, least: float = LEAST) -> tuple[Tensor, float]:
    """The displacement, smoothed where it folds and there alone, until it folds nowhere.

    Args:
        ddf: ``(1, 3, *spatial)`` in voxels.
        least: the smallest determinant that is left.
    Returns: the displacement, and the share of its voxels that were smoothed.
    """
    touched = torch.zeros_like(ddf[:, :1])
    reach = 1
    for number in range(MOST_ROUNDS):
        bad = (smallest_determinants(ddf) < least).float()
        if not bool(bad.any()):
            break
        reach = 1 + number // 10  # what smoothing about the fold itself does not mend
        near = F.max_pool3d(bad, 2 * reach + 1, 1, reach)
        weight = _mean(near) * near
        touched = torch.maximum(touched, near)
        ddf = ddf + weight * (_mean(ddf) - ddf)
    return ddf, float(touched.mean())


def _mean(field: Tensor) -> Tensor:
    return F.avg_pool3d(F.pad(field, (1,) * 6, mode="replicate"), 3, 1)
