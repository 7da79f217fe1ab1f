"""Random deformations and noise for both images of a training pair, with their labels and landmarks."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from medloss.apps.registration.config import Augment
from medloss.apps.registration.geometry import grid_points
from medloss.apps.registration.transform import warp

INVERSION_STEPS = 20


def augmented(item: dict[str, Any], config: Augment) -> dict[str, Any]:
    """The pair with each side moved by a displacement of its own; random numbers are torch's."""
    found = dict(item)
    for side in ("fixed", "moving"):
        if float(torch.rand(())) < config.prob:
            ddf = random_displacement(item[side].shape[1:], item["spacing"], config)
            for kind in ("", "_label"):
                if f"{side}{kind}" in item:
                    found[f"{side}{kind}"] = warp(item[f"{side}{kind}"][None], ddf[None])[0]
            if f"{side}_points" in item:
                found[f"{side}_points"] = follow(item[f"{side}_points"], ddf)
        if config.noise:
            found[side] = found[side] + config.noise * torch.randn(found[side].shape)
    return found


def random_displacement(shape: torch.Size, spacing: Tensor, config: Augment) -> Tensor:
    """A displacement ``(3, *shape)`` in voxels: an affine map about the centre, and a smooth field."""
    sizes = torch.tensor(shape, dtype=torch.float32)
    angles = math.radians(config.rotate) * (2 * torch.rand(3) - 1)
    x, y, z = angles
    zero = torch.zeros(())
    turned = torch.linalg.matrix_exp(torch.stack([zero, -z, y, z, zero, -x, -y, x, zero]).reshape(3, 3))
    scaled = 1 + config.scale * (2 * torch.rand(3) - 1)
    linear = turned @ torch.diag(scaled) * spacing[None] / spacing[:, None]  # a rotation in mm, not in voxels
    shift = config.shift * sizes * (2 * torch.rand(3) - 1)
    points = grid_points(shape).float() - (sizes.reshape(3, 1, 1, 1) - 1) / 2
    ddf = torch.einsum("ab,b...->a...", linear - torch.eye(3), points) + shift.reshape(3, 1, 1, 1)
    if config.field:
        drawn = config.field * (2 * torch.rand(1, 3, *(config.field_points,) * 3) - 1)
        ddf = ddf + _smooth(drawn, shape)[0]
    return ddf


def follow(points: Tensor, ddf: Tensor) -> Tensor:
    """Where landmarks ``(n, 3)`` in voxels come to lie when their image is read at ``x + ddf(x)``: q + ddf(q) = p."""
    found = points
    for _ in range(INVERSION_STEPS):
        found = points - read_at(ddf, found)
    return found


def read_at(ddf: Tensor, points: Tensor) -> Tensor:
    """The vectors ``(n, 3)`` of a field ``(3, *spatial)`` at positions ``(n, 3)`` in voxels, linear."""
    sizes = torch.tensor(ddf.shape[1:], dtype=points.dtype, device=points.device)
    grid = (2 * points / (sizes - 1).clamp(min=1) - 1).flip(-1).reshape(1, -1, 1, 1, 3)
    read = F.grid_sample(ddf[None], grid, mode="bilinear", padding_mode="border", align_corners=True)
    return read[0, :, :, 0, 0].T


def _smooth(coarse: Tensor, shape: torch.Size) -> Tensor:
    """Linear between the points, then averaged over half their distance, so that it bends and has no edges."""
    field = F.interpolate(coarse, tuple(shape), mode="trilinear", align_corners=True)
    for axis, (many, few) in enumerate(zip(shape, coarse.shape[2:])):
        reach = max(1, round((many - 1) / (few - 1) / 4))
        window, padding = [1, 1, 1], [0, 0, 0]
        window[axis], padding[axis] = 2 * reach + 1, reach
        field = F.avg_pool3d(field, window, 1, padding, count_include_pad=False)
    return field
