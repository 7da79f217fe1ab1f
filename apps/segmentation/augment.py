"""Patches drawn at random from a cached volume, with one resampling for all that moves voxels.

The ranges are those of nnU-Net. Every transform here draws from its own generator, which ``seed_epoch`` seeds.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.transforms import Compose, RandomizableTransform, Transform
from torch.nn import functional as F

from medloss.apps.segmentation.config import SegmentationTrain
from medloss.apps.segmentation.random_intensity import RandIntensityd
from medloss.apps.segmentation.volumes import IMAGE, LABEL, MASK

PLACES = "places"  # where the foreground of a volume is, kept in the cache beside it
MOST_PLACES = 2000  # voxels remembered for each class
MOST_SMOOTH = 8  # classes of a patch that are resampled as shares; of more, the nearest voxel is taken
SCALES = (0.7, 1.4)  # smallest and largest factor of size
ANISOTROPIC = 3.0  # ratio of spacings from which nothing is rotated or scaled out of the plane, as in nnU-Net


def random_transforms(train: SegmentationTrain, patch: tuple[int, int, int]) -> Compose:
    """A patch at random, turned, scaled and mirrored in one resampling, and its intensities changed."""
    moved = 0.3 if train.augment == "default" else 0.0
    steps: list[Any] = [RandPatchd(patch, foreground=train.foreground, affine=moved, mirror=train.mirror)]
    return Compose(steps + ([RandIntensityd()] if train.augment == "default" else []))


class ForegroundPlacesd(Transform):
    """Remember up to 2000 voxels of each class of a label, and the voxel size: a crop then searches nothing.

    The places are spread evenly over the voxels of a class, without chance, so that they can be cached.
    """

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        result = dict(data)
        label = torch.as_tensor(result[LABEL])
        affine = getattr(result[IMAGE], "affine", torch.eye(4))
        spacing = np.linalg.norm(np.asarray(affine, dtype=float).reshape(-1, 4, 4)[0, :3, :3], axis=0)
        result[PLACES] = {"spacing": spacing, "voxels": _places(label.numpy())}
        return result


def _places(label: np.ndarray) -> list[np.ndarray]:
    """The voxels (n, 3) of each class that is present in a label 1[i, j, k]."""
    flat, found = np.flatnonzero(label), []
    values = label.reshape(-1)[flat]
    for value in np.unique(values):
        own = flat[values == value]
        own = own[np.linspace(0, len(own) - 1, min(len(own), MOST_PLACES)).round().astype(int)]
        found.append(np.stack(np.unravel_index(own, label.shape[1:]), 1).astype(np.int32))
    return found


class RandPatchd(RandomizableTransform):
    """Cut a patch at random, and rotate, scale and mirror it in the same resampling.

    With probability ``foreground`` the patch lies around a voxel of a class that is drawn first, so that a rare class
    is seen as often as a common one. Image voxels are interpolated linearly, labels go to the class with the largest
    share; what lies outside the volume is 0 in the image, background, and not counted by a mask.

    Args:
        patch: voxels along each axis.
        foreground: probability that a class is looked for.
        affine: probability of a rotation, and of a scaling.
        rotation: largest angle about each axis, in degrees.
        scale: smallest and largest factor of size.
        mirror: axes that are mirrored with probability 1/2.
    """

    def __init__(
        self,
        patch: Sequence[int],
        *,
        foreground: float = 0.5,
        affine: float = 0.0,
        rotation: float = 30.0,
        scale: tuple[float, float] = SCALES,
        mirror: Sequence[int] = (),
    ) -> None:
        super().__init__()
        self.patch, self.foreground, self.affine = tuple(patch), foreground, affine
        self.rotation, self.scale, self.mirror = rotation, scale, tuple(mirror)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        result = dict(data)
        places = result.pop(PLACES)
        keys = [key for key in (IMAGE, LABEL, MASK) if key in result]
        shape = result[IMAGE].shape[1:]
        start = self._start(shape, places["voxels"])
        matrix = self._matrix(places["spacing"])
        flips = [axis for axis in self.mirror if self.R.random_sample() < 0.5]
        if matrix is None:
            for key in keys:
                cut = _cut(result[key], start, self.patch)
                result[key] = cut.flip([1 + axis for axis in flips]) if flips else cut
            return result
        for axis in flips:
            matrix[:, axis] *= -1
        grid = _grid(matrix, start, self.patch, shape)
        for key in keys:
            result[key] = _sample(result[key], grid, key)
        return result

    def _start(self, shape: Sequence[int], voxels: Sequence[np.ndarray]) -> list[int]:
        """The first voxel of the patch; a volume smaller than the patch lies in its middle."""
        around = None
        if voxels and self.R.random_sample() < self.foreground:
            chosen = voxels[self.R.randint(len(voxels))]
            around = chosen[self.R.randint(len(chosen))]
        start = []
        for axis, (size, length) in enumerate(zip(self.patch, shape, strict=True)):
            free = length - size
            if free <= 0:
                start.append(free // 2)
            elif around is None:
                start.append(self.R.randint(free + 1))
            else:
                start.append(int(np.clip(around[axis] - size // 2, 0, free)))
        return start

    def _matrix(self, spacing: np.ndarray) -> np.ndarray | None:
        """From the offsets of the patch to those of the volume, in voxels; None where nothing is resampled."""
        turned, scaled = self.R.random_sample(2) < self.affine
        angles = np.deg2rad(self.R.uniform(-self.rotation, self.rotation, 3)) * turned
        factor = self.R.uniform(*((self.scale[0], 1.0) if self.R.random_sample() < 0.5 else (1.0, self.scale[1])))
        if not (turned or scaled):
            return None
        factors = np.full(3, factor if scaled else 1.0)
        thick = int(np.argmax(spacing))
        if spacing[thick] >= ANISOTROPIC * np.min(spacing):
            factors[thick] = 1.0
            angles[[axis for axis in range(3) if axis != thick]] = 0.0
        world = _rotation(angles) / factors
        return world * spacing[None] / spacing[:, None]


def _rotation(angles: np.ndarray) -> np.ndarray:
    result = np.eye(3)
    for axis, angle in enumerate(angles):
        a, b = [other for other in range(3) if other != axis]
        turn = np.eye(3)
        turn[a, a] = turn[b, b] = np.cos(angle)
        turn[a, b], turn[b, a] = -np.sin(angle), np.sin(angle)
        result = result @ turn
    return result


def _cut(volume: torch.Tensor, start: Sequence[int], patch: Sequence[int]) -> torch.Tensor:
    """The patch at ``start``, with zeros outside of the volume."""
    inside = [slice(max(first, 0), first + size) for first, size in zip(start, patch, strict=True)]
    cut = volume[(slice(None), *inside)]
    if tuple(cut.shape[1:]) == tuple(patch):
        return cut.clone()
    pads: list[int] = []
    for first, size, got in zip(start[::-1], patch[::-1], cut.shape[:0:-1], strict=True):
        pads += [max(-first, 0), size - got - max(-first, 0)]
    return F.pad(cut, pads)


def _grid(matrix: np.ndarray, start: Sequence[int], patch: Sequence[int], shape: Sequence[int]) -> torch.Tensor:
    """Where each voxel of the patch comes from: (1, i, j, k, 3), as ``grid_sample`` takes it."""
    half = (np.asarray(patch) - 1) / 2
    centre = np.asarray(start) + half
    scale = 2 / np.asarray(shape)
    # from normalised patch coordinates (k, j, i), as affine_grid has them, to those of the volume
    theta = matrix * (np.asarray(patch) / 2)[None] * scale[:, None]
    shift = (centre + 0.5) * scale - 1
    full = np.concatenate([theta[::-1, ::-1], shift[::-1, None]], 1)
    return F.affine_grid(torch.tensor(full[None], dtype=torch.float32), [1, 1, *patch], align_corners=False)


def _sample(volume: torch.Tensor, grid: torch.Tensor, key: str) -> torch.Tensor:
    if key == IMAGE:
        return _interpolated(volume.float(), grid)
    if key == MASK:
        return (_interpolated(volume.float(), grid) >= 0.5).to(volume.dtype)
    values = [value for value in torch.unique(volume).tolist() if value]
    if len(values) > MOST_SMOOTH:
        return F.grid_sample(volume[None].float(), grid, "nearest", "zeros", align_corners=False)[0].to(volume.dtype)
    result = torch.zeros((1, *grid.shape[1:4]), dtype=volume.dtype)
    shares = [_interpolated((volume == value).float(), grid) for value in values]
    best = 1 - sum(shares, torch.zeros(()))  # the background's: what the classes leave, outside of the volume all
    for value, share in zip(values, shares, strict=True):
        larger = share > best
        result = result.masked_fill(larger, value)
        best = torch.where(larger, share, best)
    return result


def _interpolated(volume: torch.Tensor, grid: torch.Tensor) -> torch.Tensor:
    return F.grid_sample(volume[None], grid, "bilinear", "zeros", align_corners=False)[0]
