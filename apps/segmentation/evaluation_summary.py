"""What an evaluation found, in numbers: per label and over the labels, and as a table of text."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from medloss.apps.common.region_metrics import MEASURES
from medloss.apps.common.summary import mean_and_interval, summarise

MEAN = "mean"
SUMMARISED = (*MEASURES, "volume_error_ml")
COUNTED = ("missed", "invented", "absent")
MOST_NAMES = 10

Row = Mapping[str, Any]


class Evaluation(NamedTuple):
    """``rows``: one per case and label; ``summary``: per label and over the labels' mean of each case; ``missing``: the
    references without a prediction.
    """

    rows: list[dict[str, Any]]
    summary: dict[str, Any]
    missing: list[str]

    def table(self) -> str:
        """The summary as text: a line per label with mean and 95 % interval."""
        lines = _aligned(label_rows(self.summary))
        if self.missing:
            count = len(self.missing) + self.summary["cases"]
            lines.append(
                f"{len(self.missing)} of {count} references have no prediction and are not in the table: "
                f"{', '.join(self.missing[:MOST_NAMES])}{', ...' * (len(self.missing) > MOST_NAMES)}"
            )
        return "\n".join(lines)


def label_rows(summary: Row) -> list[dict[str, Any]]:
    """One row per label: how often it was there, missed and invented, and each measure with its interval."""
    return [
        {
            "label": label,
            "n": entry["dice"]["n"],
            **{name: entry[name] for name in COUNTED[:2]},
            **{name: mean_and_interval(entry[name]) for name in SUMMARISED},
        }
        for label, entry in summary["labels"].items()
    ]


def summarise_rows(rows: Sequence[Row]) -> dict[str, Any]:
    """Per label, and with several labels over the mean of each case: each measure, and the number of each state."""
    labels = list(dict.fromkeys(row["label"] for row in rows))
    found = {label: _of_rows([row for row in rows if row["label"] == label]) for label in labels}
    if len(labels) > 1:
        whole = summarise(case_means(rows), SUMMARISED)
        for name, entry in whole.items():  # of how many regions, not of how many cases
            entry |= {count: sum(each[name][count] for each in found.values()) for count in ("of", "infinite")}
        found[MEAN] = {**whole, **_states(rows)}
    return found


def case_means(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Per case the mean over its labels, so that the interval resamples independent cases.

    Distances of missed labels are left out, those of the others kept; of the volume error, the size is averaged.
    """
    cases: dict[str, list[Row]] = {}
    for row in rows:
        cases.setdefault(row["case"], []).append(row)
    means = []
    for case, group in cases.items():
        finite = {name: [row[name] for row in group if math.isfinite(row[name])] for name in SUMMARISED}
        finite["volume_error_ml"] = [abs(value) for value in finite["volume_error_ml"]]
        averages = {name: float(np.mean(values)) if values else math.nan for name, values in finite.items()}
        means.append({"case": case, **averages})
    return means


def _of_rows(rows: Sequence[Row]) -> dict[str, Any]:
    return {**summarise(rows, SUMMARISED), **_states(rows)}


def _states(rows: Sequence[Row]) -> dict[str, int]:
    counts = Counter(row["state"] for row in rows)
    return {state: counts[state] for state in COUNTED}


def _aligned(rows: Sequence[Row]) -> list[str]:
    """Rows as lines of text, the first column on the left, all others on the right."""
    cells = [list(rows[0]), *([str(value) for value in row.values()] for row in rows)] if rows else []
    widths = [max(len(line[column]) for line in cells) for column in range(len(cells[0]) if cells else 0)]
    return [
        "  ".join(text.rjust(width) if column else text.ljust(width) for column, (text, width) in enumerate(pairs))
        for pairs in (list(zip(line, widths, strict=True)) for line in cells)
    ]
