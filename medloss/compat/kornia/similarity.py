"""What kornia's structural similarities of planes and of volumes share."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from medloss import checks
from medloss.compat.kornia.base import MisfitError, check, reduced
from medloss.image import windows
from medloss.ops import local_ssim
from medloss.ops.masking import accumulation_dtype
from medloss.ops.operator import without_autocast

BORDERS = {"same": "reflect", "valid": "valid"}
SLIGHT = 1e-4
"""An ``eps`` of this part of the product of the constants moves no loss by more than half of it: none is added then."""


def dissimilarity(
    x: Tensor, y: Tensor, window_size: int, max_val: Any, eps: float, reduction: str, padding: Any
) -> Tensor:
    """Half of one minus the similarity, reduced; images B C [spatial] of one floating type."""
    check(isinstance(max_val, float), f"max_val is {type(max_val).__name__} and must be a float", TypeError)
    padding = str(padding).lower()
    check(padding in BORDERS, f"padding={padding!r} is unknown: choose 'same' or 'valid'")
    check(
        isinstance(window_size, int) and window_size > 0 and window_size % 2 == 1,
        f"window_size={window_size!r} must be an odd number of voxels",
    )
    rank, border = x.ndim - 2, BORDERS[padding]
    weights = windows.window("gaussian", window_size, 1.5)
    try:
        windows.map_shape(x.shape, [window_size] * rank, border, None)
    except checks.ShapeError as fault:
        raise MisfitError(str(fault)) from None
    c1, c2 = (0.01 * max_val) ** 2, (0.03 * max_val) ** 2
    values = local_ssim(x, y, windows=[[weights] * rank], border=border, c1=c1, c2=c2)
    if abs(eps) > SLIGHT * c1 * c2:
        energy = denominator(x, y, weights, border, c1, c2)
        values = (values * energy + eps) / (energy + eps)
    return reduced((values / 2).clamp(0, 1), reduction, x.dtype)


def denominator(x: Tensor, y: Tensor, weights: list[float], border: str, c1: float, c2: float) -> Tensor:
    """What similarity is divided by, to which kornia adds its ``eps``: the product of both factors' denominators."""
    dtype = accumulation_dtype(x)
    maps = torch.stack([x, y]).to(dtype)
    axes = tuple(range(3, maps.ndim))
    level = maps.detach().mean(axes, keepdim=True)
    maps = maps - level
    with without_autocast(x.device.type):
        mean = weighted_mean(maps, weights, border)
        variance = (weighted_mean(maps * maps, weights, border) - mean * mean).clamp_min(0)
    mean = mean + level
    return ((mean * mean).sum(0) + c1) * (variance.sum(0) + c2)


def weighted_mean(maps: Tensor, weights: list[float], border: str) -> Tensor:
    """Over the window around each voxel, along one axis after the other; of two images B C [spatial]."""
    for axis in range(3, maps.ndim):
        if border == "reflect":
            reach, size = len(weights) // 2, maps.shape[axis]
            before, after = maps.narrow(axis, 1, reach), maps.narrow(axis, size - 1 - reach, reach)
            maps = torch.cat([before.flip(axis), maps, after.flip(axis)], axis)
        maps = maps.unfold(axis, len(weights), 1) @ maps.new_tensor(weights)
    return maps


class SimilarityLoss(nn.Module):
    """The options of both losses."""

    def __init__(
        self, window_size: int, max_val: float = 1.0, eps: float = 1e-12, reduction: str = "mean", padding: str = "same"
    ) -> None:
        super().__init__()
        self.window_size: int = window_size
        self.max_val: float = max_val
        self.eps: float = eps
        self.reduction: str = reduction
        self.padding: str = padding
