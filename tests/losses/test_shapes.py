"""cbDice, active contours and size constraints: values by hand, and the limits that the docstrings state."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from voxelwise import value_and_gradient, volume

import medloss

BARE = {"smooth_nr": 0.0, "smooth_dr": 0.0, "smooth": 1e-12}


def rows(*filled: int) -> Tensor:
    """Vessels across an image of 9 x 6: the rows that they fill."""
    image = torch.zeros(1, 1, 9, 6, dtype=torch.float64)
    image[:, :, list(filled)] = 1
    return image


VESSELS = rows(1, 2, 3, 6)
"""One of three rows, its middle 2 deep, and one of one row: radii 1 and 1/2 of the largest, which weigh 1/2 and 1."""


@pytest.mark.parametrize(
    ("prediction", "precision", "recall"),
    [
        (VESSELS, 1.0, 1.0),
        # the thick one alone: 6 voxels (1/2 times 1) of 6 (1/2) + 6 (1 times its own 1/2)
        (rows(1, 2, 3), 1.0, 3 / 6),
        # its middle line alone is as good as all of it
        (rows(2), 1.0, 3 / 6),
        # the thin one a row further: both are missed there
        (rows(1, 2, 3, 7), 3 / 6, 3 / 6),
        # the thick one by a line at its edge, half as deep in the target as it is in the prediction
        (rows(1, 6), (6 * 0.5 + 6 * 0.5) / (6 * 1 + 6 * 0.5), 6 / (6 * 0.5 + 6)),
    ],
)
def test_cbdice_by_hand(prediction: Tensor, precision: float, recall: float) -> None:
    loss = medloss.CenterlineBoundaryDiceLoss(**BARE)
    expected = 1 - 2 * precision * recall / (precision + recall)
    assert loss(prediction, VESSELS).item() == pytest.approx(expected, abs=1e-9)


def test_cbdice_weighs_vessels_of_every_width_alike() -> None:
    """Half of the vessels by their number, where Dice finds three quarters of their volume."""
    found = medloss.CenterlineBoundaryDiceLoss(**BARE)(rows(1, 2, 3), VESSELS)
    assert found.item() == pytest.approx(1 / 3)
    assert medloss.DiceLoss()(rows(1, 2, 3), VESSELS).item() == pytest.approx(1 - 36 / 42, abs=1e-5)


def test_cbdice_of_thin_lines_is_cldice() -> None:
    target = (torch.rand(2, 1, 9, 6) > 0.3).double() * rows(1, 4, 7)
    prediction = (torch.rand(2, 1, 9, 6) > 0.3).double() * rows(1, 4, 8)
    for smooth in (0.0, 1.0):
        options = {"smooth_nr": smooth, "smooth_dr": smooth, "iter_": 2}
        ours = medloss.CenterlineBoundaryDiceLoss(**options)(prediction, target)
        torch.testing.assert_close(ours, medloss.SoftclDiceLoss(**options)(prediction, target))


def test_cbdice_measures_depths_in_the_unit_of_the_spacing() -> None:
    """Rows twice as far apart: the middle of the thick one is 4 deep, the thin one 2; columns do not matter."""
    loss = medloss.CenterlineBoundaryDiceLoss(**BARE)
    for prediction in (rows(1, 6), rows(1, 2, 3, 7)):
        expected = loss(prediction, VESSELS)
        for spacing in (2.0, (2.0, 5.0)):
            torch.testing.assert_close(loss(prediction, VESSELS, spacing=spacing), expected)


def test_cbdice_has_a_gradient_where_the_prediction_has_a_skeleton() -> None:
    logits = torch.randn(1, 1, 9, 6, dtype=torch.float64) + 4 * rows(1, 2, 3, 7) - 2
    value, gradient = value_and_gradient(medloss.CenterlineBoundaryDiceLoss(sigmoid=True), logits, VESSELS)
    assert 0 < value < 1
    assert gradient[0, 0, 6:8].abs().max() > 0


def test_active_contour_by_hand() -> None:
    """Forward differences of length 1 at the corner and beside it; one voxel too many, one too few."""
    input = torch.tensor([[[[1.0, 0.0], [1.0, 1.0]]]])
    target = torch.tensor([[[[1.0, 1.0], [1.0, 0.0]]]])
    assert medloss.ActiveContourLoss(mu=0.5)(input, target).item() == pytest.approx((0.5 * 2 + 2) / 4)
    loss = medloss.ActiveContourLoss(mu=0.5)
    assert loss(input, target, spacing=(2.0, 1.0)).item() == pytest.approx((0.5 * 1.5 + 2) / 4)
    slanted = torch.tensor([[[[1.0, 0.0], [0.0, 0.0]]]])  # both differences at one voxel: sqrt 2
    assert loss(slanted, slanted).item() == pytest.approx(0.5 * math.sqrt(2) / 4)
    # of a membership of one half every prediction is wrong by a quarter
    assert medloss.ActiveContourLoss(mu=0)(input, torch.full_like(target, 0.5)).item() == pytest.approx(0.25)
    # without the last voxel: one difference, one voxel too few, of three
    mask = torch.tensor([[[[1, 1], [1, 0]]]])
    assert medloss.ActiveContourLoss(mu=0.5)(input, target, mask).item() == pytest.approx((0.5 + 1) / 3)


def test_active_contour_without_a_contour_is_the_absolute_error() -> None:
    logits, target = volume()
    loss = medloss.ActiveContourLoss(softmax=True, to_onehot_y=True, mu=0)
    members = torch.nn.functional.one_hot(target[:, 0], 4).movedim(-1, 1)
    torch.testing.assert_close(loss(logits, target), (logits.softmax(1) - members).abs().mean())


def test_a_frayed_border_costs_more_than_a_straight_one() -> None:
    target = torch.zeros(1, 1, 8, 8)
    target[..., :4] = 1
    frayed = target.clone()
    frayed[..., ::2, 3], frayed[..., ::2, 4] = 0, 1
    shifted = target.roll(1, 2)
    assert medloss.ActiveContourLoss()(frayed, target) > 2 * medloss.ActiveContourLoss()(shifted, target)


def test_size_constraint_by_hand() -> None:
    """Sizes of 1/2 and 1/4 of four voxels; targets of 1/4 and 1/2."""
    input = torch.tensor([[[0.5, 0.5, 0.5, 0.5], [1.0, 0.0, 0.0, 0.0]]], dtype=torch.float64)
    target = torch.tensor([[[1.0, 0.0, 0.0, 0.0], [1.0, 1.0, 0.0, 0.0]]], dtype=torch.float64)

    def values(**options: object) -> list[float]:
        return medloss.SizeConstraintLoss(reduction="none", **options)(input, target)[0].tolist()

    assert values() == pytest.approx([(0.5 - 0.275) ** 2, (0.45 - 0.25) ** 2])
    assert values(tolerance=1.0) == pytest.approx([0, 0])
    assert values(tolerance=None, lower=[0.6, 0.0], upper=[1.0, 0.2]) == pytest.approx([0.1**2, 0.05**2])
    # the narrower of both: a lower bound of .3 for all, and .45 and below .55 of the second target
    assert values(tolerance=0.1, lower=0.3) == pytest.approx([(0.5 - 0.275) ** 2, (0.45 - 0.25) ** 2])
    assert values(tolerance=0.1, upper=0.1) == pytest.approx([0.4**2, 0.2**2 + 0.15**2])
    assert values(tolerance=None) == [0, 0]
    loss = medloss.SizeConstraintLoss(include_background=False, tolerance=None, upper=[0.0, 0.2])
    assert loss(input, target).item() == pytest.approx(0.05**2)


def test_size_constraint_limits() -> None:
    logits, target = volume()
    loss = medloss.SizeConstraintLoss(softmax=True, to_onehot_y=True, tolerance=0)
    members = torch.nn.functional.one_hot(target[:, 0], 4).movedim(-1, 1).double()
    sizes = (logits.softmax(1).flatten(2).mean(-1) - members.flatten(2).mean(-1)) ** 2
    torch.testing.assert_close(loss(logits, target), sizes.mean())
    value, gradient = value_and_gradient(medloss.SizeConstraintLoss(softmax=True, tolerance=None), logits, members)
    assert value == 0
    assert not gradient.any()


def test_faults() -> None:
    with pytest.raises(ValueError, match=r"upper=\(0.5, 1.5\) must lie in \[0, 1\]"):
        medloss.SizeConstraintLoss(upper=[0.5, 1.5])
    with pytest.raises(ValueError, match="tolerance=-1 is too small"):
        medloss.SizeConstraintLoss(tolerance=-1)
    with pytest.raises(ValueError, match="lower has 2 entries and input 3 channels"):
        medloss.SizeConstraintLoss(lower=[0.1, 0.2])(torch.rand(1, 3, 4), torch.rand(1, 3, 4))
    with pytest.raises(ValueError, match="mu=-1 is too small"):
        medloss.ActiveContourLoss(mu=-1)
    with pytest.raises(TypeError, match="iter_ must be an integer"):
        medloss.CenterlineBoundaryDiceLoss(iter_=1.5)
    with pytest.raises(ValueError, match="guards the harmonic mean"):
        medloss.CenterlineBoundaryDiceLoss(smooth=0)
    with pytest.raises(ValueError, match="spacing must be above 0"):
        medloss.ActiveContourLoss(spacing=0)
