"""The whole demo: both parts, their files, the table at the end and the report."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from medloss.apps.common.compute import pick_device
from medloss.apps.common.config import dump_config
from medloss.apps.common.figures import registration_preview, segmentation_preview
from medloss.apps.common.images import save_volume
from medloss.apps.common.output import RunFolder, write_json
from medloss.apps.demo import recovery, tissues
from medloss.apps.demo.config import DemoConfig
from medloss.apps.demo.page import CLAIM, QUICK_TEXT, TISSUE_TEXT, WARP_TEXT, report
from medloss.apps.demo.picture import draw_picture
from medloss.apps.demo.template import TISSUES, Template, load_template
from medloss.apps.registration.measure import peak_gib


def run_demo(output: Path | str, config: DemoConfig, progress: bool = True) -> RunFolder:
    """Run both parts into a new run folder; prints the table and returns the folder."""
    began = time.perf_counter()
    template = load_template(config.spacing_mm)
    run = RunFolder.create(output, dump_config(config))
    shape = " x ".join(str(size) for size in template.image.shape)
    run.log(f"medloss demo on {pick_device()}: the MNI152 template at {config.spacing_mm} mm, {shape} voxels")
    found, segmentation_seconds = segment(run, template, config, progress)
    case, recovered, registration_seconds = register(run, template, config, progress)
    metrics: dict[str, Any] = {
        "quick": config.quick,
        "dice": found.rows,
        "registration": recovered.metrics,
        "device": str(pick_device()),
        "seconds": {"segmentation": segmentation_seconds, "registration": registration_seconds},
        "definitions": {"dice": TISSUE_TEXT, "registration": WARP_TEXT, "claim": CLAIM},
    }
    draw(run, template, found, case, recovered)
    metrics["seconds"]["total"] = time.perf_counter() - began
    metrics["peak_gib"] = peak_gib()
    write_json(run.path / "metrics.json", metrics)
    report(run, metrics, config)
    run.log(table(metrics))
    run.log(f"wrote {run.path / 'report.html'}")
    return run


def segment(run: RunFolder, template: Template, config: DemoConfig, progress: bool) -> tuple[tissues.Tissues, float]:
    """Part one and its files, in ``segmentation/``; also its seconds."""
    run.log("1. Learn the tissues of the posterior part of the brain, test on the anterior part")
    began = time.perf_counter()
    folder = RunFolder.create(run.path / "segmentation", dump_config(config.segmentation))
    network = tissues.train(folder, template, config.segmentation, config.seed, progress)
    found = tissues.evaluate(network, template, config.segmentation, config.seed)
    for name in ("image", "reference", "prediction", "thresholded"):
        save_volume(folder.path / f"{name}.nii.gz", getattr(found, name), template.volume)
    return found, time.perf_counter() - began


def register(
    run: RunFolder, template: Template, config: DemoConfig, progress: bool
) -> tuple[recovery.Case, recovery.Recovery, float]:
    """Part two and its files, in ``registration/``; also its seconds."""
    run.log("2. Warp the brain by a known field, and find the field again")
    began = time.perf_counter()
    case = recovery.make_case(run.path / "warped", template, config.seed)
    recovered = recovery.recover(case, config.registration, run.path / "registration", progress)
    return case, recovered, time.perf_counter() - began


def draw(
    run: RunFolder, template: Template, found: tissues.Tissues, case: recovery.Case, recovered: recovery.Recovery
) -> None:
    """The previews of both parts, and the picture of both together."""
    affine, spacing = template.volume.affine, template.volume.spacing
    segmentation_preview(
        run.path / "segmentation.png",
        found.image,
        found.reference,
        found.prediction,
        spacing,
        "Tissues of the anterior part under simulated noise and bias",
        names=TISSUES,
        affine=affine,
        region=found.tested,
    )
    numbers = recovered.metrics
    title = f"A known warp: mean error {numbers['tre_before_mm']:.1f} mm before, {numbers['tre_mm']:.2f} mm after"
    images = recovery.images(case, recovered)
    registration_preview(run.path / "registration.png", *images, recovered.ddf, spacing, title, affine=affine)
    draw_picture(run.path / "demo.png", template, found, images, case, recovered)


def table(metrics: dict[str, Any]) -> str:
    """The table that the command ends with."""
    numbers, seconds = metrics["registration"], metrics["seconds"]
    rows = metrics["dice"]
    better = all(row["dice_network"] > row["dice_thresholds"] for row in rows)
    lines = [
        "",
        "Tissue segmentation, Dice on the anterior part      network   best two thresholds",
        *(f"  {row['tissue']:<48} {row['dice_network']:8.3f} {row['dice_thresholds']:12.3f}" for row in rows),
        f"  the network is ahead on every tissue: {'yes' if better else 'NO'}",
        "",
        "Recovery of a known warp                             before        after",
        f"  mean target registration error (mm) {numbers['tre_before_mm']:21.2f} {numbers['tre_mm']:12.2f}",
        f"  its 95th percentile (mm) {numbers['tre_before_p95_mm']:32.2f} {numbers['tre_p95_mm']:12.2f}",
        f"  folding in the brain (%) {numbers['folding_brain_percent']:45.2f}",
        f"  folding in the whole volume (%) {numbers['folding_percent']:38.2f}",
        "",
        f"{seconds['total']:.0f} s in all ({seconds['segmentation']:.0f} s segmentation, "
        f"{seconds['registration']:.0f} s registration) on {metrics['device']}, "
        f"peak memory {metrics['peak_gib']:.2f} GiB",
        "",
        CLAIM,
        *([QUICK_TEXT] if metrics["quick"] else []),
    ]
    return "\n".join(lines)
