"""``medloss segment evaluate``: agreement of masks with references, per case and label, with intervals and a page."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from tqdm import tqdm

from medloss.apps.common.errors import UserError
from medloss.apps.common.images import check_same_grid
from medloss.apps.common.labels import label_values, load_labels
from medloss.apps.common.output import write_csv, write_json
from medloss.apps.common.progress import hidden
from medloss.apps.common.reading import DEFAULT, Reading
from medloss.apps.common.region_metrics import (
    MEASURES,
    VOLUMES,
    diagonal_mm,
    region_measures,
    region_state,
    region_volumes,
)
from medloss.apps.segmentation.classes import Classes, read_classes
from medloss.apps.segmentation.evaluation_pairs import METRICS_CSV, METRICS_JSON, Pair, counted_in, find_pairs
from medloss.apps.segmentation.evaluation_summary import Evaluation, summarise_rows

Missed = Literal["count", "diagonal"]


def evaluate(
    predictions: Path | str,
    references: Path | str,
    output: Path | str | None = None,
    *,
    tolerance: float = 1.0,
    ignore: int | None = None,
    missed: Missed = "count",
    images: Path | str | None = None,
    within: Path | str | None = None,
    previews: int = 5,
    progress: bool = True,
    reading: Reading = DEFAULT,
) -> Evaluation:
    """Compare masks with the references of the same name; both are folders, or both files.

    Writes ``metrics.csv``, ``metrics.json`` and ``report.html`` with pictures of the worst cases into ``output`` (the
    predictions' folder by default). Everything is read and compared before anything is written.

    Args:
        tolerance: that of the surface Dice in mm. Distances are in mm with the reference's spacing.
        ignore: voxels that the reference marks with it count in neither mask; by default the ignore label of the run
            that made the predictions. The classes and regions are that run's, too.
        missed: what the distances of a region are that one of the masks does not have. "count": none, and the mean says
            of how many of how many regions it is. "diagonal": the diagonal of the image, the largest distance that
            there is, so that they enter the mean.
        images: the images of the same names, for the pictures: a folder, or a file.
        within: masks of the same names (brain, field of view), on the grid of the references: voxels where they are 0
            count in neither mask.
        previews: how many of the worst cases are drawn.

    Raises:
        UserError: a file that cannot be read or has no partner, masks on another grid, an option out of range.
    """
    from medloss.apps.segmentation.evaluation_page import write_evaluation  # loads matplotlib

    predictions, references = Path(predictions), Path(references)
    if not tolerance > 0:
        raise UserError(f"the tolerance of the surface Dice must be above 0 mm, got {tolerance:g}")
    beside = [None if each is None else Path(each) for each in (images, within)]
    pairs, missing = find_pairs(predictions, references, *beside)
    home = predictions if predictions.is_dir() else predictions.parent
    classes = read_classes(home) or Classes((), ())
    if ignore is not None:
        classes = replace(classes, ignore=ignore)
    measured = [
        compare(pair, classes, tolerance, missed, reading)
        for pair in tqdm(pairs, desc="evaluate", disable=hidden(progress))
    ]
    rows = with_absent([row for case_rows in measured for row in case_rows], classes)
    summary = summarise(rows, len(pairs), len(missing), tolerance, missed, classes)
    summary |= {} if within is None else {"counted_within": str(within)}
    folder = Path(output) if output is not None else home
    write_csv(folder / METRICS_CSV, rows)
    write_json(folder / METRICS_JSON, summary)
    result = Evaluation(rows, summary, missing)
    write_evaluation(folder, result, pairs, classes, previews, progress, reading)
    return result


def summarise(
    rows: Sequence[dict[str, Any]], cases: int, without: int, tolerance: float, missed: Missed, classes: Classes
) -> dict[str, Any]:
    """What ``metrics.json`` holds: how the masks were compared, and the means and intervals of each label."""
    return {
        "cases": cases,
        "references_without_prediction": without,
        "surface_dice_tolerance_mm": tolerance,
        "distance_of_a_missed_region": "not in the mean" if missed == "count" else "the diagonal of the image",
        "ignored_label": classes.ignore,
        "labels": summarise_rows(rows),
    }


def compare(
    pair: Pair, classes: Classes, tolerance: float, missed: Missed, reading: Reading = DEFAULT
) -> list[dict[str, Any]]:
    """One row per class of a case, and per label in its masks that is no class."""
    found, truth = (load_labels(file, reading, classes.layers) for file in (pair.prediction, pair.reference))
    check_same_grid(found, truth, f"prediction {pair.prediction}", f"reference {pair.reference}", reading)
    known = {each for ids in classes.ids for each in ids} | {0, classes.ignore}
    present = set(label_values(found.array).tolist()) | set(label_values(truth.array).tolist())
    others = [(str(label), (label,)) for label in sorted(present - known)]
    counted = counted_in(pair, truth, classes, reading)
    far = math.inf if missed == "count" else diagonal_mm(truth.array.shape, truth.spacing)
    rows = []
    for name, ids in [*zip(classes.names, classes.ids, strict=True), *others]:
        mine, true = (np.isin(each.array, ids) & counted for each in (found, truth))
        values = region_measures(mine, true, truth.spacing, tolerance)
        values = {key: min(value, far) if math.isinf(value) else value for key, value in values.items()}
        volumes = region_volumes(mine, true, truth.spacing)
        state = region_state(mine, true)
        rows.append({"case": pair.case, "label": name, "id": ids[0], "state": state, **values, **volumes})
    return rows


def with_absent(rows: Sequence[dict[str, Any]], classes: Classes) -> list[dict[str, Any]]:
    """The rows with one more for each label of another case that a case does not have: it is absent there."""
    order = {name: place for place, name in enumerate(classes.names)}
    labels = dict(sorted({row["label"]: row["id"] for row in rows}.items(), key=lambda each: each[1]))
    names = sorted(labels, key=lambda name: order.get(name, len(order)))  # sorted is stable: the others by their ids
    by_case: dict[str, dict[str, dict[str, Any]]] = {}
    for row in rows:
        by_case.setdefault(row["case"], {})[row["label"]] = row
    nothing = {**dict.fromkeys(MEASURES, math.nan), **dict.fromkeys(VOLUMES, 0.0)}
    return [
        found.get(name) or {"case": case, "label": name, "id": labels[name], "state": "absent", **nothing}
        for case, found in by_case.items()
        for name in names
    ]
