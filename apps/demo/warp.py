"""A known smooth warp: a random velocity field, integrated, so that it folds nowhere and its size is as asked."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from scipy.ndimage import gaussian_filter

from medloss.apps.registration.geometry import grid_points, pull
from medloss.apps.registration.pyramid import coarser_shape, grid_spacing, resize_field
from medloss.apps.registration.transform import ToDisplacement

SMOOTHNESS_MM = 24.0  # standard deviation of the Gaussian that smooths the random velocities
MEAN_MM = 6.3  # mean displacement inside the brain
GRID_MM = 4.0  # voxel size on which the velocities are drawn and integrated


def random_warp(
    brain: np.ndarray,
    spacing: Sequence[float],
    seed: int,
    mean_mm: float = MEAN_MM,
    smoothness_mm: float = SMOOTHNESS_MM,
) -> torch.Tensor:
    """A random diffeomorphic displacement (3, i, j, k) in voxels; its mean length over the brain is ``mean_mm``."""
    random = np.random.RandomState(seed)
    coarse = coarser_shape(brain.shape, spacing, GRID_MM)  # so smooth a field needs no finer grid
    steps = grid_spacing(brain.shape, spacing, coarse)
    sigma = [smoothness_mm / step for step in steps]
    noise = np.stack([gaussian_filter(random.normal(size=coarse), sigma) / step for step in steps])
    velocity = torch.from_numpy(noise.astype(np.float32))[None]
    integrate = ToDisplacement("dvf", integration_steps=7)
    velocity /= velocity.abs().max()
    for _ in range(6):  # integration changes the length a little, so the scale is found step by step
        ddf = resize_field(integrate(velocity), brain.shape)[0]
        velocity *= mean_mm / mean_length(ddf, spacing, brain)
    return resize_field(integrate(velocity), brain.shape)[0]


def mean_length(ddf: torch.Tensor, spacing: Sequence[float], where: np.ndarray) -> float:
    """Mean length in mm of the displacements (3, i, j, k; voxels) at the voxels ``where``."""
    lengths = (ddf * ddf.new_tensor(spacing).reshape(3, 1, 1, 1)).norm(dim=0)
    return float(lengths[torch.as_tensor(where)].mean())


def warp(image: np.ndarray, ddf: torch.Tensor, mode: str = "bilinear") -> np.ndarray:
    """What the image (i, j, k) shows at ``x + ddf(x)``: the direction in which `register` reports its displacement."""
    volume = torch.as_tensor(np.asarray(image, dtype=np.float32))[None]
    return pull(volume, np.eye(4), grid_points(ddf.shape[1:]) + ddf, mode)[0].numpy()
