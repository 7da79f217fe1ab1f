"""What losses learn from labels in which lesions are missing: ``python benchmarks/missing_lesions.py [NAME ...]``.

Volumes of 32 x 32 x 32 voxels with small lesions, drawn here. Each lesion of the training labels is left out with a
probability of 0.4; the labels of the 40 test volumes are complete. Each loss trains the same small network for 150
steps with two seeds. Twenty processor seconds for a loss.
"""

from __future__ import annotations

import argparse

import numpy as np
import torch
from monai.networks.nets import UNet
from scipy.ndimage import gaussian_filter
from torch import Tensor

from medloss.config import build_loss
from medloss.transforms import ComponentLabels

SIZE, BATCH, MISSING = 32, 4, 0.4
CLASSES = {"softmax": True, "to_onehot_y": True}
REGION = {**CLASSES, "include_background": False, "batch": True}
RECALL = {"alpha": 0.3, "beta": 0.7}
LOSSES = {
    "dice_ce": {"dice_ce": REGION},
    "tversky_ce": {"tversky_ce": {**REGION, **RECALL}},
    "tversky": {"tversky": {**REGION, **RECALL}},
    "tversky_0.1": {"tversky": {**REGION, "alpha": 0.1, "beta": 0.9}},
    "focal_tversky": {"focal_tversky": REGION},
    "dice": {"dice": REGION},
    "gce": {"generalized_cross_entropy": CLASSES},
    "noise_robust": {"generalized_cross_entropy": CLASSES, "noise_robust_dice": {**REGION, "gamma": 1.5}},
    "symmetric": {"symmetric_cross_entropy": {"to_onehot_y": True}, "noise_robust_dice": {**REGION, "gamma": 1.5}},
    "t_loss": {"t_loss": CLASSES},
}
GRID = np.stack(np.meshgrid(*[np.arange(SIZE)] * 3, indexing="ij")).astype(np.float32)
COMPONENTS = ComponentLabels()


def from_point(point: np.ndarray) -> np.ndarray:
    """Vectors from a point to every voxel, 3 x y z."""
    return GRID - np.reshape(point, (3, 1, 1, 1))


def vessel(random: np.random.Generator) -> np.ndarray:
    """True within 1.3 voxels of a straight line."""
    direction = random.normal(size=3)
    direction /= np.linalg.norm(direction)
    away = from_point(random.uniform(4, SIZE - 4, 3))
    along = np.tensordot(direction, away, 1)
    return (away**2).sum(0) - along**2 < 1.3**2


def patient(random: np.random.Generator) -> tuple[Tensor, Tensor]:
    """An image 1 x y z with two vessels, and its label 1 x y z: 1 in lesions of 0.2 to 2 % of the volume."""
    image = 0.35 + 0.8 * gaussian_filter(random.normal(size=GRID.shape[1:]), 4)
    for _ in range(2):
        image[vessel(random)] = 0.75
    label = np.zeros(image.shape, dtype=np.uint8)
    volume = random.uniform(0.002, 0.02) * label.size
    while label.sum() < 0.7 * volume:
        half_axes = random.uniform(1.2, 1.2 + 3.2 * random.random()) * random.uniform(0.8, 1.25, 3)
        away = from_point(random.uniform(5, SIZE - 5, 3)) / half_axes.reshape(3, 1, 1, 1)
        lesion, rim = ((away**2).sum(0) <= 1), ((away**2).sum(0) <= 4)
        if lesion.sum() < 4 or label.sum() + lesion.sum() > volume or label[rim].any():
            continue
        label[lesion], image[lesion] = 1, random.uniform(0.6, 0.8)
    noisy = gaussian_filter(image, 0.6) + random.normal(0, 0.1, image.shape)
    return torch.tensor(noisy, dtype=torch.float32)[None], torch.tensor(label)[None]


def cohort(seed: int, count: int) -> list[tuple[Tensor, Tensor]]:
    """Images and labels."""
    random = np.random.default_rng(seed)
    return [patient(random) for _ in range(count)]


def without_some(label: Tensor, random: np.random.Generator) -> Tensor:
    """The label without a random part of its lesions."""
    numbers = COMPONENTS(label)
    gone = [number for number in range(1, int(numbers.max()) + 1) if random.random() < MISSING]
    return torch.where(torch.isin(numbers, torch.tensor(gone, dtype=numbers.dtype)), 0, label)


def train(loss: torch.nn.Module, cases: list[tuple[Tensor, Tensor]], seed: int, steps: int) -> UNet:
    """A network that was trained on these images and labels."""
    torch.manual_seed(seed)
    network = UNet(3, 1, 2, channels=(8, 16, 32), strides=(2, 2), num_res_units=1, norm="instance")
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=1e-2, total_steps=steps)
    random = np.random.default_rng(seed)
    for _ in range(steps):
        chosen = [cases[k] for k in random.choice(len(cases), BATCH, replace=False)]
        image, label = (torch.stack(each) for each in zip(*chosen))
        optimiser.zero_grad()
        loss(network(image), label).backward()
        optimiser.step()
        schedule.step()
    return network


def score(found: Tensor, truth: Tensor) -> list[float]:
    """Dice over all volumes, the share of lesions that are touched, and false alarms per volume."""
    hits = count = alarms = 0
    for one, true in zip(found, truth):
        own, other = COMPONENTS(true).flatten().long(), COMPONENTS(one).flatten().long()
        count += int(own.max())
        hits += int((own[one.flatten()].unique() > 0).sum())
        touched = torch.bincount(other, weights=true.flatten().double())[1:] > 0
        alarms += int((~touched).sum())
    dice = 2 * float((found & truth).sum()) / max(float(found.sum() + truth.sum()), 1.0)
    return [dice, hits / count, alarms / len(found)]


def main() -> None:
    """Print a row for each loss: the mean of two seeds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=list(LOSSES), metavar="NAME", help=", ".join(LOSSES))
    parser.add_argument("--steps", type=int, default=150)
    given = parser.parse_args()
    torch.set_num_threads(1)
    train_cases, test_cases, random = cohort(1, 60), cohort(3, 40), np.random.default_rng(9)
    cases = [(image, without_some(label, random)) for image, label in train_cases]
    image, label = (torch.stack(each) for each in zip(*test_cases))
    print("| loss | Dice | lesions found | false alarms per volume | Dice of each seed |\n|---|---|---|---|---|")
    for name in given.names:
        loss, rows = build_loss(LOSSES[name]), []
        for seed in range(2):
            network = train(loss, cases, seed, given.steps)
            with torch.no_grad():
                rows.append(score(network(image).softmax(1)[:, 1:] > 0.5, label == 1))
        dice, found, alarms = np.mean(rows, axis=0)
        each = ", ".join(f"{row[0]:.3f}" for row in rows)
        print(f"| {name} | {dice:.3f} | {found:.2f} | {alarms:.1f} | {each} |", flush=True)


if __name__ == "__main__":
    main()
