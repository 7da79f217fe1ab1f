"""A coupled discrete search: for each cell of an image the offset that fits, and that its neighbours agree with.

It needs no start that is near, so it begins where poses differ by more than the optimisation by gradients can follow.
After Heinrich et al., Non-parametric discrete registration with convex optimisation, WBIR 2014.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from medloss.apps.registration.config import Search
from medloss.apps.registration.pyramid import resize
from medloss.apps.registration.transform import midway
from medloss.apps.registration.views import Views
from medloss.ops import resample

NOISE = 0.05
"""Standard deviation of intensities, rescaled to 0 to 1, below which a window shows noise."""
COUPLING = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
"""What a squared voxel between a cell's offset and its neighbours' mean costs, round by round."""
SMALLEST = 12
"""Voxels along an axis below which the search does not go: the windows would see all of it."""
ROUNDS = 3
"""How often the two directions are averaged: after one they still disagree."""


@torch.no_grad()
def search(views: Views, config: Search) -> tuple[Tensor, Tensor]:
    """Displacements from the fixed to the moving image and back, each averaged with the inverse of the other.

    Nothing that a mask hides is looked at.

    Returns: two fields ``(1, 3, *spatial)`` in voxels.
    """
    shape = tuple(views.fixed.shape[2:])
    small = [max(min(size, SMALLEST), round(size / config.step)) for size in shape]
    sides = ((views.fixed, views.fixed_mask), (views.moving, views.moving_mask))
    fixed, moving = (resize(normalised(*each, config.window), small) for each in sides)
    forward, backward = _one_way(fixed, moving, config), _one_way(moving, fixed, config)
    for _ in range(ROUNDS):
        forward, backward = midway(forward, backward)
    return tuple(_on_grid(each, small, shape, config.cell) for each in (forward, backward))  # type: ignore[return-value]


def normalised(image: Tensor, mask: Tensor | None, window: int) -> Tensor:
    """Intensities less the mean of their window, over its standard deviation, and 0 where the mask is 0.

    Args:
        image, mask: ``(1, 1, *spatial)``; windows see what the mask shows.
    """
    if mask is None:
        mean, square = _mean(image, window), _mean(image * image, window)
        return (image - mean) / ((square - mean * mean).clamp(min=0) + NOISE**2).sqrt()
    image = torch.where(mask > 0, image, 0.0)
    share = _mean(mask, window).clamp(min=1e-6)
    mean, square = _mean(image, window) / share, _mean(image * image, window) / share
    return torch.where(mask > 0, (image - mean) / ((square - mean * mean).clamp(min=0) + NOISE**2).sqrt(), 0.0)


def _one_way(fixed: Tensor, moving: Tensor, config: Search) -> Tensor:
    """One offset for each cell, ``(1, 3, *cells)``, in cells."""
    cost = _costs(fixed[0, 0], moving, config.radius, config.cell)
    cells = cost.shape[1:]
    many = 2 * config.radius + 1
    cost = cost.reshape(many * many, many, -1)
    offset = _cheapest(cost, cost.new_zeros(3, cost.shape[2]), 0.0)
    for coupling in COUPLING:
        mean = _smooth(offset.reshape(1, 3, *cells)).flatten(2)[0]
        offset = _cheapest(cost, mean, coupling)
    return _smooth(offset.reshape(1, 3, *cells)) / config.cell


def _cheapest(cost: Tensor, mean: Tensor, coupling: float) -> Tensor:
    """Of each cell the offset d with the least ``cost + coupling |d - mean|^2``, ``(3, cells)``.

    Args:
        cost: ``(offsets along z and y, offsets along x, cells)``; either runs from ``-radius`` to ``radius``.
        mean: ``(3, cells)``.
    """
    radius = cost.shape[1] // 2
    steps = torch.arange(-radius, radius + 1, dtype=cost.dtype, device=cost.device)
    apart = coupling * (steps[:, None] - mean[:, None]).square()  # axis, offset, cell
    total = cost + apart[2]
    # an argmin over many rows is slow, a least value is not: first the rows, then within the best of them
    rows = (apart[0][:, None] + apart[1]).flatten(0, 1) + total.amin(1)
    row = rows.argmin(0)
    within = total.gather(0, row.expand(1, total.shape[1], -1))[0].argmin(0)
    return torch.stack([steps[row // len(steps)], steps[row % len(steps)], steps[within]])


def _costs(fixed: Tensor, moving: Tensor, radius: int, cell: int) -> Tensor:
    """Mean squared difference of each cell at each offset, ``(offsets, *cells)``; the first axis is the slowest."""
    beyond = [-size % cell for size in fixed.shape]
    ends = [amount for more in reversed(beyond) for amount in (0, more)]
    fixed = F.pad(fixed[None, None], ends, mode="replicate")[0, 0]
    moving = F.pad(moving, [radius + more for more in ends], mode="replicate")[0, 0]
    depth, height, width = fixed.shape
    many, found = 2 * radius + 1, []
    for z, y in itertools.product(range(many), repeat=2):
        shifted = moving[z : z + depth, y : y + height].unfold(2, width, 1)  # depth, height, offset, width
        apart = (fixed[:, :, None] - shifted).square_()
        rows = apart.unflatten(0, (-1, cell)).sum(1).unflatten(1, (-1, cell)).sum(2)
        found.append(torch.stack([rows[..., at::cell] for at in range(cell)]).sum(0).movedim(2, 0))
    return torch.cat(found) / cell**3


def _mean(image: Tensor, window: int) -> Tensor:
    """The mean of the window about each voxel, axis by axis."""
    for axis in range(3):
        size = [window if other == axis else 1 for other in range(3)]
        sides = [window // 2 if other == axis else 0 for other in (2, 1, 0) for _ in range(2)]
        image = F.avg_pool3d(F.pad(image, sides, mode="replicate"), size, 1)
    return image


def _smooth(field: Tensor) -> Tensor:
    for _ in range(2):
        field = F.avg_pool3d(F.pad(field, (1,) * 6, mode="replicate"), 3, 1)
    return field


def _on_grid(field: Tensor, small: Sequence[int], shape: Sequence[int], cell: int) -> Tensor:
    """Of cells ``cell`` voxels wide of a ``small`` grid, to every voxel of one of ``shape``, in its voxels."""
    ratio = [(size - 1) / max(less - 1, 1) for size, less in zip(shape, small)]
    axes = [
        (torch.arange(size, dtype=field.dtype, device=field.device) / each + 0.5) / cell - 0.5
        for size, each in zip(shape, ratio)
    ]
    positions = torch.stack(torch.meshgrid(*axes, indexing="ij"))[None]
    return resample(field, positions) * field.new_tensor(ratio).reshape(1, 3, 1, 1, 1) * cell
