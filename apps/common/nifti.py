"""NIfTI, Analyze and FreeSurfer files through nibabel: every byte checked, lengths in mm, both forms of the header."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import nibabel as nib
import numpy as np

from medloss.apps.common.formats import FREESURFER, PAIRED_NIFTI, has_suffix
from medloss.apps.common.unreadable import UnfitImage

MILLIMETRES = {1: 1000.0, 3: 0.001}
"""What one unit of a header's ``xyzt_units`` is in mm, where it is not mm (2) or unknown (0), which is read as mm."""
CIFTI = range(3000, 3100)
"""Intent codes of CIFTI files: values on a surface, which have no grid."""
SAME_FORMS = 1e-3
"""Two places are the same where no corner of the volume moves by more than this many voxels."""
SMALLEST = 1e-12
"""A voxel of less than this many cubic units has no size."""
LONGEST_NIFTI1 = 32767
NIFTI2_HEADER = 540


class Forms(NamedTuple):
    """Where a NIfTI header places its voxels: two affines (4 x 4, voxel to RAS mm) with their codes.

    A form whose code is 0 is None. ``shape`` is the stored one, with axes of length one behind the third.
    """

    sform: np.ndarray | None
    sform_code: int
    qform: np.ndarray | None
    qform_code: int
    shape: tuple[int, ...]

    def ambiguous(self, affine: np.ndarray) -> bool:
        """Whether readers may disagree: no form, a sheared one, or two that differ."""
        if self.sform is None and self.qform is None:
            return True
        if self.sform is not None and self.qform is not None and not same_place(self.sform, self.qform, self.shape):
            return True
        return is_sheared(affine, self.shape)


class Stored(NamedTuple):
    """What a file holds. ``step`` is the distance of two neighbouring values of scaled integers, 0 without scaling."""

    array: np.ndarray
    affine: np.ndarray
    forms: Forms | None = None
    step: float = 0.0
    intent: int = 0


@contextmanager
def quiet() -> Iterator[None]:
    """Without what nibabel prints of odd headers: what matters of that is in our own messages."""
    logger = nib.imageglobals.logger
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before


def read_nibabel(path: Path) -> Stored:
    """Read a NIfTI, Analyze or FreeSurfer file to its last byte, in its stored dtype.

    Compressed files are read to their checksum. Scaled integers whose slope and intercept are whole stay integers.

    Raises:
        UnfitImage: what is stored is no volume of real numbers.
        Exception: of nibabel or gzip, where the file is damaged.
    """
    with quiet():
        image = _open(path)
    intent = int(image.header["intent_code"]) if "intent_code" in image.header else 0
    if intent in CIFTI:
        raise UnfitImage("it is a CIFTI file: values on a surface, which have no grid; export a volume (.nii.gz)")
    array, step = _values(image)
    if isinstance(image, nib.MGHImage):
        return Stored(array, np.asarray(image.affine, np.float64), None, step)
    unit = int(image.header["xyzt_units"]) & 7 if isinstance(image, nib.Nifti1Pair) else 0
    scale = MILLIMETRES.get(unit, 1.0)
    return Stored(array, in_mm(image.affine, scale), _forms(image, scale), step, intent)


def _open(path: Path) -> Any:
    """The image, its voxels not yet decoded. Compressed files have been compared with their checksum."""
    if has_suffix(path, PAIRED_NIFTI):
        for part in (path, _partner(path)):
            if has_suffix(part, (".gz",)):
                gzip.decompress(part.read_bytes())
        return nib.load(path)
    content = path.read_bytes()
    content = gzip.decompress(content) if has_suffix(path, (".gz", ".mgz")) else content
    if has_suffix(path, FREESURFER):
        return nib.MGHImage.from_bytes(content)
    second = NIFTI2_HEADER in (int.from_bytes(content[:4], order) for order in ("little", "big"))
    return (nib.Nifti2Image if second else nib.Nifti1Image).from_bytes(content)


def _partner(path: Path) -> Path:
    """The other file of a pair: ``x.img`` of ``x.hdr``, and the other way round."""
    one = next(end for end in sorted(PAIRED_NIFTI, key=len, reverse=True) if has_suffix(path, (end,)))
    stem, other = path.name[: -len(one)], ".img" if one.startswith(".hdr") else ".hdr"
    found = [path.with_name(stem + other + end) for end in ("", ".gz")]
    return next((each for each in found if each.is_file()), found[0])


def _values(image: Any) -> tuple[np.ndarray, float]:
    """The voxels, and the step between scaled integers."""
    dtype = image.get_data_dtype()
    if dtype.kind not in "iuf":
        kind = "colours (RGB)" if dtype.fields else "complex numbers" if dtype.kind == "c" else f"of type {dtype}"
        raise UnfitImage(f"its voxels are {kind}, expected one real number each: convert it to a scalar image first")
    slope, inter = (getattr(image.dataobj, name, None) for name in ("slope", "inter"))
    slope, inter = 1.0 if slope is None else float(slope), 0.0 if inter is None else float(inter)
    if dtype.kind == "f" or (slope, inter) == (1.0, 0.0):
        return native(np.asanyarray(image.dataobj)), 0.0
    if slope == round(slope) and inter == round(inter):
        raw = image.dataobj.get_unscaled()
        ends = [int(end) * int(slope) + int(inter) for end in ((raw.min(), raw.max()) if raw.size else (0, 0))]
        if max(abs(end) for end in ends) < 2**63:
            return raw.astype(np.int64) * int(slope) + int(inter), 0.0
    return native(np.asanyarray(image.dataobj)), abs(slope)


def native(array: np.ndarray) -> np.ndarray:
    """The array in this machine's byte order; float16 and long doubles as float32 and float64, which torch has."""
    if array.dtype.kind == "f" and array.dtype.itemsize not in (4, 8):
        return array.astype(np.float32 if array.dtype.itemsize == 2 else np.float64)
    return np.asarray(array, dtype=array.dtype.newbyteorder("="))


def _forms(image: Any, scale: float) -> Forms:
    header = image.header
    if not isinstance(image, nib.Nifti1Pair):
        return Forms(None, 0, None, 0, tuple(image.shape))
    codes, forms = {name: int(header[f"{name}_code"]) for name in ("sform", "qform")}, {}
    for name, code in codes.items():
        form = getattr(header, f"get_{name}")() if code > 0 else None
        if form is not None and not has_size(form):
            raise UnfitImage(f"its {name} gives the voxels no size: repair the header (write one affine as both forms)")
        forms[name] = None if form is None else in_mm(form, scale)
    return Forms(forms["sform"], codes["sform"], forms["qform"], codes["qform"], tuple(image.shape))


def has_size(affine: np.ndarray) -> bool:
    """Whether an affine (4 x 4) is finite and not singular, so that voxels have a place and a size."""
    return bool(np.isfinite(affine).all()) and abs(float(np.linalg.det(affine[:3, :3]))) >= SMALLEST


def in_mm(affine: np.ndarray, scale: float) -> np.ndarray:
    """An affine (4 x 4) whose world is in units of ``scale`` mm, in mm."""
    return np.diag([scale, scale, scale, 1.0]) @ np.asarray(affine, np.float64)


def corners(shape: tuple[int, ...]) -> np.ndarray:
    """The outermost voxel centres of a volume, homogeneous: 4 x 8."""
    last = [max(size - 1, 1) for size in (*shape, 1, 1)[:3]]
    return np.array([[i, j, k, 1] for i in (0, last[0]) for j in (0, last[1]) for k in (0, last[2])], np.float64).T


def apart(a: np.ndarray, b: np.ndarray, shape: tuple[int, ...]) -> float:
    """The largest distance in mm between the corners of one volume at two places; NaN counts as infinite."""
    distance = float(np.linalg.norm(((a - b) @ corners(shape))[:3], axis=0).max())
    return distance if np.isfinite(distance) else float("inf")


def voxel_sizes(affine: np.ndarray) -> np.ndarray:
    """The length of a voxel along each axis, in the unit of the affine."""
    return np.linalg.norm(affine[:3, :3], axis=0)


def same_place(a: np.ndarray, b: np.ndarray, shape: tuple[int, ...]) -> bool:
    """Whether no corner moves by more than a thousandth of a voxel (and what float32 headers cannot tell)."""
    largest = max(float(np.abs(a[:3]).max()), float(np.abs(a[:3] @ corners(shape)).max()))
    return apart(a, b, shape) <= SAME_FORMS * float(voxel_sizes(a).min()) + 1e-6 * largest


def is_sheared(affine: np.ndarray, shape: tuple[int, ...]) -> bool:
    """Whether the axes are so far from perpendicular that a corner moves, which a qform and ITK cannot say."""
    sizes = voxel_sizes(affine)
    u, _, v = np.linalg.svd(affine[:3, :3] / sizes)
    straight = affine.copy()
    straight[:3, :3] = (u @ v) * sizes
    return not same_place(affine, straight, shape)


def nifti_image(array: np.ndarray, affine: np.ndarray, forms: Forms | None = None) -> Any:
    """An image to be written: geometry and voxels, and nothing else of the file that it came from.

    Names, comments, intent and extensions of another header may describe another image, or a person.

    Args:
        array: (i, j, k) or (i, j, k, channels), in the dtype to be stored.
        affine: 4 x 4, voxel to RAS mm.
        forms: those of the file on whose grid the array lies. Where they are ambiguous they are written as they are,
            so that every reader sees the array over that file. Otherwise both forms say ``affine``; a sheared one,
            which no qform can hold, stands in the sform alone: ITK then refuses the file and does not misplace it.
    """
    kind = nib.Nifti2Image if max(array.shape) > LONGEST_NIFTI1 else nib.Nifti1Image
    if forms is not None and array.ndim == 3 and forms.shape[:3] == array.shape and set(forms.shape[3:]) <= {1}:
        array = array.reshape(forms.shape)
    image = kind(array, affine, dtype=array.dtype)
    image.header.set_xyzt_units("mm")
    if forms is not None and forms.ambiguous(affine):
        image.set_qform(forms.qform, forms.qform_code, strip_shears=True)
        image.set_sform(forms.sform, forms.sform_code)
        return image
    sform_code, qform_code = (forms.sform_code, forms.qform_code) if forms is not None else (1, 1)
    image.set_sform(affine, sform_code or qform_code or 1)
    image.set_qform(affine, 0 if is_sheared(affine, array.shape) else qform_code or sform_code or 1)
    return image
