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
from medloss.apps.registration.measure import DEFINITIONS, FIELD, case_rows
from medloss.apps.registration.report import write_report

DISTANCES = ("dice_before", "dice", "hd95_mm", "asd_mm")


class Evaluation(NamedTuple):
    """``rows``: one per case and label; ``summary``: per label, over the labels' mean of each case, and of the
    fields.
    """

    folder: Path
    rows: list[dict[str, Any]]
    summary: dict[str, Any]

    def table(self) -> str:
        """Mean and 95 % interval per label, then of the fields."""
        header = f"{'label':<12} {'n':>4} {'missed':>6} " + " ".join(f"{key:>24}" for key in DISTANCES)
        lines = [header] if self.summary["labels"] else []
        for label, entry in self.summary["labels"].items():
            cells = " ".join(f"{mean_and_interval(entry[key]):>24}" for key in DISTANCES)
            lines.append(f"{label:<12} {entry['dice']['n']:>4} {entry['missed']:>6} {cells}")
        return "\n".join(
            lines + [f"{key:<24} {mean_and_interval(entry)}" for key, entry in self.summary["field"].items()]
        )


def evaluate(folder: Path | str, output: Path | str | None = None) -> Evaluation:
    """Gather the ``metrics.json`` of every pair of a folder: ``metrics.csv``, ``metrics.json`` and ``report.html``.

    The folder is what ``predict`` wrote, holds the run folders of several ``pair``, or is that of one. The files go to
    ``output``, by default the folder itself (``evaluation/`` in that of one pair). Intervals resample the cases.
    """
    return summarise_cases(Path(folder), Path(output) if output else None)


def report(folder: Path | str, output: Path | str | None = None) -> Path:
    """As `evaluate`; of one pair's folder the page alone, which goes into that folder by default."""
    folder = Path(folder)
    files = _case_files(folder)
    if [file.parent for file in files] == [folder]:
        return report_pair(folder, _read(files[0]), Path(output) if output else None)
    return evaluate(folder, output).folder / "report.html"


def report_pair(folder: Path, case: Mapping[str, Any], output: Path | None = None) -> Path:
    """The page of the one pair whose files and ``metrics`` a folder holds."""
    return write_report(output or folder, {str(folder): case}, _summarised([case]), folder)


def summarise_cases(folder: Path, output: Path | None = None) -> Evaluation:
    """The work of `evaluate`."""
    files = _case_files(folder)
    if not files:
        raise UserError(
            f"{folder} holds no registered pairs: expected */metrics.json, as predict and pair write it, or the "
            "metrics.json of one pair"
        )
    cases = [_read(path) for path in files]
    output = output or (folder / "evaluation" if files[0].parent == folder else folder)
    rows = [row for case in cases for row in case_rows(case)]
    summary = _summarised(cases)
    write_csv(output / "metrics.csv", rows)
    write_json(output / "metrics.json", summary)
    write_report(output, {str(file.parent): case for file, case in zip(files, cases, strict=True)}, summary, folder)
    return Evaluation(output, rows, summary)


def _summarised(cases: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {"cases": len(cases), "labels": _by_label(cases), "field": _summary(cases, FIELD)}


def _case_files(folder: Path) -> list[Path]:
    """The ``metrics.json`` of each case: in the folders below, or in the folder itself where it is one of ``pair``."""
    below = sorted(folder.glob("*/metrics.json")) if folder.is_dir() else []
    own = folder / "metrics.json"
    return below or ([own] if (folder / "field.nii.gz").is_file() and own.is_file() else [])


def _read(path: Path) -> dict[str, Any]:
    try:
        case = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(case["labels"], list) or not case["case"]:
            raise ValueError("it names no case, or lists no labels")
        return case
    except (ValueError, KeyError, TypeError) as fault:
        raise UserError(f"{path} is not the metrics.json of a registered pair ({fault!r})") from fault


def _by_label(cases: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    names = list(dict.fromkeys(row["label"] for case in cases for row in case["labels"]))
    found = {}
    for name in names:
        found[name] = _of_label([row for case in cases for row in case["labels"] if row["label"] == name])
    if len(names) > 1:
        found["mean"] = _of_label([_mean(case["labels"]) for case in cases if case["labels"]])
    return found


def _of_label(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {**_summary(rows, DISTANCES), "missed": sum(int(row.get("missed") or 0) for row in rows)}


def _mean(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """The mean over a case's labels, so that the interval resamples independent cases; the number of missed ones."""
    means: dict[str, float] = {"missed": sum(int(row.get("missed") or 0) for row in rows)}
    for key in DISTANCES:
        values = [row[key] for row in rows if row[key] is not None]
        means[key] = float(np.mean(values)) if values else math.nan
    return means


def _summary(rows: Sequence[Mapping[str, Any]], keys: Sequence[str]) -> dict[str, Any]:
    found = summarise(rows, [key for key in keys if any(key in row for row in rows)])
    for key, entry in found.items():
        entry["definition"] = DEFINITIONS[key]
    return found
