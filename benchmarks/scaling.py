"""How time grows with size, classes and threads, ours and MONAI's: ``python benchmarks/scaling.py``.

Writes ``results/scaling.json`` and draws ``docs/images/scaling.png``; with ``--device cuda`` those of the GPU's name.
"""

from __future__ import annotations

import argparse
import json
import math
import warnings
from dataclasses import replace
from pathlib import Path

import machine
import torch
from contestants import Row
from rows import BY_NAME
from speed import measure, results

PICTURE = Path(__file__).resolve().parent.parent / "docs" / "images" / "scaling.png"
SIZES = (32, 48, 64, 96, 128, 160)
CLASSES = (2, 4, 8, 14, 28, 56)
WHO = ("medloss", "monai", "floor")


def cube(row: Row, size: int, **changes: object) -> Row:
    """The row at another size."""
    return replace(row, shape=(size,) * 3, peers={"monai": row.peers["monai"]}, **changes)


def sweeps(device: str) -> dict[str, tuple[str, list[tuple[float, Row, int]]]]:
    """Curve -> name of its axis, and (place on it, row, threads)."""
    label, image, threads = BY_NAME["dice_ce"], BY_NAME["lncc_k9"], torch.get_num_threads()
    curves = {
        "Dice + CE, 4 classes": (
            "voxels along an axis",
            [(size, cube(label, size, classes=4), threads) for size in SIZES],
        ),
        "Dice + CE, 64^3": ("classes", [(count, cube(label, 64, classes=count), threads) for count in CLASSES]),
        "LNCC, window 9": ("voxels along an axis", [(size, cube(image, size), threads) for size in SIZES[:-1]]),
        "Dice + CE, 14 classes, 96^3": (
            "threads",
            [(count, cube(label, 96), count) for count in range(1, threads + 1)],
        ),
    }
    return {title: curve for title, curve in curves.items() if device == "cpu" or curve[0] != "threads"}


def main() -> None:
    """Measure, write JSON, draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--draw", action="store_true", help="draw what was measured before")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--longest", type=float, default=60.0, help="seconds of a point, for at least three rounds")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--picture", type=Path)
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    path = given.out or results("scaling", given.device)
    if not given.draw:
        path.parent.mkdir(exist_ok=True, parents=True)
        sweep(given, path)
    draw(json.loads(path.read_text()), given.picture or PICTURE.with_stem(path.stem))


def sweep(given: argparse.Namespace, path: Path) -> None:
    """Measure all curves. Whoever is missing, or has no memory left, has a gap (NaN)."""
    report = {"machine": machine.describe(given.device), "device": given.device, "curves": {}}
    for title, (axis, points) in sweeps(given.device).items():
        curve = {"axis": axis, "at": [], **{who: [] for who in WHO}}
        for place, row, threads in points:
            torch.set_num_threads(threads)
            found = measure(row, given.rounds, torch.float32, given.device, given.longest)
            curve["at"].append(place)
            for who in WHO:
                curve[who].append(found[who]["median_ms"] if who in found else math.nan)
            print(title, place, {who: round(curve[who][-1], 3) for who in WHO}, flush=True)
        report["curves"][title] = curve
        path.write_text(json.dumps(report, indent=1) + "\n")


def draw(report: dict[str, object], picture: Path) -> None:
    """Milliseconds over size, classes and threads, both axes logarithmic."""
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, len(report["curves"]), figsize=(4 * len(report["curves"]), 3.6), layout="tight")
    styles = {"medloss": ("C0", "o-"), "monai": ("C1", "s-"), "floor": ("0.6", ":")}
    for place, (title, curve) in zip(axes, report["curves"].items(), strict=True):
        for who, (colour, style) in styles.items():
            place.plot(curve["at"], curve[who], style, color=colour, label=who, markersize=4)
        place.set(title=title, xlabel=curve["axis"], ylabel="ms, forward and backward", xscale="log", yscale="log")
        place.set_xticks(curve["at"], [f"{at:g}" for at in curve["at"]])
        place.minorticks_off()
        place.grid(alpha=0.3)
    axes[0].legend(frameon=False)
    picture.parent.mkdir(exist_ok=True, parents=True)
    figure.savefig(picture, dpi=110)


if __name__ == "__main__":
    main()
