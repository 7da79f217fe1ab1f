"""Learn2Reg's displacements: voxels, without geometry, so that the grids of both images have to be said.

The fixed voxel ``x`` shows the moving voxel ``x + d(x)``, as SciPy's ``map_coordinates`` reads it. Its evaluation takes
arrays (i, j, k, 3) from ``.npz`` or ``.nii.gz``; that of 2020 and 2021 took (3, i, j, k), in half of the resolution.
"""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import torch
from scipy.ndimage import zoom

from medloss.apps.common.errors import UserError
from medloss.apps.common.nifti import nifti_image, read_nibabel
from medloss.apps.common.notes import note
from medloss.apps.common.unreadable import UnfitImage, why_unreadable
from medloss.apps.registration.spatial import Field, Grid, Transform, apply, slabs

SUFFIX = ".npz"
EXPECTED = "one array of numbers, (i, j, k, 3) or (3, i, j, k), in .npz or NIfTI"


def read_learn2reg(path: Path, fixed: Grid | None, moving: Grid | None = None) -> Field:
    """A displacement of voxels as a field on the fixed grid.

    Args:
        path: an ``.npz`` with one array, or a NIfTI; on the fixed grid, or with half as many voxels along each axis,
            which are then interpolated as the evaluation of 2021 does.
        fixed: where the fixed voxels lie.
        moving: where the moving voxels lie; by default on the fixed grid.
    Raises:
        UserError: unreadable, of another shape, or no fixed grid.
    """
    if not path.is_file():
        raise UserError(f"transform {path} does not exist")
    if fixed is None:
        raise UserError(f"{path} is a displacement of voxels: say --like FIXED for the place of the fixed voxels")
    moving = moving or fixed
    array = _channels_first(path, _read(path))
    if tuple(2 * size for size in array.shape[1:]) == fixed.shape:
        note(f"{path} has half as many voxels as the fixed image along each axis: it is interpolated as Learn2Reg does")
        array = np.stack([zoom(each, 2, order=2) for each in array])
    if array.shape[1:] != fixed.shape:
        raise UserError(
            f"{path} is a displacement on a grid of {array.shape[1:]} voxels, but the fixed image has {fixed.shape}; "
            "give the fixed image that it was made for with --like"
        )
    if not np.isfinite(array).all():
        raise UserError(f"{path} holds NaN or infinite displacements")
    vectors = torch.from_numpy(np.ascontiguousarray(array))
    to_voxels = np.linalg.inv(fixed.affine)
    for part, points in slabs(fixed):
        landed = apply(to_voxels, points) + vectors[:, part].flatten(1)
        vectors[:, part] = (apply(moving.affine, landed) - points).float().unflatten(1, (-1, *fixed.shape[1:]))
    return Field(vectors, fixed.affine)


def learn2reg_array(transform: Transform, fixed: Grid, moving: Grid) -> np.ndarray:
    """A transform as a displacement of voxels, (i, j, k, 3), float32, on the fixed grid."""
    array = np.empty((*fixed.shape, 3), np.float32)
    to_fixed, to_moving = np.linalg.inv(fixed.affine), np.linalg.inv(moving.affine)
    for part, points in slabs(fixed):
        moved = apply(to_moving, transform(points)) - apply(to_fixed, points)
        array[part] = moved.T.reshape(-1, *fixed.shape[1:], 3).float().numpy()
    return array


def write_learn2reg(path: Path, transform: Transform, fixed: Grid, moving: Grid) -> None:
    """As the evaluation reads it: (i, j, k, 3), in ``.npz`` or NIfTI."""
    array = learn2reg_array(transform, fixed, moving)
    if path.name.lower().endswith(SUFFIX):
        with path.open("wb") as stream:
            np.savez_compressed(stream, array)
    else:
        nib.save(nifti_image(array, fixed.affine), path)


def _read(path: Path) -> np.ndarray:
    try:
        if not path.name.lower().endswith(SUFFIX):
            return read_nibabel(path).array
        with np.load(path) as content:
            if len(content.files) != 1:
                named = ", ".join(content.files[:5]) or "none"
                raise UnfitImage(f"it holds {len(content.files)} arrays ({named}): write the displacement alone")
            return content[content.files[0]]
    except Exception as fault:  # numpy, zipfile, gzip and nibabel raise almost anything at a damaged file
        raise UserError(
            f"{path} cannot be read as a displacement of Learn2Reg: {why_unreadable(path, fault)}; expected {EXPECTED}"
        ) from fault


def _channels_first(path: Path, array: np.ndarray) -> np.ndarray:
    if array.ndim == 5 and array.shape[3] == 1:
        array = array[:, :, :, 0]
    if array.ndim != 4 or array.dtype.kind not in "fiu" or 3 not in (array.shape[0], array.shape[-1]):
        raise UserError(
            f"{path} holds an array of {array.dtype} of shape {array.shape}, expected {EXPECTED}; was another file "
            "meant?"
        )
    return (np.moveaxis(array, -1, 0) if array.shape[-1] == 3 else array).astype(np.float32)
