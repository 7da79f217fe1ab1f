"""Data sets for training, and the folder on the path, so that its tests import their phantoms by name."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))

from registration_phantoms import oblique, save


def ball(shape, centre, radius):
    """A region of 0 and 1."""
    distance = np.linalg.norm(np.indices(shape) - np.reshape(centre, (3, 1, 1, 1)), axis=0)
    return (distance < radius).astype(np.uint8)


@pytest.fixture(scope="session")
def deepreg_data(tmp_path_factory) -> Path:
    """DeepReg's paired layout: moving and fixed of unlike shapes, one or two regions per pair, a shift between them."""
    root = tmp_path_factory.mktemp("deepreg")
    for split, count in (("train", 4), ("test", 2)):
        for number in range(count):
            fixed = ball((16, 14, 12), (8, 7, 6), 4)
            moving = ball((20, 18, 16), (12.5, 9, 8), 5)
            regions = 1 + number % 2
            for side, region in (("fixed", fixed), ("moving", moving)):
                noise = np.random.default_rng(number).normal(0, 5, region.shape)
                image = (100 * region + noise).clip(0, 255).astype(np.uint8)
                label = np.stack([region] * regions, axis=-1).astype(np.float64)
                name = f"case{number}.nii.gz"
                save(root / split / f"{side}_images" / name, image, oblique())
                save(root / split / f"{side}_labels" / name, label if regions > 1 else label[..., 0], oblique())
    return root


@pytest.fixture
def training(deepreg_data) -> dict:
    """A configuration that trains for seconds."""
    return {
        "data": {"root": str(deepreg_data), "labels": {"kind": "masks"}, "valid_fraction": 0.25},
        "loss": {"label": {"dice": {}}, "field": {"diffusion": {"weight": 0.1}}, "label_scales": [0, 1]},
        "model": {"name": "unet", "channels": 4, "depth": 2},
        "train": {"epochs": 2, "optimizer": {"lr": 5e-3}},
    }
