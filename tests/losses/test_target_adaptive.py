"""The target-adaptive loss, and the cross-entropy form of exclusion: values by hand and limits."""

from __future__ import annotations

import math

import pytest
import torch
from voxelwise import one_hot, value_and_gradient, volume

import medloss

P = torch.tensor([[[0.5, 0.2, 0.1], [0.2, 0.1, 0.1], [0.3, 0.3, 0.0], [0.0, 0.4, 0.8]]], dtype=torch.float64)


def test_target_adaptive_by_hand() -> None:
    """Class 1 is labelled: at a voxel of class 1 its probability counts, elsewhere (class 3 too) what it lacks to 1."""
    target = torch.tensor([[[1, 0, 3]]])
    one, two, three = -math.log(0.2), -math.log(0.9), -math.log(0.9)
    loss = medloss.TargetAdaptiveLoss(to_onehot_y=True, labelled=[1])
    assert loss(P.log(), target).item() == pytest.approx((one + two + three) / 3)
    none = medloss.TargetAdaptiveLoss(to_onehot_y=True, labelled=[1], reduction="none")(P.log(), target)
    torch.testing.assert_close(none, torch.tensor([[one, two, three]], dtype=torch.float64))
    weighted = medloss.TargetAdaptiveLoss(to_onehot_y=True, labelled=[1], weight=[1, 4, 9, 9])
    assert weighted(P.log(), target).item() == pytest.approx((4 * one + two + three) / 6)


def test_target_adaptive_limits() -> None:
    logits, target = volume()
    options = {"to_onehot_y": True, "weight": [1, 2, 0.5, 3]}
    plain = value_and_gradient(medloss.CrossEntropyLoss(**options), logits, target)
    for labelled in (None, [1, 2, 3]):
        found = value_and_gradient(medloss.TargetAdaptiveLoss(**options, labelled=labelled), logits, target)
        torch.testing.assert_close(found, plain)
    assert medloss.TargetAdaptiveLoss(to_onehot_y=True, labelled=[])(logits, target).item() == pytest.approx(0)
    marginal = medloss.MarginalDiceCELoss(softmax=True, lambda_dice=0, labelled=[2], **options)
    found = value_and_gradient(medloss.TargetAdaptiveLoss(**options, labelled=[2]), logits, target)
    torch.testing.assert_close(found, value_and_gradient(marginal, logits, target))
    dense = value_and_gradient(medloss.TargetAdaptiveLoss(weight=[1, 2, 0.5, 3], labelled=[2]), logits, one_hot(target))
    torch.testing.assert_close(dense, found)


def test_target_adaptive_mixes_data_sets() -> None:
    logits, target = volume()
    present = torch.tensor([[True, True, False, False], [True, False, True, True]])
    loss = medloss.TargetAdaptiveLoss(to_onehot_y=True, labelled=[3])
    each = [
        medloss.TargetAdaptiveLoss(to_onehot_y=True, labelled=labelled)(logits[i : i + 1], target[i : i + 1])
        for i, labelled in enumerate(([1], [2, 3]))
    ]
    torch.testing.assert_close(loss(logits, target, class_present=present), torch.stack(each).mean())


def test_exclusion_as_a_cross_entropy_by_hand() -> None:
    target = torch.tensor([[[1, 1, 0]]])
    options = {"labelled": [1], "form": "cross_entropy"}
    none = medloss.ExclusionLoss(to_onehot_y=True, reduction="none", **options)(P, target)
    two, three = 2 * math.log(1.3) / 3, math.log(1.4) / 3
    torch.testing.assert_close(none, torch.tensor([[0, 0, two, three]], dtype=torch.float64))
    for given, kind in ((target, {"to_onehot_y": True}), (one_hot(target), {})):
        found = medloss.ExclusionLoss(**options, **kind)(P, given)
        assert found.item() == pytest.approx((two + three) / 2)
    # the last voxel masked, the first weighs twice
    weight = torch.tensor([[[2.0, 1.0, 0.0]]])
    found = medloss.ExclusionLoss(to_onehot_y=True, **options)(P, target, weight)
    assert found.item() == pytest.approx((3 * math.log(1.3) + math.log(1.4)) / 3 / 2)


def test_both_forms_of_exclusion_have_their_limits() -> None:
    logits, target = volume()
    for labelled in (None, [1, 2, 3], []):
        loss = medloss.ExclusionLoss(softmax=True, to_onehot_y=True, labelled=labelled, form="cross_entropy")
        value, gradient = value_and_gradient(loss, logits, target)
        assert value == 0
        assert not gradient.any()
    everywhere = torch.ones(1, 3, 4), torch.ones(1, 1, 4)  # class 2 fills the labelled foreground
    most = medloss.ExclusionLoss(to_onehot_y=True, labelled=[1], form="cross_entropy")(*everywhere)
    assert most.item() == pytest.approx(math.log(2))


def test_faults() -> None:
    with pytest.raises(ValueError, match="takes no sigmoid"):
        medloss.TargetAdaptiveLoss(sigmoid=True)
    with pytest.raises(ValueError, match="label_smoothing would spread labels"):
        medloss.TargetAdaptiveLoss(label_smoothing=0.1)
    with pytest.raises(ValueError, match=r"labelled holds \[4\]"):
        medloss.TargetAdaptiveLoss(to_onehot_y=True, labelled=[4])(*volume())
    with pytest.raises(ValueError, match="form='ce' is unknown"):
        medloss.ExclusionLoss(form="ce")
