"""``pointwise`` in plain torch: the specification of the operator, and what serves where no fast path can."""

from __future__ import annotations

from torch import Tensor

from medloss.ops.masking import accumulation_dtype, blank, membership, spatial_axes, voxel_weight
from medloss.ops.pointwise.penalties import DIVERGENCE, LOGITS, RESIDUAL, likelihood_map


def pointwise(
    input: Tensor,
    target: Tensor,
    mask: Tensor | None,
    penalty: str,
    indexed: bool,
    ignore_index: int | None,
    gamma: float,
    positive: Tensor | None,
    negative: Tensor | None,
    reduce: bool,
    scale: float,
    joined: bool,
) -> Tensor:
    """See :func:`medloss.ops.pointwise.pointwise`."""
    dtype = accumulation_dtype(input)
    weight = voxel_weight(target, mask, indexed, ignore_index, dtype)
    x = blank(input.to(dtype), weight)
    t = blank(membership(target, input.shape[1], indexed, dtype), weight)
    if penalty in RESIDUAL:
        residual = x - t
        map = RESIDUAL[penalty](residual if scale == 1 else residual / scale, gamma)
    elif penalty in DIVERGENCE:
        map = DIVERGENCE[penalty](x, t, gamma)
    elif penalty in LOGITS:
        map = LOGITS[penalty](x, t, gamma)
    else:
        map = likelihood_map(x, t, penalty, gamma, positive, negative)
    map = map if weight is None else map * weight
    map = map.sum(1, keepdim=True) if joined else map
    return map.sum(spatial_axes(map)) if reduce else map
