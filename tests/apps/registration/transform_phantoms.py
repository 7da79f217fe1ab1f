"""Grids, fields and affine maps for the tests of transform files, and ITK's reading of such files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from registration_phantoms import SHAPE, oblique, smooth
from scipy.spatial.transform import Rotation

from medloss.apps.common.itk_runtime import import_itk
from medloss.apps.registration.spatial import Affine, Field, Grid

FLIP = np.array([-1.0, -1.0, 1.0])
"""RAS to LPS, and back."""

KEPT: list[np.ndarray] = []
"""Voxels that ITK looks at without owning them."""


def far_axes() -> np.ndarray:
    """Axes in another order, one flipped, anisotropic, half a metre off the origin."""
    affine = np.eye(4)
    affine[:3, :3] = np.array([[0, -0.8, 0], [0, 0, 2.4], [1.3, 0, 0]])
    affine[:3, 3] = (480.0, -300.0, 95.0)
    return affine


AFFINES = {"oblique": oblique(), "flipped": oblique(flip=True), "far": far_axes()}


def a_grid(name: str) -> Grid:
    return Grid(SHAPE, AFFINES[name])


def a_field(grid: Grid, seed: int = 0, amplitude: float = 3.0) -> Field:
    """A smooth displacement of at most some voxels of about 1.5 mm."""
    return Field(torch.tensor(smooth((3, *grid.shape), 1.5 * amplitude, seed, sigma=4.0)), grid.affine)


def an_affine(grid: Grid, seed: int = 0) -> Affine:
    """A rotation by some degrees, a scaling and a shear about the middle of a grid, and a shift."""
    random = np.random.default_rng(seed)
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("xyz", [8, -5, 11], degrees=True).as_matrix()
    matrix[:3, :3] += 0.05 * random.standard_normal((3, 3))
    centre = (grid.affine @ [*(0.5 * (np.array(grid.shape) - 1)), 1])[:3]
    matrix[:3, 3] = centre - matrix[:3, :3] @ centre + random.uniform(-2, 2, 3)
    return Affine(matrix)


def points_in(grid: Grid, margin: float = 4.0, count: int = 200) -> torch.Tensor:
    """Points within a grid, ``(3, count)``, RAS mm."""
    sizes = np.array(grid.shape)[:, None]
    voxels = margin + np.random.default_rng(5).random((3, count)) * (sizes - 1 - 2 * margin)
    return torch.tensor(grid.affine[:3, :3] @ voxels + grid.affine[:3, 3:])


def itk_transforms() -> Any:
    """ITK, where it reads transform files."""
    pytest.importorskip("itk")
    itk = import_itk()
    try:
        _ = itk.TransformFileReaderTemplate, itk.DisplacementFieldTransform
    except (AttributeError, KeyError):
        pytest.skip("ITK's transforms need itk-numerics beside itk-io")
    return itk


def by_itk(transform: Any, points: torch.Tensor) -> np.ndarray:
    """RAS points through a transform of ITK."""
    lps = points.numpy().T * FLIP
    return (
        np.array([list(transform.TransformPoint([float(value) for value in each])) for each in lps]).T * FLIP[:, None]
    )


def read_by_itk(path: Path) -> Any:
    """A transform or a displacement field, read by ITK alone."""
    itk = itk_transforms()
    if path.name.endswith((".nii", ".nii.gz", ".mha", ".nrrd")):
        read = itk.imread(str(path), itk.Vector[itk.F, 3])
        values = itk.array_from_image(read).astype(np.float64)
        KEPT.append(values)
        field = itk.image_view_from_array(values, ttype=itk.Image[itk.Vector[itk.D, 3], 3])
        field.CopyInformation(read)
        transform = itk.DisplacementFieldTransform[itk.D, 3].New()
        transform.SetDisplacementField(field)
        return transform
    return itk.transformread(str(path))[0]
