"""The page of the demo: its pictures, numbers and files, and what was done in words."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from medloss.apps.common.output import RunFolder
from medloss.apps.common.report import Case, Figure, Page, write_page
from medloss.apps.common.report_files import Link
from medloss.apps.demo.config import DemoConfig
from medloss.apps.demo.corruption import BIAS, NOISE

CLAIM = (
    "This is one average brain, the MNI152 template, and no claim of generalisation: nothing here says how well such "
    f"a network does on other scans. The noise (standard deviation {NOISE:g}), the bias field ({BIAS:g}) and the warp "
    "are simulated. The settings of both parts were chosen while looking at these very numbers."
)
TISSUE_TEXT = (
    "A small 3D U-Net learned the tissues of the posterior part of the brain, under fresh noise and a fresh bias field "
    "in every patch, and is tested on the anterior part, which is not the mirror image of the other. Beside it "
    "stands the best that any two thresholds on the intensity can do on that very image: they were chosen with the "
    "reference at hand."
)
WARP_TEXT = (
    "The template was warped by a known smooth field that folds nowhere, noise was added to both images, and medloss "
    "register pair had to find the field again. The target registration error (TRE) is the distance in mm between the "
    "found and the true position, over all voxels of the brain. Folding is the share of voxels where the found field "
    "turns space inside out (Jacobian determinant at most 0)."
)
QUICK_TEXT = "This is the quick version on a coarse grid: it shows that everything runs. Its numbers mean nothing."


def seen(config: DemoConfig) -> str:
    """What the reader sees, with the losses that were used and the commands that use them on other data."""
    warp = config.registration.loss
    return (
        f"Above, a 3D U-Net learned brain tissues with the loss {_names(config.segmentation.loss)}; your own data: "
        f"medloss segment train DATA loss=[{_names(config.segmentation.loss)}]. Below, medloss register pair found "
        f"a known warp again with the losses {_names(warp.image)} on the images and {_names(warp.field)} on the field; "
        "the same again, from this folder: medloss register pair warped/fixed.nii.gz warped/moving.nii.gz "
        "-c registration/config.yaml -o again."
    )


def _names(losses: Mapping[str, Any]) -> str:
    return ", ".join(str((entry or {}).get("name", label)) for label, entry in losses.items())


def report(run: RunFolder, metrics: dict[str, Any], config: DemoConfig) -> None:
    """report.html: what the reader sees, the pictures, the numbers and the files."""
    seconds, folder = metrics["seconds"], run.path
    page = Page(
        title="medloss demo",
        lead=[seen(config), *([QUICK_TEXT] if metrics["quick"] else []), CLAIM],
        facts={
            "device": metrics["device"],
            "total_seconds": seconds["total"],
            "segmentation_seconds": seconds["segmentation"],
            "registration_seconds": seconds["registration"],
            "peak_memory_gib": metrics["peak_gib"],
        },
        figures=[Figure(folder / "demo.png", "Above: tissues of the tested part. Below: recovery of a known warp.")],
        cases=[tissue_case(folder / "segmentation", metrics), warp_case(folder, metrics)],
        parts="Both parts",
        files=[Link("all numbers (JSON)", folder / "metrics.json", "other")],
    )
    write_page(folder / "report.html", page)


def tissue_case(folder: Path, metrics: dict[str, Any]) -> Case:
    """Part one on the page."""
    files = [Link("image", folder / "image.nii.gz")]
    names = {"prediction": "network's labels", "reference": "reference labels", "thresholded": "labels by thresholds"}
    files += [Link(text, folder / f"{name}.nii.gz", "labels") for name, text in names.items()]
    return Case(
        id="Tissue segmentation",
        lead=TISSUE_TEXT,
        figures=[
            Figure(
                folder.parent / "segmentation.png", "Image, reference, the network's labels, and where they differ."
            ),
            Figure(folder / "progress.png", "The loss in each epoch of the training."),
        ],
        tables={"Dice on the anterior part": metrics["dice"]},
        files=files,
    )


def warp_case(folder: Path, metrics: dict[str, Any]) -> Case:
    """Part two on the page."""
    warped, found = folder / "warped", folder / "registration"
    files = [
        Link("fixed image", warped / "fixed.nii.gz"),
        Link("moving image", warped / "moving.nii.gz"),
        Link("moved image", found / "moved.nii.gz"),
        Link("found field", found / "field.nii.gz", "field"),
        Link("true field", warped / "true_field.nii.gz", "field"),
    ]
    caption = "The checkerboard mixes the fixed with the moving image (before) and with the moved image (after)."
    return Case(
        id="Registration",
        lead=WARP_TEXT,
        figures=[Figure(folder / "registration.png", caption)],
        tables={"Error over the brain, folding": registration_rows(metrics["registration"])},
        files=files,
    )


def registration_rows(numbers: dict[str, float]) -> list[dict[str, Any]]:
    """The numbers of part two as rows: what, before, after."""
    rows = [
        {"measure": f"{name} TRE (mm)", "before": numbers[f"tre_before{key}_mm"], "after": numbers[f"tre{key}_mm"]}
        for name, key in (("mean", ""), ("median", "_median"), ("95th percentile of the", "_p95"))
    ]
    folding = (("in the brain", "folding_brain_percent"), ("in the whole volume", "folding_percent"))
    return rows + [{"measure": f"folding {where} (%)", "before": None, "after": numbers[key]} for where, key in folding]
