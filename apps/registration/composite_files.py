"""ITK's transforms in HDF5 (``.h5``), as ANTs, 3D Slicer and uniGradICON write and read them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch

from medloss.apps.common.errors import UserError
from medloss.apps.common.itk_files import LPS
from medloss.apps.common.unreadable import UnfitImage, why_unreadable
from medloss.apps.registration.affine_files import COMPOSITE, Stored, joined, linear, stored_affine
from medloss.apps.registration.spatial import Affine, Chain, Field, Transform

FIELD = "DisplacementFieldTransform"
GROUP = "TransformGroup"
FLIP = torch.tensor([-1.0, -1.0, 1.0])


def read_composite(path: Path) -> Transform:
    """The transforms of a file, each kept as what it is."""
    try:
        with h5py.File(path) as file:
            if GROUP not in file:
                raise UnfitImage(f"it holds {', '.join(sorted(file)[:5]) or 'nothing'} and no {GROUP}: is it an image?")
            groups = file[GROUP]
            parts = [_stored(groups[key]) for key in sorted(groups, key=int)]
    except Exception as fault:  # h5py raises almost anything at a damaged file
        raise UserError(
            f"{path} cannot be read as ITK's transforms in HDF5: {why_unreadable(path, fault)}; expected groups "
            "TransformGroup/0, 1, ... as ITK, ANTs and 3D Slicer write them"
        ) from fault
    return joined(parts, path, _single)


def write_composite(path: Path, transform: Transform) -> None:
    """Affine maps and fields as ITK's composite: stored in the opposite order, since ITK applies the last one first.

    Raises:
        TypeError: a part is neither.
    """
    parts = transform.parts if isinstance(transform, Chain) else [transform]
    stored = [Stored(f"{COMPOSITE}_double_3_3", np.empty(0), np.empty(0))]
    for part in reversed(parts):
        if isinstance(part, Affine):
            stored.append(stored_affine(part))
        elif isinstance(part, Field):
            stored.append(_stored_field(part))
        else:
            raise TypeError(f"a {type(part).__name__} has no form in ITK's files; lay it on a grid first")
    with h5py.File(path, "w") as file:
        for key, value in {"ITKVersion": "5.4.0", "HDFVersion": h5py.version.hdf5_version}.items():
            _write_string(file, key, value)
        for index, (kind, parameters, fixed) in enumerate(stored):
            group = file.create_group(f"{GROUP}/{index}")
            _write_string(group, "TransformType", kind)
            if index:
                packed = {"compression": "gzip", "compression_opts": 4} if parameters.size > 1000 else {}
                group.create_dataset("TransformParameters", data=parameters, **packed)
                group.create_dataset("TransformFixedParameters", data=fixed)


def _write_string(group: Any, key: str, value: str) -> None:
    group.create_dataset(key, data=[value], dtype=h5py.string_dtype("ascii"))


def _stored(group: Any) -> Stored:
    told = np.asarray(group["TransformType"]).ravel()[0]
    kind = told.decode() if isinstance(told, bytes) else str(told)
    # ITK wrote "Tranform" until version 5
    arrays = [
        next((np.asarray(group[key]).ravel() for key in (f"Transform{name}", f"Tranform{name}") if key in group), None)
        for name in ("Parameters", "FixedParameters")
    ]
    return Stored(kind, *(np.empty(0) if each is None else each for each in arrays))


def _single(stored: Stored, path: Path) -> Transform:
    if stored.name != FIELD:
        return linear(stored._replace(parameters=stored.parameters.astype(np.float64)), path)
    fixed = stored.fixed.astype(np.float64)
    shape = tuple(int(size) for size in fixed[:3])
    if not stored.kind.endswith("_3_3") or len(fixed) != 18 or stored.parameters.size != 3 * np.prod(shape):
        raise UserError(f"{path}: a {stored.kind} of {stored.parameters.size} numbers on a grid told by {len(fixed)}")
    lps = np.eye(4)
    lps[:3, :3], lps[:3, 3] = fixed[9:].reshape(3, 3) * fixed[6:9], fixed[3:6]
    # x runs fastest, the components of a vector stand together
    vectors = torch.from_numpy(stored.parameters.astype(np.float32).reshape(*shape[::-1], 3)) * FLIP
    if not bool(torch.isfinite(vectors).all()) or abs(np.linalg.det(lps)) < 1e-12:
        raise UserError(f"{path}: its displacement field holds NaN or infinite values, or its voxels have no size")
    return Field(vectors.permute(3, 2, 1, 0).contiguous(), LPS @ lps)


def _stored_field(field: Field) -> Stored:
    lps = LPS @ field.grid.affine
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    fixed = np.concatenate([field.grid.shape, lps[:3, 3], spacing, (lps[:3, :3] / spacing).ravel()])
    vectors = (field.vectors.permute(3, 2, 1, 0) * FLIP).contiguous().numpy().ravel()
    return Stored(f"{FIELD}_float_3_3", vectors, fixed)
