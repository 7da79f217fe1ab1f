"""Displacements and velocities: warping, integration, composition and inversion, by medloss's own ``resample``.

All fields are in voxels of their own grid, ``(B, d, *spatial)``, components in the order of the axes. A displacement
``u`` reads an image at ``x + u(x)``, beyond the border as at the border.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from medloss.apps.registration.geometry import grid_points
from medloss.apps.registration.pyramid import resize_field
from medloss.ops import resample

INVERSION_STEPS = 60
SMALL = 32
"""Voxels along an axis below which no coarser field is inverted first."""
LEAST_STEPS = 10
FEW = 0.02
CONVERGED = 1e-3
"""Voxels by which an inverse may miss when it is taken for found."""


def warp(volume: Tensor, ddf: Tensor) -> Tensor:
    """The volume ``(B, C, *spatial)`` at ``x + ddf(x)``, by linear interpolation: ``(B, C, *spatial)``, float32."""
    return resample(volume, ddf, spacing=[1.0] * ddf.shape[1])


def compose(first: Tensor, second: Tensor) -> Tensor:
    """One displacement for two: it reads what ``second`` makes of an image at ``x + first(x)``."""
    return first + warp(second, first)


def integrate(velocity: Tensor, steps: int) -> Tensor:
    """The displacement of a stationary velocity, by ``steps`` squarings of the displacement over 1 / 2^steps."""
    ddf = velocity / 2**steps
    for _ in range(steps):
        ddf = compose(ddf, ddf)
    return ddf


@torch.no_grad()
def invert(ddf: Tensor, start: Tensor | None = None, steps: int = INVERSION_STEPS) -> Tensor:
    """The displacement ``v`` with ``v(x) = -u(x + v(x))``, by fixed-point iteration.

    Where a step of the iteration leads away, because ``u`` changes by more than a voxel from one voxel to the next, it
    is not taken, and the next one is half as long. A voxel whose origin is found is not looked at again.

    Args:
        start: where the iteration begins; by default with the inverse of the field on half the grid.
        steps: at most so many.
    """
    if start is None:
        start = _inverse_of_coarser(ddf, steps)
    return torch.cat([_inverted(ddf[at : at + 1], start[at : at + 1], steps) for at in range(len(ddf))])


def _inverse_of_coarser(ddf: Tensor, steps: int) -> Tensor:
    """The inverse on a grid of half as many voxels along each axis; of a small field ``-u``."""
    shape = ddf.shape[2:]
    if min(shape) < SMALL:
        return -ddf
    return resize_field(invert(resize_field(ddf, [(size + 1) // 2 for size in shape]), steps=steps), shape)


def _inverted(ddf: Tensor, start: Tensor, steps: int) -> Tensor:
    """`invert` of one field."""
    shape = ddf.shape[2:]
    grid = grid_points(shape, ddf.device).to(ddf.dtype).flatten(1)
    found, rest = start[0].flatten(1).clone(), (start + warp(ddf, start))[0].flatten(1)
    size, share = rest.square().sum(0), torch.ones_like(grid[0])
    at = torch.nonzero(size > CONVERGED**2)[:, 0]
    part, rest, size, share, grid = found[:, at], rest[:, at], size[at], share[at], grid[:, at]
    for number in range(steps):
        missed = len(at)
        if missed == 0:
            break
        tried = part - share * rest
        left = tried + resample(ddf, (grid + tried)[None])[0]
        new_size = left.square().sum(0)
        nearer = new_size < size
        part, rest = torch.where(nearer, tried, part), torch.where(nearer, left, rest)
        size, share = torch.where(nearer, new_size, size), torch.where(nearer, (1.5 * share).clamp(max=1), 0.5 * share)
        on = torch.nonzero(size > CONVERGED**2)[:, 0]
        if number > LEAST_STEPS and missed <= len(on) < FEW * found.shape[1]:
            break  # what is left has no origin within the grid
        if len(on) < missed:
            found[:, at] = part
            at, part, rest, size, share, grid = at[on], part[:, on], rest[:, on], size[on], share[on], grid[:, on]
    found[:, at] = part
    return found.reshape(1, -1, *shape)


@torch.no_grad()
def midway(forward: Tensor, backward: Tensor, steps: int = 12) -> tuple[Tensor, Tensor]:
    """Two displacements that should be inverse to each other, each averaged with the inverse of the other."""
    inverse = invert(backward, forward, steps), invert(forward, backward, steps)
    return (forward + inverse[0]) / 2, (backward + inverse[1]) / 2


class ToDisplacement(nn.Module):
    """Displacement ``(B, d, *spatial)`` in voxels of a field that is one (``ddf``) or is its stationary velocity
    (``dvf``).
    """

    def __init__(self, transform: str, integration_steps: int = 6) -> None:
        super().__init__()
        self.steps = integration_steps if transform == "dvf" else None

    def forward(self, field: Tensor) -> Tensor:
        return field if self.steps is None else integrate(field, self.steps)

    def inverse(self, field: Tensor) -> Tensor:
        """The inverse displacement: the velocity integrated backwards, or the fixed point of a ``ddf``."""
        return invert(field) if self.steps is None else integrate(-field, self.steps)
