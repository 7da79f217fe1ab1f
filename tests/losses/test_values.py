"""Values by hand or from the definition, and the limits that the docstrings state."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

import medloss

# two samples of four voxels: prediction and membership of one class
P = torch.tensor([[[1.0, 0.5, 0.0, 0.0]], [[0.0, 0.0, 1.0, 1.0]]], dtype=torch.float64)
T = torch.tensor([[[1.0, 1.0, 0.0, 0.0]], [[1.0, 1.0, 0.0, 0.0]]], dtype=torch.float64)
BARE = {"smooth_nr": 0.0, "smooth_dr": 0.0}


def test_dice_by_hand() -> None:
    none = medloss.DiceLoss(reduction="none", **BARE)(P, T)
    torch.testing.assert_close(none, torch.tensor([[1 - 3 / 3.5], [1.0]], dtype=torch.float64))
    batch = medloss.DiceLoss(batch=True, **BARE)(P, T)
    torch.testing.assert_close(batch.item(), 1 - 3 / 7.5)
    squared = medloss.DiceLoss(squared_pred=True, **BARE)(P[:1], T[:1])
    torch.testing.assert_close(squared.item(), 1 - 3 / (1.25 + 2))
    jaccard = medloss.DiceLoss(jaccard=True, **BARE)(P[:1], T[:1])
    torch.testing.assert_close(jaccard.item(), 1 - 1.5 / 2)


def test_dice_smoothing_of_an_empty_class() -> None:
    nothing = torch.zeros(1, 1, 4)
    assert medloss.DiceLoss()(nothing, nothing) == 0
    predicted = medloss.DiceLoss(smooth_nr=1.0, smooth_dr=1.0)(nothing + 1, nothing)
    torch.testing.assert_close(predicted.item(), 1 - 1 / 5)


def test_soft_labels_have_their_minimum_at_the_target() -> None:
    """The gradient at p = t points nowhere: every step away costs, which the product form does not give."""
    target = torch.full((1, 1, 8), 0.3)
    for soft, least in ((True, 0.3), (False, 1.0)):
        loss = medloss.DiceLoss(soft_label=soft)
        values = {p: loss(torch.full((1, 1, 8), p), target).item() for p in (0.1, 0.25, 0.3, 0.35, 0.6, 1.0)}
        assert min(values, key=values.get) == least
    assert medloss.DiceLoss(soft_label=True)(target, target).item() == pytest.approx(0, abs=1e-6)


def test_tversky_by_hand_and_its_limits() -> None:
    value = medloss.TverskyLoss(alpha=0.3, beta=0.7, **BARE)(P[:1], T[:1])
    torch.testing.assert_close(value.item(), 1 - 1.5 / (1.5 + 0.7 * 0.5))
    dice = medloss.TverskyLoss(**BARE)(P, T)
    torch.testing.assert_close(dice, medloss.DiceLoss(**BARE)(P, T))
    jaccard = medloss.TverskyLoss(alpha=1, beta=1, **BARE)(P, T)
    torch.testing.assert_close(jaccard, medloss.DiceLoss(jaccard=True, **BARE)(P, T))


def test_cross_entropy_is_that_of_torch() -> None:
    logits, target = torch.randn(2, 4, 5, 6), torch.randint(0, 4, (2, 5, 6))
    weight = torch.tensor([1.0, 2.0, 0.5, 3.0])
    for options, theirs in (
        ({}, {}),
        ({"weight": weight}, {"weight": weight}),
        ({"weight": weight, "label_smoothing": 0.2}, {"weight": weight, "label_smoothing": 0.2}),
        ({"weight": weight, "ignore_index": 2}, {"weight": weight, "ignore_index": 2}),
    ):
        for reduction in ("mean", "sum", "none"):
            ours = medloss.CrossEntropyLoss(to_onehot_y=True, reduction=reduction, **options)(logits, target)
            torch.testing.assert_close(ours, F.cross_entropy(logits, target, reduction=reduction, **theirs))


def test_binary_cross_entropy_is_that_of_torch() -> None:
    logits, target = torch.randn(2, 3, 5), torch.rand(2, 3, 5)
    positive = torch.tensor([1.0, 2.0, 0.5])
    for reduction in ("mean", "sum", "none"):
        ours = medloss.CrossEntropyLoss(sigmoid=True, weight=positive, reduction=reduction)(logits, target)
        theirs = F.binary_cross_entropy_with_logits(logits, target, pos_weight=positive.view(3, 1), reduction=reduction)
        torch.testing.assert_close(ours, theirs)


def test_focal_by_hand_and_its_limit() -> None:
    logit = math.log(0.9 / 0.1)  # p = 0.9
    value = medloss.FocalLoss(gamma=2, alpha=0.25)(torch.full((1, 1, 1), logit), torch.ones(1, 1, 1))
    assert value.item() == pytest.approx(0.25 * 0.1**2 * -math.log(0.9), rel=1e-5)
    value = medloss.FocalLoss(gamma=2, alpha=0.25)(torch.full((1, 1, 1), logit), torch.zeros(1, 1, 1))
    assert value.item() == pytest.approx(0.75 * 0.9**2 * -math.log(0.1), rel=1e-5)
    logits, target = torch.randn(2, 4, 30), torch.randint(0, 4, (2, 1, 30))
    softmax = medloss.FocalLoss(gamma=0, softmax=True, to_onehot_y=True)(logits, target)
    torch.testing.assert_close(4 * softmax, medloss.CrossEntropyLoss(to_onehot_y=True)(logits, target))
    sigmoid = medloss.FocalLoss(gamma=0)(logits, (logits > 0.3).float())
    torch.testing.assert_close(sigmoid, medloss.CrossEntropyLoss(sigmoid=True)(logits, (logits > 0.3).float()))


def test_dice_ce_is_the_sum_of_its_parts_and_names_them() -> None:
    logits, target = torch.randn(2, 3, 4, 5), torch.randint(0, 3, (2, 1, 4, 5))
    options = {"softmax": True, "to_onehot_y": True, "include_background": False}
    loss = medloss.DiceCELoss(**options, lambda_dice=0.5, lambda_ce=2.0)
    dice = medloss.DiceLoss(**options)(logits, target)
    entropy = medloss.CrossEntropyLoss(to_onehot_y=True)(logits, target)
    torch.testing.assert_close(loss(logits, target), 0.5 * dice + 2 * entropy)
    terms = loss.terms(logits, target)
    torch.testing.assert_close(terms["dice"].raw, dice)
    torch.testing.assert_close(terms["cross_entropy"].value, 2 * entropy)
    assert terms["cross_entropy"].weight == 2
    for limit, part in (({"lambda_ce": 0.0}, dice), ({"lambda_dice": 0.0}, entropy)):
        torch.testing.assert_close(medloss.DiceCELoss(**options, **limit)(logits, target), part)


def test_mse_by_hand() -> None:
    x, y = torch.tensor([[[1.0, 2.0, 3.0]]]), torch.tensor([[[1.0, 4.0, 0.0]]])
    assert medloss.MSELoss()(x, y) == pytest.approx(13 / 3)
    assert medloss.MSELoss()(x, y, torch.tensor([[[1.0, 3.0, 0.0]]])) == 3.0


@pytest.mark.parametrize("kind", ["rectangular", "triangular", "gaussian"])
@pytest.mark.parametrize("size", [3, 5, 7, 9])
def test_an_image_correlates_with_itself(kind: str, size: int) -> None:
    """Of every kernel, whatever offset and contrast; a contrast of 1 on an offset of 1000 too."""
    x = torch.rand(1, 1, 14, 15, 16)
    for border in ("zero", "renormalise"):
        loss = medloss.LocalNormalizedCrossCorrelationLoss(kernel_size=size, kernel_type=kind, border=border)
        assert loss(x, x).item() == pytest.approx(-1, abs=1e-4)
    loss = medloss.LocalNormalizedCrossCorrelationLoss(kernel_size=size, kernel_type=kind, border="renormalise")
    assert loss(x + 1000, 3 - x).item() == pytest.approx(-1, abs=2e-3)


@pytest.mark.parametrize("level", [0.0, 0.3, 7.1, -1024.0, 65535.0])
def test_constant_windows_count_nothing(level: float) -> None:
    """A background of any level, however far from the mean, correlates with nothing: noise of sums is no signal."""
    x, y = (level + 100 * torch.rand(1, 1, 20, 20, 60) for _ in range(2))
    x[..., 20:], y[..., 20:] = level, level
    for border in ("renormalise", "zero"):
        none = medloss.LocalNormalizedCrossCorrelationLoss(kernel_size=7, border=border, reduction="none")(x, y)
        assert not none[..., 3:-3, 3:-3, 24:-4].any()
        assert -0.2 < none[..., 3:-3, 3:-3, 3:16].mean() < 0


def test_lncc_by_hand() -> None:
    """A window of three ones over three voxels: the squared correlation of (1, 2, 4) and (1, 3, 2) in the middle."""
    x, y = torch.tensor([[[1.0, 2.0, 4.0]]]), torch.tensor([[[1.0, 3.0, 2.0]]])
    none = medloss.LocalNormalizedCrossCorrelationLoss(kernel_size=3, reduction="none")(x, y)
    covariance, var_x, var_y = 15 - 7 * 6 / 3, 21 - 49 / 3, 14 - 36 / 3
    assert none[0, 0, 1].item() == pytest.approx(-(covariance**2) / (var_x * var_y), rel=1e-5)
    # at the border a zero stands beyond the image: (0, 1, 2) with (0, 1, 3)
    covariance, var_x, var_y = 7 - 3 * 4 / 3, 5 - 9 / 3, 10 - 16 / 3
    assert none[0, 0, 0].item() == pytest.approx(-(covariance**2) / (var_x * var_y), rel=1e-5)


def test_smoothness_of_fields_by_hand() -> None:
    i, j, k = torch.meshgrid(*(torch.arange(7.0),) * 3, indexing="ij")
    affine = torch.stack([0.5 * i + 2, 0.25 * j, i - k])[None]
    assert medloss.BendingEnergyLoss()(affine).item() == pytest.approx(0, abs=1e-9)
    slopes = (0.5**2 + 0.25**2 + 1 + 1) / 3
    for stencil in ("central", "forward"):
        assert medloss.DiffusionLoss(stencil=stencil)(affine).item() == pytest.approx(slopes)
    curved = torch.stack([i * j, i**2, 0 * k])[None]  # mixed derivative 1, counted twice; pure derivative 2
    for stencil in ("compact", "wide"):
        assert medloss.BendingEnergyLoss(stencil=stencil)(curved).item() == pytest.approx((2 + 4) / 3)


def test_spacing_is_physical() -> None:
    """Derivatives are per unit of the spacing, from the argument of the call or from the option."""
    i, j = torch.meshgrid(torch.arange(9.0), torch.arange(9.0), indexing="ij")
    x, y = 2 * i, 0.5 * j  # millimetres
    field = torch.stack([x**2 + x * y, 3 * y**2])[None]
    bending, spacing = medloss.BendingEnergyLoss(), (2.0, 0.5)
    assert bending(field, spacing=spacing).item() == pytest.approx((2**2 + 2 * 1**2 + 6**2) / 2)
    torch.testing.assert_close(bending(field, spacing=spacing), medloss.BendingEnergyLoss(spacing=spacing)(field))
    slope = torch.stack([3 * x, 5 * y])[None]
    assert medloss.DiffusionLoss()(slope, spacing=spacing).item() == pytest.approx((3**2 + 5**2) / 2)


def test_a_checkerboard_is_seen_by_the_short_stencils() -> None:
    board = (-1.0) ** sum(torch.meshgrid(*(torch.arange(8.0),) * 3, indexing="ij"))
    field = board.expand(1, 3, 8, 8, 8)
    assert medloss.DiffusionLoss()(field) == 0
    assert medloss.DiffusionLoss(stencil="forward")(field) > 1
    assert medloss.BendingEnergyLoss(stencil="wide")(field) == 0
    assert medloss.BendingEnergyLoss()(field) > 1
