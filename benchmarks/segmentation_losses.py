"""What every segmentation loss reaches in a fixed processor time, all else equal.

    python benchmarks/segmentation_losses.py [--data FOLDER] [--seconds 25] [--only dice,focal]

Each loss trains the same network from the same weights on the same patches, with its options at their defaults; losses
that are meant to stand beside another one have ``dice_ce`` beside them. The table has the mean Dice of the last fifth
of the cases, and of each class. One run with one seed: differences of a few hundredths tell nothing, and a loss that
ends low may only be slow. Without ``--data`` a phantom with an organ, a vessel and small lesions is made.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import segmentation_phantom
from segmentation_trial import of_seconds, reached

from medloss.apps.common.config import load_config
from medloss.apps.common.errors import UserError
from medloss.apps.segmentation.config import Config
from medloss.apps.segmentation.losses import AUXILIARY
from medloss.apps.segmentation.train import SegmentationTask
from medloss.registry import losses

SETTINGS = [
    "data.patch=[32,32,32]",
    "model.channels=[8,16,32]",
    "train.epoch_steps=25",
    "train.optimizer={lr: 3e-3, weight_decay: 0.01}",
    "train.ema=0.95",
    "train.clip=12",
    "threads=1",
]


def task_of(name: str, folder: Path) -> SegmentationTask:
    """The training with a loss by its name."""
    terms = [name, "dice_ce"] if name in AUXILIARY else [name]
    options = [f"data.root={folder}", f"loss=[{','.join(terms)}]", *SETTINGS]
    return SegmentationTask(load_config(Config, [], options))


def row(name: str, folder: Path, seconds: float) -> dict[str, Any]:
    """What a loss reaches, or in one line why it does not train alone."""
    told = f"{name} + dice_ce" if name in AUXILIARY else name
    try:
        return {"loss": told, **reached(task_of(name, folder), of_seconds(seconds))}
    except (UserError, ValueError) as fault:
        return {"loss": told, "fault": str(fault).splitlines()[0]}


def table(rows: list[dict[str, Any]]) -> str:
    """The best first; then those that do not train alone."""
    found = sorted((each for each in rows if "fault" not in each), key=lambda each: -each["dice"])
    keys = [key for key in found[0] if key.startswith("dice")] if found else []
    lines = [f"| loss | {' | '.join(keys)} | steps |", f"|---|{'---|' * (len(keys) + 1)}"]
    lines += [
        f"| {each['loss']} | {' | '.join(f'{each[key]:.3f}' for key in keys)} | {each['steps']} |" for each in found
    ]
    return "\n".join([*lines, *(f"\n{each['loss']}: {each['fault']}" for each in rows if "fault" in each)])


def main() -> None:
    """See the top of the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--seconds", type=float, default=25)
    parser.add_argument("--only", help="names, separated by commas")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = given.data or segmentation_phantom.write(Path(scratch), 20)
        names, rows = given.only.split(",") if given.only else losses("label"), []
        for name in names:
            rows.append(row(name, folder, given.seconds))
            print(rows[-1], flush=True)
    print(table(rows))


if __name__ == "__main__":
    main()
