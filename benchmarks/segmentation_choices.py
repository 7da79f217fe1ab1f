"""What each choice of ``medloss segment plan`` gives in a fixed number of patches: a variant for each, all else equal.

    python benchmarks/segmentation_choices.py [--data FOLDER] [--patches 480] [--seeds 1] [--only 'batch 1'] [--out F]

The plan is that of the hippocampus with a smaller network and patch, so that a training takes less than a minute of one
thread, and with an average of weights that is as much shorter. The table has the mean Dice of the last fifth of the
cases, which train nothing, and of each class. The plan itself is trained with three seeds: how far these lie apart is
what a difference has to exceed. Without ``--data`` a phantom with an organ, a vessel and small lesions is made.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import segmentation_phantom
from segmentation_trial import of_steps, reached

from medloss.apps.common.config import load_config
from medloss.apps.segmentation.augment import RandPatchd
from medloss.apps.segmentation.config import Config
from medloss.apps.segmentation.random_intensity import RandIntensityd
from medloss.apps.segmentation.train import SegmentationTask

PLAN = {
    "data.patch": "[32,32,32]",
    "loss": "dice_ce",
    "model.channels": "[8,16,32]",
    "model.deep_supervision": "{outputs: 1, resize: soft}",
    "train.mirror": "[0]",
    "train.batch": "2",
    "train.epoch_steps": "25",
    "train.optimizer.lr": "3e-3",
    "train.schedule": "{name: cosine, warmup: 1}",
    "train.ema": "0.95",
    "train.clip": "12",
    "threads": "1",
}
NAME = "the plan"
SEEDS = 3  # of the plan


def _without_turns(task: SegmentationTask) -> None:
    for step in task.loader.dataset.transform.transforms:
        if isinstance(step, RandPatchd):
            step.affine = 0.0


def _without_greys(task: SegmentationTask) -> None:
    for step in task.loader.dataset.transform.transforms:
        if isinstance(step, RandIntensityd):
            step.STEPS = ()


class Variant(NamedTuple):
    """What differs from the plan: options, and what no option says."""

    options: dict[str, str]
    change: Callable[[SegmentationTask], None] | None = None


ONE_OUTPUT = {"model.deep_supervision": "{outputs: 0}"}
VARIANTS = {
    NAME: Variant({}),
    "one output, no deep supervision": Variant(ONE_OUTPUT),
    "deep supervision against the nearest label": Variant({"model.deep_supervision": "{outputs: 1, resize: nearest}"}),
    "no rotation and scaling": Variant({}, _without_turns),
    "no change of intensities": Variant({}, _without_greys),
    "no mirroring": Variant({"train.mirror": "[]"}),
    "mirrored along all axes": Variant({"train.mirror": "[0,1,2]"}),
    "no augmentation, no mirroring": Variant({"train.augment": "none", "train.mirror": "[]"}),
    "patches anywhere": Variant({"train.foreground": "0"}),
    "each patch around a class": Variant({"train.foreground": "1"}),
    "patch 24 x 24 x 24": Variant({"data.patch": "[24,24,24]"}),
    "patch 32 x 48 x 32": Variant({"data.patch": "[32,48,32]"}),
    "batch 1": Variant({"train.batch": "1"}),
    "batch 4": Variant({"train.batch": "4"}),
    "weights not averaged": Variant({"train.ema": "0"}),
    "lr 1e-3": Variant({"train.optimizer.lr": "1e-3"}),
    "lr 1e-3, constant": Variant({"train.optimizer.lr": "1e-3", "train.schedule": "{name: constant}"}),
    "lr 1e-2": Variant({"train.optimizer.lr": "1e-2"}),
    "nnU-Net's SGD, lr 1e-2, poly": Variant(
        {"train.optimizer": "{name: sgd, lr: 1e-2, weight_decay: 3e-5}", "train.schedule": "{name: poly}"}
    ),
    "loss `dice`": Variant({"loss": "dice"}),
    "loss `cross_entropy`": Variant({"loss": "cross_entropy"}),
    "twice the channels": Variant({"model.channels": "[16,32,64]"}),
    "a level more, two coarser outputs": Variant(
        {"model.channels": "[8,16,32,64]", "model.deep_supervision": "{outputs: 2, resize: soft}"}
    ),
    "residual blocks": Variant({"model.residual": "true"}),
    "`unet` [16, 32, 64], one output": Variant({**ONE_OUTPUT, "model.name": "unet", "model.channels": "[16,32,64]"}),
}


def row(name: str, seed: int, folder: Path, patches: int) -> dict[str, Any]:
    """What a variant reaches with a seed."""
    variant = VARIANTS[name]
    options = {**PLAN, **variant.options, "data.root": str(folder), "seed": str(seed)}
    task = SegmentationTask(load_config(Config, [], [f"{key}={value}" for key, value in options.items()]))
    if variant.change is not None:
        variant.change(task)
    return {"choice": name, "seed": seed, **reached(task, of_steps(patches // task.config.train.batch))}


def table(rows: list[dict[str, Any]]) -> str:
    """A line for each variant, the means over its seeds; the plan first, then the best."""
    keys = [key for key in rows[0] if key.startswith("dice")]
    found = {name: [each for each in rows if each["choice"] == name] for name in VARIANTS}
    means = {
        name: {key: statistics.mean(each[key] for each in mine) for key in (*keys, "steps")}
        for name, mine in found.items()
        if mine
    }
    lines = [f"| choice | {' | '.join(keys)} | Dice of each seed | steps |", f"|---|{'---|' * (len(keys) + 2)}"]
    for name in sorted(means, key=lambda name: (name != NAME, -means[name]["dice"])):
        seeds = ", ".join(f"{each['dice']:.3f}" for each in found[name])
        cells = " | ".join(f"{means[name][key]:.3f}" for key in keys)
        lines.append(f"| {name} | {cells} | {seeds} | {means[name]['steps']:.0f} |")
    return "\n".join(lines)


def main() -> None:
    """See the top of the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--patches", type=int, default=480, help="that a training sees")
    parser.add_argument("--seeds", type=int, default=1, help="of each variant; the plan has three or more")
    parser.add_argument("--only", choices=VARIANTS, nargs="+", default=list(VARIANTS))
    parser.add_argument(
        "--out", type=Path, help="a file of rows, one JSON object per line; what it has is not repeated"
    )
    given = parser.parse_args()
    rows = [json.loads(line) for line in given.out.read_text().splitlines()] if given.out and given.out.exists() else []
    done = {(each["choice"], each["seed"]) for each in rows}
    wanted = [(NAME, seed) for seed in range(SEEDS)] if NAME in given.only else []
    wanted += [(name, seed) for seed in range(given.seeds) for name in given.only]
    with tempfile.TemporaryDirectory() as scratch:
        folder = given.data or segmentation_phantom.write(Path(scratch), 20)
        for name, seed in dict.fromkeys(wanted):
            if (name, seed) in done:
                continue
            rows.append(row(name, seed, folder, given.patches))
            print(rows[-1], flush=True)
            if given.out:
                with given.out.open("a") as file:
                    file.write(json.dumps(rows[-1]) + "\n")
    print(table(rows))


if __name__ == "__main__":
    main()
