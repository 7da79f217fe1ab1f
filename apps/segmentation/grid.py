"""From the voxels of a file to those of the network, and back: orientation and spacing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import nibabel as nib
import numpy as np
import torch

from medloss.apps.common.errors import UserError
from medloss.apps.common.images import spacing_of
from medloss.apps.segmentation.resampling import resample, resample_labels, thick_axis

LONGEST_AXIS = 4096  # voxels of a volume along an axis, after resampling


@dataclass(frozen=True)
class Grid:
    """A file's grid and the network's, which covers the same box with axes right, anterior, superior.

    ``axes``: the file's axis that becomes each axis; ``flips``: the axes that are turned; ``turned`` and ``spacing``:
    shape and spacing (mm) after that; ``shape``: the network's, at its own spacing; ``affine``: voxel to RAS mm there.
    """

    axes: tuple[int, int, int]
    flips: tuple[int, ...]
    turned: tuple[int, int, int]
    spacing: tuple[float, float, float]
    shape: tuple[int, int, int]
    affine: np.ndarray
    thick: int | None

    @classmethod
    def of(cls, shape: Sequence[int], affine: np.ndarray, spacing: Sequence[float] | None) -> Grid:
        """The grids of a file of a shape and affine, for a network that is trained at ``spacing`` (None: any).

        Raises:
            UserError: a spacing that makes more voxels than anything holds.
        """
        orientation = nib.io_orientation(affine)
        i, j, k = (int(axis) for axis in np.argsort(orientation[:, 0]))
        axes = (i, j, k)
        flips = tuple(to for to, axis in enumerate(axes) if orientation[axis, 1] < 0)
        turned = tuple(int(shape[axis]) for axis in axes)
        turned_affine = affine @ nib.orientations.inv_ornt_aff(orientation, tuple(shape))
        own = spacing_of(turned_affine)
        new = _target(turned, own, spacing)
        scale = np.array([old / size for old, size in zip(turned, new, strict=True)])
        finer = np.diag([*scale, 1.0])
        finer[:3, 3] = (scale - 1) / 2
        thick = None if spacing is None else thick_axis(own, spacing)
        x, y, z = turned
        return cls(axes, flips, (x, y, z), own, new, turned_affine @ finer, thick)

    @property
    def resamples(self) -> bool:
        """Whether the spacings differ by enough to change a shape."""
        return self.shape != self.turned

    def image(self, array: np.ndarray | torch.Tensor) -> torch.Tensor:
        """Intensities of the file [channels, i, j, k] on the network's grid, float32."""
        turned = self._turn(torch.as_tensor(array))
        return resample(turned.float(), self.shape, 3, self.thick) if self.resamples else turned.contiguous()

    def labels(self, array: np.ndarray | torch.Tensor) -> torch.Tensor:
        """Indices of the file [i, j, k] on the network's grid."""
        return resample_labels(self._turn(torch.as_tensor(array)).contiguous(), self.shape, self.thick)

    def back(self, array: np.ndarray) -> np.ndarray:
        """An array [i, j, k, ...] with the file's spacing and turned axes as the file has it."""
        array = np.flip(array, self.flips) if self.flips else array
        rest = range(3, array.ndim)
        return np.ascontiguousarray(array.transpose(*np.argsort(self.axes), *rest))

    def _turn(self, array: torch.Tensor) -> torch.Tensor:
        first = array.ndim - 3
        array = array.permute(*range(first), *(first + axis for axis in self.axes))
        return array.flip([first + axis for axis in self.flips]) if self.flips else array


def _target(shape: Sequence[int], own: Sequence[float], spacing: Sequence[float] | None) -> tuple[int, int, int]:
    sizes = list(shape)
    if spacing is not None:
        sizes = [max(1, round(size * old / new)) for size, old, new in zip(shape, own, spacing, strict=True)]
    if spacing is not None and max(sizes) > LONGEST_AXIS:
        raise UserError(
            f"data.spacing {list(spacing)} makes {max(sizes):.3g} voxels of an axis, at most {LONGEST_AXIS} are "
            "possible: is it in mm?"
        )
    i, j, k = (int(size) for size in sizes)
    return i, j, k
