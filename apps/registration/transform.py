"""Displacements and velocities: warping, integration, composition and inversion, by medloss's own ``resample``.

All fields are in voxels of their own grid, ``(B, d, *spatial)``, components in the order of the axes. A displacement
``u`` reads an image at ``x + u(x)``, beyond the border as at the border.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from medloss.ops import resample

INVERSION_STEPS = 30
CONVERGED = 1e-3
"""Voxels by which an inverse may still move in a step when it is taken for found."""


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
def invert(ddf: Tensor) -> Tensor:
    """The displacement ``v`` with ``v(x) = -u(x + v(x))``, by fixed-point iteration.

    It converges where ``u`` changes by less than a voxel from one voxel to the next, and stays near where it does not.
    """
    inverse = -ddf
    for _ in range(INVERSION_STEPS):
        following = -warp(ddf, inverse)
        moved = float((following - inverse).abs().amax())
        inverse = following
        if moved < CONVERGED:
            break
    return inverse


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
