"""What every way of registering ends with: the total field, its inverse, and the moving image and labels on the
fixed grid.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from medloss.apps.registration.geometry import fold_in_initial, inverse_on_moving_grid, pull_side
from medloss.apps.registration.pyramid import resize_field
from medloss.apps.registration.transform import ToDisplacement


class Geometry(NamedTuple):
    """Where the two images lie: affines (4 x 4, voxel to RAS mm), the fixed ``shape`` and the initial map W between
    worlds.
    """

    fixed_affine: np.ndarray
    moving_affine: np.ndarray
    shape: tuple[int, ...]
    initial: np.ndarray


class Chosen(NamedTuple):
    """The image losses that were chosen for a pair, and why."""

    image: dict[str, Any]
    why: str


class PairResult(NamedTuple):
    """A registered pair; tensors on the CPU."""

    ddf: Tensor
    """``(3, *fixed)`` in voxels of the fixed grid, the initial map folded in: apply it to the original moving image."""
    inverse_ddf: Tensor
    """``(3, *moving)`` in voxels of the moving grid: pulls the fixed image onto the moving one."""
    moved: Tensor
    """The moving image on the fixed grid, float32."""
    moved_label: Tensor | None
    """The moving labels on the fixed grid by nearest neighbour, of the shape and dtype they came in, or None."""
    initial: np.ndarray
    """The initial map W, 4 x 4, from the fixed to the moving world in RAS mm."""
    history: list[dict[str, float]]
    """One row of loss terms per iteration; empty for a network's prediction."""
    chosen: Chosen | None = None
    """What ``loss.image: auto`` chose; None where it was not asked."""


@torch.no_grad()
def conclude(
    field: Tensor, to_displacement: ToDisplacement, moving: Tensor, moving_label: Tensor | None, geometry: Geometry
) -> PairResult:
    """Make the result of a displacement or velocity ``(1, 3, *control)`` in voxels of its own grid.

    Args:
        moving: ``(i, j, k)`` intensities, on the field's device.
        moving_label: ``(i, j, k)`` a label map, or ``(C, i, j, k)`` masks; or None.
    """
    fixed_affine, moving_affine, shape, initial = geometry
    ddf = fold_in_initial(resize_field(to_displacement(field), shape)[0], initial, fixed_affine)
    backwards = resize_field(to_displacement.inverse(field), shape)[0]
    inverse = inverse_on_moving_grid(backwards, initial, fixed_affine, moving_affine, moving.shape).cpu()
    moved = pull_side(moving, moving_label, moving_affine, ddf, fixed_affine)
    moved_label = None if moved.label is None else moved.label.cpu()
    return PairResult(ddf.cpu(), inverse, moved.image.cpu(), moved_label, initial, [])
