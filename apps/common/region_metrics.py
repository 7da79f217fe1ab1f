"""Agreement of two label maps, class by class: MONAI's metrics, with one meaning for empty regions."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

MEASURES = ("dice", "hd95_mm", "asd_mm", "surface_dice")
VOLUMES = ("reference_ml", "prediction_ml", "volume_error_ml")
STATES = ("found", "missed", "invented", "absent")
"""Of a region: in both masks, in the reference alone, in the prediction alone, in neither."""


def dice(prediction: torch.Tensor, reference: torch.Tensor, classes: int) -> list[float]:
    """Dice of each foreground channel of two index maps (i, j, k); NaN where both are empty, 0 where one is."""
    from monai.metrics import compute_dice  # seconds, for who has labels

    found = compute_dice(
        prediction[None, None], reference[None, None], include_background=False, ignore_empty=True, num_classes=classes
    )[0].tolist()
    present = torch.bincount(prediction.flatten().long(), minlength=classes)[1:] > 0
    return [0.0 if math.isnan(value) and there else value for value, there in zip(found, present.tolist(), strict=True)]


def region_state(prediction: np.ndarray, reference: np.ndarray) -> str:
    """One of :data:`STATES` of two binary regions."""
    found, there = bool(prediction.any()), bool(reference.any())
    return ("absent", "invented", "missed", "found")[2 * there + found]


def region_volumes(prediction: np.ndarray, reference: np.ndarray, spacing: Sequence[float]) -> dict[str, float]:
    """The volumes of two binary regions (i, j, k) in ml, and prediction less reference."""
    voxel = math.prod(float(size) for size in spacing) / 1000
    true, found = (int(np.count_nonzero(each)) * voxel for each in (reference, prediction))
    return dict(zip(VOLUMES, (true, found, found - true), strict=True))


def diagonal_mm(shape: Sequence[int], spacing: Sequence[float]) -> float:
    """The diagonal of an image in mm: the largest distance that there is in it."""
    return math.hypot(*(count * size for count, size in zip(shape, spacing, strict=True)))


def region_measures(
    prediction: np.ndarray, reference: np.ndarray, spacing: Sequence[float], tolerance: float = 1.0
) -> dict[str, float]:
    """Dice, HD95, ASD (mm) and surface Dice at ``tolerance`` mm of two binary regions (i, j, k).

    The surface Dice weighs each surface element by its area (Nikolov et al. 2018, as their package surface-distance
    does it). HD95 and ASD are those of MONAI: distances of voxels at the border, all of one weight.

    Two empty regions agree on nothing that can be measured: all NaN. With one empty region the overlaps are 0 and the
    distances infinite.
    """
    from monai import metrics  # seconds, for who has labels

    if not prediction.any() or not reference.any():
        nothing = not prediction.any() and not reference.any()
        return dict(zip(MEASURES, [math.nan] * 4 if nothing else [0.0, math.inf, math.inf, 0.0], strict=True))
    box = _box(prediction | reference)
    found, true = (torch.from_numpy(np.ascontiguousarray(each[box]))[None, None] for each in (prediction, reference))
    options: dict[str, Any] = {"include_background": True, "spacing": [float(size) for size in spacing]}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MONAI warns of single-channel input, which is meant here
        values = (
            metrics.compute_dice(found, true, include_background=True),
            metrics.compute_hausdorff_distance(found, true, percentile=95, **options),
            metrics.compute_average_surface_distance(found, true, symmetric=True, **options),
            metrics.compute_surface_dice(found, true, class_thresholds=[tolerance], use_subvoxels=True, **options),
        )
    return {name: float(value) for name, value in zip(MEASURES, values, strict=True)}


def _box(region: np.ndarray) -> tuple[slice, ...]:
    """The smallest box around a region, one voxel wider: surfaces and distances do not depend on what lies outside."""
    occupied = [np.flatnonzero(region.any(axis=others)) for others in ((1, 2), (0, 2), (0, 1))]
    return tuple(slice(max(0, found[0] - 1), found[-1] + 2) for found in occupied)
