"""A small data set for the benchmarks of the segmentation: an organ, a thin vessel in it and a few small lesions."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
from scipy.ndimage import gaussian_filter

SHAPE = (36, 40, 36)
ORGAN, VESSEL, LESION = 1, 2, 3


def case(seed: int, shape: tuple[int, int, int] = SHAPE) -> tuple[np.ndarray, np.ndarray]:
    """Image and label (i, j, k): lesions are about a hundredth of the organ; noise and a smooth bias lie over all."""
    random = np.random.default_rng(seed)
    grid = np.moveaxis(np.indices(shape).astype(float), 0, -1)
    size = np.asarray(shape, float)
    centre = size / 2 + random.normal(0, 1.5, 3)
    label = np.zeros(shape, np.uint8)
    label[(((grid - centre) / (size * random.uniform(0.28, 0.36, 3))) ** 2).sum(-1) < 1] = ORGAN
    bent = centre[:2] + np.stack([3 * np.sin(grid[0, 0, :, 2] / 5 + random.uniform(0, 6)), 0 * grid[0, 0, :, 2]], -1)
    away = np.hypot(*np.moveaxis(grid[..., :2] - bent, -1, 0))
    label[(away < 1.5) & (label == ORGAN)] = VESSEL
    inside = np.argwhere(label == ORGAN)
    for place in inside[random.integers(len(inside), size=3)]:
        label[(((grid - place) ** 2).sum(-1) < random.uniform(1.5, 2.5) ** 2) & (label > 0)] = LESION
    levels = np.array([0.0, 1.0, 1.9, 0.3])
    smooth = gaussian_filter(random.normal(0, 1, shape), 8)
    image = gaussian_filter(levels[label], 0.6) + 0.4 * smooth / smooth.std() + random.normal(0, 0.35, shape)
    return image.astype(np.float32), label


def write(folder: Path, cases: int) -> Path:
    """``images/`` and ``labels/`` of so many cases, in voxels of 1 mm."""
    for number in range(cases):
        for kind, array in zip(("images", "labels"), case(number), strict=True):
            (folder / kind).mkdir(parents=True, exist_ok=True)
            nib.save(nib.Nifti1Image(array, np.eye(4)), folder / kind / f"case_{number:03d}.nii.gz")
    return folder
