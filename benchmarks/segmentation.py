"""The application beside a plain MONAI script: the same network, loss, patches, optimizer, cases and steps.

    python benchmarks/segmentation.py [--data FOLDER] [--steps 100] [--threads 1]

Prints for each processor seconds in all and for each step, peak memory and the mean Dice of the last fifth of the
cases, which trained nothing. Each runs in a process of its own. Without ``--data`` a phantom is made. The seconds in
all hold reading the files and one pass over the held-out cases; those of a step are the difference of two lengths.
"""

from __future__ import annotations

import argparse
import itertools
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import segmentation_phantom
import torch

NETWORK = [16, 32, 64]
PATCH, BATCH, RATE = (32, 32, 32), 2, 3e-3
METHODS = ("medloss", "plain MONAI")
BOTH = ["image", "label"]


def cases_of(folder: Path) -> tuple[list[str], list[str]]:
    """Names of the cases to train on, and of the last fifth."""
    names = sorted(path.name for path in (folder / "images").iterdir())
    held = max(len(names) // 5, 1)
    return names[:-held], names[-held:]


def with_medloss(folder: Path, steps: int, scratch: Path) -> float:
    """Mean Dice by ``medloss segment train``."""
    from medloss.apps.common.config import load_config
    from medloss.apps.common.output import read_json
    from medloss.apps.segmentation.config import Config
    from medloss.apps.segmentation.train import train

    train_names, held = cases_of(folder)
    options = {
        "data.root": folder,
        "data.patch": list(PATCH),
        "data.valid.fraction": len(held) / (len(train_names) + len(held)),
        "data.spacing": "none",
        "loss": "dice_ce",
        "model.channels": NETWORK,
        "train.steps": steps,
        "train.epoch_steps": steps,
        "train.batch": BATCH,
        "train.optimizer.lr": RATE,
        "train.clip": "null",
        "validate.previews": 0,
    }
    config = load_config(Config, [], [f"{key}={value}" for key, value in options.items()])
    run = train(config, scratch / "run", progress=False)
    labels = (read_json(run.path / "metrics.json") or {})["labels"]
    return float(np.mean([each["dice"]["mean"] for each in labels.values()]))


def with_monai(folder: Path, steps: int, scratch: Path) -> float:
    """Mean Dice by a script as MONAI's tutorials have it; its augmentation is of the same kinds."""
    from monai.data import CacheDataset, DataLoader, list_data_collate
    from monai.losses import DiceCELoss
    from monai.networks.nets import DynUNet
    from monai.transforms import Compose, LoadImage

    known, held = (
        [{key: str(folder / f"{key}s" / name) for key in BOTH} for name in names] for names in cases_of(folder)
    )
    classes = 1 + max(int(LoadImage()(item["label"]).max()) for item in known)
    read, random = transforms()
    data = CacheDataset(known, Compose([*read, *random]), progress=False)
    loader = DataLoader(data, batch_size=BATCH, shuffle=True, drop_last=True, collate_fn=list_data_collate)
    kernels, strides = [3] * len(NETWORK), [1] + [2] * (len(NETWORK) - 1)
    norm = ("instance", {"affine": True})
    network = DynUNet(3, 1, classes, kernels, strides, strides[1:], filters=NETWORK, norm_name=norm)
    optimizer = torch.optim.AdamW(network.parameters(), RATE, weight_decay=1e-5)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    loss = DiceCELoss(to_onehot_y=True, softmax=True)
    batches = (batch for _ in itertools.count() for batch in loader)
    for batch in itertools.islice(batches, steps):
        optimizer.zero_grad()
        loss(network(batch["image"]), batch["label"]).backward()
        optimizer.step()
        schedule.step()
    return _dice(network.eval(), DataLoader(CacheDataset(held, Compose(read), progress=False)), classes)


def transforms() -> tuple[list[Any], list[Any]]:
    """What is done to each case once, and what at random."""
    from monai import transforms as t

    angle, modes = np.pi / 6, ("bilinear", "nearest")
    read = [
        t.LoadImaged(BOTH),
        t.EnsureChannelFirstd(BOTH),
        t.Orientationd(BOTH, "RAS", labels=None),
        t.NormalizeIntensityd("image", nonzero=True),
    ]
    return read, [
        t.SpatialPadd(BOTH, PATCH),
        t.RandCropByPosNegLabeld(BOTH, "label", PATCH),
        t.RandAffined(
            BOTH, prob=0.5, rotate_range=[angle] * 3, scale_range=[0.3] * 3, mode=modes, padding_mode="zeros"
        ),
        t.RandGaussianNoised("image", prob=0.1),
        t.RandGaussianSmoothd("image", prob=0.1),
        t.RandScaleIntensityd("image", 0.25, prob=0.15),
        t.RandAdjustContrastd("image", prob=0.3, gamma=(0.7, 1.5)),
    ]


@torch.no_grad()
def _dice(network: torch.nn.Module, loader: Any, classes: int) -> float:
    from monai.data import decollate_batch
    from monai.inferers import sliding_window_inference
    from monai.metrics import DiceMetric
    from monai.transforms import AsDiscrete

    metric = DiceMetric(include_background=False)
    decided, known = AsDiscrete(argmax=True, to_onehot=classes), AsDiscrete(to_onehot=classes)
    for batch in loader:
        found = sliding_window_inference(batch["image"], PATCH, BATCH, network, overlap=0.5, mode="gaussian")
        metric(
            [decided(each) for each in decollate_batch(found)],
            [known(each) for each in decollate_batch(batch["label"])],
        )
    return float(metric.aggregate())


def measure(method: str, folder: Path, steps: int, threads: int) -> dict[str, Any]:
    """One training in this process."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    run = with_medloss if method == METHODS[0] else with_monai
    with tempfile.TemporaryDirectory() as scratch:
        started = time.process_time()
        dice = run(folder, steps, Path(scratch))
        seconds = time.process_time() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return {
        "method": method,
        "steps": steps,
        "processor_s": round(seconds, 2),
        "peak_gib": round(peak, 3),
        "dice": round(dice, 4),
    }


def table(rows: list[dict[str, Any]]) -> str:
    """A row for each method: what two lengths tell."""
    lines = ["| method | steps | processor s | ms a step | peak GiB | Dice |", "|---|---|---|---|---|---|"]
    for method in METHODS:
        short, long = sorted((row for row in rows if row["method"] == method), key=lambda row: row["steps"])
        each = 1e3 * (long["processor_s"] - short["processor_s"]) / (long["steps"] - short["steps"])
        told = [method, long["steps"], long["processor_s"], f"{each:.0f}", long["peak_gib"], long["dice"]]
        lines.append(f"| {' | '.join(str(value) for value in told)} |")
    return "\n".join(lines)


def main() -> None:
    """See the top of the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder with images/ and labels/ of equal names, labels 0, 1, 2, ...")
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--one", choices=METHODS, help="one training here; prints a line of JSON")
    given = parser.parse_args()
    if given.one:
        print(json.dumps(measure(given.one, given.data, given.steps, given.threads)))
        return
    with tempfile.TemporaryDirectory() as scratch:
        folder = given.data or segmentation_phantom.write(Path(scratch), 20)
        rows = []
        for method in METHODS:
            for steps in (max(given.steps // 4, 1), given.steps):
                options = [
                    "--one",
                    method,
                    "--data",
                    str(folder),
                    "--steps",
                    str(steps),
                    "--threads",
                    str(given.threads),
                ]
                told = subprocess.run([sys.executable, __file__, *options], check=True, capture_output=True, text=True)
                rows.append(json.loads(told.stdout.strip().splitlines()[-1]))
        print(table(rows))


if __name__ == "__main__":
    main()
