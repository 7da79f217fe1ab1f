"""Overlap losses beside their authors' code: the formulas written again, or values by hand, of each difference."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from voxelwise import one_hot, value_and_gradient, volume

import medloss

BARE = {"smooth_nr": 0.0, "smooth_dr": 0.0}
LABELS = {"softmax": True, "to_onehot_y": True}


def same(loss: Any, formula: Any, logits: Tensor, *rest: Tensor) -> None:
    """Value and gradient of a loss are those of a formula of the logits."""
    torch.testing.assert_close(value_and_gradient(loss, logits, *rest), value_and_gradient(formula, logits))


# ---- noise-robust Dice


def test_authors_noise_robust() -> None:
    """Sums over the batch: |p - t|^1.5 over p + t + 1e-5; with squares below it is another number."""
    logits, target = volume()
    members = one_hot(target)

    def formula(x: Tensor) -> Tensor:
        p = x.softmax(1)
        errors, total = (p - members).abs().pow(1.5).sum((0, 2, 3)), (p + members).sum((0, 2, 3))
        return (errors / (total + 1e-5)).mean()

    loss = medloss.NoiseRobustDiceLoss(**LABELS, batch=True)
    same(loss, formula, logits, target)
    other = medloss.NoiseRobustDiceLoss(**LABELS, batch=True, denominator="squares")
    assert abs(other(logits, target) - loss(logits, target)) > 0.01


@pytest.mark.parametrize(("denominator", "rises"), [("linear", True), ("squares", False)])
def test_an_absent_class_costs_more_the_more_is_predicted(denominator: str, rises: bool) -> None:
    """p^1.5 / p = p^0.5 rises with p, p^1.5 / p^2 falls: 0.1 and 10 at p = 0.01."""
    loss = medloss.NoiseRobustDiceLoss(**BARE, denominator=denominator)
    few, many = (loss(torch.full((1, 1, 6), p), torch.zeros(1, 1, 6)).item() for p in (0.01, 0.09))
    assert few == pytest.approx(0.1 if rises else 10.0, rel=1e-4)
    assert many == pytest.approx(0.3 if rises else 10 / 3, rel=1e-4)


# ---- unified focal


@pytest.mark.parametrize("symmetric", [True, False])
def test_authors_unified_focal(symmetric: bool) -> None:
    """Two classes: the focal part is a sum over them and a mean over the voxels, the Tversky part a mean over them."""
    logits, target = volume(classes=2)
    members, delta, gamma, weight, eps = one_hot(target, 2), 0.6, 0.5, 0.3, 1e-7

    def formula(x: Tensor) -> Tensor:
        p = x.softmax(1)
        entropy = -members * p.log()
        focused = entropy * (1 - p) ** gamma
        rare = focused if symmetric else entropy
        focal = ((1 - delta) * focused[:, 0] + delta * rare[:, 1]).mean()
        hits = (p * members).sum((2, 3))
        missed, invented = members.sum((2, 3)) - hits, p.sum((2, 3)) - hits
        lost = 1 - (hits + eps) / (hits + delta * missed + (1 - delta) * invented + eps)
        bent = lost ** (1 - gamma)
        regions = torch.stack([bent[:, 0] if symmetric else lost[:, 0], bent[:, 1]]).mean()
        return weight * focal + (1 - weight) * regions

    cls = medloss.UnifiedFocalLoss if symmetric else medloss.AsymmetricUnifiedFocalLoss
    options = {"lambda_focal": weight, "smooth_nr": eps, "smooth_dr": eps, "to_onehot_y": True}
    same(cls(**options, focal_over_classes="sum"), formula, logits, target)
    assert abs(cls(**options)(logits, target) - formula(logits)) > 0.01


def test_the_sum_of_a_sigmoid_is_over_the_channel_and_its_rest() -> None:
    """p = 1/2 everywhere: (1 - delta) and delta times (1/2)^(1/2) log 2 on half of the voxels each."""
    target = torch.tensor([[[0.0, 1.0]]])
    options = {"sigmoid": True, "delta": 0.6, "lambda_focal": 1.0}
    one = 0.5 * math.sqrt(0.5) * math.log(2)
    found = medloss.UnifiedFocalLoss(**options, focal_over_classes="sum")(torch.zeros(1, 1, 2), target)
    assert found.item() == pytest.approx(one)
    assert medloss.UnifiedFocalLoss(**options)(torch.zeros(1, 1, 2), target).item() == pytest.approx(one / 2)


def test_the_sum_leaves_the_background_out() -> None:
    logits, target = volume(classes=3)
    options = {"to_onehot_y": True, "lambda_focal": 1.0, "include_background": False}
    found = medloss.UnifiedFocalLoss(**options, focal_over_classes="sum")(logits, target)
    torch.testing.assert_close(found, 2 * medloss.UnifiedFocalLoss(**options)(logits, target))


# ---- boundary DoU


def test_authors_boundary_dou() -> None:
    """Two lines of 4 voxels are all boundary: alpha = 1 - 2 = -1, the loss that of Dice; over the batch."""
    target, input = torch.zeros(2, 1, 6, 6), torch.zeros(2, 1, 6, 6)
    target[:, :, 2, 1:5], input[:, :, 2, 2:6] = 1, 1  # 3 of 4 overlap
    loss = medloss.BoundaryDoULoss(batch=True, alpha_min=-1)
    wrong, overlap = 16 - 2 * 6, 6
    assert loss(input, target).item() == pytest.approx((wrong + 1e-5) / (16 - (1 - 1) * overlap + 1e-5))
    assert medloss.BoundaryDoULoss(batch=True)(input, target).item() == pytest.approx(4 / (16 - 6), rel=1e-5)
    # an alpha between both: a square of 4 x 4 has 12 boundary voxels, 1 - 24 / 16 = -1/2
    square, moved = torch.zeros(1, 1, 8, 8), torch.zeros(1, 1, 8, 8)
    square[..., 2:6, 2:6], moved[..., 2:6, 3:7] = 1, 1
    assert loss(moved, square).item() == pytest.approx((32 - 24) / (32 - 0.5 * 12), rel=1e-5)
    with pytest.raises(ValueError, match=r"alpha_min=0\.5 must be from -1 to 0"):
        medloss.BoundaryDoULoss(alpha_min=0.5)


# ---- skeleton recall


def test_authors_skeleton_recall() -> None:
    """Two samples with 2 and 6 voxels of skeleton, 1 and 6 of them found: 1/2 and 1, of the batch 7 / 8."""
    skeleton = torch.tensor([[[1.0, 1, 0, 0, 0, 0, 0]], [[1.0, 1, 1, 1, 1, 1, 0]]])
    prediction = skeleton.clone()
    prediction[0, 0, 0] = 0
    target = torch.ones(2, 1, 7)
    each = medloss.SkeletonRecallLoss(**BARE)(prediction, target, skeleton=skeleton)
    whole = medloss.SkeletonRecallLoss(**BARE, batch=True)(prediction, target, skeleton=skeleton)
    assert each.item() == pytest.approx((1 / 2 + 0) / 2)
    assert whole.item() == pytest.approx(1 / 8)
    none = medloss.SkeletonRecallLoss(**BARE, batch=True, reduction="none")
    assert none(prediction, target, skeleton=skeleton).shape == (1, 1)


# ---- instances

LESION = torch.tensor([[[1.0, 1, 0, 0, 1, 0]], [[0.0, 0, 0, 0, 0, 0]]])
"""Two lesions in the first sample, none in the second."""
PREDICTED = torch.tensor([[[1.0, 1, 0, 0, 0, 0]], [[1.0, 1, 1, 0, 0, 0]]])
"""The large lesion, and three false voxels."""


def wrapped(name: str, **options: Any) -> tuple[Any, Any]:
    """The loss of all instances at once, and the wrapper around the Dice."""
    native, wrapper = {"blob": ("BlobDiceLoss", "BlobLoss"), "cc": ("CCDiceLoss", "ConnectedComponentLoss")}[name]
    dice = medloss.DiceLoss(smooth_nr=0.0, smooth_dr=1e-9)
    return (
        getattr(medloss, native)(smooth_nr=0.0, smooth_dr=1e-9, **options),
        getattr(medloss, wrapper)(dice, **options),
    )


@pytest.mark.parametrize("name", ["blob", "cc"])
@pytest.mark.parametrize(
    ("empty", "term"),
    # the mean of 0 and 1 in the first sample; in the second nothing, nothing that counts, or a Dice of 0
    [("smooth", (1 / 2 + 0) / 2), ("skip_term", 1 / 2), ("whole", (1 / 2 + 1) / 2)],
)
def test_authors_instances(name: str, empty: str, term: float) -> None:
    for loss in wrapped(name, alpha=0.0, beta=3.0, empty=empty):
        assert loss(PREDICTED, LESION).item() == pytest.approx(3 * term)
    whole = (1 - 4 / 5 + 1) / 2
    for loss in wrapped(name, alpha=2.0, beta=3.0, empty=empty):
        assert loss(PREDICTED, LESION).item() == pytest.approx(2 * whole + 3 * term)
        nothing = loss(0 * PREDICTED[1:], LESION[1:]).item()
        assert nothing == pytest.approx(2 + 3 * (empty == "whole")), "0 / 1e-9: a Dice of 0 without smoothing"


def test_a_class_without_instances_leaves_one_term_or_both() -> None:
    both = medloss.BlobDiceLoss(smooth_nr=0.0, smooth_dr=1e-9, empty="skip")(PREDICTED, LESION)
    assert both.item() == pytest.approx(1 - 4 / 5 + 1 / 2)
    none = medloss.BlobDiceLoss(smooth_nr=0.0, smooth_dr=1e-9, empty="skip_term", reduction="none")(PREDICTED, LESION)
    torch.testing.assert_close(none, torch.tensor([[1 - 4 / 5 + 1 / 2], [1.0]]))
    for wrapper in (medloss.BlobLoss, medloss.ConnectedComponentLoss):
        with pytest.raises(ValueError, match="empty='skip' is unknown: choose one of 'smooth', 'skip_term', 'whole'"):
            wrapper(medloss.DiceLoss(), empty="skip")
