"""Targets that label some of the classes: marginal Dice and cross-entropy, and exclusion."""

from __future__ import annotations

import math

import pytest
import torch
from voxelwise import one_hot, value_and_gradient, volume

import medloss

PARTIAL = {"softmax": True, "to_onehot_y": True}


def by_probabilities(logits: torch.Tensor, target: torch.Tensor, labelled: list[int]) -> torch.Tensor:
    """Marginal Dice and cross-entropy from merged probabilities: the background and the labelled classes."""
    p = logits.softmax(1)
    unlabelled = [c for c in range(1, p.shape[1]) if c not in labelled]
    kept = [c for c in range(1, p.shape[1]) if c in labelled]
    q = torch.cat([p[:, [0, *unlabelled]].sum(1, keepdim=True), p[:, kept]], 1)
    t = one_hot(target, p.shape[1])
    t = torch.cat([t[:, [0, *unlabelled]].sum(1, keepdim=True), t[:, kept]], 1)
    dice = medloss.DiceLoss()(q, t)
    return dice - (t * q.log()).sum(1).mean()


@pytest.mark.parametrize("labelled", [[1], [0, 2], [3, 1], [1, 2, 3]])
def test_classes_merge_in_the_probabilities(labelled: list[int]) -> None:
    logits, target = volume()
    loss = medloss.MarginalDiceCELoss(**PARTIAL, labelled=labelled)
    expected = value_and_gradient(lambda x: by_probabilities(x, target, labelled), logits)
    torch.testing.assert_close(value_and_gradient(loss, logits, target), expected)
    dense = medloss.MarginalDiceCELoss(softmax=True, labelled=labelled)
    torch.testing.assert_close(value_and_gradient(dense, logits, one_hot(target)), expected)


def test_marginal_by_hand() -> None:
    """Two voxels of the background and one of class 1, classes 2 and 3 unlabelled: q_0 = 1 - p_1."""
    p1 = torch.tensor([0.25, 0.5, 0.75], dtype=torch.float64)
    p = torch.stack([(1 - p1) / 2, p1, (1 - p1) / 4, (1 - p1) / 4])[None]
    loss = medloss.MarginalDiceCELoss(**PARTIAL, labelled=[1], smooth_nr=0, smooth_dr=0)
    terms = loss.terms(p.log(), torch.tensor([[[0, 0, 1]]]))
    assert terms["cross_entropy"].raw.item() == pytest.approx(-(math.log(0.75) + math.log(0.5) + math.log(0.75)) / 3)
    zero, one = 1 - 2 * (0.75 + 0.5) / (1.5 + 2), 1 - 2 * 0.75 / (1.5 + 1)
    assert terms["dice"].raw.item() == pytest.approx((zero + one) / 2)


def test_limits_of_the_marginal_loss() -> None:
    logits, target = volume()
    weight = [1, 2, 0.5, 3]
    plain = value_and_gradient(medloss.DiceCELoss(**PARTIAL, weight=weight), logits, target)
    for options in ({}, {"labelled": [0, 1, 2, 3]}, {"labelled": [1, 2, 3]}):
        found = value_and_gradient(medloss.MarginalDiceCELoss(**PARTIAL, weight=weight, **options), logits, target)
        torch.testing.assert_close(found, plain)
    nothing = medloss.MarginalDiceCELoss(**PARTIAL, labelled=[])
    assert nothing(logits, target).item() == pytest.approx(0, abs=1e-6)


def test_an_unlabelled_class_may_be_found_in_the_background_at_no_cost() -> None:
    target = torch.zeros(1, 1, 6, dtype=torch.long)
    target[..., :2] = 1
    sure = torch.full((1, 3, 6), -20.0)
    sure[0, 1, :2] = 20
    sure[0, 2, 2:] = 20  # class 2, where the target says background
    assert medloss.DiceCELoss(**PARTIAL)(sure, target) > 10
    assert medloss.MarginalDiceCELoss(**PARTIAL, labelled=[1])(sure, target).item() == pytest.approx(0, abs=1e-5)


def test_a_batch_mixes_data_sets() -> None:
    """Each sample is merged as its own classes say; the mean runs over the entries that are labelled."""
    logits, target = volume()
    present = torch.tensor([[True, True, False, False], [True, False, True, True]])
    loss = medloss.MarginalDiceCELoss(**PARTIAL, labelled=[3], lambda_ce=0)
    dice = [
        medloss.MarginalDiceCELoss(**PARTIAL, labelled=labelled, lambda_ce=0)(logits[i : i + 1], target[i : i + 1])
        for i, labelled in enumerate(([1], [2, 3]))
    ]
    found = loss(logits, target, class_present=present)
    torch.testing.assert_close(found, (2 * dice[0] + 3 * dice[1]) / 5)
    entropy = medloss.MarginalDiceCELoss(**PARTIAL, lambda_dice=0)
    each = [entropy(logits[i : i + 1], target[i : i + 1], class_present=present[i : i + 1]) for i in range(2)]
    torch.testing.assert_close(entropy(logits, target, class_present=present), torch.stack(each).mean())
    # with batch, a class counts if any sample labels it, and only such samples are in its sums
    whole = medloss.MarginalDiceCELoss(**PARTIAL, batch=True, include_background=False, lambda_ce=0)
    one = torch.tensor([[True, True, False, False], [True, False, False, False]])
    alone = medloss.MarginalDiceCELoss(**PARTIAL, labelled=[1], include_background=False, lambda_ce=0)
    torch.testing.assert_close(whole(logits, target, class_present=one), alone(logits[:1], target[:1]))


def test_an_ignored_label_stays_ignored() -> None:
    """Even where it is the number of an unlabelled class, which would merge."""
    logits, target = volume()
    kept = target != 2
    loss = medloss.MarginalDiceCELoss(**PARTIAL, labelled=[1], ignore_index=2)
    expected = medloss.MarginalDiceCELoss(**PARTIAL, labelled=[1])(logits, target, kept)
    torch.testing.assert_close(loss(logits, target), expected)


def test_exclusion_by_hand_and_its_limits() -> None:
    p = torch.tensor([[[0.5, 0.2, 0.1], [0.2, 0.1, 0.1], [0.3, 0.3, 0.0], [0.0, 0.4, 0.8]]], dtype=torch.float64)
    target = torch.tensor([[[1, 1, 0]]])
    # labelled foreground: the first two voxels; class 2 lies there with .6 of .6, class 3 with .4 of 1.2
    none = medloss.ExclusionLoss(labelled=[1], to_onehot_y=True, smooth_dr=0, reduction="none")(p, target)
    two, three = 2 * 0.6 / (0.6 + 2), 2 * 0.4 / (1.2 + 2)
    torch.testing.assert_close(none, torch.tensor([[0, 0, two, three]], dtype=torch.float64))
    loss = medloss.ExclusionLoss(labelled=[1], to_onehot_y=True)
    assert loss(p, target).item() == pytest.approx((two + three) / 2, rel=1e-4)
    assert medloss.ExclusionLoss(labelled=[1])(p, one_hot(target)).item() == pytest.approx((two + three) / 2, rel=1e-4)
    for labelled in (None, [1, 2, 3], []):
        value, gradient = value_and_gradient(medloss.ExclusionLoss(**PARTIAL, labelled=labelled), p.log(), target)
        assert value == 0
        assert not gradient.any()


def test_exclusion_of_a_mixed_batch() -> None:
    logits, target = volume()
    present = torch.tensor([[True, True, True, False], [True, True, True, True]])
    loss = medloss.ExclusionLoss(**PARTIAL)
    alone = medloss.ExclusionLoss(**PARTIAL, labelled=[1, 2])(logits[:1], target[:1])
    torch.testing.assert_close(loss(logits, target, class_present=present), alone)
    # a label of a class that is not labelled is no foreground
    fewer = torch.where(target == 3, torch.zeros_like(target), target)
    torch.testing.assert_close(loss(logits, fewer, class_present=present), alone)


def test_both_add_up_in_a_weighted_sum() -> None:
    logits, target = volume()
    present = torch.tensor([[True, True, False, False], [True, False, True, False]])
    parts = {"marginal": medloss.MarginalDiceCELoss(**PARTIAL), "exclusion": medloss.ExclusionLoss(**PARTIAL)}
    whole = medloss.WeightedSum(parts, weights={"exclusion": 2.0})
    expected = parts["marginal"](logits, target, class_present=present)
    expected = expected + 2 * parts["exclusion"](logits, target, class_present=present)
    torch.testing.assert_close(whole(logits, target, class_present=present), expected)


def test_what_is_masked_reaches_nothing() -> None:
    logits, target = volume()
    mask = torch.rand(2, 1, 5, 6) > 0.4
    dirty = torch.where(mask, logits, torch.nan)
    for kind in (medloss.MarginalDiceCELoss, medloss.ExclusionLoss):
        loss = kind(**PARTIAL, labelled=[1, 3])
        clean = value_and_gradient(loss, logits, target, mask)
        torch.testing.assert_close(value_and_gradient(loss, dirty, target, mask), clean)


def test_errors_name_the_fix() -> None:
    logits, target = volume()
    for kind in (medloss.MarginalDiceCELoss, medloss.ExclusionLoss):
        with pytest.raises(ValueError, match=r"labelled holds \[4\], and input has the 4 classes 0\.\.3"):
            kind(**PARTIAL, labelled=[1, 4])(logits, target)
        with pytest.raises(medloss.ShapeError, match="class_present has shape 4: expected 2x4, one row per sample"):
            kind(**PARTIAL)(logits, target, class_present=torch.ones(4))
        with pytest.raises(TypeError, match="must be a sequence of class numbers"):
            kind(**PARTIAL, labelled=2)
        with pytest.raises(ValueError, match="holds a negative class number"):
            kind(**PARTIAL, labelled=[-1])
    with pytest.raises(ValueError, match="pass softmax=True"):
        medloss.MarginalDiceCELoss(sigmoid=True)
