"""What is simulated on the template: a smooth multiplicative bias field and noise, as a scanner adds them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

NOISE = 0.1  # standard deviation; the template's intensities run from 0 to about 1
BIAS = 0.3  # the field runs within 1 - BIAS and 1 + BIAS
WAVES = 3  # half waves along each axis, less one, that make up the field
COARSE = 8  # voxels between the places where the field's largest value is looked for


class BiasField:
    """A random smooth field over a volume of ``shape``, which can be evaluated on any box of it."""

    def __init__(self, shape: Sequence[int], strength: float, random: np.random.RandomState):
        self.waves = [np.cos(np.pi * np.outer(np.arange(WAVES), (np.arange(size) + 0.5) / size)) for size in shape]
        self.weights = random.normal(size=(WAVES,) * 3)
        self.weights[0, 0, 0] = 0  # a constant would only scale the image
        self.scale = strength / np.abs(self._sum([wave[:, ::COARSE] for wave in self.waves])).max()

    def __call__(self, box: Sequence[slice] = (slice(None),) * 3) -> np.ndarray:
        """The factor at each voxel of the box."""
        return 1 + self.scale * self._sum([wave[:, part] for wave, part in zip(self.waves, box, strict=True)])

    def _sum(self, waves: Sequence[np.ndarray]) -> np.ndarray:
        return np.einsum("abc,ai,bj,ck->ijk", self.weights, *waves, optimize=True)


def corrupt(
    image: np.ndarray, brain: np.ndarray, random: np.random.RandomState, box: Sequence[slice] = (slice(None),) * 3
) -> np.ndarray:
    """A box of the image under a fresh bias field (of the whole volume) and noise; float32, zero outside the brain."""
    biased = image[tuple(box)] * BiasField(image.shape, BIAS, random)(box)
    noisy = biased + random.normal(0, NOISE, biased.shape)
    return (noisy * brain[tuple(box)]).astype(np.float32)
