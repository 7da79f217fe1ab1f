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


def one_hot(x: Tensor, y: Tensor) -> Tensor:
    """Memberships of class indices."""
    return F.one_hot(y[:, 0], x.shape[1]).movedim(-1, 1).to(x.dtype)


def sensitivity_specificity(x: Tensor, y: Tensor, r: float = 0.05) -> Tensor:
    """Squared errors within each class and without, each over its own size."""
    t, axes = one_hot(x, y), tuple(range(2, x.ndim))
    squares = (x.softmax(1) - t) ** 2
    missed = (squares * t).sum(axes) / (t.sum(axes) + 1e-5)
    invented = (squares * (1 - t)).sum(axes) / ((1 - t).sum(axes) + 1e-5)
    return (r * missed + (1 - r) * invented).mean()


def noise_robust_dice(x: Tensor, y: Tensor, gamma: float = 1.5) -> Tensor:
    """Powers of the errors over the squares of both."""
    p, t, axes = x.softmax(1), one_hot(x, y), tuple(range(2, x.ndim))
    return ((p - t).abs() ** gamma).sum(axes).div((p * p).sum(axes) + t.sum(axes) + 1e-5).mean()


def exp_log(x: Tensor, y: Tensor, gamma: float = 0.3) -> Tensor:
    """Powers of the logarithms of Dice and of each voxel's likelihood."""
    p, t, axes = x.softmax(1), one_hot(x, y), tuple(range(2, x.ndim))
    dice = (2 * (p * t).sum(axes) + 1) / (p.sum(axes) + t.sum(axes) + 1)
    return 0.8 * ((-dice.log()) ** gamma).mean() + 0.2 * (F.cross_entropy(x, y[:, 0], reduction="none") ** gamma).mean()


def combo(x: Tensor, y: Tensor) -> Tensor:
    """Dice and a cross-entropy of each class against its rest."""
    p, t, axes = x.softmax(1), one_hot(x, y), tuple(range(2, x.ndim))
    dice = 1 - ((2 * (p * t).sum(axes) + 1e-5) / (p.sum(axes) + t.sum(axes) + 1e-5)).mean()
    both = t * p.clamp_min(1e-7).log() + (1 - t) * (1 - p).clamp_min(1e-7).log()
    return (dice - 0.5 * both.mean()) / 2


def gradient_field(x: Tensor, y: Tensor, edge: float = 0.1) -> Tensor:
    """One minus the squared cosine between the gradients of two images, with an edge relative to their mean squares."""
    axes = tuple(range(2, x.ndim))
    a, b = (torch.stack(torch.gradient(image, dim=axes)) for image in (x, y))
    (aa, bb), ab = ((z * z).sum(0) for z in (a, b)), (a * b).sum(0)
    return (1 - ab**2 / ((aa + edge**2 * aa.mean()) * (bb + edge**2 * bb.mean()))).mean()


def correlation(x: Tensor, y: Tensor) -> Tensor:
    """Minus the squared correlation of two whole images."""
    axes = tuple(range(2, x.ndim))
    a, b = (image - image.mean(axes, keepdim=True) for image in (x, y))
    return -((a * b).mean(axes) ** 2 / ((a * a).mean(axes) * (b * b).mean(axes) + 1e-5)).mean()
