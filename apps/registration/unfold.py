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
def smallest_determinants(ddf: Tensor, one_sided: bool = False) -> Tensor:
    """The determinants of ``x + ddf(x)`` at each voxel, ``(1, 1, *spatial)``.

    By central differences, which are one-sided at the border, as folding is reported. With ``one_sided`` the smallest
    of these, of those by forward and of those by backward differences, about each voxel.
    """
    wide = ddf
    for axis in range(2, ddf.ndim):
        wide = continued(wide, axis)
    scale = [1.0] * ddf.shape[1]
    found = jacobian_determinant(wide, stencil="central", axis_scale=scale)
    for stencil, part in (("forward", slice(None, -1)), ("backward", slice(1, None))) if one_sided else ():
        at = found[(..., *[part] * (ddf.ndim - 2))]
        at.copy_(torch.minimum(at, jacobian_determinant(ddf, stencil=stencil, axis_scale=scale)))
    return found


@torch.no_grad()
def unfold(ddf: Tensor, one_sided: bool = False, least: float = LEAST) -> tuple[Tensor, float]:
    """The displacement, smoothed where it folds and there alone, until it folds nowhere.

    Args:
        ddf: ``(1, 3, *spatial)`` in voxels.
        one_sided: see `smallest_determinants`.
        least: the smallest determinant that is left.
    Returns: the displacement, and the share of its voxels that were smoothed.
    """
    touched = torch.zeros_like(ddf[:, :1])
    for number in range(MOST_ROUNDS):
        bad = (smallest_determinants(ddf, one_sided) < least).float()
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
