"""Random changes of the intensities of a patch: noise, blur, brightness, contrast, low resolution, gamma."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import Any

import numpy as np
import torch
from monai.transforms import RandomizableTransform
from numpy.random import RandomState
from torch.nn import functional as F

from medloss.apps.segmentation.volumes import IMAGE


class RandIntensityd(RandomizableTransform):
    """Noise, blur, brightness, contrast, low resolution, and gamma of the image and of its inverse, as in nnU-Net.

    Each is drawn for itself, and for each channel of the image.
    """

    STEPS: tuple[tuple[str, float], ...] = (
        ("noise", 0.1),
        ("blur", 0.1),
        ("brightness", 0.15),
        ("contrast", 0.15),
        ("low_resolution", 0.125),
        ("inverse_gamma", 0.1),
        ("gamma", 0.3),
    )

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        result = dict(data)
        image = torch.as_tensor(result[IMAGE])
        channels = [self._channel(channel) for channel in image]
        result[IMAGE] = torch.stack(channels)
        return result

    def _channel(self, image: torch.Tensor) -> torch.Tensor:
        for name, probability in self.STEPS:
            if self.R.random_sample() < probability:
                image = STEPS[name](image, self.R)
        return image


def noise(image: torch.Tensor, random: RandomState) -> torch.Tensor:
    """Gaussian noise of a variance up to 0.1 of the image's."""
    deviation = float(np.sqrt(random.uniform(0, 0.1))) * float(image.std())
    return image + deviation * torch.from_numpy(random.standard_normal(image.shape).astype(np.float32))


def blur(image: torch.Tensor, random: RandomState) -> torch.Tensor:
    """A Gaussian of 0.5 to 1 voxel."""
    sigma = random.uniform(0.5, 1.0)
    offsets = torch.arange(-3, 4, dtype=torch.float32)
    kernel = torch.exp(-0.5 * (offsets / sigma) ** 2)
    kernel = kernel / kernel.sum()
    result = image[None, None]
    for axis in range(3):
        shape, pads = [1, 1, 1, 1, 1], [0] * 6
        shape[2 + axis] = 7
        pads[2 * (2 - axis)] = pads[2 * (2 - axis) + 1] = 3
        result = F.conv3d(F.pad(result, pads, mode="replicate"), kernel.view(shape))
    return result[0, 0]


def brightness(image: torch.Tensor, random: RandomState) -> torch.Tensor:
    """Times 0.75 to 1.25."""
    return image * random.uniform(0.75, 1.25)


def contrast(image: torch.Tensor, random: RandomState) -> torch.Tensor:
    """The distance from the mean times 0.75 to 1.25, within the range of before."""
    mean, low, high = image.mean(), image.amin(), image.amax()
    return ((image - mean) * random.uniform(0.75, 1.25) + mean).clamp(low, high)


def low_resolution(image: torch.Tensor, random: RandomState) -> torch.Tensor:
    """Every second to every voxel is kept, and the others are interpolated between those."""
    factor = random.uniform(0.5, 1.0)
    small = [max(1, round(size * factor)) for size in image.shape]
    kept = F.interpolate(image[None, None], small, mode="nearest-exact")
    return F.interpolate(kept, image.shape, mode="trilinear", align_corners=False)[0, 0]


def gamma(image: torch.Tensor, random: RandomState) -> torch.Tensor:
    """To the power of 0.7 to 1.5 within the range of before; mean and deviation stay."""
    exponent = random.uniform(0.7, 1.0) if random.random_sample() < 0.5 else random.uniform(1.0, 1.5)
    low, high = image.amin(), image.amax()
    width = (high - low).clamp_min(1e-7)
    powered = ((image - low) / width) ** exponent
    return (powered - powered.mean()) / powered.std().clamp_min(1e-7) * image.std() + image.mean()


def inverse_gamma(image: torch.Tensor, random: RandomState) -> torch.Tensor:
    """:func:`gamma` of the image whose dark voxels are bright."""
    return -gamma(-image, random)


STEPS: dict[str, Callable[[torch.Tensor, RandomState], torch.Tensor]] = {
    step.__name__: step for step in (noise, blur, brightness, contrast, low_resolution, gamma, inverse_gamma)
}
