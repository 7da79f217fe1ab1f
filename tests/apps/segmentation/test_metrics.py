"""The measures on regions whose answer is known, and their meaning where a region is empty."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from medloss.apps.common.region_metrics import diagonal_mm, dice, region_measures, region_state, region_volumes


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


def ellipsoid(centre, radii, shape=(24, 26, 12)):
    axes = zip(np.indices(shape), centre, radii, strict=True)
    return sum(((axis - c) / r) ** 2 for axis, c, r in axes) <= 1


@pytest.mark.parametrize(
    ("reference", "prediction", "spacing", "tolerance", "expected"),
    [  # the values are those of DeepMind's package surface-distance 0.1, compute_surface_dice_at_tolerance
        (((11, 12, 5.5), (8, 9, 3.2)), ((12.2, 12.6, 6), (8.5, 8.2, 3.2)), (0.8, 0.8, 3.0), 1.0, 0.8311309171455158),
        (((11, 12, 5.5), (8, 9, 3.2)), ((12, 12, 6), (8, 9, 4)), (1.0, 1.0, 1.0), 1.0, 0.9744584680724527),
        (((0, 12, 5.5), (8, 9, 7)), ((1, 12, 6), (8, 9, 7)), (1.0, 1.5, 2.0), 1.2, 0.9724884462955802),
    ],
)
def test_surface_dice_is_that_of_the_literature(reference, prediction, spacing, tolerance, expected):
    values = region_measures(ellipsoid(*prediction), ellipsoid(*reference), spacing, tolerance)
    assert values["surface_dice"] == pytest.approx(expected, abs=1e-6)


def test_surface_dice_of_plates_that_share_a_face():
    """Each plate of one slice has two faces; they share one, and the other lies a slice of 3 mm off."""
    lower, upper = np.zeros((2, 24, 26, 12), bool)
    lower[5:15, 5:15, 4] = upper[5:15, 5:15, 5] = True
    assert region_measures(lower, upper, (0.8, 0.8, 3.0), 2.0)["surface_dice"] == pytest.approx(0.5)
    assert region_measures(lower, upper, (0.8, 0.8, 3.0), 3.0)["surface_dice"] == pytest.approx(1.0)


def test_states_volumes_and_diagonal():
    nothing, one, two = np.zeros((24, 24, 24), bool), box(4, 4, 4), box(4, 4, 4, size=3)
    states = [region_state(*pair) for pair in ((one, two), (nothing, one), (one, nothing), (nothing, nothing))]
    assert states == ["found", "missed", "invented", "absent"]
    volumes = region_volumes(two, one, (1, 2, 5))  # 27 and 216 voxels of 0.01 ml
    assert volumes == pytest.approx({"reference_ml": 2.16, "prediction_ml": 0.27, "volume_error_ml": -1.89})
    assert diagonal_mm((3, 4, 12), (1, 1, 1)) == 13
