"""How a measure spreads over the cases: a dot for each, a row for each label, as a PNG file."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from medloss.apps.common.planes import save_figure

NOW, BEFORE = "#0072b2", "#999999"


def spread(
    path: str | Path,
    values: Mapping[str, Sequence[float]],
    name: str,
    before: Mapping[str, Sequence[float]] | None = None,
) -> Path | None:
    """Dots of all cases with a line at their mean, a row for each label; grey above them those of before.

    Args:
        path: PNG to write.
        values: label to the measure of each case; NaN is left out.
        name: what is measured, for the axis: ``Dice``.
        before: the same before the registration.
    Returns: the path, or None where no label has a number.
    """
    rows = {label: finite for label, numbers in values.items() if len(finite := _finite(numbers))}
    if not rows:
        return None
    figure = Figure(figsize=(7.5, 1.0 + 0.32 * len(rows)), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    panel = figure.subplots()
    apart = 0.0 if before is None else 0.18
    for place, (label, numbers) in enumerate(rows.items()):
        if before is not None and len(earlier := _finite(before.get(label, ()))):
            _dots(panel, earlier, place - apart, BEFORE, "before" if place == 0 else "")
        _dots(panel, numbers, place + apart, NOW, "after" if place == 0 else "")
    panel.set_yticks(range(len(rows)), list(rows))
    panel.set_ylim(len(rows) - 0.5, -0.5)
    panel.set_xlabel(f"{name} of each case; the line is the mean", fontsize=9)
    panel.tick_params(labelsize=8)
    panel.spines[["top", "right"]].set_visible(False)
    panel.grid(True, axis="x", color="#dddddd", linewidth=0.5)
    if before is not None:
        figure.legend(loc="outside upper right", fontsize=8, ncols=2, frameon=False)
    save_figure(figure, path)
    return Path(path)


def _finite(numbers: Sequence[float]) -> np.ndarray:
    return np.array([number for number in numbers if math.isfinite(number)], float)


def _dots(panel: Any, numbers: np.ndarray, height: float, colour: str, told: str) -> None:
    panel.plot(numbers, np.full(len(numbers), height), "o", color=colour, alpha=0.45, markersize=5, markeredgewidth=0)
    panel.plot([numbers.mean()] * 2, [height - 0.16, height + 0.16], color=colour, linewidth=2.2, label=told or None)
