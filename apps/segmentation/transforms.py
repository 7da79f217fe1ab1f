"""What happens to a case between file and network: the fixed part first, then what is random."""

from __future__ import annotations

from typing import Any

from monai.transforms import (
    Compose,
    RandAdjustContrastd,
    RandAffined,
    RandCropByPosNegLabeld,
    RandFlipd,
    RandGaussianNoised,
    RandScaleIntensityd,
    RandShiftIntensityd,
    SpatialPadd,
)

from medloss.apps.segmentation.classes import Classes
from medloss.apps.segmentation.config import SegmentationTrain
from medloss.apps.segmentation.data_config import Data
from medloss.apps.segmentation.volumes import IMAGE, LABEL, MASK, PrepareCase


def fixed_transforms(data: Data, classes: Classes | None, masked: bool = False) -> Compose:
    """Load, orient to RAS, resample and normalise; with ``classes`` the label too, as indices."""
    return Compose([PrepareCase(data, classes, masked)])


def random_transforms(
    train: SegmentationTrain, patch: tuple[int, int, int], classes: Classes, masked: bool = False
) -> Compose:
    """Pad to the patch, crop at random (every second time around a foreground voxel) and augment.

    ``masked``: the cases have a loss mask, beside that of an ignore label.
    """
    keys = [IMAGE, LABEL] if classes.ignore is None and not masked else [IMAGE, LABEL, MASK]
    steps: list[Any] = [
        SpatialPadd(keys, patch),  # by 0: mean of a z-score, low end of the other rules, background, not counted
        RandCropByPosNegLabeld(keys, label_key=LABEL, spatial_size=patch, pos=1, neg=1, num_samples=1),
    ]
    steps += [RandFlipd(keys, prob=0.5, spatial_axis=axis) for axis in train.mirror]
    if train.augment == "default":
        modes = ["bilinear", "nearest", "nearest"][: len(keys)]
        steps += [
            RandAffined(
                keys,
                prob=0.5,
                rotate_range=[0.2] * 3,
                scale_range=[0.15] * 3,
                translate_range=[3] * 3,
                mode=modes,
                padding_mode="border",
            ),
            RandAdjustContrastd(IMAGE, prob=0.2, gamma=(0.7, 1.5), retain_stats=True),
            RandScaleIntensityd(IMAGE, factors=0.2, prob=0.3),
            RandShiftIntensityd(IMAGE, offsets=0.1, prob=0.3),
            RandGaussianNoised(IMAGE, prob=0.2, std=0.1),
        ]
    return Compose(steps)
