"""How time grows with size, classes and threads, ours and MONAI's: ``python benchmarks/scaling.py``.

Writes ``results/scaling.json`` and draws ``docs/images/scaling.png``.
"""

from __future__ import annotations

import argparse
import json
import warnings
from dataclasses import replace
from pathlib import Path

import machine
import torch
from contestants import Row
from rows import BY_NAME
from speed import RESULTS, measure

PICTURE = Path(__file__).resolve().parent.parent / "docs" / "images" / "scaling.png"
SIZES = (32, 48, 64, 96, 128, 160)
CLASSES = (2, 4, 8, 14, 28, 56)


def cube(row: Row, size: int, **changes: object) -> Row:
    """The row at another size."""
    return replace(row, shape=(size,) * 3, peers={"monai": row.peers["monai"]}, **changes)


def sweeps() -> dict[str, tuple[str, list[tuple[float, Row, int]]]]:
    """Curve -> name of its axis, and (place on it, row, threads)."""
    label, image, threads = BY_NAME["dice_ce"], BY_NAME["lncc_k9"], torch.get_num_threads()
    return {
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


def main() -> None:
    """Measure, write JSON, draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--draw", action="store_true", help="draw what was measured before")
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    path = RESULTS / "scaling.json"
    if not given.draw:
        report = {"machine": machine.describe(), "curves": {}}
        for title, (axis, points) in sweeps().items():
            curve = {"axis": axis, "at": [], "medloss": [], "monai": [], "floor": []}
            for place, row, threads in points:
                torch.set_num_threads(threads)
                found = measure(row, given.rounds, torch.float32, "cpu")
                curve["at"].append(place)
                for who in ("medloss", "monai", "floor"):
                    curve[who].append(found[who]["median_ms"])
                print(
                    title, place, {who: round(curve[who][-1], 2) for who in ("medloss", "monai", "floor")}, flush=True
                )
            report["curves"][title] = curve
            path.write_text(json.dumps(report, indent=1) + "\n")
    draw(json.loads(path.read_text()))


def draw(report: dict[str, object]) -> None:
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
    PICTURE.parent.mkdir(exist_ok=True)
    figure.savefig(PICTURE, dpi=110)


if __name__ == "__main__":
    main()
