"""Displacement files: the one format that ITK, ANTs and 3D Slicer apply as it is.

Inside medloss a dense displacement field (DDF) is an array ``(3, i, j, k)`` in voxels of the fixed grid, components
in index order, as MONAI's ``Warp`` takes it: the fixed voxel ``x`` shows what the moving image has at ``x + ddf(x)``.
On disk it is a vector NIfTI in millimetres, LPS.
"""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np

from medloss.apps.common.errors import UserError
from medloss.apps.common.nifti import nifti_image, read_nibabel
from medloss.apps.common.output import atomic_write
from medloss.apps.common.unreadable import why_unreadable

RAS_TO_LPS = np.array([-1.0, -1.0, 1.0])
VECTOR_LPS, DISPLACEMENT_RAS = 1007, 1006  # NIfTI intent codes: what ITK and ANTs write, and what FSL-like tools may


def voxels_to_world(ddf_voxels: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """A DDF ``(3, i, j, k)`` in voxels as vectors in mm along the world axes of ``affine`` (4 x 4, RAS): same shape."""
    return np.einsum("ab,b...->a...", affine[:3, :3], ddf_voxels)


def world_to_voxels(ddf_world: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """The inverse of `voxels_to_world`: mm along the world axes to voxels."""
    return np.einsum("ab,b...->a...", np.linalg.inv(affine[:3, :3]), ddf_world)


def save_displacement(path: Path | str, ddf_voxels: np.ndarray, affine: np.ndarray) -> None:
    """Write a DDF as an ITK displacement field: 5-D NIfTI, intent 1007, LPS mm, float32, on the fixed grid.

    Args:
        path: where to write, ``.nii`` or ``.nii.gz``; written whole or not at all.
        ddf_voxels: ``(3, i, j, k)`` in voxels of the fixed grid, components in index order.
        affine: 4 x 4, the fixed image's, voxel to RAS mm.
    """
    ddf_voxels = np.asarray(ddf_voxels, dtype=np.float64)
    if ddf_voxels.ndim != 4 or ddf_voxels.shape[0] != 3:
        raise ValueError(f"a displacement field is (3, i, j, k) in voxels, this one is {ddf_voxels.shape}")
    lps = np.moveaxis(voxels_to_world(ddf_voxels, affine), 0, -1) * RAS_TO_LPS
    # five axes, as ITK and ANTs write it: the fourth is time
    image = nifti_image(lps[:, :, :, None, :].astype(np.float32), affine)
    image.header.set_intent("vector")
    with atomic_write(path) as temporary:
        nib.save(image, temporary)


def load_displacement(path: Path | str) -> tuple[np.ndarray, np.ndarray]:
    """Read a displacement field: ``(ddf_voxels, affine)``, the DDF ``(3, i, j, k)`` in voxels of its own grid, float32.

    Takes what ITK and ANTs write (intent 1007, LPS) and intent 1006 (RAS).
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: no such file (a displacement field was expected here)")
    try:
        stored = read_nibabel(path)
    except Exception as fault:  # nibabel and gzip raise almost anything at a damaged file
        told = why_unreadable(path, fault)
        raise UserError(f"{path}: cannot be read as a NIfTI displacement field ({told})") from fault
    vectors, affine, intent = stored.array, stored.affine, stored.intent
    if vectors.ndim != 5 or vectors.shape[3:] != (1, 3) or intent not in (VECTOR_LPS, DISPLACEMENT_RAS):
        raise UserError(
            f"{path}: not a displacement field: its shape is {vectors.shape} with NIfTI intent {intent}, expected "
            f"(i, j, k, 1, 3) with intent {VECTOR_LPS}, as medloss, ITK and ANTs write it"
        )
    ras = vectors[:, :, :, 0] * (RAS_TO_LPS if intent == VECTOR_LPS else 1.0)
    return world_to_voxels(np.moveaxis(ras, -1, 0), affine).astype(np.float32), affine
