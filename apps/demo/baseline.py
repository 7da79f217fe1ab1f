"""The best that two thresholds can do: the yardstick for the network."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Thresholds(NamedTuple):
    """Below ``low`` is CSF, from ``high`` on white matter, between them grey matter; ``dice`` of the three."""

    low: float
    high: float
    dice: tuple[float, float, float]


def best_thresholds(values: np.ndarray, tissues: np.ndarray, steps: int = 400) -> Thresholds:
    """The pair of thresholds with the highest mean Dice over the three classes, of all pairs on a grid.

    The search sees the very image and reference that it is scored on, and the brain's mask for nothing: no threshold
    chosen in advance can do better.

    Args:
        values: intensities (n,) of the brain's voxels.
        tissues: their classes (n,), 1 to 3.
        steps: the number of steps of the grid from the smallest to the largest intensity.
    """
    values = np.asarray(values, dtype=np.float64)
    edges = np.linspace(values.min(), np.nextafter(values.max(), np.inf), steps + 1)
    counts = np.array([np.histogram(values[tissues == label], edges)[0] for label in (1, 2, 3)])
    below = np.concatenate([np.zeros((3, 1)), counts.cumsum(axis=1)], axis=1)  # (class, edge): voxels under the edge
    low, high = np.triu_indices(steps + 1)
    found = np.array([below[0, low], below[1, high] - below[1, low], below[2, -1] - below[2, high]])
    under = below.sum(axis=0)
    sizes = np.array([under[low], under[high] - under[low], under[-1] - under[high]])
    dice = 2 * found / np.maximum(sizes + below[:, -1:], 1)
    best = dice.mean(axis=0).argmax()
    csf, grey, white = (float(d) for d in dice[:, best])
    return Thresholds(float(edges[low[best]]), float(edges[high[best]]), (csf, grey, white))


def apply_thresholds(image: np.ndarray, brain: np.ndarray, thresholds: Thresholds) -> np.ndarray:
    """The labels (i, j, k) that the thresholds give inside the brain, 0 outside."""
    labels = 1 + (image >= thresholds.low).astype(np.uint8) + (image >= thresholds.high)
    return np.where(brain, labels, 0).astype(np.uint8)
