"""Volumes on disk: NIfTI through nibabel, everything else through ITK, with the geometry kept in millimetres (RAS)."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import nibabel as nib
import numpy as np
from nibabel.filebasedimages import ImageFileError

from medloss.apps.common.errors import UserError
from medloss.apps.common.itk_runtime import import_itk
from medloss.apps.common.output import atomic_write

NIFTI = (".nii.gz", ".nii")
SUFFIXES = (*NIFTI, ".mha", ".mhd", ".nrrd")
_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])  # ITK's axes point left, posterior, superior; ours right, anterior


class Volume(NamedTuple):
    """A scalar 3D volume: ``array`` (i, j, k), ``affine`` voxel to RAS mm, ``spacing`` mm, NIfTI ``header`` if any."""

    array: np.ndarray
    affine: np.ndarray
    spacing: tuple[float, float, float]
    header: Any = None


def load_volume(path: Path | str) -> Volume:
    """Read a 3D volume in its stored dtype; a trailing axis of length one is dropped.

    Raises UserError when the file is missing, cannot be read, or is not a 3D scalar volume.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"image {path} does not exist")
    try:
        array, affine, header = _read_nifti(path) if is_nifti(path) else _read_itk(path)
    except (ImageFileError, OSError, EOFError, ValueError, RuntimeError, zlib.error, KeyError) as error:
        raise UserError(f"cannot read {path} as an image (damaged, or not an image?): {_first_line(error)}") from error
    shape = array.shape
    while array.ndim > 3 and array.shape[-1] == 1:
        array = array[..., 0]
    if array.ndim != 3 or 0 in array.shape:
        raise UserError(f"{path} has shape {shape}, expected a 3D scalar volume (one time point, one channel)")
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-12:
        raise UserError(f"{path} has a singular affine, so its voxels have no size; repair the header first")
    return Volume(array, affine, tuple(float(size) for size in np.linalg.norm(affine[:3, :3], axis=0)), header)


def save_volume(path: Path | str, array: np.ndarray, like: Volume) -> None:
    """Write ``array`` (i, j, k or i, j, k, channels) on the grid of ``like``, atomically.

    Affine, qform and sform codes and units are those of ``like``; the dtype is that of ``array`` (bool becomes uint8).
    """
    path, array = Path(path), _storable(np.asarray(array))
    if array.shape[:3] != like.array.shape:
        raise UserError(f"cannot write {path}: array of shape {array.shape} on a grid of shape {like.array.shape}")
    with atomic_write(path) as temporary:
        if is_nifti(path):
            nib.save(_nifti_image(array, like), temporary)
        else:
            _write_itk(temporary, array, like.affine)


def is_nifti(path: Path) -> bool:
    """Whether the name says NIfTI (.nii or .nii.gz)."""
    return path.name.lower().endswith(NIFTI)


def strip_suffix(path: Path | str) -> str:
    """File name without its image suffix, the double one included: ``case_1.nii.gz`` gives ``case_1``."""
    name = Path(path).name
    return next((name[: -len(end)] for end in SUFFIXES if name.lower().endswith(end)), Path(name).stem)


def list_images(folder: Path | str) -> list[Path]:
    """The image files of a folder, hidden ones (``._x.nii.gz`` from a Mac) left out, sorted by name."""
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(f"image folder {folder} does not exist")
    files = (file for file in folder.iterdir() if file.is_file() and not file.name.startswith("."))
    return sorted(file for file in files if file.name.lower().endswith(SUFFIXES))


def check_same_grid(a: Volume, b: Volume, what_a: str, what_b: str) -> None:
    """Raise UserError unless both volumes have the same shape and, to a hundredth of a voxel, the same affine."""
    if a.array.shape != b.array.shape:
        raise UserError(
            f"{what_a} has shape {a.array.shape} but {what_b} has {b.array.shape}; they must lie on the same grid: "
            "resample one onto the other first"
        )
    corners = np.array([[i, j, k, 1] for i in (0, 1) for j in (0, 1) for k in (0, 1)]) * [*a.array.shape, 1]
    apart = np.linalg.norm(((a.affine - b.affine) @ corners.T)[:3], axis=0).max()
    if apart > 0.01 * min(a.spacing):
        raise UserError(
            f"{what_a} and {what_b} have the same shape but lie up to {apart:.3g} mm apart in space "
            "(their affines differ); copy the right header or resample one onto the other"
        )


def label_values_check(array: np.ndarray, classes: Iterable[int], path: Path | str) -> None:
    """Raise UserError unless every value of a label map is one of ``classes``."""
    known = sorted(set(classes))
    strange = np.setdiff1d(label_values(array, path), known)
    if strange.size:
        listed = ", ".join(str(value) for value in strange[:10]) + (", ..." if strange.size > 10 else "")
        raise UserError(
            f"{path} holds label{'s' * (strange.size > 1)} {listed} outside the classes {known}; "
            "add a name for it under data.labels, or declare it with data.ignore"
        )


def label_values(array: np.ndarray, path: Path | str) -> np.ndarray:
    """The distinct values of a label map, as integers; UserError when they are not whole numbers."""
    values = np.unique(array)
    if not np.all(np.isfinite(values)) or np.any(values != np.round(values)):
        odd = values[~(values == np.round(values))][:3]
        raise UserError(f"{path} is not a label map: it holds fractions such as {', '.join(f'{v:g}' for v in odd)}")
    return values.astype(np.int64)


def _read_nifti(path: Path) -> tuple[np.ndarray, np.ndarray, Any]:
    image = nib.load(path)
    return np.asanyarray(image.dataobj), np.asarray(image.affine, np.float64), image.header


def _read_itk(path: Path) -> tuple[np.ndarray, np.ndarray, None]:
    itk = import_itk()

    image = itk.imread(str(path))
    affine = np.eye(4)
    direction, spacing = itk.array_from_matrix(image.GetDirection()), np.asarray(image.GetSpacing())
    size = len(spacing)
    affine[:size, :size] = direction * spacing
    affine[:size, 3] = np.asarray(image.GetOrigin())
    return itk.array_from_image(image).T, _LPS @ affine, None  # ITK's arrays come as (k, j, i)


def _write_itk(path: Path, array: np.ndarray, affine: np.ndarray) -> None:
    itk = import_itk()

    lps = _LPS @ affine
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    flipped = np.ascontiguousarray(np.moveaxis(array, (0, 1, 2), (2, 1, 0)))
    image = itk.image_from_array(flipped, is_vector=array.ndim > 3)
    image.SetSpacing(spacing)
    image.SetOrigin(lps[:3, 3])
    image.SetDirection(itk.matrix_from_array(np.ascontiguousarray(lps[:3, :3] / spacing)))
    itk.imwrite(image, str(path), compression=True)


def _nifti_image(array: np.ndarray, like: Volume) -> nib.Nifti1Image:
    if like.header is None:
        image = nib.Nifti1Image(array, like.affine)
        image.set_qform(like.affine, 1)
        image.set_sform(like.affine, 1)
        image.header.set_xyzt_units("mm")
        return image
    stored = like.header.get_data_shape()
    if array.ndim == 3 and stored[:3] == array.shape and set(stored[3:]) <= {1}:
        array = array.reshape(stored)
    header = like.header.copy()
    header.set_data_dtype(array.dtype)
    header["scl_slope"], header["scl_inter"] = np.nan, np.nan
    header["cal_min"], header["cal_max"] = 0, 0
    return _type_of(header)(array, like.affine, header)


def _type_of(header: Any) -> type[nib.Nifti1Image]:
    """The nibabel image class that goes with a header: NIfTI-1 or NIfTI-2."""
    return nib.Nifti2Image if isinstance(header, nib.Nifti2Header) else nib.Nifti1Image


def _storable(array: np.ndarray) -> np.ndarray:
    """The array in a dtype that common readers take: no bool, half precision or 64-bit integers."""
    if array.dtype == bool:
        return array.astype(np.uint8)
    if array.dtype == np.float16:
        return array.astype(np.float32)
    if array.dtype.kind in "iu" and array.dtype.itemsize == 8:
        return array.astype(np.int32)
    return array


def _first_line(error: BaseException) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
