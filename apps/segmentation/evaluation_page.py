"""``report.html`` of an evaluation: the worst cases first, with pictures of their errors and links to their files."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from medloss.apps.common.error_figures import error_preview
from medloss.apps.common.figures import segmentation_preview
from medloss.apps.common.images import check_same_grid, load_volume
from medloss.apps.common.labels import load_labels
from medloss.apps.common.progress import hidden
from medloss.apps.common.reading import Reading
from medloss.apps.common.region_metrics import MEASURES
from medloss.apps.common.report import Case, Figure, Page, worst_first, write_page
from medloss.apps.common.report_files import Link
from medloss.apps.common.spread import spread
from medloss.apps.common.summary import DEFINITIONS, MEAN_AND_INTERVAL
from medloss.apps.segmentation.classes import Classes
from medloss.apps.segmentation.evaluation_pairs import METRICS_CSV, METRICS_JSON, REPORT, Pair, counted_in
from medloss.apps.segmentation.evaluation_summary import Evaluation, case_means, label_rows
from medloss.apps.segmentation.jobs import PREVIEWS
from medloss.apps.segmentation.previews import first_ids, names_by_id

STATE_TEXT = (
    "found: in both masks; missed: in the reference alone; invented: in the prediction alone; absent: in neither, so "
    "that there is nothing to measure. Dice and surface Dice of a missed or an invented region are 0."
)
INTERVAL_TEXT = (
    "Numbers in brackets are the 95 % bootstrap interval of the mean, for which the cases are drawn anew; 'of 25/41' "
    "says that 25 of 41 regions have a distance, and the others were missed or invented."
)


def write_evaluation(
    folder: Path,
    result: Evaluation,
    pairs: Sequence[Pair],
    classes: Classes,
    previews: int,
    progress: bool,
    reading: Reading,
) -> Path:
    """Draw the worst ``previews`` cases, and write the page into ``folder``."""
    rows_of: dict[str, list[dict[str, Any]]] = {}
    for row in result.rows:
        rows_of.setdefault(row["case"], []).append(row)
    means = {row["case"]: row for row in case_means(result.rows)}
    cases = worst_first([_case(pair, rows_of.get(pair.case, []), means.get(pair.case, {})) for pair in pairs], "dice")
    by_name = {pair.case: pair for pair in pairs}
    drawn = {
        case.id: draw_case(folder / PREVIEWS, by_name[case.id], classes, reading)
        for case in tqdm(cases[:previews], desc="draw", disable=hidden(progress))
    }
    cases = [Case(**{**case.__dict__, "figures": drawn.get(case.id, [])}) for case in cases]
    return write_page(folder / REPORT, _page(folder, result, cases))


def draw_case(folder: Path, pair: Pair, classes: Classes, reading: Reading) -> list[Figure]:
    """The thickest errors of a case, and its masks in three planes."""
    found, truth = (load_labels(file, reading, classes.layers) for file in (pair.prediction, pair.reference))
    counted = counted_in(pair, truth, classes, reading)
    prediction, label = (np.where(counted, first_ids(each.array, classes), 0) for each in (found, truth))
    image = np.zeros(label.shape, np.float32)
    if pair.image is not None:
        scan = load_volume(pair.image, reading)
        check_same_grid(scan, truth, f"image {pair.image}", f"reference {pair.reference}", reading)
        image = scan.array
    names, affine = names_by_id(classes), truth.affine
    options: dict[str, Any] = {"names": names, "affine": affine}
    errors = error_preview(
        folder / f"{pair.case}_errors.png", image, label, prediction, truth.spacing, f"{pair.case}: errors", **options
    )
    scanned = None if pair.image is None else image
    whole = segmentation_preview(
        folder / f"{pair.case}.png", scanned, label, prediction, truth.spacing, pair.case, **options
    )
    figures = [Figure(errors, "The thickest errors, enlarged; each row is one, in three planes.")] if errors else []
    return [*figures, Figure(whole, "Three planes through the middle of what is labelled in the reference.")]


def _page(folder: Path, result: Evaluation, cases: Sequence[Case]) -> Page:
    summary = result.summary
    facts: dict[str, Any] = {
        "cases": summary["cases"],
        "labels": len({row["label"] for row in result.rows}),
        "tolerance_of_the_surface_dice_mm": summary["surface_dice_tolerance_mm"],
        "distance_of_a_missed_region": summary["distance_of_a_missed_region"],
    }
    if "counted_within" in summary:
        facts["counted_within"] = summary["counted_within"]
    if summary["ignored_label"] is not None:
        facts["ignored_label"] = str(summary["ignored_label"])
    return Page(
        title="Segmentation: masks beside their references",
        lead=_lead(result),
        facts=facts,
        figures=_overview(folder, result),
        tables={f"Labels: {MEAN_AND_INTERVAL} over the cases": label_rows(summary)},
        cases=cases,
        order="the lowest mean Dice first",
        files=[
            Link("all numbers (CSV)", folder / METRICS_CSV, "other"),
            Link("summary (JSON)", folder / METRICS_JSON, "other"),
        ],
        notes={**{name: DEFINITIONS[name] for name in MEASURES}, "state": STATE_TEXT, "interval": INTERVAL_TEXT},
    )


def _overview(folder: Path, result: Evaluation) -> list[Figure]:
    dice: dict[str, list[float]] = {}
    for row in result.rows:
        dice.setdefault(row["label"], []).append(row["dice"])
    drawn = spread(folder / "overview.png", dice, "Dice")
    return [Figure(drawn, "Every case, label by label. A missed or an invented region counts as 0.")] if drawn else []


def _lead(result: Evaluation) -> list[str]:
    lead = []
    if result.missing:
        count, names = len(result.missing), ", ".join(result.missing[:10]) + ", ..." * (len(result.missing) > 10)
        lead.append(f"{count} references have no prediction, and are in no table: {names}.")
    missed = sum(row["state"] == "missed" for row in result.rows)
    if missed:
        lead.append(f"Missed altogether: {missed} of {sum(row['reference_ml'] > 0 for row in result.rows)} regions.")
    return lead


def _case(pair: Pair, rows: Sequence[dict[str, Any]], means: dict[str, Any]) -> Case:
    """A case of the page, without its pictures."""
    defined = [row for row in rows if not math.isnan(row["dice"])]
    worst = min(defined, key=lambda row: row["dice"], default=None)
    row = {name: means.get(name) for name in MEASURES}
    if worst is not None and len(rows) > 1:
        row |= {"worst_label": worst["label"], "its_dice": worst["dice"]}
    row["missed"] = sum(each["state"] == "missed" for each in rows)
    told = [
        f"{state}: {', '.join(each['label'] for each in rows if each['state'] == state)}"
        for state in ("missed", "invented")
        if any(each["state"] == state for each in rows)
    ]
    files = [Link("prediction", pair.prediction, "labels"), Link("reference", pair.reference, "labels")]
    files = [*([Link("image", pair.image)] if pair.image else []), *files]
    table = [{key: value for key, value in each.items() if key not in ("case", "id")} for each in rows]
    return Case(id=pair.case, row=row, tables={"Labels": table}, files=files, note="; ".join(told))
