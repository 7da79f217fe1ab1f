"""Colours of labels, and the legend that names them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.colors import to_rgba
from matplotlib.patches import Patch

# Okabe and Ito's eight, which colour-blind readers tell apart too. Then each is, of a grid of hues, saturations and
# brightnesses, the one that lies farthest in OKLab from all before it, from grey, and from the colour of differences:
# of all 48 no two are nearer than 0.089.
LABEL_COLOURS = (
    *("#56b4e9", "#d55e00", "#f0e442", "#009e73", "#cc79a7", "#e69f00", "#0072b2", "#ffffff"),
    *("#8c0e8c", "#d919ff", "#6619ff", "#19ffd9", "#19ff19", "#8c380e", "#ffa6ff", "#77c750", "#ffc3a6", "#6680ff"),
    *("#a6e1ff", "#9f50c7", "#c71450", "#ff66e5", "#8c8c0e", "#ff8066", "#81c7b0", "#745b8c", "#b5a6ff", "#1919ff"),
    *("#5050c7", "#c714a9", "#8c620e", "#818dc7", "#0e8c0e", "#b5ffa6", "#c79881", "#8c3862", "#b266ff", "#ff1919"),
    *("#1966ff", "#c7c750", "#19d9ff", "#b3ff19", "#8b14c7", "#38548c", "#fff0a6", "#c7508b", "#ff19b3", "#a6fff0"),
)


def colour(order: int) -> str:
    """The colour of the n-th label; the 49th has that of the first."""
    return LABEL_COLOURS[order % len(LABEL_COLOURS)]


def colours(values: Sequence[int], names: Mapping[int, str] | None = None) -> dict[int, str]:
    """The colour of each label value. With ``names`` it follows the order of those, so that it is the same in every
    picture of a data set, whatever labels a case has.
    """
    known = sorted(names or ())
    order = [*known, *sorted(set(values) - set(known))]
    return {value: colour(order.index(value)) for value in values}


def paint(section: np.ndarray, shades: Mapping[int, str], opacity: float = 0.6) -> np.ndarray:
    """Labels (up, across) as RGBA by the colour of each value, all others clear."""
    picture = np.zeros((*section.shape, 4))
    for value in np.unique(section).tolist():
        if value in shades:
            picture[section == value] = to_rgba(shades[value], opacity)
    return picture


def legend_of(shades: Mapping[int, str], names: Mapping[int, str] | None = None) -> list[Patch]:
    """Entries of a legend: the colour and the name of each label."""
    return [Patch(color=shade, label=(names or {}).get(value, f"label {value}")) for value, shade in shades.items()]
