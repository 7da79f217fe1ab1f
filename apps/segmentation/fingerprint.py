"""What a network was trained on, and a line where a scan lies far outside of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from medloss.apps.segmentation.data_config import Data
from medloss.apps.segmentation.grid import Grid
from medloss.apps.segmentation.scan import Look, percentiles
from medloss.apps.segmentation.volumes import Scanned

TRAINED_ON = "trained_on"
"""The key of a run's description (made_of.json) that holds it."""
FAR = 2.0
"""A spacing or an extent that is so many times larger, or smaller, than any in training."""
FIXED = ("ct", "window")
"""Rules under which intensities have a meaning of their own."""


def fingerprint(looks: Sequence[Look]) -> dict[str, Any]:
    """The range of spacings and extents (mm) per axis, and of the 1st to 99th percentile per channel."""
    spacings = [look.spacing for look in looks]
    extents = [tuple(n * mm for n, mm in zip(look.shape, look.spacing, strict=True)) for look in looks]
    channels = zip(*(look.percentiles for look in looks), strict=True)
    return {
        "spacing_mm": [[min(axis), max(axis)] for axis in zip(*spacings, strict=True)],
        "extent_mm": [[min(axis), max(axis)] for axis in zip(*extents, strict=True)],
        "intensity": [[min(low for low, _, _ in one), max(high for _, _, high in one)] for one in channels],
    }


def strange(trained: Mapping[str, Any] | None, scan: Scanned, grid: Grid, data: Data) -> str:
    """What of a scan lies far outside of what was trained on, in words; empty where nothing does."""
    if not trained:
        return ""
    told = []
    if data.settled_spacing is None or max(grid.spacing) > FAR * max(high for _, high in trained["spacing_mm"]):
        told += _outside("spacing", grid.spacing, trained["spacing_mm"])
    extent = [n * mm for n, mm in zip(grid.turned, grid.spacing, strict=True)]
    told += _outside("extent", extent, trained["extent_mm"])
    rules = data.intensities
    for number, (channel, (low, high)) in enumerate(zip(scan.array, trained["intensity"], strict=True)):
        first, middle, last = percentiles(channel)
        if rules[number].rule in FIXED and not low - (high - low) <= middle <= high + (high - low):
            told.append(f"intensities of {first:.4g} to {last:.4g} (trained on {low:.4g} to {high:.4g})")
        elif first == last:
            told.append(f"one intensity alone, {first:.4g}, in channel {number}")
    return "; ".join(told)


def _outside(what: str, values: Sequence[float], known: Sequence[Sequence[float]]) -> list[str]:
    """``what`` along the axes, where one is far outside of the range that is known of it."""
    far = any(value < low / FAR or value > high * FAR for value, (low, high) in zip(values, known, strict=True))
    given, seen = (" x ".join(texts) for texts in (_texts(values), [f"{low:.3g}-{high:.3g}" for low, high in known]))
    return [f"{what} {given} mm (trained on {seen} mm)"] if far else []


def _texts(values: Sequence[float]) -> list[str]:
    return [f"{value:.3g}" for value in values]
