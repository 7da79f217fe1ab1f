"""The files of one registered pair, the same after ``pair`` and after ``predict``."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from medloss.apps.common.deformation import describe, inverse_consistency
from medloss.apps.common.fields import save_displacement
from medloss.apps.common.images import Volume, like_dtype, save_volume
from medloss.apps.common.output import write_csv, write_json
from medloss.apps.registration.geometry import fold_in_initial, pull_side, seen
from medloss.apps.registration.intensity import intensity_range, rescale
from medloss.apps.registration.losses import RegistrationLoss
from medloss.apps.registration.measure import (
    DEFINITIONS,
    case_rows,
    landmark_errors,
    overlap_rows,
    peak_gib,
    regions,
    similarity,
)
from medloss.apps.registration.result import PairResult


class Pair(NamedTuple):
    """Two images on their own grids, with integer label maps ``(i, j, k)`` or masks ``(C, i, j, k)`` or None.

    ``points``: corresponding landmarks of the fixed and of the moving image, ``(n, 3)`` each, RAS mm.
    """

    name: str
    fixed: Volume
    moving: Volume
    fixed_label: Tensor | None = None
    moving_label: Tensor | None = None
    classes: tuple[int, ...] | None = None
    points: tuple[np.ndarray, np.ndarray] | None = None


def write_pair(
    folder: Path, pair: Pair, result: PairResult, start: np.ndarray, loss: RegistrationLoss, seconds: float
) -> dict[str, Any]:
    """Write moved image and label, field, inverse, Jacobian, preview, ``metrics.csv`` and ``.json``; returns that one.

    Args:
        start: the map between the worlds (4 x 4) that *before* means.
    """
    fixed, moving = pair.fixed, pair.moving
    numbers, jacobian = describe(result.ddf)
    before = fold_in_initial(torch.zeros_like(result.ddf), start, fixed.affine)
    at_first = pull_side(as_tensor(moving), pair.moving_label, moving.affine, before, fixed.affine)
    save_volume(folder / "moved.nii.gz", like_dtype(result.moved.numpy(), moving.array.dtype), fixed)
    save_displacement(folder / "field.nii.gz", result.ddf.numpy(), fixed.affine)
    save_volume(folder / "jacobian.nii.gz", jacobian.astype(np.float32), fixed)
    save_displacement(folder / "inverse_field.nii.gz", result.inverse_ddf.numpy(), moving.affine)
    metrics: dict[str, Any] = {"case": pair.name, "labels": []}
    if result.chosen is not None:
        metrics["image_loss"] = result.chosen.why
    if result.moved_label is not None:
        save_volume(folder / "moved_label.nii.gz", _channels_last(result.moved_label), fixed)
        metrics["labels"] = _overlaps(pair, result, at_first.label)
    if pair.points is not None:
        metrics |= landmark_errors(result.ddf, before, pair.points, fixed.affine)
    metrics |= numbers | _consistency(result, fixed.affine, moving.affine)
    limits = intensity_range(as_tensor(moving))
    first = rescale(at_first.image, limits), at_first.inside
    last = rescale(result.moved, limits), seen(moving.array.shape, moving.affine, result.ddf, fixed.affine)
    metrics |= similarity(rescale(as_tensor(fixed)), first, last, loss)
    metrics |= {"seconds": seconds, "peak_gib": peak_gib()}
    preview(folder / "preview.png", pair, at_first.image.numpy(), result)
    write_csv(folder / "metrics.csv", case_rows(metrics))
    write_json(folder / "metrics.json", {**metrics, "definitions": _definitions(metrics)})
    return metrics


def as_tensor(volume: Volume) -> Tensor:
    """The intensities as float32."""
    return torch.from_numpy(np.ascontiguousarray(volume.array, dtype=np.float32))


def _channels_last(label: Tensor) -> np.ndarray:
    array = label.numpy()
    if array.max(initial=0) < 256 and array.min(initial=0) >= 0:
        array = array.astype(np.uint8)
    return array if array.ndim == 3 else np.moveaxis(array, 0, -1)


def _overlaps(pair: Pair, result: PairResult, at_first: Tensor | None) -> list[dict[str, Any]]:
    if pair.fixed_label is None or at_first is None or result.moved_label is None:
        return []
    true, first, last = (regions(label, pair.classes) for label in (pair.fixed_label, at_first, result.moved_label))
    return overlap_rows(true, first, last, pair.fixed.spacing)


def _consistency(result: PairResult, fixed_affine: np.ndarray, moving_affine: np.ndarray) -> dict[str, float]:
    error = inverse_consistency(result.ddf, result.inverse_ddf, fixed_affine, moving_affine)
    return {"inverse_consistency_mm": float(np.nanmean(error)) if np.isfinite(error).any() else float("nan")}


def preview(path: Path, pair: Pair, before: np.ndarray, result: PairResult) -> None:
    """Fixed, moving, moved, checkerboard, grid and volume change as a PNG."""
    from medloss.apps.common.figures import registration_preview

    images = (np.asarray(pair.fixed.array, dtype=np.float32), before, result.moved.numpy())
    registration_preview(
        path, *images, result.ddf.numpy(), pair.fixed.spacing, title=pair.name, affine=pair.fixed.affine
    )


def _definitions(metrics: dict[str, Any]) -> dict[str, str]:
    keys = {*metrics, *(key for row in metrics["labels"] for key in row)}
    return {key: text for key, text in DEFINITIONS.items() if key in keys}
