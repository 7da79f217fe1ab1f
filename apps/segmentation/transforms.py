"""What happens to a case between file and network: MONAI transforms, the fixed ones first, then the random ones."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import (
    Compose,
    EnsureTyped,
    MapTransform,
    NormalizeIntensityd,
    Orientationd,
    RandAdjustContrastd,
    RandAffined,
    RandCropByPosNegLabeld,
    RandFlipd,
    RandGaussianNoised,
    RandScaleIntensityd,
    RandShiftIntensityd,
    ScaleIntensityRanged,
    ScaleIntensityRangePercentilesd,
    Spacingd,
    SpatialPadd,
)

from medloss.apps.common.images import load_image
from medloss.apps.common.labels import integer_dtype, load_labels
from medloss.apps.common.reading import DEFAULT, Reading
from medloss.apps.segmentation.classes import Classes
from medloss.apps.segmentation.config import Data, Intensity, SegmentationTrain
from medloss.transforms import LossMaskd, RemapLabelsd

IMAGE, LABEL, MASK = "image", "label", "mask"


class LoadVolumed(MapTransform):
    """Read files into ``MetaTensor`` 1[i, j, k] with their affine, by the reader that every application uses.

    Images come as float32, labels as int32 (int64 where an id needs it).
    """

    def __init__(self, keys: KeysCollection, reading: Reading = DEFAULT) -> None:
        super().__init__(keys)
        self.reading = reading

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        result = dict(data)
        for key in self.key_iterator(result):
            load = load_image if key == IMAGE else load_labels
            volume = load(Path(result[key]), self.reading)
            dtype = np.float32 if key == IMAGE else integer_dtype(volume.array)
            array = torch.from_numpy(np.ascontiguousarray(volume.array, dtype=dtype))
            result[key] = MetaTensor(array[None], affine=torch.from_numpy(volume.affine))
        return result


def fixed_transforms(data: Data, classes: Classes | None) -> Compose:
    """Load, orient to RAS, resample and normalise; with ``classes`` the label too, as channel indices."""
    keys = [IMAGE] if classes is None else [IMAGE, LABEL]
    steps: list[Any] = [LoadVolumed(keys, data.read)]
    if classes is not None:
        steps += [RemapLabelsd(LABEL, classes.to_channels(), dtype=torch.int32)]
    steps += [Orientationd(keys, axcodes="RAS", labels=None)]
    if data.spacing is not None:
        modes = ["bilinear", "nearest"][: len(keys)]
        steps += [Spacingd(keys, pixdim=data.spacing, mode=modes, padding_mode="border")]
    steps += [normalisation(data.intensity)]
    if classes is not None:
        steps += [EnsureTyped(LABEL, dtype=torch.uint8 if classes.count < 255 else torch.int32)]
        steps += _ignore(classes)
    return Compose(steps)


def normalisation(intensity: Intensity) -> MapTransform:
    """The transform for an intensity rule; each volume is brought to scale by itself."""
    low, high = intensity.bounds()
    if intensity.rule == "window":
        return ScaleIntensityRanged(IMAGE, low, high, 0.0, 1.0, clip=True)
    if intensity.rule == "percentile":
        return ScaleIntensityRangePercentilesd(IMAGE, low, high, 0.0, 1.0, clip=True)
    return NormalizeIntensityd(IMAGE, nonzero=True)


def random_transforms(train: SegmentationTrain, patch: tuple[int, int, int], classes: Classes) -> Compose:
    """Pad to the patch, crop at random (every second time around a foreground voxel) and augment."""
    keys = [IMAGE, LABEL] if classes.ignore is None else [IMAGE, LABEL, MASK]
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


def _ignore(classes: Classes) -> list[Any]:
    """Voxels with the ignore label become background in the label and 0 in the loss mask."""
    if classes.ignore is None:
        return []
    return [LossMaskd(LABEL, mask_keys=MASK, ignore=classes.ignore_channel, replace=0)]
