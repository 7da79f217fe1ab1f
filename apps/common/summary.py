"""Summaries of measurements: mean, median, spread and a bootstrap interval, each with its definition."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

DEFINITIONS = {
    "dice": "Dice overlap 2|A and B| / (|A| + |B|), 0 to 1, higher is better; not defined when both regions are empty",
    "hd95_mm": "95th percentile of the surface distances, the larger of both directions, in mm, lower is better",
    "asd_mm": "average symmetric surface distance in mm, lower is better",
    "surface_dice": "share of the area of both surfaces that lies within the tolerance of the other one, by elements "
    "smaller than a voxel (Nikolov et al. 2018), 0 to 1, higher is better",
    "reference_ml": "volume of the reference in ml",
    "prediction_ml": "volume of the prediction in ml",
    "volume_error_ml": "volume of the prediction less that of the reference, in ml, best at 0",
    "tre_mm": "target registration error: mean distance of corresponding points in mm, lower is better",
    "folding_percent": "share of voxels whose Jacobian determinant is not positive, in percent, lower is better",
    "seconds": "wall time in seconds",
    "peak_gib": "peak memory in GiB",
}


MEAN_AND_INTERVAL = "mean [95 % interval]"
"""What a cell of a table of means holds, for its heading."""


def summarise(rows: Sequence[Mapping[str, Any]], keys: Sequence[str], seed: int = 0) -> dict[str, dict[str, Any]]:
    """Mean, median, standard deviation, n and a 95 % bootstrap interval of the mean for each key over ``rows``.

    Infinite values (a missed region is infinitely far) are left out of all of these and counted as ``infinite``, so
    that ``n`` of ``of`` were measured. Values that are missing or NaN (nothing was there to be found) are
    ``undefined``. The interval is that of `scipy.stats.bootstrap`; it resamples the rows, so give one row per
    independent case. A fixed seed makes it repeatable.
    """
    summary = {}
    for key in keys:
        values = np.array([_number(row.get(key)) for row in rows], dtype=np.float64)
        finite = values[np.isfinite(values)]
        infinite = int(np.isinf(values).sum())
        counts = {"infinite": infinite, "of": finite.size + infinite, "undefined": int(np.isnan(values).sum())}
        summary[key] = {**_statistics(finite, seed), **counts}
        if key in DEFINITIONS:
            summary[key]["definition"] = DEFINITIONS[key]
    return summary


def mean_and_interval(entry: Mapping[str, Any]) -> str:
    """One entry of a summary for a table: the mean and its interval, or a dash where nothing was measured.

    Where regions were missed, it says of how many the mean is: ``4.210 [2.100, 6.300] of 25/41``.
    """
    infinite = entry.get("infinite", 0)
    of = f" of {entry['of'] - infinite}/{entry['of']}" if infinite else ""
    if entry["mean"] is None:
        return f"-{of}"
    interval = "" if entry["interval95"] is None else " [{:.3f}, {:.3f}]".format(*entry["interval95"])
    return f"{entry['mean']:.3f}{interval}{of}"


def _statistics(values: np.ndarray, seed: int) -> dict[str, Any]:
    if not values.size:
        return {"n": 0, "mean": None, "median": None, "std": None, "interval95": None}
    return {
        "n": int(values.size),
        "mean": float(values.mean()),
        "median": float(np.median(values)),
        "std": float(values.std(ddof=1)) if values.size > 1 else 0.0,
        "interval95": _bootstrap(values, seed) if values.size > 1 else None,
    }


def _bootstrap(values: np.ndarray, seed: int, resamples: int = 2000) -> list[float]:
    """Percentile interval of the mean: it always exists, unlike the bias-corrected one on constant data."""
    from scipy.stats import bootstrap  # half a second, for who asks for an interval

    drawn = np.random.default_rng(seed)
    found = bootstrap((values,), np.mean, n_resamples=resamples, method="percentile", random_state=drawn)
    return [float(limit) for limit in found.confidence_interval]


def _number(value: Any) -> float:
    return float("nan") if value in (None, "") else float(value)
