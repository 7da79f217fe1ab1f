"""``medloss register evaluate``: the metrics of all pairs in a folder as one table, with intervals."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from medloss.apps.common.errors import UserError
from medloss.apps.common.output import write_csv, write_json
from medloss.apps.common.summary import mean_and_interval, summarise
from medloss.apps.registration.measure import DEFINITIONS

OVERLAP = ("dice_before", "dice", "hd95_mm", "asd_mm")
FIELD = (
    "ncc_before",
    "ncc",
    "folding_percent",
    "sdlogj",
    "sdlogj_l2r",
    "jacobian_min",
    "inverse_consistency_mm",
    "seconds",
    "peak_gib",
)


class Evaluation(NamedTuple):
    """``rows``: one per case and label; ``summary``: per label, over the labels' mean of each case, and of the
    fields.
    """

    folder: Path
    rows: list[dict[str, Any]]
    summary: dict[str, Any]

    def table(self) -> str:
        """Mean and 95 % interval per label, then of the fields."""
        header = f"{'label':<12} {'n':>4} " + " ".join(f"{key:>24}" for key in OVERLAP)
        lines = [header] if self.summary["labels"] else []
        for label, entry in self.summary["labels"].items():
            cells = " ".join(f"{mean_and_interval(entry[key]):>24}" for key in OVERLAP)
            lines.append(f"{label:<12} {entry['dice']['n']:>4} {cells}")
        return "\n".join(
            lines + [f"{key:<24} {mean_and_interval(entry)}" for key, entry in self.summary["field"].items()]
        )


def evaluate(folder: Path | str, output: Path | str | None = None) -> Evaluation:
    """Gather the ``metrics.json`` of every pair in ``folder`` into ``metrics.csv`` and ``metrics.json``.

    The folder is what ``predict`` wrote, or holds the run folders of several ``pair``. The files go to ``output``, by
    default the folder itself. Intervals resample the cases.
    """
    return summarise_cases(Path(folder), Path(output) if output else None)


def summarise_cases(folder: Path, output: Path | None = None) -> Evaluation:
    """The work of `evaluate`."""
    cases = [_read(path) for path in sorted(folder.glob("*/metrics.json"))] if folder.is_dir() else []
    if not cases:
        raise UserError(f"{folder} holds no registered pairs: expected */metrics.json, as predict and pair write it")
    rows = [_row(case, label) for case in cases for label in case["labels"] or [{}]]
    summary = {"cases": len(cases), "labels": _by_label(cases), "field": _summary(cases, FIELD)}
    write_csv((output or folder) / "metrics.csv", rows)
    write_json((output or folder) / "metrics.json", summary)
    return Evaluation(output or folder, rows, summary)


def _read(path: Path) -> dict[str, Any]:
    try:
        case = json.loads(path.read_text(encoding="utf-8"))
        return case if isinstance(case["labels"], list) and case["case"] else {}
    except (ValueError, KeyError, TypeError) as fault:
        raise UserError(f"{path} is not the metrics.json of a registered pair ({fault!r})") from fault


def _row(case: Mapping[str, Any], label: Mapping[str, Any]) -> dict[str, Any]:
    field = {key: case[key] for key in FIELD if key in case}
    overlap = {key: label.get(key, "") for key in ("label", *OVERLAP)}
    return {"case": case["case"], **overlap, **field}


def _by_label(cases: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    names = list(dict.fromkeys(row["label"] for case in cases for row in case["labels"]))
    found = {}
    for name in names:
        found[name] = _summary([row for case in cases for row in case["labels"] if row["label"] == name], OVERLAP)
    if len(names) > 1:
        found["mean"] = _summary([_mean(case["labels"]) for case in cases if case["labels"]], OVERLAP)
    return found


def _mean(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """The mean over a case's labels, so that the interval resamples independent cases."""
    means = {}
    for key in OVERLAP:
        values = [row[key] for row in rows if row[key] is not None]
        means[key] = float(np.mean(values)) if values else math.nan
    return means


def _summary(rows: Sequence[Mapping[str, Any]], keys: Sequence[str]) -> dict[str, Any]:
    found = summarise(rows, [key for key in keys if any(key in row for row in rows)])
    for key, entry in found.items():
        entry["definition"] = DEFINITIONS[key]
    return found
