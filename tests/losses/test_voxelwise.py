"""Likelihood losses, voxel weights and partial labels: values by hand, limits, and the peers' faults."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F
from voxelwise import one_hot, value_and_gradient, volume

import medloss

# probabilities of two classes at two voxels, of classes 1 and 0
P = torch.tensor([[[0.25, 0.4], [0.75, 0.6]]], dtype=torch.float64)
T = torch.tensor([[[1, 0]]])


def test_poly_by_hand() -> None:
    """Likelihoods .75 and .4."""
    one, two = -math.log(0.75) + 2 * 0.25, -math.log(0.4) + 2 * 0.6
    assert medloss.PolyLoss(epsilon=2, to_onehot_y=True)(P.log(), T).item() == pytest.approx((one + two) / 2)
    weighted = medloss.PolyLoss(epsilon=2, to_onehot_y=True, weight=[1, 3])(P.log(), T)
    assert weighted.item() == pytest.approx((3 * one + two) / 4)
    # the sigmoid of log(p / (1 - p)) is p; the label 0 is of likelihood 1 - p
    logits, target = torch.logit(P), torch.tensor([[[1.0, 0.0], [1.0, 0.0]]])
    likelihood = torch.tensor([0.25, 0.6, 0.75, 0.4])
    expected = (-likelihood.log() - 0.5 * (1 - likelihood)).mean()
    assert medloss.PolyLoss(epsilon=-0.5, sigmoid=True)(logits, target).item() == pytest.approx(expected.item())


def test_generalised_cross_entropy_by_hand() -> None:
    expected = ((1 - math.sqrt(0.75)) / 0.5 + (1 - math.sqrt(0.4)) / 0.5) / 2
    loss = medloss.GeneralizedCrossEntropyLoss(q=0.5, to_onehot_y=True)
    assert loss(P.log(), T).item() == pytest.approx(expected)
    binary = medloss.GeneralizedCrossEntropyLoss(q=1, sigmoid=True, reduction="none")
    found = binary(torch.logit(P), one_hot(T, 2))
    torch.testing.assert_close(found, (P - one_hot(T, 2)).abs())


def test_symmetric_cross_entropy_by_hand() -> None:
    """The reverse entropy of a hard label is -A times what its probability lacks; of a soft one it has its own log."""
    loss = medloss.SymmetricCrossEntropyLoss(alpha=0.5, beta=2, log_zero=-6, to_onehot_y=True)
    one, two = -0.5 * math.log(0.75) + 2 * 6 * 0.25, -0.5 * math.log(0.4) + 2 * 6 * 0.6
    assert loss(P.log(), T).item() == pytest.approx((one + two) / 2)
    soft = torch.tensor([[[0.5], [0.5], [0.0]]], dtype=torch.float64)
    p = torch.tensor([[[0.25], [0.25], [0.5]]], dtype=torch.float64)
    found = medloss.SymmetricCrossEntropyLoss(alpha=0, beta=1)(p.log(), soft)
    assert found.item() == pytest.approx(0.5 * math.log(2) + 0.5 * 4)


def test_limits_of_the_likelihood_losses() -> None:
    logits, target = volume()
    options = {"to_onehot_y": True, "weight": [1, 2, 0.5, 3]}
    entropy = value_and_gradient(medloss.CrossEntropyLoss(**options), logits, target)
    for loss in (
        medloss.PolyLoss(**options, epsilon=0),
        medloss.SymmetricCrossEntropyLoss(**options, alpha=1, beta=0),
        medloss.GeneralizedCrossEntropyLoss(**options, q=1e-7),
    ):
        found = value_and_gradient(loss, logits, target)
        torch.testing.assert_close(found, entropy, rtol=1e-5, atol=1e-6, msg=type(loss).__name__)
    poly = medloss.PolyLoss(**options, epsilon=1.5)
    symmetric = medloss.SymmetricCrossEntropyLoss(**options, alpha=1, beta=0.5, log_zero=-3)
    torch.testing.assert_close(symmetric(logits, target), poly(logits, target))
    absolute = medloss.GeneralizedCrossEntropyLoss(to_onehot_y=True, q=1)(logits, target)
    error = (logits.softmax(1) - one_hot(target)).abs().sum(1).mean() / 2
    torch.testing.assert_close(absolute, error)
    binary, weight = (logits > 0).double(), [1, 2, 0.5, 3]
    found = medloss.PolyLoss(sigmoid=True, epsilon=0, weight=weight)(logits, binary)
    torch.testing.assert_close(found, medloss.CrossEntropyLoss(sigmoid=True, weight=weight)(logits, binary))


def test_without_background_a_softmax_loss_ignores_label_0() -> None:
    logits, target = volume()
    for kind in (medloss.PolyLoss, medloss.GeneralizedCrossEntropyLoss, medloss.SymmetricCrossEntropyLoss):
        without = kind(to_onehot_y=True, include_background=False)(logits, target)
        torch.testing.assert_close(without, kind(to_onehot_y=True, ignore_index=0)(logits, target))


def test_contradicted_labels_pull_less() -> None:
    """The gradient of a wrong label is bounded by p^q: at p = 1e-4 it is gone, where cross-entropy's is 1."""
    logits, target = torch.tensor([[[9.2], [0.0]]]), torch.tensor([[[1]]])
    pull = {
        kind.__name__: value_and_gradient(kind(to_onehot_y=True), logits, target)[1].abs().max().item()
        for kind in (medloss.CrossEntropyLoss, medloss.GeneralizedCrossEntropyLoss)
    }
    assert pull["CrossEntropyLoss"] > 0.99
    assert pull["GeneralizedCrossEntropyLoss"] < 0.01


def test_soft_bce_by_hand_and_beside_torch() -> None:
    """A smoothing of .1 makes labels of .9 and .1, not torch's .95 and .05."""
    logits = torch.logit(torch.tensor([[[0.75, 0.2]]]))
    expected = -(0.9 * math.log(0.75) + 0.1 * math.log(0.25)) - (0.1 * math.log(0.2) + 0.9 * math.log(0.8))
    loss = medloss.SoftBCELoss(smooth_factor=0.1)
    assert loss(logits, torch.tensor([[[1, 0]]])).item() == pytest.approx(expected / 2)
    logits, target = torch.randn(2, 3, 5), torch.rand(2, 3, 5)
    positive, weight = torch.tensor([1.0, 3.0, 0.5]), torch.tensor([2.0, 1.0, 0.25])
    for reduction in ("mean", "sum", "none"):
        options = {"pos_weight": positive, "weight": weight, "reduction": reduction}
        ours = medloss.SoftBCELoss(smooth_factor=0.2, **options)(logits, target)
        options = {"pos_weight": positive.view(3, 1), "weight": weight.view(3, 1), "reduction": reduction}
        theirs = F.binary_cross_entropy_with_logits(logits, 0.2 + 0.6 * target, **options)
        torch.testing.assert_close(ours, theirs)
    plain = medloss.CrossEntropyLoss(sigmoid=True, weight=positive)(logits, target)
    torch.testing.assert_close(medloss.SoftBCELoss(pos_weight=positive)(logits, target), plain)


def test_d2_what_is_ignored_leaves_the_mean() -> None:
    """smp zeroes the ignored voxels and divides by all of them: half of the value where half of them is ignored."""
    logits, target = torch.randn(2, 1, 8), torch.rand(2, 1, 8).round()
    target[..., 4:] = 255.0
    kept = F.binary_cross_entropy_with_logits(logits[..., :4], target[..., :4])
    map = F.binary_cross_entropy_with_logits(logits, target.clamp(max=1), reduction="none")
    theirs = torch.where(target == 255, 0.0, map).mean()
    torch.testing.assert_close(theirs, kept / 2)  # the peer's fault
    torch.testing.assert_close(medloss.SoftBCELoss(ignore_index=255)(logits, target), kept)
    logits, labels = volume()
    labels[..., 3:] = 255
    entropy = F.cross_entropy(logits[..., :3], labels[:, 0, :, :3])
    theirs = F.cross_entropy(logits, labels[:, 0], ignore_index=255, reduction="none").mean()
    torch.testing.assert_close(theirs, entropy / 2)  # smp's soft cross-entropy
    torch.testing.assert_close(medloss.CrossEntropyLoss(to_onehot_y=True, ignore_index=255)(logits, labels), entropy)
    for kind in (medloss.PolyLoss, medloss.GeneralizedCrossEntropyLoss, medloss.SymmetricCrossEntropyLoss):
        cropped = kind(to_onehot_y=True)(logits[..., :3], labels[..., :3])
        torch.testing.assert_close(kind(to_onehot_y=True, ignore_index=255)(logits, labels), cropped)


def test_a_float_mask_is_a_weight_map() -> None:
    """Border weights, as U-Net has them, are the mask: sum w l / sum w over the voxels."""
    logits, target = volume()
    weight = torch.rand(2, 1, 5, 6, dtype=torch.float64) * (torch.rand(2, 1, 5, 6) > 0.2)
    map = F.cross_entropy(logits, target[:, 0], reduction="none")
    expected = (weight[:, 0] * map).sum() / weight.sum()
    torch.testing.assert_close(medloss.CrossEntropyLoss(to_onehot_y=True)(logits, target, weight), expected)
    poly = map + 1 - map.neg().exp()
    expected = (weight[:, 0] * poly).sum() / weight.sum()
    torch.testing.assert_close(medloss.PolyLoss(to_onehot_y=True)(logits, target, weight), expected)


def test_a_weight_for_each_class_of_a_voxel() -> None:
    """A mask with a channel per class weighs the term of the true class, in numerator and denominator."""
    logits, target = volume()
    mask = torch.rand(2, 4, 5, 6, dtype=torch.float64)
    entropy = medloss.CrossEntropyLoss(to_onehot_y=True)(logits, target, mask)
    torch.testing.assert_close(medloss.PolyLoss(to_onehot_y=True, epsilon=0)(logits, target, mask), entropy)


def test_options_out_of_range() -> None:
    with pytest.raises(ValueError, match="epsilon=-2 is too small: it must be at least -1"):
        medloss.PolyLoss(epsilon=-2)
    with pytest.raises(ValueError, match=r"q=0 lies outside \(0, 1\]"):
        medloss.GeneralizedCrossEntropyLoss(q=0)
    with pytest.raises(ValueError, match="log_zero=0 must be below 0"):
        medloss.SymmetricCrossEntropyLoss(log_zero=0)
    with pytest.raises(ValueError, match="takes no sigmoid"):
        medloss.SymmetricCrossEntropyLoss(sigmoid=True)
    with pytest.raises(ValueError, match="takes no softmax"):
        medloss.SoftBCELoss(softmax=True)
    with pytest.raises(ValueError, match=r"smooth_factor=0.6 lies outside \[0, 1/2\]"):
        medloss.SoftBCELoss(smooth_factor=0.6)
    with pytest.raises(ValueError, match="pos_weight has 2 entries and input 3 channels"):
        medloss.SoftBCELoss(pos_weight=[1, 2])(torch.zeros(1, 3, 2), torch.zeros(1, 3, 2))
    with pytest.raises(ValueError, match="takes the softmax by itself"):
        medloss.PolyLoss(softmax=True, sigmoid=True)
