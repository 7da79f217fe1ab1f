"""Gaussian smoothing of volumes, as sums of shifted volumes: on a CPU many times faster than convolutions."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

TRUNCATED = 3.0
"""Standard deviations after which the kernel ends."""


def smooth(volume: Tensor, sigmas: Sequence[float]) -> Tensor:
    """The volume ``(B, C, *spatial)``, smoothed along each axis by a Gaussian, and continued beyond the border.

    Args:
        sigmas: standard deviation in voxels along each axis; 0 leaves an axis as it is.
    """
    volume = volume.float()
    for axis, sigma in enumerate(sigmas, start=2):
        reach, size = math.ceil(TRUNCATED * sigma), volume.shape[axis]
        if reach < 1:
            continue
        weights = [math.exp(-0.5 * (step / sigma) ** 2) for step in range(-reach, reach + 1)]
        first, last = volume.narrow(axis, 0, 1), volume.narrow(axis, size - 1, 1)
        wide = torch.cat([*[first] * reach, volume, *[last] * reach], axis)
        total = wide.narrow(axis, 0, size) * (weights[0] / sum(weights))
        for at, weight in enumerate(weights[1:], start=1):
            total = torch.add(total, wide.narrow(axis, at, size), alpha=weight / sum(weights))
        volume = total
    return volume
