"""HDF5 files of volumes, as DeepReg keeps them: one file for each folder, one data set for each volume.

A volume in one is named by a path that goes on inside the file: ``train/images.h5/case_1``.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from medloss.apps.common.errors import UserError
from medloss.apps.common.nifti import Stored
from medloss.apps.common.unreadable import UnfitImage, why_unreadable

SUFFIXES = (".h5", ".hdf5")


def is_in_hdf5(path: Path) -> bool:
    """Whether a path names a volume in an HDF5 file."""
    return path.parent.suffix.lower() in SUFFIXES and path.parent.is_file()


def volumes_in(file: Path) -> dict[str, Path]:
    """The volumes of a file by name, in order.

    Raises:
        UserError: no HDF5 file, or one with groups in it.
    """
    h5py = _h5py()
    try:
        with h5py.File(file, "r") as stored:
            names = sorted(stored)
            groups = [name for name in names if not isinstance(stored[name], h5py.Dataset)]
    except (OSError, KeyError, RuntimeError) as error:  # what h5py raises depends on what is damaged
        told = why_unreadable(file, error)
        raise UserError(f"{file} cannot be read as HDF5 with a data set for each volume: {told}") from error
    if groups:
        raise UserError(f"{file}: {groups[0]} is a group, expected volumes at the top, as DeepReg keeps them")
    return {name: file / name for name in names}


def read_hdf5(path: Path) -> Stored:
    """The volume that the path names, in its stored dtype.

    An attribute ``affine`` (4 x 4, voxel to RAS mm) or ``spacing`` (mm) of the data set says where its voxels are;
    without one they are of 1 mm.

    Raises:
        UnfitImage: no such volume, or no numbers.
        OSError: damaged.
    """
    h5py = _h5py()
    with h5py.File(path.parent, "r") as stored:
        if path.name not in stored or not isinstance(stored[path.name], h5py.Dataset):
            raise UnfitImage(f"it holds no volume {path.name}")
        data = stored[path.name]
        if data.dtype.kind not in "iufb":
            raise UnfitImage(f"its voxels are {data.dtype}, expected numbers")
        array, affine = np.asarray(data[()]), _affine(data)
    return Stored(array.astype(np.uint8) if array.dtype.kind == "b" else array, affine)


def digest_in_hdf5(path: Path) -> str:
    """SHA-256 of the voxels of a volume."""
    stored = read_hdf5(path)
    return hashlib.sha256(np.ascontiguousarray(stored.array).tobytes() + stored.affine.tobytes()).hexdigest()


def _affine(data: Any) -> np.ndarray:
    if "affine" in data.attrs:
        return _attribute(data, "affine", (4, 4))
    return np.diag([*_attribute(data, "spacing", (3,)), 1.0]) if "spacing" in data.attrs else np.eye(4)


def _attribute(data: Any, name: str, shape: tuple[int, ...]) -> np.ndarray:
    try:
        return np.asarray(data.attrs[name], dtype=np.float64).reshape(shape)
    except (ValueError, TypeError):
        count = int(np.prod(shape))
        told = np.asarray(data.attrs[name]).ravel()[:20].tolist()
        raise UnfitImage(f"its attribute {name} is {told}, expected {count} numbers: write it anew") from None


def _h5py() -> Any:
    import h5py

    return h5py
