"""From two images with their geometry to the views that are optimised: everything on the fixed grid."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from medloss.apps.common.errors import UserError
from medloss.apps.registration.geometry import fold_in_initial, points_through, pull_at, within
from medloss.apps.registration.intensity import intensity_range, rescale
from medloss.apps.registration.result import Geometry
from medloss.apps.registration.views import Views


class Side(NamedTuple):
    """One of the two images: intensities, labels and mask ``(i, j, k)`` on its grid, points ``(n, 3)`` in RAS mm."""

    image: Tensor
    label: Tensor | None = None
    mask: Tensor | None = None
    points: np.ndarray | None = None

    def rescaled(self) -> Tensor:
        """The intensities, 0 and 1 being the percentiles of those within the mask."""
        return rescale(self.image, intensity_range(self.image if self.mask is None else self.image[self.mask > 0]))


def label_classes(*labels: Tensor) -> tuple[int, ...]:
    """The values other than 0 of any of the label maps, in order."""
    return tuple(sorted({int(value) for label in labels for value in label.unique()} - {0}))


def soft_labels(label: Tensor, classes: Sequence[int]) -> Tensor:
    """An integer map ``(i, j, k)`` as probabilities ``(1 + len(classes), i, j, k)``, background first."""
    return torch.stack([label == value for value in (0, *classes)]).float()


def views_of(fixed: Side, moving: Side, geometry: Geometry) -> Views:
    """The moving side through the initial map alone; compared where there is a moving image, and both masks look."""
    matrix = np.linalg.inv(geometry.moving_affine) @ geometry.initial @ geometry.fixed_affine
    voxels = points_through(matrix, fixed.image.shape, fixed.image.device)
    seen = visible(fixed, moving, matrix, voxels)
    soft: list[Tensor | None] = [None, None]
    if fixed.label is not None and moving.label is not None:
        classes = label_classes(fixed.label, moving.label)
        soft = [soft_labels(fixed.label, classes)[None], pull_at(soft_labels(moving.label, classes), voxels)[None]]
    landmarks: list[Tensor | None] = [None, None]
    if fixed.points is not None and moving.points is not None:
        back = np.linalg.inv(geometry.fixed_affine)
        landmarks = [
            _in_voxels(back, fixed.points, fixed.image.device),
            _in_voxels(back @ np.linalg.inv(geometry.initial), moving.points, fixed.image.device),
        ]
    return Views(
        fixed.rescaled()[None, None],
        pull_at(moving.rescaled()[None], voxels)[None],
        soft[0],
        soft[1],
        None if fixed.mask is None else (fixed.mask > 0).float()[None, None],
        None if bool(seen.all()) else seen[None],
        landmarks[0],
        landmarks[1],
    )


def visible(fixed: Side, moving: Side, matrix: np.ndarray, voxels: Tensor | None = None) -> Tensor:
    """Where on the fixed grid there is a moving image, and its mask looks: ``(1, i, j, k)`` of 0 and 1.

    Args:
        matrix: 4 x 4, from voxels of the fixed to voxels of the moving image.
        voxels: where it takes the fixed grid, as `points_through` says, if that is known.

    Raises:
        UserError: nowhere, or nowhere that the fixed mask looks.
    """
    voxels = points_through(matrix, fixed.image.shape, fixed.image.device) if voxels is None else voxels
    if moving.mask is None:
        seen = within(voxels, moving.image.shape).float()[None]
    else:
        seen = pull_at((moving.mask > 0).float()[None], voxels, "nearest", fill=0.0)
    masked = fixed.mask is not None or moving.mask is not None
    if not seen.any() and moving.mask is None:
        raise UserError("the two images do not overlap in space: try initialise=centre_of_mass, or initialise=resize")
    if masked and not (seen if fixed.mask is None else seen * (fixed.mask > 0)).any():
        raise UserError("the mask is empty where the two images overlap, so nothing is left to compare")
    return seen


def without_initial(start: Tensor, geometry: Geometry) -> Tensor:
    """What is left of a total displacement when the initial map is taken out of it, ``(1, 3, *fixed)``."""
    if tuple(start.shape) != (1, 3, *geometry.shape):
        raise ValueError(
            f"start has shape {tuple(start.shape)}, expected (1, 3, *fixed) = {(1, 3, *geometry.shape)}: a total "
            "displacement in voxels of the fixed grid"
        )
    return fold_in_initial(start[0].float(), np.linalg.inv(geometry.initial), geometry.fixed_affine)[None]


def _in_voxels(matrix: np.ndarray, points: np.ndarray, device: torch.device) -> Tensor:
    """Points ``(n, 3)`` in mm as ``(1, n, 3)``, float32."""
    found = np.asarray(points, dtype=np.float64) @ matrix[:3, :3].T + matrix[:3, 3]
    return torch.as_tensor(found, dtype=torch.float32, device=device)[None]
