"""Losses by rank: Lovasz, the hardest voxels, and what peers get wrong there."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F
from voxelwise import value_and_gradient, volume

import medloss

# probabilities of two classes at three voxels, of which the first two are of class 1
P = torch.tensor([[[0.2, 0.6, 0.7], [0.8, 0.4, 0.3]]], dtype=torch.float64)
T = torch.tensor([[[1, 1, 0]]])


def test_lovasz_softmax_by_hand() -> None:
    """Errors of both classes .2, .6, .3.

    Class 1, with two voxels: .6 is one of them, then .3 an other, then .2 one: J = 1/2, 2/3, 1.
    Class 0, with one: .6 is an other, .3 the one: J = 1/2, 1, 1.
    """
    one, zero = 0.6 / 2 + 0.3 / 6 + 0.2 / 3, 0.6 / 2 + 0.3 / 2
    loss = medloss.LovaszSoftmaxLoss(to_onehot_y=True)
    assert loss(P.log(), T).item() == pytest.approx((one + zero) / 2)
    foreground = medloss.LovaszSoftmaxLoss(to_onehot_y=True, include_background=False)
    assert foreground(P.log(), T).item() == pytest.approx(one)
    weighted = medloss.LovaszSoftmaxLoss(to_onehot_y=True, weight=[1.0, 3.0])
    assert weighted(P.log(), T).item() == pytest.approx((3 * one + zero) / 2)
    given_ = medloss.LovaszSoftmaxLoss(to_onehot_y=True, other_act=torch.exp)
    assert given_(P.log(), T).item() == pytest.approx((one + zero) / 2)


def test_lovasz_hinge_by_hand() -> None:
    """Logits .5 and -1.5 of two members and -2 of another: errors .5, 2.5 and max(0, -1) = 0; J = 1/2, 1, 1."""
    logits, target = torch.tensor([[[0.5, -1.5, -2.0]]]), torch.tensor([[[1, 1, 0]]])
    assert medloss.LovaszHingeLoss()(logits, target).item() == pytest.approx(2.5 / 2 + 0.5 / 2)
    assert medloss.LovaszHingeLoss()(logits, target[:, 0]).item() == pytest.approx(1.5)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 999), classes=st.integers(2, 5), weight=st.booleans())
def test_kornia_lovasz(seed: int, classes: int, weight: bool) -> None:
    """All classes, image by image; kornia 0.9 sorts the indicator of the class, as it should."""
    losses = pytest.importorskip("kornia.losses")
    logits, target = volume(seed, classes)
    factors = torch.linspace(0.5, 2, classes, dtype=torch.float64) if weight else None
    ours = medloss.LovaszSoftmaxLoss(to_onehot_y=True, classes="all", weight=factors)
    theirs = value_and_gradient(lambda x: losses.lovasz_softmax_loss(x, target[:, 0], factors), logits)
    torch.testing.assert_close(value_and_gradient(ours, logits, target), theirs, rtol=1e-6, atol=1e-8)
    binary = (target > 0).long()
    theirs = value_and_gradient(lambda x: losses.lovasz_hinge_loss(x, binary[:, 0]), logits[:, :1])
    torch.testing.assert_close(value_and_gradient(medloss.LovaszHingeLoss(), logits[:, :1], binary), theirs)


def test_only_present_classes_count() -> None:
    """Class 2 is absent: it leaves the mean, or costs its largest probability."""
    p = torch.tensor([[[0.5, 0.2], [0.4, 0.5], [0.1, 0.3]]], dtype=torch.float64)
    target = torch.tensor([[[0, 1]]])
    # class 0: errors .5 (member), .2 (other): J = 1, 1; class 1: .5 (member), .4 (other): J = 1, 1
    present = medloss.LovaszSoftmaxLoss(to_onehot_y=True)(p.log(), target)
    assert present.item() == pytest.approx((0.5 + 0.5) / 2)
    everything = medloss.LovaszSoftmaxLoss(to_onehot_y=True, classes="all")(p.log(), target)
    assert everything.item() == pytest.approx((0.5 + 0.5 + 0.3) / 3)


def test_an_image_is_averaged_over_its_own_classes() -> None:
    """Berman's mean of means: an image with three classes weighs no more than one with a single class."""
    logits, target = volume(classes=3)
    target[0] = 1
    loss = medloss.LovaszSoftmaxLoss(to_onehot_y=True, reduction="none")
    values = loss(logits, target)
    each = [loss(logits[i : i + 1], target[i : i + 1]) for i in range(2)]
    torch.testing.assert_close(values, torch.cat(each))
    mean = medloss.LovaszSoftmaxLoss(to_onehot_y=True)(logits, target)
    torch.testing.assert_close(mean, values.mean())
    # without background an image of background alone has no class left, and leaves the mean
    target[0] = 0
    options = {"to_onehot_y": True, "include_background": False}
    torch.testing.assert_close(
        medloss.LovaszSoftmaxLoss(**options)(logits, target),
        medloss.LovaszSoftmaxLoss(**options)(logits[1:], target[1:]),
    )


@pytest.mark.parametrize(
    "loss", [medloss.LovaszSoftmaxLoss(to_onehot_y=True, per_image=False), medloss.LovaszHingeLoss(per_image=False)]
)
def test_a_batch_as_one_image_is_the_joined_image(loss: medloss.Loss) -> None:
    logits, target = volume(classes=3)
    if not loss.to_onehot_y:
        target = F.one_hot(target[:, 0], 3).movedim(-1, 1)
    joined = [torch.cat([tensor[:1], tensor[1:]], -1) for tensor in (logits, target)]
    torch.testing.assert_close(loss(logits, target), loss(*joined))


def test_limits_of_lovasz() -> None:
    """At hard predictions Lovasz-Softmax is the Jaccard loss, and the hinge at logits of 1 and -1 is twice it."""
    _, target = volume(classes=3)
    _, wrong = volume(seed=1, classes=3)
    hard = F.one_hot(wrong[:, 0], 3).movedim(-1, 1).double()
    options = {"to_onehot_y": True, "smooth_nr": 0.0, "smooth_dr": 0.0, "jaccard": True}
    jaccard = medloss.DiceLoss(**options)(hard, target)
    torch.testing.assert_close(medloss.LovaszSoftmaxLoss(softmax=True, to_onehot_y=True)(200 * hard, target), jaccard)
    torch.testing.assert_close(medloss.LovaszHingeLoss(to_onehot_y=True)(2 * hard - 1, target), 2 * jaccard)
    right = F.one_hot(target[:, 0], 3).movedim(-1, 1).double()
    assert medloss.LovaszHingeLoss(to_onehot_y=True)(4 * right - 2, target) == 0


def test_d12_lovasz_with_everything_ignored() -> None:
    """Berman's code and smp return the empty tensor of the voxels that are left, whose mean is NaN; nothing costs 0."""
    logits, target = volume()
    nothing = torch.full_like(target, 255)
    empty = logits.softmax(1).movedim(1, -1)[(nothing != 255)[:, 0]] * 0
    assert empty.numel() == 0  # the peers' value
    assert empty.mean().isnan()
    for loss in (
        medloss.LovaszSoftmaxLoss(to_onehot_y=True, ignore_index=255),
        medloss.LovaszSoftmaxLoss(to_onehot_y=True, ignore_index=255, per_image=False),
        medloss.LovaszHingeLoss(to_onehot_y=True, ignore_index=255),
    ):
        value, gradient = value_and_gradient(loss, logits, nothing)
        assert value == 0
        assert value.ndim == 0
        assert not gradient.any()


def test_lovasz_takes_no_senseless_options() -> None:
    with pytest.raises(ValueError, match="classes='some' is unknown: choose one of 'present', 'all'"):
        medloss.LovaszSoftmaxLoss(classes="some")
    with pytest.raises(ValueError, match="takes no activation"):
        medloss.LovaszHingeLoss(sigmoid=True)
    with pytest.raises(ValueError, match="exclude each other"):
        medloss.LovaszSoftmaxLoss(softmax=True, sigmoid=True)


def test_top_k_by_hand() -> None:
    """True-class probabilities .8, .4, .7: the worst third is .4; two thirds are .4 and .7."""
    for k, kept in ((33, [0.4]), (34, [0.4]), (67, [0.4, 0.7]), (100, [0.4, 0.7, 0.8]), (1, [0.4])):
        value = medloss.TopKLoss(k=k, to_onehot_y=True)(P.log(), T)
        assert value.item() == pytest.approx(sum(-math.log(p) for p in kept) / len(kept)), k


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 999), k=st.sampled_from([3.0, 10.0, 29.0, 100.0]), ignored=st.booleans())
def test_top_k_is_that_of_torch(seed: int, k: float, ignored: bool) -> None:
    """Of the whole batch, as nnU-Net takes it; but for its count, which has the ignored voxels in it."""
    logits, target = volume(seed)
    loss = medloss.TopKLoss(k=k, batch=True, to_onehot_y=True, ignore_index=0 if ignored else None)

    def expected(x: torch.Tensor) -> torch.Tensor:
        entropy = F.cross_entropy(x, target[:, 0], reduction="none")[target[:, 0] > (0 if ignored else -1)]
        return entropy.topk(max(1, int(entropy.numel() * k / 100))).values.mean()

    torch.testing.assert_close(value_and_gradient(loss, logits, target), value_and_gradient(expected, logits))


def test_top_k_of_each_sample() -> None:
    logits, target = volume()
    logits[1] *= 5  # all of the hardest voxels are in the second sample
    none = medloss.TopKLoss(to_onehot_y=True, reduction="none")(logits, target)
    each = [medloss.TopKLoss(to_onehot_y=True, batch=True)(logits[i : i + 1], target[i : i + 1]) for i in range(2)]
    torch.testing.assert_close(none, torch.stack(each))
    whole = medloss.TopKLoss(to_onehot_y=True, batch=True)(logits, target)
    assert whole > none.mean()


def test_ties_share_the_last_places() -> None:
    """All voxels are equally hard: each has the same gradient, and not the first ones in memory alone."""
    target = torch.zeros(1, 1, 10, dtype=torch.long)
    value, gradient = value_and_gradient(medloss.TopKLoss(k=20, to_onehot_y=True), torch.zeros(1, 2, 10), target)
    assert value.item() == pytest.approx(math.log(2))
    torch.testing.assert_close(gradient, gradient[..., :1].expand_as(gradient))
    assert gradient[0, 0, 0].item() == pytest.approx(-0.5 / 10)
    logits = torch.zeros(1, 2, 10)
    logits[0, 1, 7] = 3  # one is harder and has the first place; nine share the second
    value, gradient = value_and_gradient(medloss.TopKLoss(k=20, to_onehot_y=True), logits, target)
    assert value.item() == pytest.approx((math.log(1 + math.exp(3)) + math.log(2)) / 2)
    assert gradient[0, 0, 0].item() == pytest.approx(-0.5 / 9 / 2)


def test_a_mask_weighs_and_makes_no_harder() -> None:
    """Of likelihoods .9, .5, .4 with weights 100, 1, 3 two are kept: .5 and .4, weighed 1 and 3."""
    p = torch.tensor([[[0.9, 0.5, 0.4], [0.1, 0.5, 0.6]]])
    mask = torch.tensor([[[100.0, 1.0, 3.0]]])
    expected = -(math.log(0.5) + 3 * math.log(0.4)) / 4
    for loss in (medloss.TopKLoss(k=67, to_onehot_y=True), medloss.OhemCrossEntropyLoss(to_onehot_y=True)):
        assert loss(p.log(), torch.zeros(1, 1, 3), mask).item() == pytest.approx(expected)


def test_class_weights_of_the_hardest_voxels() -> None:
    """Class 1 weighs 10: top-k ranks the weighted entropy, OHEM the likelihood; both divide by the weights."""
    weight = [1.0, 10.0]
    logits, target = P.log(), T  # likelihoods .8 and .4 of class 1, .7 of class 0
    value = medloss.TopKLoss(k=67, to_onehot_y=True, weight=weight)(logits, target)
    assert value.item() == pytest.approx(-(math.log(0.8) + math.log(0.4)) / 2)
    value = medloss.OhemCrossEntropyLoss(thresh=0.75, to_onehot_y=True, weight=weight)(logits, target)
    assert value.item() == pytest.approx(-(10 * math.log(0.4) + math.log(0.7)) / 11)


@pytest.mark.parametrize(
    "loss", [medloss.TopKLoss(k=100, batch=True, to_onehot_y=True, weight=[1, 2, 3, 4]),
             medloss.OhemCrossEntropyLoss(thresh=1, batch=True, to_onehot_y=True, weight=[1, 2, 3, 4])]
)  # fmt: skip
def test_all_voxels_are_the_cross_entropy(loss: medloss.Loss) -> None:
    logits, target = volume()
    mask = torch.rand(2, 1, 5, 6)
    entropy = medloss.CrossEntropyLoss(to_onehot_y=True, weight=[1, 2, 3, 4])
    torch.testing.assert_close(
        value_and_gradient(loss, logits, target, mask), value_and_gradient(entropy, logits, target, mask)
    )


def kept_by_definition(logits: torch.Tensor, target: torch.Tensor, thresh: float, min_kept: int) -> torch.Tensor:
    """OHEM by boolean indexing over the batch, as its authors describe it."""
    entropy = F.cross_entropy(logits, target[:, 0], reduction="none", ignore_index=255)[target[:, 0] != 255]
    likelihood = (-entropy).exp()
    if min_kept >= likelihood.numel():
        return entropy.mean()
    if min_kept > 0:
        thresh = max(thresh, likelihood.sort().values[min_kept - 1].item())
    return entropy[likelihood <= thresh].mean()


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 999), thresh=st.sampled_from([0.05, 0.3, 0.7]), kept=st.sampled_from([0, 1, 17, 40, 1000]))
def test_ohem_by_its_definition(seed: int, thresh: float, kept: int) -> None:
    logits, target = volume(seed)
    target[:, :, 0] = 255
    logits[0, :, 1, 0] = -20.0  # something is always hard
    logits[0, target[0, 0, 1, 0] - 1, 1, 0] = 20.0
    loss = medloss.OhemCrossEntropyLoss(thresh=thresh, min_kept=kept, batch=True, to_onehot_y=True, ignore_index=255)
    expected = value_and_gradient(lambda x: kept_by_definition(x, target, thresh, kept), logits)
    torch.testing.assert_close(value_and_gradient(loss, logits, target), expected)


def test_a_nan_is_the_hardest() -> None:
    """One among many, and nothing but NaN: neither may leave the mean of the others, or 0."""
    labels = torch.zeros(1, 1, 20, dtype=torch.long)
    for voxels in (slice(3, 4), slice(0, 20)):
        logits = torch.zeros(1, 2, 20)
        logits[0, 0, voxels] = torch.nan
        for loss in (medloss.TopKLoss(k=10, to_onehot_y=True), medloss.OhemCrossEntropyLoss(to_onehot_y=True)):
            assert loss(logits, labels).isnan()


def test_d10_ohem_with_nothing_hard() -> None:
    """GDL divides by the number of kept voxels, 0 / 0, and the NaN ends the training; what is easy costs nothing."""
    target = torch.ones(2, 1, 4, 4, dtype=torch.long)
    logits = torch.stack([torch.full((2, 4, 4), -9.0), torch.full((2, 4, 4), 9.0)], 1)
    assert kept_by_definition(logits, target, 0.6, 0).isnan()  # the peer's value
    value, gradient = value_and_gradient(medloss.OhemCrossEntropyLoss(to_onehot_y=True), logits, target)
    assert value == 0
    assert not gradient.any()
    kept = medloss.OhemCrossEntropyLoss(to_onehot_y=True, min_kept=1)
    assert value_and_gradient(kept, logits, target)[1].any()


def test_with_a_sigmoid_elements_are_ranked() -> None:
    """Two channels of two voxels: likelihoods .9, .6 and .3, .8; the worse half is in both channels."""
    logits = torch.logit(torch.tensor([[[0.9, 0.4], [0.3, 0.2]]], dtype=torch.float64))
    target = torch.tensor([[[1, 0], [1, 0]]])
    expected = -(math.log(0.6) + math.log(0.3)) / 2
    for loss in (medloss.TopKLoss(sigmoid=True, k=50), medloss.OhemCrossEntropyLoss(sigmoid=True, thresh=0.7)):
        assert loss(logits, target).item() == pytest.approx(expected)
    foreground = medloss.TopKLoss(sigmoid=True, k=50, include_background=False)
    assert foreground(logits, target).item() == pytest.approx(-math.log(0.3))


def test_dice_top_k_is_the_sum_of_its_parts() -> None:
    logits, target = volume()
    options = {"softmax": True, "to_onehot_y": True, "weight": [1, 2, 3, 4]}
    dice = medloss.DiceLoss(**options, include_background=False)(logits, target)
    hardest = medloss.TopKLoss(**options, k=20)(logits, target)
    loss = medloss.DiceTopKLoss(**options, include_background=False, k=20, lambda_dice=0.5, lambda_topk=2)
    torch.testing.assert_close(loss(logits, target), 0.5 * dice + 2 * hardest)
    terms = loss.terms(logits, target)
    torch.testing.assert_close(terms["top_k"].raw, hardest)
    batch = medloss.DiceTopKLoss(**options, batch=True, lambda_dice=0)(logits, target)
    torch.testing.assert_close(batch, medloss.TopKLoss(**options, batch=True)(logits, target))


def test_options_out_of_range() -> None:
    with pytest.raises(ValueError, match=r"k=0 per cent lies outside \(0, 100\]"):
        medloss.TopKLoss(k=0)
    with pytest.raises(ValueError, match=r"thresh=0.0 lies outside \(0, 1\]"):
        medloss.OhemCrossEntropyLoss(thresh=0.0)
    with pytest.raises(TypeError, match="must be a number of voxels"):
        medloss.OhemCrossEntropyLoss(min_kept=0.5)
    with pytest.raises(ValueError, match="min_kept=-1 is too small"):
        medloss.OhemCrossEntropyLoss(min_kept=-1)
