"""Names and numbers as a reader sees them: units in words, as many digits as tell something."""

from __future__ import annotations

import math
import re
from typing import Any

# Endings of column names that hold a unit, as the metrics files spell them.
UNITS = {"_mm": "mm", "_percent": "%", "_gib": "GiB", "_mib": "MiB", "_seconds": "s", "_mm3": "mm³", "_ml": "ml"}
ACRONYMS = {
    "dice": "Dice",
    "hd95": "HD95",
    "asd": "ASD",
    "tre": "TRE",
    "ncc": "NCC",
    "sdlogj": "SDlogJ",
    "sdlogj_l2r": "SDlogJ (L2R, J+3)",
    "seconds": "time (s)",
    "csf": "CSF",
    "gm": "GM",
    "wm": "WM",
    "n": "n",
    "l2r": "L2R",
    "id": "ID",
}
BRACKETS = re.compile(r"\[[^\]]*\]")
"""An interval: a narrow column breaks before it, not within."""
NO_BREAK = "\N{NO-BREAK SPACE}"


def heading(name: str) -> str:
    """A column's name in words with its unit: ``tre_before_mm`` to "TRE before (mm)"."""
    if name in ACRONYMS:
        return ACRONYMS[name]
    unit = next((ending for ending in UNITS if name.endswith(ending)), "")
    words = name.removesuffix(unit).split("_") if name.islower() else [name.removesuffix(unit)]
    text = " ".join(ACRONYMS.get(word, word) for word in words)
    return f"{text} ({UNITS[unit]})" if unit else text


def cell(value: Any) -> str:
    """A value as text: counts whole, other numbers with three significant digits or more, nothing known as a dash."""
    value = value.item() if hasattr(value, "item") else value  # of NumPy or torch
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    if isinstance(value, float) and math.isinf(value):
        return "∞" if value > 0 else "-∞"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int) or not isinstance(value, float):
        return BRACKETS.sub(lambda found: found.group().replace(" ", NO_BREAK), str(value))
    if value == 0 or abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:.3f}" if 0.0995 <= abs(value) < 1 else f"{value:.2f}" if abs(value) >= 1 else f"{value:.2g}"


def number(value: Any) -> float:
    """A value as a number; NaN where it is none."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return math.nan
