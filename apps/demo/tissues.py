"""Part one: a small 3D UNet learns the tissues of the posterior part of the brain; the anterior part tests it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from monai.data import DataLoader
from monai.transforms import Randomizable
from torch.utils.data import Dataset

from medloss.apps.common.compute import pick_device
from medloss.apps.common.engine import build_trainer
from medloss.apps.common.output import RunFolder
from medloss.apps.common.random_state import seed_epoch
from medloss.apps.common.region_metrics import dice
from medloss.apps.demo.baseline import Thresholds, apply_thresholds, best_thresholds
from medloss.apps.demo.config import TissueConfig
from medloss.apps.demo.corruption import corrupt
from medloss.apps.demo.template import TISSUES, Template
from medloss.apps.segmentation.classes import Classes
from medloss.apps.segmentation.config import Inference
from medloss.apps.segmentation.network import build_network, build_windows
from medloss.apps.segmentation.train import Terms
from medloss.apps.segmentation.volumes import IMAGE, LABEL
from medloss.config import build_loss

CLASSES = 1 + len(TISSUES)
TEST_SEED = 1000  # of the test image's noise and bias, apart from those that training draws

Box = tuple[slice, slice, slice]


class Tissues(NamedTuple):
    """What part one found; arrays (i, j, k) on the template's grid, zero outside the anterior part."""

    image: np.ndarray
    reference: np.ndarray
    prediction: np.ndarray
    thresholded: np.ndarray
    tested: np.ndarray
    rows: list[dict[str, Any]]
    thresholds: Thresholds


def split(brain: np.ndarray) -> tuple[Box, Box]:
    """The posterior part, to train on, and the anterior part, to test on, with as many brain voxels each.

    They are cut along j (posterior to anterior): unlike left and right, neither is the mirror image of the other.
    """
    profile = brain.sum(axis=(0, 2)).cumsum()
    plane = int(np.searchsorted(profile, profile[-1] / 2)) + 1
    return (slice(None), slice(0, plane), slice(None)), (slice(None), slice(plane, None), slice(None))


class FreshPatches(Randomizable, Dataset):
    """Random patches of a part of the template, each with its own noise, bias field and orientation.

    Args:
        image, tissues, brain: the part of the template to draw from (i, j, k).
        patch: size of a patch in voxels.
        length: number of patches per epoch.
    """

    def __init__(
        self, image: np.ndarray, tissues: np.ndarray, brain: np.ndarray, patch: Sequence[int], length: int
    ) -> None:
        self.image, self.tissues, self.brain, self.patch, self.length = image, tissues, brain, patch, length
        self.centres = np.argwhere(brain)

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        box = self._box()
        noisy, label = corrupt(self.image, self.brain, self.R, box), self.tissues[box]
        turn = self.R.permutation(3)
        mirror = tuple(np.flatnonzero(self.R.rand(3) < 0.5).tolist())
        noisy, label = (np.flip(each.transpose(turn), mirror).copy()[None] for each in (noisy, label))
        return {IMAGE: torch.from_numpy(noisy), LABEL: torch.from_numpy(label)}

    def _box(self) -> Box:
        """A patch around a random voxel of the brain, moved inside the volume."""
        centre = self.centres[self.R.randint(len(self.centres))]
        shift = [self.R.randint(-(size // 4), size // 4 + 1) for size in self.patch]
        starts = [
            int(np.clip(middle + off - size // 2, 0, full - size))
            for middle, off, size, full in zip(centre, shift, self.patch, self.image.shape, strict=True)
        ]
        i, j, k = (slice(start, start + size) for start, size in zip(starts, self.patch, strict=True))
        return i, j, k


def train(
    run: RunFolder, template: Template, config: TissueConfig, seed: int, progress: bool = True
) -> torch.nn.Module:
    """Train the network on the posterior part, with the trainer of ``medloss segment train``, into the run folder."""
    posterior, _ = split(template.brain)
    device = pick_device()
    length = config.steps_per_epoch * config.train.batch
    part = (template.image[posterior], template.tissues[posterior], template.brain[posterior])
    loader = DataLoader(FreshPatches(*part, config.patch, length), batch_size=config.train.batch)
    seed_epoch(seed, 0)
    network, loss = build_network(config.model, CLASSES).to(device), build_loss(config.loss, kind="label").to(device)
    trainer = build_trainer(
        run=run,
        network=network,
        loader=loader,
        terms=Terms(network, loss, Classes.from_mapping({f"tissue_{each}": each for each in range(1, CLASSES)})),
        config=config.train,
        device=device,
        seed=seed,
        loss=loss,
        progress=progress,
    )
    trainer.run()
    return network


def evaluate(network: torch.nn.Module, template: Template, config: TissueConfig, seed: int) -> Tissues:
    """Segment the anterior part under noise and bias that the network has not seen; score it beside the thresholds."""
    _, anterior = split(template.brain)
    reference, brain = template.tissues[anterior], template.brain[anterior]
    noisy = corrupt(template.image[anterior], brain, np.random.RandomState(TEST_SEED + seed))
    network.eval()
    windows = build_windows(Inference(batch=4), config.patch, [network], next(network.parameters()).device)
    prediction = windows.whole(torch.from_numpy(noisy)[None]).argmax(0).numpy().astype(np.uint8)
    thresholds = best_thresholds(noisy[brain], reference[brain])
    thresholded = apply_thresholds(noisy, brain, thresholds)
    parts = (noisy, reference, prediction, thresholded, np.ones_like(brain))
    whole = [place(part, anterior, template.brain.shape) for part in parts]
    image, truth, predicted, by_thresholds, tested = whole
    rows = score(prediction, thresholded, reference)
    return Tissues(image, truth, predicted, by_thresholds, tested, rows, thresholds)


def score(prediction: np.ndarray, thresholded: np.ndarray, reference: np.ndarray) -> list[dict[str, Any]]:
    """One row per tissue and one of the means: Dice of the network and of the thresholds against the reference."""
    truth = torch.from_numpy(reference.astype(np.int64))
    found = [dice(torch.from_numpy(each.astype(np.int64)), truth, CLASSES) for each in (prediction, thresholded)]
    names = [*TISSUES.values(), "mean"]
    columns = [[*values, float(np.mean(values))] for values in found]
    return [
        {"tissue": name, "dice_network": network, "dice_thresholds": baseline}
        for name, network, baseline in zip(names, *columns, strict=True)
    ]


def place(part: np.ndarray, box: Box, shape: Sequence[int]) -> np.ndarray:
    """A part put back where it was in a volume of zeros."""
    whole = np.zeros(shape, part.dtype)
    whole[box] = part
    return whole
