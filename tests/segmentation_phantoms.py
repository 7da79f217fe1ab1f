"""A tiny synthetic data set: a ball (id 4) within a shell (id 2), oblique affine, every case of its own size."""

from __future__ import annotations

import nibabel as nib
import numpy as np

AFFINE = np.array([[0.98, -0.2, 0.0, 3], [0.2, 1.17, 0.1, -4], [0.02, -0.1, 1.5, 5], [0, 0, 0, 1.0]])


def phantom(seed):
    """Image and label (i, j, k) of about 16^3 voxels; the image's scale differs wildly from case to case."""
    generator = np.random.default_rng(seed)
    shape = tuple(int(size) for size in generator.integers(14, 18, 3))
    centre = [size / 2 + generator.normal() for size in shape]
    distance = np.sqrt(sum((axis - c) ** 2 for axis, c in zip(np.indices(shape), centre, strict=True)))
    label = np.where(distance < 3, 4, np.where(distance < 5.5, 2, 0)).astype(np.uint8)
    image = (1 + label + generator.normal(0, 0.2, shape)) * 10 ** generator.uniform(0, 4)
    return image.astype(np.float32), label


def save(path, array, affine=AFFINE):
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(array, affine), path)
    return path


def write_dataset(root):
    """images/ and labels/ of five cases, named so that the order of the text misleads."""
    for number in (1, 2, 3, 9, 10):
        image, label = phantom(number)
        save(root / "images" / f"case_{number}.nii.gz", image)
        save(root / "labels" / f"case_{number}.nii.gz", label)
    return root


def make_settings(root, **options):
    """A small configuration; options are dotted overrides."""
    from medloss.apps.common.config import load_config
    from medloss.apps.segmentation.config import Config

    base = {
        "data.root": root,
        "loss.dice_ce.batch": True,
        "model.name": "unet",
        "model.channels": "[4,8]",
        "validate.previews": 0,
        "train.optimizer.lr": 1e-2,
        "train.epochs": 2,
        "validate.share": 1,
    }
    return load_config(Config, [], [f"{key}={value}" for key, value in {**base, **options}.items()])
