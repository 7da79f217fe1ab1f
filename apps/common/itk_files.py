"""What is read and written through ITK: MetaImage, NRRD and folders of DICOM slices; where ITK places any header."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from medloss.apps.common.compressed import check_compressed_voxels
from medloss.apps.common.itk_runtime import import_itk
from medloss.apps.common.nifti import Stored, native
from medloss.apps.common.slicer import is_layered, read_layers
from medloss.apps.common.unreadable import UnfitImage

LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
"""ITK's axes point left, posterior, superior; ours right, anterior, superior."""
LARGEST_EXACT = 2**53
UNEVEN_SLICES = 0.01
"""Slices of a DICOM folder may lie this share of their distance off an even grid."""


def read_itk(path: Path) -> Stored:
    """Read a MetaImage or NRRD file to its last byte, in its stored dtype.

    Raises:
        UnfitImage: the voxels are no real numbers, or are damaged.
        Exception: of ITK.
    """
    itk = import_itk()
    check_compressed_voxels(path)
    header = _header(path)
    if is_layered(path, header):
        labels, layers = read_layers(path, header)
        return Stored(labels, _affine_of(layers, 3))
    _check_scalar(header)
    kind = {"char": itk.SS, "signed_char": itk.SS, "long_long": itk.D}.get(
        header.GetComponentTypeAsString(header.GetComponentType())
    )
    image = itk.imread(str(path)) if kind is None else itk.imread(str(path), kind)
    array = native(itk.array_from_image(image).T)  # ITK's arrays come as (k, j, i)
    if kind is itk.D:
        if np.abs(array).max(initial=0) > LARGEST_EXACT:
            raise UnfitImage("it holds 64-bit integers above 2^53; store it as int32 or as NIfTI")
        array = array.astype(np.int64)
    return Stored(array, _affine_of(image, len(image.GetSpacing())))


def read_itk_vectors(path: Path) -> Stored:
    """Read a MetaImage or NRRD file of three numbers per voxel to its last byte: (i, j, k, 3), float32, as stored.

    Raises:
        UnfitImage: other voxels, or damaged ones.
        Exception: of ITK.
    """
    itk = import_itk()
    check_compressed_voxels(path)
    header = _header(path)
    axes, components = header.GetNumberOfDimensions(), header.GetNumberOfComponents()
    if axes != 3 or components != 3:
        raise UnfitImage(f"it has {axes} axes and {components} numbers per voxel, expected 3 and 3")
    image = itk.imread(str(path), itk.Vector[itk.F, 3])
    return Stored(itk.array_from_image(image).transpose(2, 1, 0, 3), _affine_of(image, 3))


def read_dicom_folder(folder: Path) -> Stored:
    """Read the one scan that a folder of DICOM slices holds, rescaled as its headers say.

    Raises:
        UnfitImage: no scan, several scans, or slices at uneven distances (one may be missing).
        Exception: of ITK.
    """
    itk = import_itk()
    names = itk.GDCMSeriesFileNames.New()
    names.SetUseSeriesDetails(True)
    names.SetDirectory(str(folder))
    series = list(names.GetSeriesUIDs())
    if len(series) != 1:
        raise UnfitImage(
            f"the folder holds {len(series)} DICOM series, expected one: move each series into a folder of its own"
        )
    files = list(names.GetFileNames(series[0]))
    header = _header(Path(files[0]))
    _check_scalar(header)
    image = itk.imread(
        files, itk.D if header.GetComponentTypeAsString(header.GetComponentType()) == "double" else itk.F
    )
    places = np.array([[_header(Path(file)).GetOrigin(axis) for axis in range(3)] for file in files])
    steps = np.linalg.norm(np.diff(places, axis=0), axis=1)
    if len(steps) and np.ptp(steps) > UNEVEN_SLICES * max(float(np.median(steps)), 1e-6):
        raise UnfitImage(
            f"its {len(files)} slices lie {steps.min():.3g} to {steps.max():.3g} mm apart, expected one distance: "
            "is a slice missing, or are there two scans in the folder?"
        )
    array = itk.array_from_image(image).T
    whole = np.array_equal(array, np.rint(array)) and np.abs(array).max(initial=0) < 2**31
    return Stored(array.astype(np.int32) if whole else native(array), _affine_of(image, 3))


def itk_place(path: Path) -> np.ndarray | str:
    """Where ITK, and so ANTs and 3D Slicer, place a file: 4 x 4, voxel to RAS mm; or why ITK refuses it."""
    try:
        return _affine_of(_header(path), 3)
    except Exception as error:  # whatever the file makes of ITK
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        return (lines[-1] if lines else type(error).__name__).removeprefix("ITK ERROR: ")


def write_itk(path: Path, array: np.ndarray, affine: np.ndarray) -> None:
    """Write (i, j, k) or (i, j, k, channels) as MetaImage or NRRD, compressed."""
    itk = import_itk()
    lps = LPS @ affine
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    flipped = np.ascontiguousarray(np.moveaxis(array, (0, 1, 2), (2, 1, 0)))
    image = itk.image_from_array(flipped, is_vector=array.ndim > 3)
    image.SetSpacing(spacing)
    image.SetOrigin(lps[:3, 3])
    image.SetDirection(itk.matrix_from_array(np.ascontiguousarray(lps[:3, :3] / spacing)))
    itk.imwrite(image, str(path), compression=True)


def _header(path: Path) -> Any:
    itk = import_itk()
    reader = itk.ImageIOFactory.CreateImageIO(str(path), itk.CommonEnums.IOFileMode_ReadMode)
    if reader is None:
        raise ValueError("ITK knows no such format")
    reader.SetFileName(str(path))
    reader.ReadImageInformation()
    return reader


def _check_scalar(header: Any) -> None:
    kind = header.GetPixelTypeAsString(header.GetPixelType())
    if kind == "scalar" and header.GetNumberOfComponents() == 1:
        return
    raise UnfitImage(
        f"its voxels are {kind} with {header.GetNumberOfComponents()} components, expected one real number each: "
        "convert it to a scalar image first"
    )


def _affine_of(image: Any, size: int) -> np.ndarray:
    """Voxel to RAS mm, of an image or of a header, of whose axes only the first three are in space."""
    itk = import_itk()
    spacing, origin, direction = np.ones(3), np.zeros(3), np.eye(3)
    used = min(size, 3)
    if hasattr(image, "ReadImageInformation"):
        used = min(used, image.GetNumberOfDimensions())
        spacing[:used] = [image.GetSpacing(axis) for axis in range(used)]
        origin[:used] = [image.GetOrigin(axis) for axis in range(used)]
        direction[:used, :used] = np.array([list(image.GetDirection(axis))[:used] for axis in range(used)]).T
    else:
        spacing[:used] = list(image.GetSpacing())[:used]
        origin[:used] = list(image.GetOrigin())[:used]
        direction[:used, :used] = itk.array_from_matrix(image.GetDirection())[:used, :used]
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = direction * spacing, origin
    return LPS @ affine
