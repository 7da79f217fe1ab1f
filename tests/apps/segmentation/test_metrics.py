"""The measures on regions whose answer is known, and their meaning where a region is empty."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from medloss.apps.common.region_metrics import dice, region_measures


def box(*corner, size=6, shape=(24, 24, 24)):
    region = np.zeros(shape, bool)
    region[tuple(slice(c, c + size) for c in corner)] = True
    return region


def test_shifted_boxes():
    values = region_measures(box(4, 4, 4), box(6, 4, 4), spacing=(1.5, 1, 1), tolerance=1.0)
    assert values["dice"] == pytest.approx(2 * 4 / 12)
    assert values["hd95_mm"] == pytest.approx(3.0)  # two voxels of 1.5 mm
    assert 0 < values["asd_mm"] < 3.0


def test_equal_regions_are_perfect():
    values = region_measures(box(4, 4, 4), box(4, 4, 4), spacing=(1, 1, 1))
    assert values == {"dice": 1.0, "hd95_mm": 0.0, "asd_mm": 0.0, "surface_dice": 1.0}


def test_cropping_to_the_regions_changes_nothing():
    spacing = (1.0, 2.0, 0.5)
    near = region_measures(box(4, 4, 4), box(6, 5, 4), spacing)
    far = region_measures(box(14, 14, 14, shape=(40, 40, 40)), box(16, 15, 14, shape=(40, 40, 40)), spacing)
    assert near == pytest.approx(far)
    touching = region_measures(box(0, 0, 0), box(2, 1, 0), spacing)  # the border of the volume is a surface too
    assert touching == pytest.approx(near)


def test_empty_regions():
    nothing = np.zeros((24, 24, 24), bool)
    assert all(math.isnan(value) for value in region_measures(nothing, nothing, (1, 1, 1)).values())
    one = region_measures(box(4, 4, 4), nothing, (1, 1, 1))
    assert one["dice"] == 0 and one["surface_dice"] == 0 and math.isinf(one["hd95_mm"])


def test_dice_of_index_maps():
    reference = torch.zeros(4, 4, 4, dtype=torch.long)
    reference[0], reference[1] = 1, 2
    prediction = reference.clone()
    prediction[1, :2], prediction[3, 0, 0] = 0, 3
    values = dice(prediction, reference, 5)
    assert values[:3] == pytest.approx([1.0, 2 * 8 / 24, 0.0])  # class 3 is predicted but absent: 0, not undefined
    assert math.isnan(values[3])
