"""``pointwise`` in plain torch: the specification of the operator, and what serves where no fast path can."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from medloss.ops.masking import accumulation_dtype, blank, membership, spatial_axes, voxel_weight
from medloss.ops.misfits import mask_misfits
from medloss.ops.pointwise.penalties import DIVERGENCE, LOGITS, RESIDUAL, likelihood_map

COMPARISONS = frozenset((*RESIDUAL, *DIVERGENCE))
"""Penalties of two images."""


class Arguments(NamedTuple):
    """What ``pointwise`` is given."""

    input: Tensor
    target: Tensor
    mask: Tensor | None
    penalty: str
    indexed: bool
    ignore_index: int | None
    gamma: float
    positive: Tensor | None
    negative: Tensor | None
    reduce: bool
    scale: float
    joined: bool

    def misfits(self) -> list[str]:
        """Why no kernel can take these arguments; empty where one can."""
        if self.penalty in COMPARISONS:
            found = mask_misfits(self.mask, self.input)
            if self.indexed or self.target.shape != self.input.shape:
                found.append("target is not an image of the input's shape")
            return found if self.input.numel() else [*found, "input has no voxel"]
        _, classes, *spatial = self.input.shape
        found = []
        if list(self.target.shape[1:]) != [1 if self.indexed else classes, *spatial]:
            found.append(f"target is no map of the input's shape, but {list(self.target.shape)}")
        if self.mask is not None and list(self.mask.shape[2:]) != spatial:
            found.append("the mask does not fit the input")
        tables = [table for table in (self.positive, self.negative) if table is not None]
        if any(table.numel() not in (1, classes) for table in tables):
            found.append(f"the factors are not those of {classes} classes")
        if self.penalty in ("softmax", "sigmoid") and self.gamma < 0:
            found.append("the focal exponent is below 0")
        return found


def pointwise(args: Arguments) -> Tensor:
    """See :func:`medloss.ops.pointwise.pointwise`."""
    penalty, gamma = args.penalty, args.gamma
    dtype = accumulation_dtype(args.input)
    weight = voxel_weight(args.target, args.mask, args.indexed, args.ignore_index, dtype)
    x = blank(args.input.to(dtype), weight)
    t = blank(membership(args.target, args.input.shape[1], args.indexed, dtype), weight)
    if penalty in RESIDUAL:
        residual = x - t
        map = RESIDUAL[penalty](residual if args.scale == 1 else residual / args.scale, gamma)
    elif penalty in DIVERGENCE:
        map = DIVERGENCE[penalty](x, t, gamma)
    elif penalty in LOGITS:
        map = LOGITS[penalty](x, t, gamma)
    else:
        map = likelihood_map(x, t, penalty, gamma, args.positive, args.negative)
    map = map if weight is None else map * weight
    map = map.sum(1, keepdim=True) if args.joined else map
    return map.sum(spatial_axes(map)) if args.reduce else map
