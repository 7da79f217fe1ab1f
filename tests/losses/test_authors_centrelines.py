"""cbDice as its authors compute it: the skeleton of the hard prediction, a least radius of 1, sums over the batch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.losses.cldice import soft_skel
from scipy import ndimage
from torch import Tensor
from voxelwise import value_and_gradient

import medloss
from medloss.segmentation import skeletons

BARE = {"smooth_nr": 0.0, "smooth_dr": 0.0, "smooth": 1e-12}


def rows(filled: dict[int, float], height: int = 12) -> Tensor:
    """Rows of an image of 6 columns, with the probability of each."""
    image = torch.zeros(1, 1, height, 6, dtype=torch.float64)
    for row, value in filled.items():
        image[:, :, row] = value
    return image


def test_the_least_radius_is_one_voxel() -> None:
    """Tubes 2 and 3 deep, the thick one missed: weights (3 - 2 + 1) / 3 and (3 - 3 + 1) / 3, so R = 2 / (2 + 1).

    With the radius of the thinnest tube, 2, in place of 1 they were 3 / 3 and 2 / 3, and R 3 / 5.
    """
    target = rows(dict.fromkeys([1, 2, 3, 5, 6, 7, 8, 9], 1.0))
    found = medloss.CenterlineBoundaryDiceLoss(**BARE)(rows(dict.fromkeys([1, 2, 3], 1.0)), target)
    assert found.item() == pytest.approx(1 - 2 * (2 / 3) / (1 + 2 / 3))


def test_the_skeleton_is_that_of_the_hard_prediction() -> None:
    """A vessel with a middle of 0.9 and a false one of 0.6: P = (1/2) 0.9 / ((1/2) 0.9 + 0.6 (1/2) 0.6).

    The soft skeleton of the first is 0.82 in the middle, not 0.9.
    """
    prediction = rows({1: 0.8, 2: 0.9, 3: 0.8, 6: 0.6})
    found = medloss.CenterlineBoundaryDiceLoss(**BARE)(prediction, rows(dict.fromkeys([1, 2, 3], 1.0)))
    precision = 0.45 / (0.45 + 0.18)
    assert found.item() == pytest.approx(1 - 2 * precision / (precision + 1))


def by_definition(prediction: Tensor, target: Tensor, smooth: float, batch: bool) -> Tensor:
    """The linear form, from the paper's definitions, with MONAI's skeleton and SciPy's distances; one class."""
    rank, sums = prediction.ndim - 2, []
    for p, t in zip(prediction, target, strict=True):
        tubes = []
        for map in (p, t):
            region = (map.detach() > 0.5).double()
            line = soft_skel(region[None], 10)[0]
            depth = torch.from_numpy(ndimage.distance_transform_edt(region[0].numpy()))[None]
            radius = max((line * depth).max().item(), 1.0)
            depth = depth.clamp_max(radius) / radius
            tubes.append((depth * map, line, line * map * (1 - depth + 1 / radius) ** (rank - 1)))
        (depth_p, line_p, weight_p), (depth_t, line_t, weight_t) = tubes
        should_p = torch.where(line_t > 0, depth_t, depth_p)
        should_t = torch.where(line_p > 0, depth_p, depth_t)
        parts = (weight_p * depth_t, weight_p * should_p, weight_t * depth_p, weight_t * should_t)
        sums.append(torch.stack([part.sum() for part in parts]))
    sums = torch.stack(sums)
    sums = (sums.sum(0, keepdim=True) if batch else sums) + smooth
    precision, recall = sums[:, 0] / sums[:, 1], sums[:, 2] / sums[:, 3]
    return (1 - 2 * precision * recall / (precision + recall)).mean()


@pytest.mark.parametrize("batch", [False, True])
@pytest.mark.parametrize("shape", [(20, 18), (14, 12, 13)])
def test_authors_cbdice(shape: tuple[int, ...], batch: bool) -> None:
    generator = torch.Generator().manual_seed(3)
    noise = torch.randn(2, 2, *shape, generator=generator, dtype=torch.float64).numpy()
    smooth = torch.from_numpy(np.stack([[ndimage.gaussian_filter(one, 1.5) for one in pair] for pair in noise]))
    logits, target = 30 * smooth[:, :1], (smooth.sum(1, keepdim=True) > 0.05).double()
    loss = medloss.CenterlineBoundaryDiceLoss(sigmoid=True, smooth=1e-15, batch=batch)
    value, gradient = value_and_gradient(loss, logits, target)
    expected, slope = value_and_gradient(lambda x: by_definition(x.sigmoid(), target, 1.0, batch), logits)
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(gradient, slope)


def test_a_batch_is_one_volume_to_cbdice() -> None:
    """Without it the value of each sample; with it that of their sums, a class without any target among them."""
    prediction = torch.cat([rows({1: 1.0, 6: 1.0}), rows({1: 1.0, 2: 1.0, 3: 1.0})])
    target = torch.cat([rows({1: 1.0}), rows({})])
    loss = medloss.CenterlineBoundaryDiceLoss(**BARE, batch=True, reduction="none")
    # found 6 of 6 + 6 + 6 / 2 (weight 1/2 of the deep one, each with a depth of 1); all of the target
    precision = 6 / (6 + 6 + 0.5 * 6)
    torch.testing.assert_close(loss(prediction, target), torch.tensor([[1 - 2 * precision / (precision + 1)]]).double())
    assert loss(prediction, target).shape == (1, 1)


def test_a_region_without_a_skeleton_is_told_once() -> None:
    skeletons._warn.cache_clear()
    thick = rows(dict.fromkeys(range(1, 10), 1.0))
    with pytest.warns(UserWarning, match="iter_=1 erosions"):
        medloss.CenterlineBoundaryDiceLoss(iter_=1)(thick, thick)
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        medloss.CenterlineBoundaryDiceLoss(iter_=1)(thick, thick)
        medloss.CenterlineBoundaryDiceLoss()(thick, rows({}))  # nothing is no region that lacks a skeleton
