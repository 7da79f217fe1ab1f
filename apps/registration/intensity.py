"""Intensities: read with care, and brought to a common scale."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from torch import Tensor

from medloss.apps.common.errors import UserError
from medloss.apps.common.images import Volume, load_image
from medloss.apps.common.reading import DEFAULT, Reading


def load_intensities(path: Path, reading: Reading = DEFAULT) -> Volume:
    """Read an image that can be registered: 3D, finite, not constant, at least 4 voxels along each axis."""
    volume = load_image(path, reading)
    if min(volume.array.shape) < 4:
        raise UserError(f"{path} has shape {volume.array.shape}, expected 3D and at least 4 voxels along each axis")
    if volume.array.min() == volume.array.max():
        raise UserError(f"{path} has the value {volume.array.flat[0]:g} everywhere: there is nothing to register")
    return volume


def intensity_range(image: Tensor) -> tuple[float, float]:
    """The 0.5th and 99.5th percentile; of a large image a sample of about a million voxels decides.

    Smallest and largest value where these two are equal: an image that is empty but for a few voxels.
    """
    values = image.double().flatten()
    low, high = np.percentile(values[:: max(1, values.numel() // 10**6)].cpu().numpy(), [0.5, 99.5])
    if low == high:
        low, high = float(values.min()), float(values.max())
    return float(low), float(high)


def rescale(image: Tensor, limits: tuple[float, float] | None = None) -> Tensor:
    """Intensities with the ``limits`` (the image's own `intensity_range` by default) at 0 and 1, not clipped,
    float32.
    """
    low, high = limits or intensity_range(image)
    return ((image.double() - low) / max(high - low, 1e-12)).float()
