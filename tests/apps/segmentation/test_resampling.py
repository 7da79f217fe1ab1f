"""Resampling between spacings: nnU-Net's rules, labels without a one-hot, and there and back."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage

from medloss.apps.common.errors import UserError
from medloss.apps.segmentation.grid import Grid
from medloss.apps.segmentation.resampling import nearest, resample, resample_labels, thick_axis
from medloss.apps.segmentation.scan import Look, target_spacing


@pytest.mark.parametrize("order", [1, 3])
@pytest.mark.parametrize("shape", [(9, 5, 14), (4, 10, 3)])
def test_splines_equal_scipys(order, shape):
    array = np.random.default_rng(0).normal(size=(6, 7, 8)).astype(np.float32)
    zoom = [new / old for new, old in zip(shape, array.shape, strict=True)]
    expected = ndimage.zoom(array, zoom, order=order, mode="nearest", grid_mode=True)
    np.testing.assert_allclose(resample(torch.from_numpy(array), shape, order).numpy(), expected, atol=1e-5)


def test_planes_of_a_thick_axis_are_copied():
    assert thick_axis((1, 1, 3)) is None and thick_axis((1, 1, 3.1)) == 2
    assert thick_axis((1, 1, 1), (5, 1, 1)) == 0 and thick_axis((1, 4, 4)) is None
    planes = torch.arange(3.0).expand(1, 2, 2, 3)
    assert resample(planes, (2, 2, 6), 3, thick=2)[0, 0, 0].tolist() == [0, 0, 1, 1, 2, 2]
    assert nearest(6, 3).tolist() == [1, 3, 5]


@pytest.mark.parametrize("thick", [None, 2])
def test_labels_go_to_the_largest_share(thick):
    """Against the definition, with one volume per label."""
    labels = torch.from_numpy(np.random.default_rng(1).integers(0, 4, (6, 5, 7)))
    for shape in ((9, 8, 12), (4, 5, 3)):
        shares = torch.stack([resample((labels == label).float(), shape, 1, thick) for label in range(4)])
        found = resample_labels(labels, shape, thick)
        assert torch.equal(shares.gather(0, found[None])[0], shares.amax(0))


@pytest.mark.parametrize("spacing", [None, (1.0, 1.0, 1.0), (2.0, 1.0, 3.0)])
def test_a_grid_leads_there_and_back(spacing):
    affine = np.array([[0, 0, -1.5, 4], [1.0, 0, 0, -7], [0, -2.0, 0, 1], [0, 0, 0, 1]])  # axes A, I, L
    grid = Grid.of((6, 8, 10), affine, spacing)
    assert grid.turned == (10, 6, 8) and grid.spacing == (1.5, 1.0, 2.0)
    expected = (10, 6, 8) if spacing is None else (15, 6, 16) if spacing[0] == 1 else (8, 6, 5)
    assert grid.shape == expected
    # the middle of the box stays where it is
    for shape, matrix in (((6, 8, 10), affine), (grid.shape, grid.affine)):
        middle = matrix @ [*((size - 1) / 2 for size in shape), 1]
        np.testing.assert_allclose(middle, affine @ [2.5, 3.5, 4.5, 1])
    array = np.arange(480).reshape(6, 8, 10)
    turned = Grid.of((6, 8, 10), affine, None).image(array[None].astype(np.float32))[0].numpy()
    np.testing.assert_array_equal(grid.back(turned), array)
    assert turned[0, 0, 0] == array[0, -1, -1]  # left, posterior, inferior


def test_absurd_spacings_are_refused():
    with pytest.raises(UserError, match="in mm"):
        Grid.of((100, 100, 100), np.eye(4), (0.01, 1, 1))


def test_the_target_is_the_median_and_along_a_thick_axis_the_tenth_percentile():
    def looks(*spacings, shape=(100, 100, 20)):
        return [Look(str(number), shape, spacing, 1, {}, [], []) for number, spacing in enumerate(spacings)]

    assert target_spacing(looks((1, 1, 2), (1, 1, 3), (2, 1, 3))) == (1.0, 1.0, 3.0)
    thick = looks(*[(0.5, 0.5, size) for size in (3, 4, 5, 6, 7)])
    assert target_spacing(thick) == (0.5, 0.5, pytest.approx(3.4))
