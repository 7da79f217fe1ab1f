"""Compounds of region losses and likelihoods: values by hand, limits, soft labels, and smoothed labels."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

import medloss

LABELS = {"softmax": True, "to_onehot_y": True}
BARE = {"smooth_nr": 0.0, "smooth_dr": 0.0}
# three classes at four voxels
P = torch.tensor([[[0.5, 0.25, 0.75, 0.25], [0.25, 0.5, 0.125, 0.25], [0.25, 0.25, 0.125, 0.5]]], dtype=torch.float64)
TRUE = torch.tensor([[[0, 1, 0, 2]]])
# I = 1.25, 0.5, 0.5; S = 1.75, 1.125, 1.125; T = 2, 1, 1


def close(found: torch.Tensor, expected: object, **tolerance: float) -> None:
    torch.testing.assert_close(found, torch.as_tensor(expected, dtype=found.dtype), **tolerance)


@pytest.fixture
def batch() -> tuple[torch.Tensor, torch.Tensor]:
    logits = torch.randn(2, 3, 5, 6, dtype=torch.float64)
    return logits, torch.randint(0, 3, (2, 1, 5, 6))


def tversky(overlap: float, input: float, target: float, delta: float) -> float:
    """One minus the index with delta on the false negatives."""
    return 1 - overlap / (overlap + delta * (target - overlap) + (1 - delta) * (input - overlap))


REGIONS = [tversky(1.25, 1.75, 2, 0.6), tversky(0.5, 1.125, 1, 0.6), tversky(0.5, 1.125, 1, 0.6)]


def test_unified_focal_by_hand() -> None:
    """Three classes: the first is common, each of the others is rare."""
    options = {"gamma": 0.25, "delta": 0.6, "lambda_focal": 0.3, "to_onehot_y": True, "reduction": "none", **BARE}
    focal = [
        0.4 * (0.5**0.25 * math.log(2) + 0.25**0.25 * -math.log(0.75)) / 4,
        0.6 * 0.5**0.25 * math.log(2) / 4,
        0.6 * 0.5**0.25 * math.log(2) / 4,
    ]
    expected = [0.3 * f + 0.7 * r**0.75 for f, r in zip(focal, REGIONS)]
    close(medloss.UnifiedFocalLoss(**options)(P.log(), TRUE), [expected])
    # asymmetric: no focal factor on the rare, no power on the common class
    focal[1:] = [0.6 * math.log(2) / 4] * 2
    expected = [0.3 * focal[0] + 0.7 * REGIONS[0], *(0.3 * f + 0.7 * r**0.75 for f, r in zip(focal[1:], REGIONS[1:]))]
    close(medloss.AsymmetricUnifiedFocalLoss(**options)(P.log(), TRUE), [expected])
    rare = medloss.AsymmetricUnifiedFocalLoss(**{**options, "include_background": False})(P.log(), TRUE)
    close(rare, [expected[1:]])


@pytest.mark.parametrize("name", ["UnifiedFocalLoss", "AsymmetricUnifiedFocalLoss"])
def test_a_channel_under_a_sigmoid_is_a_problem_of_two_classes(name: str) -> None:
    """A logit z against the rest is a softmax of 0 and z."""
    logits, target = torch.randn(2, 1, 5, 6, dtype=torch.float64), torch.randint(0, 2, (2, 1, 5, 6))
    pair = torch.cat([torch.zeros_like(logits), logits], 1)
    kind = getattr(medloss, name)
    close(kind(sigmoid=True)(logits, target), kind(to_onehot_y=True)(pair, target))


def test_limits_of_unified_focal(batch) -> None:
    plain = {"gamma": 0, "delta": 0.5, "lambda_focal": 0.25, "to_onehot_y": True}
    entropy = medloss.CrossEntropyLoss(to_onehot_y=True)(*batch)
    region = medloss.TverskyLoss(**LABELS)(*batch)
    close(medloss.UnifiedFocalLoss(**plain)(*batch), 0.25 * entropy / 2 / 3 + 0.75 * region)
    for delta in (0.6, 0.8):
        options = {**plain, "delta": delta}
        close(medloss.AsymmetricUnifiedFocalLoss(**options)(*batch), medloss.UnifiedFocalLoss(**options)(*batch))


def test_exp_log_by_hand_and_its_limit(batch) -> None:
    loss = medloss.ExpLogLoss(**LABELS, gamma_dice=0.5, gamma_ce=0.4, weight=[1.0, 2.0, 3.0])
    terms = loss.terms(P.log(), TRUE)
    # smoothed with 1: (2.5 + 1) / (3.75 + 1), (1 + 1) / (2.125 + 1) twice
    dice = (-math.log(3.5 / 4.75)) ** 0.5, (-math.log(2 / 3.125)) ** 0.5
    close(terms["dice"].raw, (dice[0] + 2 * dice[1]) / 3)
    powers = math.log(2) ** 0.4, (-math.log(0.75)) ** 0.4
    close(terms["cross_entropy"].raw, (powers[0] + 2 * powers[0] + powers[1] + 3 * powers[0]) / 4)
    close(loss(P.log(), TRUE), 0.8 * terms["dice"].raw + 0.2 * terms["cross_entropy"].raw)
    entropy = medloss.ExpLogLoss(**LABELS, gamma_ce=1, lambda_dice=0, lambda_ce=1)(*batch)
    close(entropy, medloss.CrossEntropyLoss(to_onehot_y=True)(*batch))
    binary = medloss.ExpLogLoss(sigmoid=True, gamma_ce=1, lambda_dice=0, lambda_ce=1)
    target = (batch[0] > 0.3).double()
    close(binary(batch[0], target), medloss.CrossEntropyLoss(sigmoid=True)(batch[0], target))


def test_combo_by_hand_and_its_limits(batch) -> None:
    terms = medloss.ComboLoss(**LABELS, alpha=0.25, beta=0.7, **BARE).terms(P.log(), TRUE)
    right = 3 * math.log(2) - math.log(0.75)
    wrong = -sum(math.log(1 - p) for p in (0.25, 0.25, 0.25, 0.25, 0.125, 0.125, 0.25, 0.25))
    close(terms["cross_entropy"].value, 0.25 * (0.7 * right + 0.3 * wrong) / 12)
    close(terms["dice"].value, 0.75 * (3 - 2.5 / 3.75 - 2 * 1 / 2.125) / 3)
    close(medloss.ComboLoss(**LABELS, alpha=0)(*batch), medloss.DiceLoss(**LABELS)(*batch))
    target = (batch[0] > 0.3).double()
    half = medloss.ComboLoss(sigmoid=True, alpha=1, beta=0.5)(batch[0], target)
    close(half, medloss.CrossEntropyLoss(sigmoid=True)(batch[0], target) / 2)


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_compounds_are_the_sums_of_their_parts(batch, activation: str) -> None:
    """Each with its own parts' options; without one term it is the other."""
    base = {activation: True, "to_onehot_y": True, "weight": [1.0, 2.0, 0.5]}
    focal = {**base, "gamma": 1.5}
    without = {"include_background": False}
    rows = [
        ("DiceFocalLoss", {**focal, **without, "alpha": 0.3}, "dice", "focal",
         medloss.DiceLoss(**base, **without), medloss.FocalLoss(**focal, **without, alpha=0.3)),
        ("GeneralizedDiceFocalLoss", {**focal, "w_type": "simple"}, "gdl", "focal",
         medloss.GeneralizedDiceLoss(**base, w_type="simple"), medloss.FocalLoss(**focal)),
        ("TverskyFocalLoss", {**focal, "alpha": 0.2, "beta": 0.9, "focal_alpha": 0.3}, "tversky", "focal",
         medloss.TverskyLoss(**base, alpha=0.2, beta=0.9), medloss.FocalLoss(**focal, alpha=0.3)),
        ("TverskyCELoss", {**base, **without, "alpha": 0.2, "beta": 0.9, "label_smoothing": 0.1}, "tversky", "ce",
         medloss.TverskyLoss(**base, **without, alpha=0.2, beta=0.9),
         medloss.CrossEntropyLoss(**base, label_smoothing=0.1)),
    ]  # fmt: skip
    for name, options, one, other, first, second in rows:
        kind = getattr(medloss, name)
        loss = kind(**options, **{f"lambda_{one}": 0.5, f"lambda_{other}": 2.0})
        values = [part(*batch) for part in (first, second)]
        close(loss(*batch), 0.5 * values[0] + 2 * values[1])
        assert [term.weight for term in loss.terms(*batch).values()] == [0.5, 2.0]
        close(kind(**options, **{f"lambda_{other}": 0.0})(*batch), values[0])
        close(kind(**options, **{f"lambda_{one}": 0.0})(*batch), values[1])


def test_limits_between_the_compounds(batch) -> None:
    focal = medloss.DiceFocalLoss(**LABELS, gamma=0, lambda_focal=1.5)(*batch)
    close(focal, medloss.DiceCELoss(**LABELS, lambda_ce=0.5)(*batch))
    smooth = {"smooth_nr": 0.0, "smooth_dr": 0.0}
    close(medloss.TverskyCELoss(**LABELS, **smooth)(*batch), medloss.DiceCELoss(**LABELS, **smooth)(*batch))


REGION = [
    ("DiceLoss", {}), ("DiceLoss", {"jaccard": True}), ("DiceLoss", {"squared_pred": True}), ("JaccardLoss", {}),
    ("LogCoshDiceLoss", {}), ("TverskyLoss", {"alpha": 0.2, "beta": 0.9}), ("AsymmetricSimilarityLoss", {}),
    ("FocalTverskyLoss", {"gamma": 1.0}), ("GeneralizedDiceLoss", {}), ("PenaltyGeneralizedDiceLoss", {}),
    ("DiceCELoss", {}), ("TverskyCELoss", {}), ("DiceFocalLoss", {"gamma": 0.0}),
    ("GeneralizedDiceFocalLoss", {"gamma": 0.0}), ("TverskyFocalLoss", {"gamma": 0.0}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "options"), REGION, ids=str)
def test_a_soft_target_is_the_minimum(name: str, options: dict[str, object]) -> None:
    """Every way away from p = t goes up, and its gradient leads back; the product form of the overlap slopes there."""
    target = torch.softmax(torch.randn(2, 3, 4, 5, dtype=torch.float64), 1)
    logits = target.log()
    loss = getattr(medloss, name)(softmax=True, soft_label=True, **options)
    least = loss(logits, target)
    for _ in range(10):
        direction = torch.randn_like(logits)
        away = (logits + 0.02 * direction).requires_grad_()
        value = loss(away, target)
        assert value > least + 1e-6
        (gradient,) = torch.autograd.grad(value, away)
        assert (gradient * direction).sum() > 0
    if not options.get("squared_pred"):  # whose product form has the minimum there already
        product = getattr(medloss, name)(softmax=True, **options)
        (slope,) = torch.autograd.grad(product(logits.requires_grad_(), target), logits)
        assert slope.abs().max() > 1e-4


@pytest.mark.parametrize("backend", ["reference", None])
@pytest.mark.parametrize("name", ["DiceLoss", "JaccardLoss", "TverskyLoss", "LogCoshDiceLoss", "GeneralizedDiceLoss"])
def test_there_is_no_slope_at_a_soft_target(name: str, backend: str | None) -> None:
    """Both kinds of error cost the same here; else the minimum is a kink with slopes of two sizes."""
    target = torch.rand(2, 3, 4, 5, dtype=torch.float64)
    input = target.clone().requires_grad_()
    with medloss.backend(backend):
        value = getattr(medloss, name)(soft_label=True)(input, target)
        (gradient,) = torch.autograd.grad(value, input)
    assert value.item() == pytest.approx(0, abs=1e-12)
    assert gradient.abs().max() < 1e-12


def test_soft_labels_of_zero_and_one_change_nothing(batch) -> None:
    for name in ("DiceLoss", "JaccardLoss", "TverskyLoss", "GeneralizedDiceLoss", "DiceFocalLoss", "ComboLoss"):
        kind = getattr(medloss, name)
        close(kind(**LABELS, soft_label=True)(*batch), kind(**LABELS)(*batch))


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("weight", [None, [1.0, 2.0, 0.5]])
def test_smoothed_labels_are_those_of_torch(batch, weight, reduction: str) -> None:
    """Without background as if label 0 were ignored; under a sigmoid as the binary loss of labels moved inwards."""
    logits, target = batch
    options = {"label_smoothing": 0.2, "include_background": False, "weight": weight, "reduction": reduction}
    weights = None if weight is None else torch.tensor(weight, dtype=torch.float64)
    expected = F.cross_entropy(logits, target[:, 0], weights, label_smoothing=0.2, ignore_index=0, reduction=reduction)
    close(medloss.CrossEntropyLoss(to_onehot_y=True, **options)(logits, target), expected)
    dense = F.one_hot(target[:, 0], 3).movedim(-1, 1)
    close(medloss.CrossEntropyLoss(**options)(logits, dense), expected)
    multiple = (torch.rand_like(logits) > 0.5).double()
    positive = None if weights is None else weights[1:].view(2, 1, 1)
    expected = F.binary_cross_entropy_with_logits(
        logits[:, 1:], 0.8 * multiple[:, 1:] + 0.1, pos_weight=positive, reduction=reduction
    )
    close(medloss.CrossEntropyLoss(sigmoid=True, **options)(logits, multiple), expected)


@pytest.mark.parametrize("options", [{"sigmoid": True}, {"include_background": False, "to_onehot_y": True}])
def test_smoothed_labels_keep_the_contract(batch, options: dict[str, object]) -> None:
    """A mask is the box, an ignored label is a mask, what lies under it is not looked at; derivatives are right."""
    logits, target = batch
    if "sigmoid" in options:
        target = torch.nn.functional.one_hot(target[:, 0], 3).movedim(-1, 1).double()
    mask = torch.zeros(2, 1, 5, 6)
    mask[..., 1:4, 2:] = 1
    loss = medloss.CrossEntropyLoss(label_smoothing=0.2, **options)
    dirty = torch.where(mask > 0, logits, torch.full_like(logits, torch.nan))
    dirty.requires_grad_()
    value = loss(dirty, target, mask)
    close(value, loss(logits[..., 1:4, 2:], target[..., 1:4, 2:]))
    (gradient,) = torch.autograd.grad(value, dirty)
    assert torch.isfinite(gradient).all()
    marked = torch.where(mask > 0, target, torch.full_like(target, 255))
    close(medloss.CrossEntropyLoss(label_smoothing=0.2, ignore_index=255, **options)(logits, marked), value)
    small = logits[:1, :, :2, :3].clone().requires_grad_()
    torch.autograd.gradcheck(lambda x: loss(x, target[:1, :, :2, :3]), small)
    half = loss(logits.to(torch.bfloat16), target)
    close(half, loss(logits.to(torch.bfloat16).float(), target).float())
