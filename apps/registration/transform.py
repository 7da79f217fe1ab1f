"""Displacements and velocities: warping, integration, composition and inversion, by medloss's own ``resample``.

All fields are in voxels of their own grid, ``(B, d, *spatial)``, components in the order of the axes. A displacement
``u`` reads an image at ``x + u(x)``, beyond the border as at the border.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from medloss.ops import resample

INVERSION_STEPS = 60
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
    is not taken, and the next one is half as long.

    Args:
        start: where the iteration begins, ``-u`` by default.
        steps: at most so many.
    """
    found = -ddf if start is None else start
    rest = found + warp(ddf, found)
    share = torch.ones_like(ddf[:, :1])
    size = rest.square().sum(1, keepdim=True)
    missed = size.numel() + 1
    for number in range(steps):
        before, missed = missed, int((size > CONVERGED**2).sum())
        if missed == 0 or (number > LEAST_STEPS and before <= missed < FEW * size.numel()):
            break  # what is left has no origin within the grid
        tried = found - share * rest
        left = tried + warp(ddf, tried)
        new_size = left.square().sum(1, keepdim=True)
        nearer = new_size < size
        found, rest = torch.where(nearer, tried, found), torch.where(nearer, left, rest)
        size, share = torch.where(nearer, new_size, size), torch.where(nearer, (1.5 * share).clamp(max=1), 0.5 * share)
    return found


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
