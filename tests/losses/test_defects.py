"""What users of the peers ran into, and no other file shows: the peer's number, ours, and why ours is right."""

from __future__ import annotations

import kornia.losses
import monai.losses
import pytest
import torch
from torch import Tensor

import medloss

LABELS = {"softmax": True, "to_onehot_y": True}
lncc = medloss.LocalNormalizedCrossCorrelationLoss


def close(found: Tensor, expected: object, **tolerance: float) -> None:
    torch.testing.assert_close(found, torch.as_tensor(expected, dtype=found.dtype), **tolerance)


@pytest.fixture
def half_labelled() -> tuple[Tensor, Tensor, Tensor]:
    """Logits of three classes, labels, and labels of which the right half is not annotated."""
    logits, labels = torch.randn(2, 3, 4, 8), torch.randint(0, 3, (2, 1, 4, 8))
    return logits, labels, torch.where(torch.arange(8) < 4, labels, 255)


def test_d2_kornia_counts_ignored_pixels_in_the_mean(half_labelled) -> None:
    logits, labels, partly = half_labelled
    shared = {"alpha": None, "gamma": 2.0, "reduction": "mean"}
    crop = kornia.losses.focal_loss(logits[..., :4], labels[:, 0, :, :4], **shared)
    theirs = kornia.losses.focal_loss(logits, partly[:, 0], ignore_index=255, **shared)
    close(theirs, crop / 2)  # the peer's fault
    close(medloss.FocalLoss(**LABELS, ignore_index=255)(logits, partly), crop)


@pytest.mark.parametrize("name", ["DiceLoss", "TverskyLoss"])
def test_monai_takes_a_voxel_without_labels_for_an_ignored_one(name: str) -> None:
    """Of a multilabel target, in which a voxel may well be of no class: an empty one is never wrong there."""
    logits, nothing = torch.randn(1, 3, 50), torch.zeros(1, 3, 50)
    theirs = getattr(monai.losses, name)(sigmoid=True, ignore_index=255)(logits, nothing)
    assert theirs == 0  # the peer's fault
    ours = getattr(medloss, name)(sigmoid=True, ignore_index=255)(logits, nothing)
    close(ours, getattr(medloss, name)(sigmoid=True)(logits, nothing))
    assert ours > 0.99


def test_d6_monais_triangle_of_seven_is_that_of_five() -> None:
    x, y = torch.rand(1, 1, 16, 16), torch.rand(1, 1, 16, 16)
    theirs = [monai.losses.LocalNormalizedCrossCorrelationLoss(2, size, "triangular")(x, y) for size in (5, 7)]
    close(theirs[1], theirs[0])  # the peer's fault
    ours = [lncc(kernel_size=size, kernel_type="triangular")(x, y) for size in (5, 7)]
    assert abs(ours[1] - ours[0]) > 1e-3
    # seven weights 1 to 4 to 1 of a line: the window of its middle is the line itself
    line, other = x[..., 0, :7], y[..., 0, :7]
    weight = torch.tensor([1.0, 2, 3, 4, 3, 2, 1]) / 16
    mean = [(weight * image).sum() for image in (line, other)]
    products = [(weight * a * b).sum() for a, b in ((line, other), (line, line), (other, other))]
    covariance, one, two = products[0] - mean[0] * mean[1], products[1] - mean[0] ** 2, products[2] - mean[1] ** 2
    found = lncc(kernel_size=7, kernel_type="triangular", reduction="none")(line, other)[0, 0, 3]
    close(found, -(covariance**2) / (one * two), rtol=1e-3, atol=1e-5)


def test_d6_zeros_beyond_the_border_are_seen_by_monai() -> None:
    """A brighter image should correlate as it did; zeros beyond its border are a contrast that grows with it."""
    x, y = torch.rand(1, 1, 16, 16), torch.rand(1, 1, 16, 16)
    theirs = [monai.losses.LocalNormalizedCrossCorrelationLoss(2, 3)(x + level, y).item() for level in (0, 10)]
    assert abs(theirs[1] - theirs[0]) > 0.01  # the peer's fault
    ours = [lncc(kernel_size=3, border="renormalise")(x + level, y).item() for level in (0, 10)]
    assert ours[1] == pytest.approx(ours[0], abs=1e-5)


def test_d6_monai_correlates_in_half_precision() -> None:
    """Intensities of 0 to 255 in float16: their squares do not fit. Under autocast its convolutions are bfloat16."""
    x, y = 255 * torch.rand(1, 1, 16, 16), 255 * torch.rand(1, 1, 16, 16)
    peer = monai.losses.LocalNormalizedCrossCorrelationLoss(2, 9)
    assert peer(x.half(), x.half()).isnan()  # the peer's fault
    assert lncc(kernel_size=9)(x.half(), x.half()).item() == pytest.approx(-1, abs=1e-4)
    x, y = x / 255, y / 255
    with torch.autocast("cpu", torch.bfloat16):
        theirs, ours = peer(x, y), lncc(kernel_size=9)(x, y)
    assert abs(theirs - peer(x, y)) > 1e-4  # the peer's fault: three digits
    close(ours, lncc(kernel_size=9)(x, y), rtol=0, atol=0)


def test_d9_an_ignored_label_in_dice_with_cross_entropy(half_labelled) -> None:
    logits, labels, partly = half_labelled
    with pytest.raises(RuntimeError, match="index 255 is out of bounds"):  # the peer's fault
        monai.losses.DiceCELoss(**LABELS)(logits, partly)
    crop = monai.losses.DiceCELoss(**LABELS)(logits[..., :4], labels[..., :4])
    close(medloss.DiceCELoss(**LABELS, ignore_index=255)(logits, partly), crop)


def test_d9_soft_labels_in_dice_with_cross_entropy() -> None:
    """MONAI's compound cannot be told, and with its product of soft labels a sharper prediction is the better one."""
    with pytest.raises(TypeError, match="soft_label"):
        monai.losses.DiceCELoss(softmax=True, soft_label=True)
    target = torch.tensor([[[0.3, 0.7], [0.7, 0.3]]], dtype=torch.float64)
    gradients = []
    for loss in (monai.losses.DiceCELoss(softmax=True), medloss.DiceCELoss(softmax=True, soft_label=True)):
        logits = target.log().requires_grad_()
        gradients.append(torch.autograd.grad(loss(logits, target), logits)[0])
    theirs, ours = gradients
    assert (-theirs * (target - 0.5)).sum() > 0.01  # the peer's fault
    assert ours.abs().max() < 1e-9


def test_monai_8094_the_product_of_soft_labels_is_least_elsewhere() -> None:
    """A target of .3 throughout: the value at the target is .7, and more than .3 would be better."""
    target = torch.full((1, 1, 8), 0.3, dtype=torch.float64)
    for package, options, value in ((monai.losses, {}, 0.7), (medloss, {"soft_label": True}, 0.0)):
        input = target.clone().requires_grad_()
        found = package.DiceLoss(**options)(input, target)
        (gradient,) = torch.autograd.grad(found, input)
        assert found.item() == pytest.approx(value, abs=1e-4)
        assert (gradient < -0.05).all() == (package is monai.losses)  # the peer's fault
        if package is medloss:
            assert not gradient.any()


def test_d11_monais_mutual_information_knows_intensities_from_0_to_1_alone() -> None:
    """CT numbers all lie in its last bin: any two images look independent. Here the range is an option."""
    x, y = 1000 * torch.rand(1, 1, 20, 20) + 50, 1000 * torch.rand(1, 1, 20, 20) + 50
    theirs = monai.losses.GlobalMutualInformationLoss()
    assert theirs(x, x).item() == pytest.approx(0, abs=1e-5)  # the peer's fault
    scaled = theirs((x - 50) / 1000, (y - 50) / 1000).item()
    ours = medloss.GlobalMutualInformationLoss(intensity_range=(50.0, 1050.0))
    assert ours(x, y).item() == pytest.approx(scaled, abs=1e-4)
    assert ours(x, x) < -1


def test_d12_an_absent_class_leaves_the_mean_and_not_its_denominator_alone() -> None:
    """smp gives an absent class 0 and divides by all three: a third of the loss is gone."""
    logits, labels = torch.randn(2, 3, 6, 6), torch.randint(0, 2, (2, 1, 6, 6))
    none = medloss.DiceLoss(**LABELS, batch=True, reduction="none", smooth_nr=0)(logits, labels)
    theirs = none[:, :2].sum() / 3  # as smp reduces it
    ours = medloss.DiceLoss(**LABELS, batch=True, empty="skip", smooth_nr=0)(logits, labels)
    close(ours, none[:, :2].mean())
    close(theirs, ours * 2 / 3)


def test_monai_7729_class_weights_are_those_of_all_classes(half_labelled) -> None:
    """There their number depends on include_background; here there is one for each channel, always."""
    logits, labels, _ = half_labelled
    options = {**LABELS, "include_background": False}
    with pytest.raises(ValueError, match="length"):
        monai.losses.DiceLoss(**options, weight=[1.0, 2.0, 3.0])(logits, labels)
    theirs = monai.losses.DiceLoss(**options, weight=[2.0, 3.0])(logits, labels)
    for name in ("DiceLoss", "DiceCELoss", "DiceFocalLoss", "TverskyLoss", "GeneralizedDiceLoss", "FocalLoss"):
        kind = getattr(medloss, name)
        assert kind(**options, weight=[1.0, 2.0, 3.0])(logits, labels).isfinite()
        with pytest.raises(ValueError, match="weight has 2 entries and input 3 channels"):
            kind(**options, weight=[2.0, 3.0])(logits, labels)
    close(medloss.DiceLoss(**options, weight=[1.0, 2.0, 3.0])(logits, labels), theirs)


def test_monais_values_of_a_batch_do_not_line_up_with_its_input(half_labelled) -> None:
    logits, labels, _ = half_labelled
    options = {**LABELS, "batch": True, "reduction": "none"}
    theirs = monai.losses.DiceLoss(**options)(logits, labels)
    assert theirs.shape == (3, 1, 1)  # the peer's fault: a class where the height of an image stands
    ours = medloss.DiceLoss(**options)(logits, labels)
    assert ours.shape == (1, 3)
    close(ours[0], theirs.flatten())


def test_monai_2509_one_channel_under_a_softmax_is_a_fault() -> None:
    """It is 1 whatever the network says: a loss of 0 and nothing to learn from, silently."""
    logits, target = torch.randn(1, 1, 8), torch.ones(1, 1, 8)
    assert monai.losses.FocalLoss(use_softmax=True)(logits, target) == 0  # the peer's fault
    for kind in (medloss.FocalLoss, medloss.DiceCELoss, medloss.DiceFocalLoss, medloss.DiceLoss):
        with pytest.raises(ValueError, match="makes no sense with one channel"):
            kind(softmax=True)(logits, target)


def test_three_digits_of_bfloat16_are_not_enough_for_a_sum() -> None:
    logits = torch.randn(1, 1, 96, 96).bfloat16()
    target = (torch.rand(1, 1, 96, 96) > 0.4).float()
    exact = medloss.DiceLoss(sigmoid=True)(logits.double(), target.double()).item()
    theirs = monai.losses.DiceLoss(sigmoid=True)(logits, target.bfloat16()).item()
    assert abs(theirs - exact) > 1e-4  # the peer's fault
    assert medloss.DiceLoss(sigmoid=True)(logits, target).item() == pytest.approx(exact, abs=2e-6)


@pytest.mark.parametrize("name", ["DiceLoss", "CrossEntropyLoss", "FocalLoss", "TverskyLoss", "MCCLoss"])
def test_multitalent_9_each_scan_learns_from_the_classes_that_it_labels(name: str) -> None:
    """A mask per class takes the others out, value and gradient, where channels are problems of their own."""
    logits, target = torch.randn(2, 3, 5, 6), (torch.rand(2, 3, 5, 6) > 0.5).float()
    present = torch.tensor([[True, False, True], [True, True, False]])
    mask = present[..., None, None].expand(-1, -1, 5, 6)
    logits.requires_grad_()
    loss = getattr(medloss, name)(**({} if name == "FocalLoss" else {"sigmoid": True}))
    value = loss(logits, target, mask)
    alone = [loss(logits[b : b + 1, c : c + 1], target[b : b + 1, c : c + 1]) for b, c in present.nonzero().tolist()]
    close(value, torch.stack(alone).mean())
    (gradient,) = torch.autograd.grad(value, logits)
    assert not gradient[~present].any()
    assert gradient[present].any()
