"""``medloss register report``: one page over all registered pairs, the worst first, with their pictures and files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from medloss.apps.common.report import Case, Figure, Page, worst_first, write_page
from medloss.apps.common.report_files import Kind, Link
from medloss.apps.common.report_numbers import heading, number
from medloss.apps.common.spread import spread
from medloss.apps.common.summary import MEAN_AND_INTERVAL, mean_and_interval
from medloss.apps.registration.measure import DEFINITIONS, OVERLAP

FILES: dict[str, tuple[str, Kind]] = {
    "moved.nii.gz": ("moved image, on the fixed grid", "image"),
    "moved_label.nii.gz": ("moved labels", "labels"),
    "field.nii.gz": ("displacement field", "field"),
    "affine.tfm": ("affine transform", "field"),
    "inverse_field.nii.gz": ("its inverse", "field"),
    "jacobian.nii.gz": ("Jacobian determinant", "image"),
    "metrics.json": ("all numbers", "other"),
}
CAPTION = (
    "Fixed, moving and moved image with the outline of the fixed one; checkerboards before and after; the grid as the "
    "field bends it; volume change (log of the Jacobian determinant). Planes in true proportions."
)
FOLDED = 0.0


def write_report(
    folder: Path, cases: Mapping[str, Mapping[str, Any]], summary: Mapping[str, Any], source: Path | None = None
) -> Path:
    """Write ``report.html`` into a folder.

    Args:
        folder: where the page goes.
        cases: folder of each case to what its ``metrics.json`` holds.
        summary: as ``register evaluate`` makes it.
        source: the folder that was evaluated; None: the one where the page goes.
    """
    named = (source or folder).resolve().name
    counts = Counter(str(case["case"]) for case in cases.values())
    shown = [_case(Path(place), case, counts[str(case["case"])] > 1) for place, case in cases.items()]
    column, high = _judged_by(shown)
    names = {"dice": "the lowest mean Dice first", "tre_mm": "the largest landmark distance first"}
    page = Page(
        title=f"Registration: {shown[0].id if len(shown) == 1 else named}",
        lead=[_verdict(shown)],
        facts={"pairs": len(shown), "folder": named},
        figures=_overview(folder, cases),
        tables=_overall(summary),
        cases=worst_first(shown, column, high),
        parts="Pairs" if len(shown) > 1 else "The pair",
        order=names.get(column, "the lowest correlation first") if len(shown) > 1 else "",
        files=[
            Link(name, folder / name, "other") for name in ("metrics.csv", "metrics.json") if (folder / name).is_file()
        ],
        notes=_definitions(cases),
    )
    return write_page(folder / "report.html", page)


def _overview(folder: Path, cases: Mapping[str, Mapping[str, Any]]) -> list[Figure]:
    dice: dict[str, dict[str, list[float]]] = {"dice_before": {}, "dice": {}}
    for case in cases.values():
        for label in case["labels"]:
            for key, known in dice.items():
                known.setdefault(f"region {label['label']}", []).append(number(label.get(key)))
    drawn = spread(folder / "overview.png", dice["dice"], "Dice", dice["dice_before"])
    every = "Every pair, region by region" if len(cases) > 1 else "Region by region"
    return [Figure(drawn, f"{every}, before and after.")] if drawn else []


def _case(folder: Path, case: Mapping[str, Any], told_by_folder: bool) -> Case:
    labels = case["labels"]
    row: dict[str, Any] = {}
    for key in ("dice_before", "dice", "hd95_mm"):
        known = [value for label in labels if (value := number(label.get(key))) == value]
        if labels:
            row[key] = sum(known) / len(known) if known else None
    for key in ("tre_before_mm", "tre_mm", "ncc_before", "ncc", "folding_percent", "jacobian_min", "seconds"):
        if key in case:
            row[key] = case[key]
    picture = folder / "preview.png"
    return Case(
        id=f"{case['case']} ({folder.name})" if told_by_folder else str(case["case"]),
        row=row,
        figures=[Figure(picture, CAPTION)] if picture.is_file() else [],
        tables={"Regions": [{key: label.get(key) for key in ("label", *OVERLAP)} for label in labels]}
        if labels
        else {},
        files=[Link(text, folder / name, kind) for name, (text, kind) in FILES.items() if (folder / name).is_file()],
        note=_note(case),
    )


def _note(case: Mapping[str, Any]) -> str:
    missed = [str(label["label"]) for label in case["labels"] if label.get("missed")]
    told = [f"Missed: region {', '.join(missed)}."] if missed else []
    if number(case.get("folding_percent")) > FOLDED:
        told.append(f"The field folds at {case['folding_percent']:.3g} % of the voxels.")
    if not case["labels"] and _agree_less(case):
        told.append("The images agree less than before the registration.")
    if "image_loss" in case:
        told.append(f"Image loss {case['image_loss']}.")
    return " ".join(told)


def _agree_less(case: Mapping[str, Any]) -> bool:
    """Whether every image loss rose; without one whether the correlation fell, though it says nothing of MR and CT."""
    losses = [name for name in case if name.startswith("image.") and f"{name}_before" in case]
    if losses:
        return all(number(case[name]) > number(case[f"{name}_before"]) for name in losses)
    return number(case.get("ncc")) < number(case.get("ncc_before"))


def _verdict(cases: list[Case]) -> str:
    folded = sum(number(case.row.get("folding_percent")) > FOLDED for case in cases)
    told = [f"{len(cases)} registered pair{'s' * (len(cases) != 1)}."]
    if any(case.row.get("dice") is not None for case in cases):
        better = sum(number(case.row.get("dice")) > number(case.row.get("dice_before")) for case in cases)
        told.append(f"The mean Dice rose in {better} of them.")
    told.append(f"The field folds in {folded} of them." if folded else "No field folds.")
    return " ".join(told)


def _judged_by(cases: list[Case]) -> tuple[str, bool]:
    """The column that says what is worst, and whether a high value is good."""
    for column, high in (("dice", True), ("tre_mm", False)):
        if any(case.row.get(column) is not None for case in cases):
            return column, high
    return "ncc", True


def _overall(summary: Mapping[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """Means over the cases with their intervals: of the regions, and of the fields; of one case its numbers."""
    several, rows = summary["cases"] > 1, []
    for label, entry in summary["labels"].items():
        cells = {key: mean_and_interval(value) for key, value in entry.items() if isinstance(value, Mapping)}
        named = f"region {label}" if label != "mean" else "mean of the regions"
        rows.append({"of": named, **cells, "missed": entry["missed"]})
    fields = [
        {"measure": heading(key), "mean" if several else "value": mean_and_interval(value)}
        for key, value in summary["field"].items()
    ]
    told, field = (f": {MEAN_AND_INTERVAL}", "Fields") if several else ("", "Field")
    found = {f"Regions{told}": rows} if rows else {}
    return {**found, f"{field}{told}": fields}


def _definitions(cases: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    keys = {key for case in cases.values() for row in (case, *case["labels"]) for key in row}
    return {heading(key): text for key, text in DEFINITIONS.items() if key in keys}
