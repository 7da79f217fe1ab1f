"""Resampling between grids as nnU-Net does it: half-voxel borders, cubic for images, linear for labels and logits.

A thick axis (more than three times another one) is taken apart from the others: its planes are copied, never mixed.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from scipy import ndimage

ANISOTROPIC = 3.0
"""A spacing whose largest axis is more than so many times its smallest has a thick axis."""


def thick_axis(*spacings: Sequence[float]) -> int | None:
    """The one thick axis of the first spacing that is anisotropic; None where none is, or where two are as thick."""
    for spacing in spacings:
        if max(spacing) > ANISOTROPIC * min(spacing):
            thick = [axis for axis, size in enumerate(spacing) if size == max(spacing)]
            return thick[0] if len(thick) == 1 else None
    return None


@lru_cache(maxsize=64)
def weights(old: int, new: int, order: int) -> torch.Tensor:
    """The matrix, new x old, that interpolates along an axis of ``old`` voxels by splines of an order (0 to 3)."""
    rows = ndimage.zoom(np.eye(old), (new / old, 1), order=order, mode="nearest", grid_mode=True)
    return torch.from_numpy(rows.astype(np.float32))


def resample(array: torch.Tensor, shape: Sequence[int], order: int, thick: int | None = None) -> torch.Tensor:
    """A float array [..., i, j, k] on a grid of another shape that covers the same box."""
    first = array.ndim - 3
    for axis, (old, new) in enumerate(zip(array.shape[first:], shape, strict=True)):
        if old == new:
            continue
        if axis == thick:
            array = array.index_select(first + axis, nearest(old, new))
        else:
            moved = array.movedim(first + axis, -1)
            array = (moved @ weights(old, new, order).T).movedim(-1, first + axis)
    return array.contiguous()


def nearest(old: int, new: int) -> torch.Tensor:
    """For each of ``new`` voxels along an axis the nearest of ``old``."""
    return ((torch.arange(new, dtype=torch.float64) + 0.5) * old / new).floor().long().clamp_(0, old - 1)


def resample_labels(labels: torch.Tensor, shape: Sequence[int], thick: int | None = None) -> torch.Tensor:
    """Indices [i, j, k] on another grid: in each voxel the label with the largest linearly interpolated share.

    The labels go one by one, each within its own box: there are never more than two volumes of floats.
    """
    if tuple(labels.shape) == tuple(shape):
        return labels
    best = resample((labels == 0).float(), shape, 1, thick)
    found = torch.zeros(tuple(shape), dtype=labels.dtype)
    for label, box in enumerate(ndimage.find_objects(labels.numpy()), 1):
        if box is None:
            continue
        share, place = (labels[box] == label).float(), []
        for axis, within in enumerate(box):
            old, new = labels.shape[axis], shape[axis]
            matrix = _axis(old, new, axis == thick)[:, within]
            reached = torch.nonzero(matrix.sum(1) > 0).flatten()
            if not len(reached):
                break
            place.append(slice(int(reached[0]), int(reached[-1]) + 1))
            share = (share.movedim(axis, -1) @ matrix[place[-1]].T).movedim(-1, axis)
        else:
            here = tuple(place)
            larger = share > best[here]
            found[here][larger] = label
            best[here][larger] = share[larger]
    return found


def _axis(old: int, new: int, copied: bool) -> torch.Tensor:
    if not copied:
        return weights(old, new, 1)
    matrix = torch.zeros(new, old)
    matrix[torch.arange(new), nearest(old, new)] = 1
    return matrix
