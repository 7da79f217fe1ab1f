"""Losses over the sums of regions: values by hand, and the limits that the docstrings state."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

import medloss
from medloss.sums import RegionSums

# four voxels, two classes that exclude each other; class 1 has one voxel in the target
P = torch.tensor([[[0.75, 0.5, 1.0, 0.75], [0.25, 0.5, 0.0, 0.25]]], dtype=torch.float64)
T = torch.tensor([[[1.0, 0.0, 1.0, 1.0], [0.0, 1.0, 0.0, 0.0]]], dtype=torch.float64)
# I = 2.5, 0.5; S = 3, 1; T = 3, 1; FP = FN = 0.5, 0.5
BARE = {"smooth_nr": 0.0, "smooth_dr": 0.0}
LABELS = {"softmax": True, "to_onehot_y": True}


def close(found: torch.Tensor, expected: object, **tolerance: float) -> None:
    torch.testing.assert_close(found, torch.as_tensor(expected, dtype=found.dtype), **tolerance)


@pytest.fixture
def batch() -> tuple[torch.Tensor, torch.Tensor]:
    logits = torch.randn(2, 3, 5, 6, dtype=torch.float64)
    return logits, torch.randint(0, 3, (2, 1, 5, 6))


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        # weights 1/9 and 1: 2 (2.5/9 + 0.5) / (6/9 + 2) = (14/9) / (24/9)
        ({}, 1 - 14 / 24),
        # weights 1/3 and 1: 2 (2.5/3 + 0.5) / (6/3 + 2)
        ({"w_type": "simple"}, 1 - (8 / 3) / 4),
        ({"w_type": "uniform"}, 1 - 6 / 8),
        # a factor of 3 on the second class: 2 (2.5/9 + 1.5) / (6/9 + 6)
        ({"weight": [1.0, 3.0]}, 1 - (32 / 9) / (60 / 9)),
        ({"include_background": False}, 1 - 1 / 2),
        # 0.1 above and 0.3 below the line
        ({"w_type": "uniform", "smooth_nr": 0.1, "smooth_dr": 0.3}, 1 - 6.1 / 8.3),
    ],
)
def test_generalized_dice_by_hand(options, expected) -> None:
    close(medloss.GeneralizedDiceLoss(**{**BARE, **options})(P, T), expected)


def test_generalized_dice_of_absent_classes() -> None:
    """A class that the target lacks has the largest weight of the others; with "skip" it has none."""
    p = torch.tensor([[[0.5, 0.5], [0.25, 0.0], [0.25, 0.5]]], dtype=torch.float64)
    t = torch.tensor([[[1.0, 1.0], [0.0, 0.0], [0.0, 0.0]]], dtype=torch.float64)
    # all weights 1/4: 2 (1/4) / ((1 + 2 + 0.25 + 0.75) / 4)
    close(medloss.GeneralizedDiceLoss(**BARE)(p, t), 1 - 2 / 4)
    close(medloss.GeneralizedDiceLoss(empty="skip", **BARE)(p, t), 1 - 2 / 3)
    # without background no class is there: nothing is weighed, and "skip" leaves the sample out of the mean
    close(medloss.GeneralizedDiceLoss(include_background=False)(p, t), 0)
    both = torch.cat([p, P.new_zeros(1, 3, 2)]), torch.cat([t, t.roll(1, 1)])  # the second sample has all wrong
    loss = medloss.GeneralizedDiceLoss(include_background=False, empty="skip", reduction="none")
    close(loss(*both), [0.0, 1.0], atol=1e-4, rtol=0)
    close(medloss.GeneralizedDiceLoss(include_background=False, empty="skip")(*both), 1.0, atol=1e-4, rtol=0)


def test_generalized_dice_of_a_batch() -> None:
    """The sums of both samples, as one sample of twice the voxels; "none" has one value."""
    p, t = torch.cat([P, P.flip(2)]), torch.cat([T, T])
    joined = [torch.cat(list(x), 1)[None] for x in (p, t)]
    found = medloss.GeneralizedDiceLoss(batch=True, reduction="none")(p, t)
    assert found.shape == (1,)
    close(found[0], medloss.GeneralizedDiceLoss()(*joined))


def test_smoothing_does_not_swallow_the_generalised_dice_of_large_regions() -> None:
    """The figures of the docstring: weights of 1 / T^2 leave a denominator beside which 1e-5 is not small."""
    region = torch.tensor([0.5, 1.0, 1.0, 1.0]) * 128**3 / 2  # I, S, T and V of both classes: half of each is found
    for normalize, expected in ((True, 0.50), (False, 0.14)):
        loss = medloss.GeneralizedDiceLoss(normalize=normalize)
        value = loss.combine(RegionSums(region.expand(1, 2, 4)), torch.ones(1, 2))
        assert value.item() == pytest.approx(expected, abs=0.005)


def test_penalty_generalized_dice_by_hand_and_its_limits(batch) -> None:
    # the penalty adds k (FP + FN) to the denominator, weighed as the classes: 14 / (24 + 2.5 * (1 + 9))
    close(medloss.PenaltyGeneralizedDiceLoss(**BARE)(P, T), 1 - 14 / (24 + 2.5 * 10))
    plain = medloss.GeneralizedDiceLoss(**LABELS)(*batch)
    close(medloss.PenaltyGeneralizedDiceLoss(k=0, **LABELS)(*batch), plain)
    jaccard = medloss.JaccardLoss(include_background=False, **BARE)(P, T)
    close(medloss.PenaltyGeneralizedDiceLoss(k=1, include_background=False, **BARE)(P, T), jaccard)


# cost 1 between background and all else, 0.5 between classes 1 and 2
DISTANCES = torch.tensor([[0.0, 2.0, 2.0], [2.0, 0.0, 1.0], [2.0, 1.0, 0.0]])
SOFT = torch.tensor([[[0.5, 0.25, 0.25], [0.25, 0.5, 0.25], [0.25, 0.25, 0.5]]], dtype=torch.float64)
TRUE = torch.tensor([[[0, 1, 2]]])
# of voxel 0: W = 0.25 + 0.25; of voxels 1 and 2: 0.25 * 1 + 0.25 * 0.5 = 0.375


def test_wasserstein_dice_by_hand() -> None:
    loss = medloss.GeneralizedWassersteinDiceLoss(dist_matrix=DISTANCES, **BARE)
    # TP = 2 * 0.625, sum of W = 0.5 + 0.375 + 0.375
    close(loss(SOFT.log(), TRUE), 1 - 2.5 / (2.5 + 1.25))
    close(loss.wasserstein_distance_map(SOFT, TRUE[:, 0]), [[0.5, 0.375, 0.375]])
    loss = medloss.GeneralizedWassersteinDiceLoss(dist_matrix=DISTANCES, weighting_mode="GDL", **BARE)
    # one voxel of each class, each weighs 1/2: 2 (0.5 + 0.625 + 0.625) / (1.5 + 1.625 + 1.625)
    close(loss(SOFT.log(), TRUE), 1 - 3.5 / 4.75)
    # the last voxel of class 1 too: W = 0.25 * 1 + 0.5 * 0.5 = 0.5, and class 1 weighs 1/3
    right, total = 0.5 / 2 + (0.625 + 0.5) / 3, 1.5 / 2 + (1.625 + 1.5) / 3
    close(loss(SOFT.log(), TRUE.clamp_max(1)), 1 - 2 * right / total)
    loss = medloss.GeneralizedWassersteinDiceLoss(dist_matrix=DISTANCES, weight=[1.0, 3.0, 1.0], **BARE)
    close(loss(SOFT.log(), TRUE), 1 - 2 * 2.5 / (2 * 2.5 + 0.5 + 4 * 0.375))
    loss = medloss.GeneralizedWassersteinDiceLoss(dist_matrix=DISTANCES, include_background=False, **BARE)
    close(loss(SOFT.log(), TRUE), 1 - 2.5 / (2.5 + 0.75))


def test_wasserstein_dice_takes_every_form_of_target(batch) -> None:
    logits, target = batch
    loss = medloss.GeneralizedWassersteinDiceLoss(dist_matrix=DISTANCES)
    expected = loss(logits, target)
    close(loss(logits, target[:, 0]), expected)
    close(loss(logits, F.one_hot(target[:, 0], 3).movedim(-1, 1)), expected)
    flat = logits.flatten(2)[..., 0], target.flatten(1)[:, 0]
    close(loss(*flat), loss(flat[0][..., None], flat[1][:, None]))
    weights = {"batch": True, "reduction": "none"}
    joined = medloss.GeneralizedWassersteinDiceLoss(dist_matrix=DISTANCES, **weights)(logits, target)
    close(joined[0], loss(torch.cat(list(logits), 1)[None], torch.cat(list(target), 1)[None]))


def test_two_classes_in_wasserstein_dice_are_dice(batch) -> None:
    logits, target = batch[0][:, :2], batch[1].clamp_max(1)
    loss = medloss.GeneralizedWassersteinDiceLoss(dist_matrix=[[0, 7], [7, 0]])
    close(loss(logits, target), medloss.DiceLoss(**LABELS, include_background=False)(logits, target))


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        ([[0.0, 1.0]], "must be square"),
        ([[0.0, -1.0], [1.0, 0.0]], "must hold distances"),
        ([[1.0, 1.0], [1.0, 0.0]], "must hold distances"),
        ([[0.0, 0.0], [0.0, 0.0]], "must hold distances"),
        ([[0.0, math.nan], [1.0, 0.0]], "must hold distances"),
    ],
)
def test_a_table_of_distances_is_checked(matrix, message) -> None:
    with pytest.raises(ValueError, match=message):
        medloss.GeneralizedWassersteinDiceLoss(dist_matrix=matrix)


def test_faults_of_wasserstein_dice(batch) -> None:
    with pytest.raises(medloss.ShapeError, match="dist_matrix is 2x2 and input has 3 channels"):
        medloss.GeneralizedWassersteinDiceLoss(dist_matrix=[[0, 1], [1, 0]])(*batch)
    with pytest.raises(ValueError, match="the softmax is taken here"):
        medloss.GeneralizedWassersteinDiceLoss(dist_matrix=DISTANCES, sigmoid=True)
    with pytest.raises(ValueError, match="weighting_mode='gdl' is unknown"):
        medloss.GeneralizedWassersteinDiceLoss(dist_matrix=DISTANCES, weighting_mode="gdl")


def test_jaccard_by_hand_and_its_limits(batch) -> None:
    close(medloss.JaccardLoss(reduction="none", **BARE)(P, T), [[1 - 2.5 / 3.5, 1 - 0.5 / 1.5]])
    close(medloss.JaccardLoss(**LABELS)(*batch), medloss.TverskyLoss(alpha=1, beta=1, **LABELS)(*batch))
    dice = medloss.DiceLoss(reduction="none", **BARE)(P, T)
    close(medloss.JaccardLoss(reduction="none", **BARE)(P, T), 2 * dice / (1 + dice))


def test_log_cosh_dice_by_hand_and_its_limit() -> None:
    dice = [1 - 5 / 6, 1 - 1 / 2]
    close(medloss.LogCoshDiceLoss(reduction="none", **BARE)(P, T), [[math.log(math.cosh(x)) for x in dice]])
    small = torch.tensor([[[1.0, 2e-4, 0.0]]]), torch.tensor([[[1.0, 0.0, 0.0]]])  # a Dice loss of about 1e-4
    value, dice = medloss.LogCoshDiceLoss(reduction="none", **BARE)(*small), 2e-4 / 2.0002
    assert value.item() == pytest.approx(dice**2 / 2, rel=1e-5)  # log(cosh) alone is 0 here, or 1.2e-7


def test_mcc_by_hand_and_its_limits(batch) -> None:
    # both classes: TP 2.5, 0.5; TN 0.5, 2.5; FP = FN = 0.5; (1.25 - 0.25) / sqrt(3 * 3 * 1 * 1)
    close(medloss.MCCLoss(reduction="none", smooth_dr=0)(P, T), [[2 / 3, 2 / 3]])
    close(medloss.MCCLoss(reduction="none", smooth_nr=0.5, smooth_dr=7.0)(P, T), [[1 - 1.5 / 4] * 2])
    logits, target = batch[0][:, :2], (batch[0][:, :2] + torch.randn(2, 2, 5, 6) > 0).double()
    complement = medloss.MCCLoss(sigmoid=True)(-logits, 1 - target)
    close(medloss.MCCLoss(sigmoid=True)(logits, target), complement)
    close(medloss.MCCLoss(smooth_dr=1e-12)(T, T), 0)
    close(medloss.MCCLoss(smooth_dr=1e-12)(1 - T, T), 2)
    close(medloss.MCCLoss(smooth_dr=1e-12)(torch.full_like(T, 0.3), T), 1)
    nothing = torch.zeros(1, 1, 4)
    for level in (nothing, nothing + 1):  # no error, and no correlation either
        assert medloss.MCCLoss()(level, level) == 0
        assert medloss.MCCLoss()(1 - level, level) == 1


def test_focal_tversky_by_hand_and_its_limit(batch) -> None:
    # 1 - 2.5 / (2.5 + 0.5) = 1/6, 1 - 0.5 / (0.5 + 0.5) = 1/2 at alpha + beta = 1
    close(medloss.FocalTverskyLoss(reduction="none", **BARE)(P, T), [[(1 / 6) ** 0.75, 0.5**0.75]])
    options = {**LABELS, "alpha": 0.2, "beta": 0.9}
    close(medloss.FocalTverskyLoss(gamma=1, **options)(*batch), medloss.TverskyLoss(**options)(*batch))
    exact = T.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(medloss.FocalTverskyLoss()(exact, T), exact)
    assert not gradient.any()  # 0^(3/4) has a slope without end: here it has none


def test_asymmetric_similarity_by_hand_and_its_limits(batch) -> None:
    p, t = torch.tensor([[[1.0, 1.0, 1.0, 0.0]]]), torch.tensor([[[1.0, 0.0, 0.0, 1.0]]])
    # TP = 1, FP = 2, FN = 1: F_2 = 5 / (5 + 4 + 2), F_0 the precision 1/3
    for beta, score in ((2.0, 5 / 11), (0.0, 1 / 3), (1.0, 2 / 5)):
        close(medloss.AsymmetricSimilarityLoss(beta=beta, **BARE)(p, t), 1 - score)
    tversky = medloss.TverskyLoss(alpha=0.2, beta=0.8, **LABELS)(*batch)
    close(medloss.AsymmetricSimilarityLoss(beta=2, **LABELS)(*batch), tversky)


def test_noise_robust_dice_by_hand_and_its_limit(batch) -> None:
    # |p - t|: 0.25, 0.5, 0, 0.25; sums of p: 3 and 1, of t: 3 and 1; squares of p: 2.375 and 0.375
    errors = 2 * 0.25**1.5 + 0.5**1.5
    close(medloss.NoiseRobustDiceLoss(reduction="none", **BARE)(P, T), [[errors / 6, errors / 2]])
    squares = medloss.NoiseRobustDiceLoss(denominator="squares", reduction="none", **BARE)
    close(squares(P, T), [[errors / 5.375, errors / 1.375]])
    options = {**LABELS, "smooth_nr": 0.2, "smooth_dr": 0.5}
    close(medloss.NoiseRobustDiceLoss(gamma=1, **options)(*batch), medloss.DiceLoss(**options)(*batch))
    squared = medloss.DiceLoss(squared_pred=True, **options)(*batch)
    close(medloss.NoiseRobustDiceLoss(gamma=2, denominator="squares", **options)(*batch), squared)


def test_dsc_plus_plus_by_hand_and_its_limit(batch) -> None:
    errors = 2 * 0.25**2 + 0.5**2
    expected = [[1 - 5 / (5 + errors), 1 - 1 / (1 + errors)]]
    close(medloss.DSCPlusPlusLoss(reduction="none", **BARE)(P, T), expected)
    close(medloss.DSCPlusPlusLoss(gamma=1, **LABELS)(*batch), medloss.DiceLoss(**LABELS)(*batch))


def test_sensitivity_specificity_by_hand_and_its_limits() -> None:
    # class 0: (2 * 0.25^2) / 3 on what it has, 0.5^2 / 1 on what it has not; class 1 the other way round
    has, has_not = 0.125 / 3, 0.25
    expected = [[0.05 * has + 0.95 * has_not, 0.05 * has_not + 0.95 * has]]
    close(medloss.SensitivitySpecificityLoss(reduction="none", **BARE)(P, T), expected)
    close(medloss.SensitivitySpecificityLoss(r=1, reduction="none", **BARE)(P, T), [[has, has_not]])
    close(medloss.SensitivitySpecificityLoss(r=0, reduction="none", **BARE)(P, T), [[has_not, has]])
    for level in (torch.zeros(1, 1, 4), torch.ones(1, 1, 4)):  # one of the two sides is empty
        assert medloss.SensitivitySpecificityLoss(**BARE)(level, level) == 0


def test_options_out_of_range_raise() -> None:
    for name, options in (
        ("GeneralizedDice", {"w_type": "cube"}), ("PenaltyGeneralizedDice", {"k": -1}), ("FocalTversky", {"gamma": 0}),
        ("AsymmetricSimilarity", {"beta": -1}), ("NoiseRobustDice", {"gamma": 2.5}), ("DSCPlusPlus", {"gamma": 0.5}),
        ("SensitivitySpecificity", {"r": 1.5}), ("UnifiedFocal", {"gamma": 1.0}), ("UnifiedFocal", {"delta": 1.5}),
        ("AsymmetricUnifiedFocal", {"lambda_focal": -0.5}), ("ExpLog", {"gamma_ce": 0, "softmax": True}),
        ("Combo", {"alpha": 1.5, "softmax": True}), ("DiceFocal", {"lambda_focal": -1, "softmax": True}),
        ("TverskyCE", {}), ("DiceFocal", {"sigmoid": True, "reduction": "none"}),
    ):  # fmt: skip
        with pytest.raises(ValueError, match="="):
            getattr(medloss, f"{name}Loss")(**options)


@pytest.mark.parametrize("level", [0.0, 1.0])
def test_mcc_of_a_class_without_a_border_costs_1_and_teaches_nothing(level: float) -> None:
    """What the docstring says: under a softmax no prediction is exactly right. Skipping leaves out what is absent."""
    logits = torch.randn(1, 2, 5, 6, dtype=torch.float64, requires_grad=True)
    target = torch.full((1, 1, 5, 6), level)
    loss = medloss.MCCLoss(**LABELS, reduction="none")(logits, target)
    close(loss, [[1.0, 1.0]])
    (gradient,) = torch.autograd.grad(loss.sum(), logits)
    assert gradient.abs().max() < 1e-10
    skipped = medloss.MCCLoss(**LABELS, empty="skip", reduction="none")(logits, target)
    close(skipped, [[1 - level, level]])
    close(medloss.MCCLoss(**LABELS, empty="skip", include_background=False)(logits, target), level)
