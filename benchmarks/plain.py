"""Losses as one would write them in a minute, in plain torch: what ``torch.compile`` is given."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def dice_ce(x: Tensor, y: Tensor) -> Tensor:
    """Dice and cross-entropy of class indices."""
    p, t = x.softmax(1), F.one_hot(y[:, 0], x.shape[1]).movedim(-1, 1).to(x.dtype)
    axes = tuple(range(2, x.ndim))
    overlap, total = (p * t).sum(axes), p.sum(axes) + t.sum(axes)
    return (1 - (2 * overlap + 1e-5) / (total + 1e-5)).mean() + F.cross_entropy(x, y[:, 0])


def dice_focal(x: Tensor, y: Tensor) -> Tensor:
    """Dice and focal loss, gamma 2, of class indices."""
    logp, t = x.log_softmax(1), F.one_hot(y[:, 0], x.shape[1]).movedim(-1, 1).to(x.dtype)
    p, axes = logp.exp(), tuple(range(2, x.ndim))
    overlap, total = (p * t).sum(axes), p.sum(axes) + t.sum(axes)
    return (1 - (2 * overlap + 1e-5) / (total + 1e-5)).mean() - ((1 - p) ** 2 * logp * t).mean()


def topk(x: Tensor, y: Tensor, share: float = 0.1) -> Tensor:
    """Cross-entropy of the hardest voxels of the batch."""
    values = F.cross_entropy(x, y[:, 0], reduction="none").flatten()
    return values.topk(int(share * values.numel()), sorted=False).values.mean()


def gce(x: Tensor, y: Tensor, q: float = 0.7) -> Tensor:
    """Generalised cross-entropy of class indices."""
    return ((1 - x.softmax(1).gather(1, y) ** q) / q).mean()


def lncc(x: Tensor, y: Tensor, size: int = 9) -> Tensor:
    """Local squared correlation of rectangular windows."""

    def mean(image: Tensor) -> Tensor:
        return F.avg_pool3d(image, size, stride=1, padding=size // 2)

    mx, my = mean(x), mean(y)
    cross, vx, vy = mean(x * y) - mx * my, mean(x * x) - mx * mx, mean(y * y) - my * my
    return 1 - (cross * cross / (vx * vy + 1e-5)).mean()


def bending(u: Tensor) -> Tensor:
    """Bending energy of a displacement in voxels, interior only."""
    total = u.new_zeros(())
    for i in range(2, 5):
        for j in range(2, 5):
            d = torch.gradient(torch.gradient(u, dim=i)[0], dim=j)[0]
            total = total + (d[:, :, 2:-2, 2:-2, 2:-2] ** 2).mean()
    return total


def folding(u: Tensor) -> Tensor:
    """Mean price of negative Jacobian determinants, by forward differences of a 3D displacement in voxels."""
    columns = []
    for axis in range(3):
        change = u.diff(dim=axis + 2)[:, :, : u.shape[2] - 1, : u.shape[3] - 1, : u.shape[4] - 1]
        columns.append(torch.stack([change[:, k] + (k == axis) for k in range(3)], 1))
    return F.relu(-(columns[0] * torch.linalg.cross(columns[1], columns[2], dim=1)).sum(1)).mean()


def composed(u: Tensor) -> Tensor:
    """Mean squared length of a displacement in voxels, followed by itself."""
    sizes = u.new_tensor(u.shape[2:]).view(-1, *[1] * (u.ndim - 2))
    axes = [torch.arange(size, dtype=u.dtype, device=u.device) for size in u.shape[2:]]
    at = (torch.stack(torch.meshgrid(*axes, indexing="ij")) + u) * 2 / (sizes - 1) - 1
    there = F.grid_sample(u, at.flip(1).movedim(1, -1), padding_mode="border", align_corners=True)
    return ((u + there) ** 2).sum(1).mean()
