"""Transforms on disk, read and written by the suffix of their name.

========================== ==========================================================================================
``.nii.gz``, ``.nii``      displacement field of ITK, ANTs and Slicer: NIfTI of five axes, intent 1007, LPS mm
``.mha``, ``.nrrd``        the same as a vector image of ITK
``.tfm``, ``.txt``         affine, ITK's text
``.mat``                   affine, ANTs' binary
``.h5``                    ITK's composite: affine maps and fields in order
``.npz``                   Learn2Reg's displacement in voxels (a NIfTI of it is said by ``learn2reg``)
========================== ==========================================================================================
"""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
import torch

from medloss.apps.common.errors import UserError
from medloss.apps.common.fields import (
    RAS_TO_LPS,
    load_displacement,
    save_displacement,
    voxels_to_world,
    world_to_voxels,
)
from medloss.apps.common.formats import ITK, NIFTI, has_suffix
from medloss.apps.common.images import load_channels
from medloss.apps.common.itk_files import read_itk_vectors, write_itk
from medloss.apps.common.output import atomic_write
from medloss.apps.common.reading import DEFAULT, Reading
from medloss.apps.common.unreadable import why_unreadable
from medloss.apps.registration.affine_files import read_mat, read_text, write_mat, write_text
from medloss.apps.registration.learn2reg import SUFFIX as LEARN2REG
from medloss.apps.registration.learn2reg import write_learn2reg
from medloss.apps.registration.spatial import (
    Affine,
    Chain,
    Field,
    Grid,
    InverseField,
    Transform,
    displacement_on,
    simplified,
)

TEXT, MAT, COMPOSITE = (".tfm", ".txt"), (".mat",), (".h5", ".hdf5")
FIELDS = (*NIFTI, *ITK)
SUFFIXES = (*FIELDS, *TEXT, *MAT, *COMPOSITE)
INVERSE = "inverse:"


def read_transform(path: Path | str) -> Transform:
    """Read a transform file.

    Raises:
        UserError: no such file, an unknown suffix, damaged, or not what its suffix says.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"transform {path} does not exist")
    if has_suffix(path, (LEARN2REG,)):
        raise UserError(
            f"{path} is a displacement of voxels, which lie nowhere without its images; write it in millimetres first: "
            f"medloss register convert {path} field.nii.gz --like FIXED"
        )
    if has_suffix(path, FIELDS):
        return _read_field(path)
    if has_suffix(path, TEXT):
        return read_text(path)
    if has_suffix(path, MAT):
        return read_mat(path)
    if has_suffix(path, COMPOSITE):
        from medloss.apps.registration.composite_files import read_composite

        return read_composite(path)
    raise UserError(f"{path} has no suffix of a transform: {', '.join((*SUFFIXES, LEARN2REG))}")


def read_given(given: str) -> Transform:
    """A transform as it is given to a command: ``FILE``, ``inverse:FILE``, or ANTs' ``[FILE,0]`` and ``[FILE,1]``."""
    path, inverse = file_and_direction(given)
    transform = read_transform(path)
    return transform.inverse() if inverse else transform


def file_and_direction(given: str) -> tuple[Path, bool]:
    """The file of a transform as it is given to a command, and whether its inverse is meant."""
    if given.startswith("[") and given.endswith("]"):
        name, _, flag = given[1:-1].rpartition(",")
        if flag.strip() not in ("0", "1"):
            raise UserError(f"transform {given}: expected [FILE,0], [FILE,1] for the inverse, or {INVERSE}FILE")
        return Path(name.strip()), flag.strip() == "1"
    return Path(given.removeprefix(INVERSE).strip()), given.startswith(INVERSE)


def read_chain(given: list[str]) -> Transform:
    """Several transforms in order: a point of the reference grid goes through the first one first."""
    if not given:
        raise UserError("no transform was given: say --transform FILE, once for each in order")
    return simplified(Chain([read_given(each) for each in given]))


def read_grid(path: Path | str, reading: Reading = DEFAULT) -> Grid:
    """The grid of an image, or of a displacement field."""
    path = Path(path)
    try:
        volume = load_channels(path, reading)
    except UserError:
        if path.is_file() and has_suffix(path, FIELDS):
            with contextlib.suppress(UserError):
                return _read_field(path).grid
        raise
    return Grid(tuple(volume.array.shape[:3]), volume.affine)


def grid_of(transform: Transform, fixed: Grid | None) -> Grid:
    """The grid that was given, or that of the field which a point of the fixed world meets first.

    Raises:
        UserError: nothing was given and the transform does not begin with a field.
    """
    first = transform.parts[0] if isinstance(transform, Chain) else transform
    if fixed is not None:
        return fixed
    if isinstance(first, Field):
        return first.grid
    kind = "an affine map" if isinstance(first, Affine) else "an inverse"
    raise UserError(f"the first transform is {kind}, which has no grid: say --like FIXED for the grid to be made")


def check_output(path: Path | str, learn2reg: bool = False) -> None:
    """Raise UserError unless a transform can be written under this name."""
    able = (LEARN2REG, *NIFTI) if learn2reg else (*SUFFIXES, LEARN2REG)
    if not has_suffix(path, able):
        raise UserError(f"cannot write {path}: its name says no format, expected one of {', '.join(able)}")


def write_transform(
    path: Path | str,
    transform: Transform,
    fixed: Grid | None = None,
    moving: Grid | None = None,
    learn2reg: bool = False,
) -> Transform:
    """Write a transform in the format of its suffix, whole or not at all; gives what the file holds.

    Args:
        path: where to write.
        transform: what to write.
        fixed: the grid of the field; by default that of the transform's own first field.
        moving: the moving image's grid, for Learn2Reg's voxels alone; by default ``fixed``.
        learn2reg: write a NIfTI of voxels.
    Raises:
        UserError: an unknown suffix, a field in an affine format, or no grid.
    """
    path = Path(path)
    check_output(path, learn2reg)
    transform = simplified(transform)
    with atomic_write(path) as temporary:
        if has_suffix(path, (*TEXT, *MAT)):
            if not isinstance(transform, Affine):
                raise UserError(f"cannot write {path.name}: the transform is not affine; write .nii.gz, .mha or .h5")
            (write_text if has_suffix(path, TEXT) else write_mat)(temporary, transform)
        elif has_suffix(path, COMPOSITE):
            from medloss.apps.registration.composite_files import write_composite

            transform = _without_inverses(transform, fixed)
            write_composite(temporary, transform)
        elif learn2reg or has_suffix(path, (LEARN2REG,)):
            fixed = grid_of(transform, fixed)
            write_learn2reg(temporary, transform, fixed, moving or fixed)
        else:
            transform = displacement_on(transform, grid_of(transform, fixed))
            _write_field(temporary, transform)
    return transform


def _without_inverses(transform: Transform, fixed: Grid | None) -> Transform:
    """The same with what no file of ITK can say, the inverse of a field, laid on the grid."""
    parts = transform.parts if isinstance(transform, Chain) else [transform]
    if any(isinstance(part, InverseField) for part in parts):
        return displacement_on(transform, grid_of(transform, fixed))
    return transform


def _read_field(path: Path) -> Field:
    if has_suffix(path, NIFTI):
        voxels, affine = load_displacement(path)
        vectors = voxels_to_world(voxels.astype(np.float64), affine)
    else:
        try:
            stored = read_itk_vectors(path)
        except Exception as fault:  # ITK raises almost anything at a damaged file
            told = why_unreadable(path, fault)
            raise UserError(f"{path}: cannot be read as a displacement field ({told})") from fault
        affine = stored.affine
        vectors = np.moveaxis(stored.array * RAS_TO_LPS, -1, 0)
    odd = int(vectors.size - np.count_nonzero(np.isfinite(vectors)))
    if odd:
        raise UserError(f"{path}: {odd} of its displacements are NaN or infinite; was it written whole?")
    return Field(torch.from_numpy(np.ascontiguousarray(vectors, np.float32)), affine)


def _write_field(path: Path, field: Field) -> None:
    vectors = field.vectors.numpy()
    if has_suffix(path, NIFTI):
        save_displacement(path, world_to_voxels(vectors.astype(np.float64), field.grid.affine), field.grid.affine)
    else:
        write_itk(path, (np.moveaxis(vectors, 0, -1) * RAS_TO_LPS).astype(np.float32), field.grid.affine)
