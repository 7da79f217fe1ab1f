"""Volumes on disk, read to their last byte and checked, with the geometry kept in millimetres (RAS).

Every command reads through :func:`load_volume`, :func:`load_image` and, for label maps, ``labels.load_labels``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import nibabel as nib
import numpy as np

from medloss.apps.common.errors import UserError
from medloss.apps.common.finite import finite_values
from medloss.apps.common.formats import (
    FREESURFER,
    ITK,
    NIFTI,
    PAIRED_NIFTI,
    SUFFIXES,
    has_suffix,
    image_suffix,
    is_dicom_folder,
)
from medloss.apps.common.hdf5 import is_in_hdf5, read_hdf5
from medloss.apps.common.itk_files import itk_place, read_dicom_folder, read_itk, write_itk
from medloss.apps.common.nifti import (
    Forms,
    Stored,
    apart,
    has_size,
    nifti_image,
    quiet,
    read_nibabel,
    same_place,
    voxel_sizes,
)
from medloss.apps.common.notes import note
from medloss.apps.common.output import atomic_write
from medloss.apps.common.reading import DEFAULT, Reading
from medloss.apps.common.unreadable import why_unreadable

SAME_GRID = 0.01
SIMILAR_GRID = 0.1
"""Shares of a voxel: up to the first, two headers are the same; up to the second they differ slightly, with a note."""


class Volume(NamedTuple):
    """A scalar 3D volume.

    ``array`` is (i, j, k); ``affine`` 4 x 4, voxel to RAS mm; ``spacing`` in mm; ``forms`` the two forms of a NIfTI
    header; ``step`` the distance between two values of scaled integers, 0 without scaling.
    """

    array: np.ndarray
    affine: np.ndarray
    spacing: tuple[float, float, float]
    forms: Forms | None = None
    step: float = 0.0


def load_volume(path: Path | str, reading: Reading = DEFAULT) -> Volume:
    """Read a 3D volume in its stored dtype; trailing axes of length one are dropped. A folder may hold DICOM slices.

    Raises:
        UserError: the file is missing, damaged, of another kind, or not one real number per voxel of a 3D grid.
    """
    path = Path(path)
    stored = _read(path)
    array, shape = stored.array, stored.array.shape
    while array.ndim > 3 and array.shape[-1] == 1:
        array = array[..., 0]
    if array.ndim != 3 or 0 in array.shape:
        raise UserError(f"{path} has shape {shape}, expected a 3D scalar volume (one time point, one channel)")
    return _volume(path, stored._replace(array=array), reading)


def load_channels(path: Path | str, reading: Reading = DEFAULT) -> Volume:
    """Read a 3D or 4D file as :func:`load_volume` does; the array is (i, j, k, channels).

    Raises:
        UserError: as :func:`load_volume`.
    """
    path = Path(path)
    stored = _read(path)
    array = stored.array if stored.array.ndim != 3 else stored.array[..., None]
    while array.ndim > 4 and array.shape[-1] == 1:
        array = array[..., 0]
    if array.ndim != 4 or 0 in array.shape:
        raise UserError(f"{path} has shape {array.shape}, expected a 3D volume or a 4D stack of volumes")
    return _volume(path, stored._replace(array=array), reading)


def _volume(path: Path, stored: Stored, reading: Reading) -> Volume:
    if not has_size(stored.affine):
        raise UserError(f"{path} has a singular affine, so its voxels have no size; repair the header first")
    affine = _placed(path, stored, reading)
    return Volume(stored.array, affine, spacing_of(affine), stored.forms, stored.step)


def spacing_of(affine: np.ndarray) -> tuple[float, float, float]:
    """The size of a voxel along each axis, in mm."""
    i, j, k = (float(size) for size in voxel_sizes(affine))
    return i, j, k


def load_image(path: Path | str, reading: Reading = DEFAULT) -> Volume:
    """Read intensities: as :func:`load_volume`, and finite.

    Raises:
        UserError: also where values are NaN or infinite and ``reading.nan`` is ``"refuse"``.
    """
    return _finite(load_volume(path, reading), path, reading)


def load_images(paths: Sequence[Path | str], reading: Reading = DEFAULT) -> Volume:
    """Read the channels of one scan: a 3D or 4D file, or one 3D file per channel, all on one grid and finite.

    Returns: a volume whose array is (channels, i, j, k).

    Raises:
        UserError: as :func:`load_image`; or files that lie on different grids.
    """
    if len(paths) == 1:
        volume = _finite(load_channels(paths[0], reading), paths[0], reading)
        return volume._replace(array=np.moveaxis(volume.array, -1, 0))
    volumes = [load_image(path, reading) for path in paths]
    for volume, path in zip(volumes[1:], paths[1:], strict=True):
        check_same_grid(volumes[0], volume, f"channel {paths[0]}", f"channel {path}", reading)
    return volumes[0]._replace(array=np.stack([volume.array for volume in volumes]))


def look(path: Path | str) -> None:
    """Read the header of an image, not its voxels (ITK's files and DICOM folders are only looked up).

    Raises:
        UserError: no such file, no image format, or a header that cannot be read.
    """
    path = Path(path)
    nibabel = path.is_file() and has_suffix(path, (*NIFTI, *PAIRED_NIFTI, *FREESURFER))
    if not nibabel:
        _reader(path)
        return
    try:
        with quiet():
            nib.load(path)
    except Exception as error:  # as in :func:`_read`
        raise UserError(f"cannot read {path} as an image: {why_unreadable(path, error)}") from error


def _finite(volume: Volume, path: Path | str, reading: Reading) -> Volume:
    return volume._replace(array=finite_values(volume.array, path, reading))


def save_volume(path: Path | str, array: np.ndarray, like: Volume) -> None:
    """Write ``array`` (i, j, k or i, j, k, channels) on the grid of ``like``, whole or not at all.

    NIfTI files carry both forms of the header and mm (see ``nifti.nifti_image``), and no name, comment or intent of the
    file that ``like`` was read from. The dtype is that of ``array``; bool becomes uint8, 64-bit integers become int32
    where they fit.

    Raises:
        UserError: another grid, an unknown suffix, or integers that the format cannot hold.
    """
    path, array = Path(path), _storable(np.asarray(array))
    if array.shape[:3] != like.array.shape:
        raise UserError(f"cannot write {path}: array of shape {array.shape} on a grid of shape {like.array.shape}")
    if not image_suffix(path):
        raise UserError(f"cannot write {path}: its name says no image format, expected one of {', '.join(SUFFIXES)}")
    if has_suffix(path, ITK) and array.dtype.kind in "iu" and array.dtype.itemsize == 8:
        raise UserError(f"cannot write {path}: values beyond 32 bits; write NIfTI (.nii.gz), which has 64-bit integers")
    with atomic_write(path) as temporary:
        if has_suffix(path, ITK):
            write_itk(temporary, array, like.affine)
        else:
            _save_nibabel(temporary, array, like)


def like_dtype(array: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Interpolated intensities in the image's own dtype: rounded and clipped for integers, float32 for floats."""
    if dtype.kind not in "iu":
        return array.astype(np.float32)
    limits = np.iinfo(dtype)
    return np.clip(np.rint(array), limits.min, limits.max).astype(dtype)


def check_same_grid(a: Volume, b: Volume, what_a: str, what_b: str, reading: Reading = DEFAULT) -> None:
    """Raise UserError unless both volumes have the same shape and lie at the same place.

    Up to a hundredth of a voxel apart they are the same, up to a tenth a note is printed. ``reading.trust_arrays``
    accepts any distance, with a note.
    """
    if a.array.shape != b.array.shape:
        raise UserError(
            f"{what_a} has shape {a.array.shape} but {what_b} has {b.array.shape}; they must lie on the same grid: "
            "resample one onto the other first"
        )
    distance, voxel = apart(a.affine, b.affine, a.array.shape), min(a.spacing)
    if distance <= SAME_GRID * voxel or same_place(a.affine, b.affine, a.array.shape):
        return
    told = f"{what_a} and {what_b} have the same shape but lie up to {distance:.3g} mm apart in space"
    if not reading.trust_arrays and distance > SIMILAR_GRID * voxel:
        raise UserError(
            f"{told} (their affines differ); copy the right header, resample one onto the other, or, if the voxels are "
            "known to correspond, say trust_arrays=true"
        )
    note(f"{told}; their voxels are taken to correspond")


def _read(path: Path) -> Stored:
    reader = _reader(path)
    try:
        return reader(path)
    except Exception as error:  # nibabel, gzip and ITK raise almost anything at a damaged file
        raise UserError(f"cannot read {path} as an image: {why_unreadable(path, error)}") from error


def _reader(path: Path) -> Callable[[Path], Stored]:
    if is_in_hdf5(path):
        return read_hdf5
    if path.is_dir():
        if not is_dicom_folder(path):
            raise UserError(f"{path} is a folder without DICOM slices, expected an image file or one DICOM series")
        return read_dicom_folder
    if not path.exists():
        broken = " (a broken link: was the file fetched?)" if path.is_symlink() else ""
        raise UserError(f"image {path} does not exist{broken}")
    if has_suffix(path, (*NIFTI, *PAIRED_NIFTI, *FREESURFER)):
        return read_nibabel
    if has_suffix(path, ITK):
        return read_itk
    raise UserError(f"{path} has no suffix of an image that can be read: {', '.join(SUFFIXES)}, or a DICOM folder")


def _placed(path: Path, stored: Stored, reading: Reading) -> np.ndarray:
    """Where the voxels are, after a word on headers that nibabel and ITK read differently."""
    if stored.forms is None or not stored.forms.ambiguous(stored.affine):
        return stored.affine
    other = itk_place(path)
    if isinstance(other, np.ndarray) and same_place(stored.affine, other, stored.array.shape):
        return stored.affine
    if isinstance(other, str):
        told = f"ITK, ANTs and 3D Slicer cannot place {path} ({other}); nibabel reads {_in_words(stored.affine)}"
    else:
        told = (
            f"readers place {path} differently, up to {apart(stored.affine, other, stored.array.shape):.3g} mm apart "
            f"({_why(stored.forms)}): nibabel {_in_words(stored.affine)}, ITK, ANTs and 3D Slicer {_in_words(other)}"
        )
    if reading.space == "itk" and isinstance(other, np.ndarray):
        return other
    if reading.space in ("refuse", "itk"):
        raise UserError(f"{told}; repair the header (write one affine as sform and qform)")
    note(f"{told}. The first is used; say space=itk for the second")
    return stored.affine


def _why(forms: Forms) -> str:
    if forms.sform is None and forms.qform is None:
        return "the header has neither sform nor qform"
    if forms.sform is not None and forms.qform is not None:
        return f"sform of code {forms.sform_code}, qform of code {forms.qform_code}"
    return "the axes are not perpendicular (shear)"


def _in_words(affine: np.ndarray) -> str:
    return "[" + "; ".join(" ".join(f"{value:.4g}" for value in row) for row in affine[:3]) + "]"


def _save_nibabel(path: Path, array: np.ndarray, like: Volume) -> None:
    if has_suffix(path, FREESURFER):
        kind = np.int32 if array.dtype.kind in "iu" and array.dtype != np.uint8 else array.dtype
        nib.save(nib.MGHImage(array.astype(np.float32 if kind == np.float64 else kind), like.affine), path)
        return
    image = nifti_image(array, like.affine, like.forms)
    if has_suffix(path, PAIRED_NIFTI):
        pair = nib.Nifti1Pair(array, like.affine, image.header)
        pair.set_data_dtype(array.dtype)
        image = pair
    nib.save(image, path)


def _storable(array: np.ndarray) -> np.ndarray:
    """The array in a dtype that common readers take: no bool or half precision, 64-bit integers only where needed."""
    if array.dtype == bool:
        return array.astype(np.uint8)
    if array.dtype == np.float16:
        return array.astype(np.float32)
    if array.dtype.kind in "iu" and array.dtype.itemsize == 8:
        low, high = (int(array.min()), int(array.max())) if array.size else (0, 0)
        return array.astype(np.int32) if low >= -(2**31) and high < 2**31 else array
    return array
