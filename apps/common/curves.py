"""Curves of a training or an optimisation, one small chart per quantity, as a PNG file."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from medloss.apps.common.output import read_csv
from medloss.apps.common.planes import save_figure

COUNTERS = ("iteration", "step", "epoch")
ASIDE = ("lr", "seconds")
"""Columns that the table keeps, and that say nothing of how well it goes: they get no chart."""
LARGE, SMALL = (5.2, 3.2), (3.6, 2.5)
"""Inches of a chart where there are one or two of them, and where there are more."""


def curves(path: str | Path, values: str | Path | Mapping[str, Sequence[float]], title: str = "") -> Path:
    """One small chart per column that changes, over the one that counts (iteration, step or epoch) or the row number.

    Args:
        path: PNG to write.
        values: a CSV file with a header, or a mapping of column name to numbers; what is missing in a row is left out.
        title: a line above the charts.
    """
    numbers: Mapping[str, Sequence[float]] = values if isinstance(values, Mapping) else read_columns(values)
    columns = {name: np.asarray(column, dtype=float) for name, column in numbers.items()}
    counter = next((name for name in COUNTERS if name in columns), None)
    longest = max((len(v) for v in columns.values()), default=0)
    x = columns[counter] if counter else np.arange(1, longest + 1, dtype=float)
    names = telling(columns)
    across = min(3, max(1, len(names)))
    down = max(1, math.ceil(len(names) / across))
    wide, high = LARGE if len(names) <= 2 else SMALL
    figure = Figure(figsize=(wide * across, high * down + (0.4 if title else 0)), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    if title:
        figure.suptitle(title, fontsize=11, weight="bold", x=0.01, ha="left")
    panels = figure.subplots(down, across, squeeze=False).ravel()
    for panel, name in zip(panels, names, strict=False):
        draw_curve(panel, x, columns[name], name, counter or "row")
    for panel in panels[len(names) :]:
        panel.set_visible(False)
    save_figure(figure, path)
    return Path(path)


def telling(columns: Mapping[str, np.ndarray]) -> list[str]:
    """The columns worth a chart: no counters, none that stands aside, is empty, stays the same or repeats another."""
    names: list[str] = []
    for name, column in columns.items():
        seen = column[np.isfinite(column)]
        same = len(seen) > 1 and np.ptp(seen) == 0
        repeated = any(np.array_equal(columns[other], column, equal_nan=True) for other in names)
        if name not in (*COUNTERS, *ASIDE) and seen.size and not same and not repeated:
            names.append(name)
    return names


def draw_curve(panel: Any, x: np.ndarray, y: np.ndarray, name: str, counter: str) -> None:
    """A faint line of every value, and on long series a bold running mean."""
    here = np.isfinite(y)
    x, y = x[: len(y)][here], y[here]
    long = len(y) > 60
    strength = {"linewidth": 0.8, "alpha": 0.35} if long else {"linewidth": 1.6}
    panel.plot(x, y, color="#0072b2", marker=None if len(y) > 15 else "o", markersize=3, **strength)
    if long:
        width = max(5, len(y) // 25)
        mean = np.convolve(y, np.ones(width) / width, mode="valid")
        panel.plot(x[width // 2 :][: len(mean)], mean, color="#0072b2", linewidth=1.6)
    panel.set_title(f"{name}   last {y[-1]:.4g}", fontsize=9, loc="left")
    panel.set_xlabel(counter, fontsize=8)
    panel.xaxis.set_major_locator(MaxNLocator(integer=True))
    panel.tick_params(labelsize=8)
    panel.spines[["top", "right"]].set_visible(False)
    panel.grid(True, color="#dddddd", linewidth=0.5)


def read_columns(path: str | Path) -> dict[str, list[float]]:
    """The numeric columns of a CSV file; empty cells and words are NaN."""
    rows = read_csv(path)
    columns = {name: [number(row[name]) for row in rows] for name in (rows[0] if rows else ())}
    return {name: values for name, values in columns.items() if np.isfinite(values).any()}


def number(text: str | None) -> float:
    """The cell's number, or NaN."""
    try:
        return math.nan if text is None else float(text)
    except ValueError:
        return math.nan
