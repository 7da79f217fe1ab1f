"""Small volumes with a known displacement between them."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import torch
from scipy.ndimage import gaussian_filter
from scipy.spatial.transform import Rotation

from medloss.apps.common.itk_runtime import import_itk
from medloss.apps.registration.geometry import pull_moving

SHAPE = (24, 22, 20)


def oblique(flip: bool = False) -> np.ndarray:
    """4 x 4: rotated, 1 x 1.5 x 2 mm, shifted; with a flipped first axis on request."""
    affine = np.eye(4)
    scale = np.diag([-1.0 if flip else 1.0, 1.5, 2.0])
    affine[:3, :3] = Rotation.from_euler("xyz", [20, -35, 50], degrees=True).as_matrix() @ scale
    affine[:3, 3] = (-31.0, 12.5, 7.0)
    return affine


def smooth(shape: tuple[int, ...], amplitude: float, seed: int, sigma: float = 2.0) -> np.ndarray:
    """Smooth noise over the last three axes, at most ``amplitude``, float32."""
    sigmas = (0,) * (len(shape) - 3) + (sigma,) * 3
    noise = gaussian_filter(np.random.default_rng(seed).standard_normal(shape), sigmas)
    return (amplitude * noise / np.abs(noise).max()).astype(np.float32)


def blobs(shape: tuple[int, ...] = SHAPE, seed: int = 0) -> np.ndarray:
    """An image to register: texture that fades to 0 at the border, 0 to 100."""
    window = np.ones(shape)
    for axis, size in enumerate(shape):
        line = np.clip(2.5 * np.sin(np.pi * (np.arange(size) + 0.5) / size), 0, 1)
        window = window * line.reshape([-1 if other == axis else 1 for other in range(3)])
    return ((smooth(shape, 50.0, seed) + 50.0) * window).astype(np.float32)


def warped_pair(seed: int = 0, amplitude: float = 2.0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """``fixed``, ``moving`` ``(i, j, k)`` and the true DDF ``(3, i, j, k)`` in voxels from one to the other."""
    moving, truth = torch.tensor(blobs(seed=seed)), torch.tensor(smooth((3, *SHAPE), amplitude, seed + 1, sigma=5.0))
    return pull_moving(moving[None], np.eye(4), truth, np.eye(4))[0], moving, truth


def save(path: Path, array: np.ndarray, affine: np.ndarray | None = None) -> Path:
    """Write a NIfTI and give its path back."""
    path.parent.mkdir(parents=True, exist_ok=True)
    affine = np.eye(4) if affine is None else affine
    image = nib.Nifti1Image(np.asarray(array), affine)
    image.set_qform(affine, code=1)
    nib.save(image, path)
    return path


def load(path: Path) -> np.ndarray:
    """The voxels of a NIfTI."""
    return np.asarray(nib.load(path).dataobj)


def warp_by_itk(image_path, field_path) -> np.ndarray:
    """The image file through the field file by ITK, on the field's grid."""
    itk = import_itk()

    image = itk.imread(str(image_path), itk.F)
    field = itk.imread(str(field_path), itk.Vector[itk.F, 3])
    warper = itk.WarpImageFilter[type(image), type(image), type(field)].New(Input=image, DisplacementField=field)
    warper.SetOutputParametersFromImage(field)
    warper.Update()
    return itk.array_from_image(warper.GetOutput()).transpose(2, 1, 0)
