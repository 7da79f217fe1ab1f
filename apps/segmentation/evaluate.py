"""``medloss segment evaluate``: agreement of masks with references, per case and label, with intervals."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from medloss.apps.common.errors import UserError
from medloss.apps.common.formats import strip_suffix
from medloss.apps.common.images import check_same_grid
from medloss.apps.common.labels import label_values, load_labels
from medloss.apps.common.listing import LeftOut, list_images, tell_left_out, without_channel
from medloss.apps.common.output import write_csv, write_json
from medloss.apps.common.progress import hidden
from medloss.apps.common.reading import DEFAULT, Reading
from medloss.apps.common.region_metrics import MEASURES, region_measures
from medloss.apps.common.summary import mean_and_interval, summarise
from medloss.apps.segmentation.classes import NAMES_FILE, Classes, read_classes
from medloss.apps.segmentation.predict import RECORD_FILE

MEAN = "mean"


class Evaluation(NamedTuple):
    """``rows``: one per case and label; ``summary``: per label and over the labels' mean of each case; ``missing``: the
    references without a prediction.
    """

    rows: list[dict[str, Any]]
    summary: dict[str, Any]
    missing: list[str]

    def table(self) -> str:
        """The summary as text: mean and 95 % interval per label."""
        lines = [f"{'label':<20} {'n':>4} " + " ".join(f"{name:>26}" for name in MEASURES)]
        for label, entry in self.summary["labels"].items():
            cells = " ".join(f"{_cell(entry[name]):>26}" for name in MEASURES)
            lines.append(f"{label:<20} {entry['dice']['n']:>4} {cells}")
        if self.missing:
            count = len(self.missing) + self.summary["cases"]
            lines.append(
                f"{len(self.missing)} of {count} references have no prediction and are not in the table: "
                f"{', '.join(self.missing[:10])}{', ...' * (len(self.missing) > 10)}"
            )
        return "\n".join(lines)


def evaluate(
    predictions: Path | str,
    references: Path | str,
    output: Path | str | None = None,
    *,
    tolerance: float = 1.0,
    ignore: int | None = None,
    progress: bool = True,
    reading: Reading = DEFAULT,
) -> Evaluation:
    """Compare masks with the references of the same name; both are folders, or both files.

    Writes ``metrics.csv`` and ``metrics.json`` into ``output`` (the predictions' folder by default). Distances are in
    mm with the reference's spacing; ``tolerance`` (mm) is that of the surface Dice; voxels that the reference marks
    with ``ignore`` (by default the ignore label of the run that made the predictions) count in neither mask. Everything
    is read and compared before anything is written.
    """
    predictions, references = Path(predictions), Path(references)
    if not tolerance > 0:
        raise UserError(f"the tolerance of the surface Dice must be above 0 mm, got {tolerance:g}")
    pairs, missing = _pairs(predictions, references)
    classes = read_classes(predictions if predictions.is_dir() else predictions.parent) or Classes((), ())
    if ignore is not None:
        classes = replace(classes, ignore=ignore)
    measured = [
        _case(case, prediction, reference, classes, tolerance, reading)
        for case, prediction, reference in tqdm(pairs, desc="evaluate", disable=hidden(progress))
    ]
    rows = [row for case_rows in measured for row in case_rows]
    summary = _summary(rows, tolerance, len(missing))
    folder = Path(output) if output is not None else (predictions if predictions.is_dir() else predictions.parent)
    write_csv(folder / "metrics.csv", rows)
    write_json(folder / "metrics.json", summary)
    return Evaluation(rows, summary, missing)


def _case(
    case: str,
    prediction: Path,
    reference: Path,
    classes: Classes,
    tolerance: float,
    reading: Reading,
) -> list[dict[str, Any]]:
    found, truth = load_labels(prediction, reading), load_labels(reference, reading)
    check_same_grid(found, truth, f"prediction {prediction}", f"reference {reference}", reading)
    known = {each for ids in classes.ids for each in ids} | {0, classes.ignore}
    present = set(label_values(found.array).tolist()) | set(label_values(truth.array).tolist())
    others = [(str(label), (label,)) for label in sorted(present - known)]
    counted = classes.counted(truth.array)
    rows = []
    for name, ids in [*zip(classes.names, classes.ids, strict=True), *others]:
        mine, true = (np.isin(each.array, ids) & counted for each in (found, truth))
        values = region_measures(mine, true, truth.spacing, tolerance)
        rows.append({"case": case, "label": name, "id": ids[0], **values})
    return rows


def _pairs(predictions: Path, references: Path) -> tuple[list[tuple[str, Path, Path]], list[str]]:
    """Case id, prediction and reference, and the references without a prediction."""
    for given in (predictions, references):
        if not given.exists():
            raise UserError(f"{given} does not exist")
    if predictions.is_dir() != references.is_dir():
        raise UserError(f"give two folders or two files, not one of each: {predictions} and {references}")
    if predictions.is_file():
        return [(without_channel(strip_suffix(predictions)), predictions, references)], []
    found, truth = _masks(predictions), _masks(references)
    lonely = sorted(set(found) - set(truth))
    if lonely:
        raise UserError(
            f"{len(lonely)} prediction(s) have no reference of the same name in {references}: {found[lonely[0]]} ..."
        )
    if not found:
        raise UserError(f"no masks found in {predictions}")
    return [(case, found[case], truth[case]) for case in sorted(found)], sorted(set(truth) - set(found))


def _masks(folder: Path) -> dict[str, Path]:
    """The masks of a folder by case, without the tables and probabilities that ``predict`` and ``evaluate`` wrote."""
    listing = list_images(folder)
    tell_left_out([each for each in listing.left_out if not _is_ours(each)])
    return {without_channel(name): path for name, path in listing.images.items() if "_probabilities" not in name}


def _is_ours(left: LeftOut) -> bool:
    return left.path.name in (NAMES_FILE, RECORD_FILE, "metrics.csv", "metrics.json")


def _summary(rows: Sequence[Mapping[str, Any]], tolerance: float, absent: int) -> dict[str, Any]:
    labels = list(dict.fromkeys(row["label"] for row in rows))
    by_label = {label: summarise([row for row in rows if row["label"] == label], MEASURES) for label in labels}
    if len(labels) > 1:
        by_label[MEAN] = summarise(_case_means(rows), MEASURES)
    return {
        "cases": len({row["case"] for row in rows}),
        "references_without_prediction": absent,
        "surface_dice_tolerance_mm": tolerance,
        "labels": by_label,
    }


def _case_means(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, float]]:
    """Per case the mean over its labels, so that the interval resamples independent cases."""
    cases: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        cases.setdefault(row["case"], []).append(row)
    means = []
    for group in cases.values():
        finite = {name: [row[name] for row in group if math.isfinite(row[name])] for name in MEASURES}
        means.append({name: float(np.mean(values)) if values else math.nan for name, values in finite.items()})
    return means


def _cell(entry: Mapping[str, Any]) -> str:
    missing = f" ({entry['undefined']} n/a)" if entry["undefined"] and entry["n"] else ""
    return mean_and_interval(entry) + missing
