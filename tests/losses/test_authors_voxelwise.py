"""Losses of voxels, distances and sizes beside their authors' code: each difference by hand, or the formula again."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from voxelwise import one_hot, value_and_gradient, volume

import medloss

BARE = {"smooth_nr": 0.0, "smooth_dr": 0.0}
P = torch.tensor([[[0.5, 0.25], [0.5, 0.75]]], dtype=torch.float64)
T = torch.tensor([[[0, 1]]])
"""Two voxels: p of what is true is 1/2 and 3/4."""


def test_authors_nacl() -> None:
    """Labels 0 0 1 with the wide border of class 0: shares of it 1, 2/3, 2/3, of class 1 0, 1/3, 1/3."""
    logits, target = torch.zeros(1, 2, 3), torch.tensor([[[0, 0, 1]]])
    loss = {"to_onehot_y": True, "alpha": 3.0, "distance": "l2"}
    found = medloss.NACLLoss(**loss, border="background")(logits, target).item()
    squares = 1 + 4 / 9 + 4 / 9 + 0 + 1 / 9 + 1 / 9
    assert found == pytest.approx(math.log(2) + 3 * squares / 6)
    for border in ("renormalise", "zero"):
        assert medloss.NACLLoss(**loss, border=border)(logits, target).item() != pytest.approx(found, abs=1e-3)
    # in a volume: frame it with class 0, and cut the frame off again
    logits, target = volume(shape=(4, 5, 3))
    framed = F.avg_pool3d(F.pad(one_hot(F.pad(target, [1] * 6)), [1] * 6), 3, 1)[..., 1:-1, 1:-1, 1:-1]
    expected = F.cross_entropy(logits, target[:, 0]) + 0.1 * (logits - framed).abs().mean()
    torch.testing.assert_close(medloss.NACLLoss(to_onehot_y=True, border="background")(logits, target), expected)


def test_authors_poly() -> None:
    """log 2 + 3 log(4/3), and eps (1/2 + 1/4), over two voxels; weighing all of it over 1 + 3."""
    loss = {"to_onehot_y": True, "epsilon": 2.0, "weight": [1.0, 3.0]}
    theirs = medloss.PolyLoss(**loss, weighted="cross_entropy")(P.log(), T).item()
    assert theirs == pytest.approx((math.log(2) + 3 * math.log(4 / 3) + 2 * (1 / 2 + 1 / 4)) / 2)
    ours = medloss.PolyLoss(**loss)(P.log(), T).item()
    assert ours == pytest.approx((math.log(2) + 2 / 2 + 3 * (math.log(4 / 3) + 2 / 4)) / 4)
    logits, target = volume(seed=4)
    members, factors = one_hot(target), torch.tensor([1.0, 2.0, 0.5, 3.0], dtype=torch.float64)

    def formula(x: Tensor) -> Tensor:
        entropy = F.cross_entropy(x, target[:, 0], weight=factors, reduction="none")
        return (entropy + 1.5 * (1 - (x.softmax(1) * members).sum(1))).mean()

    ours = medloss.PolyLoss(to_onehot_y=True, epsilon=1.5, weight=factors, weighted="cross_entropy")
    torch.testing.assert_close(value_and_gradient(ours, logits, target), value_and_gradient(formula, logits))
    one = medloss.PolyLoss(sigmoid=True, epsilon=2.0, weight=[3.0], weighted="cross_entropy")
    found = one(torch.zeros(1, 1, 2), torch.tensor([[[0.0, 1.0]]])).item()
    assert found == pytest.approx((math.log(2) + 3 * math.log(2) + 2 * (1 / 2 + 1 / 2)) / 2)


def test_authors_generalized_surface() -> None:
    """Squares of phi 4 1 0 1 0 1 and 1 0 1 4 9 16; of 7 and 31 agree 3 and 15 + 16 / 4; sizes 3 and 1.

    One over T^2 + 1 is 1/10 and 1/2. A third class is empty, has no border and leaves both.
    """
    target = torch.tensor([[[0.0, 0, 1, 1, 1, 0], [0, 1, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0]]])
    prediction = torch.tensor([[[1.0, 0, 1, 1, 1, 0], [0, 1, 0, 0, 0, 0.5], [0, 0, 1, 0, 0, 0]]])
    inverse = medloss.GeneralizedSurfaceLoss(weighting="inverse_square")(prediction, target).item()
    assert inverse == pytest.approx(1 - (3 / 10 + 19 / 2) / (7 / 10 + 31 / 2))
    own = medloss.GeneralizedSurfaceLoss(weighting="per_class")(prediction, target).item()
    assert own == pytest.approx(1 - (3 / 7 + 19 / 31) / 2)
    weighted = medloss.GeneralizedSurfaceLoss(weighting="per_class", weight=[1, 3, 9])(prediction, target).item()
    assert weighted == pytest.approx(1 - (3 / 7 + 3 * 19 / 31) / 4)
    assert medloss.GeneralizedSurfaceLoss()(prediction, target).item() == pytest.approx(1 - (3 + 19) / (7 + 31))
    with pytest.raises(ValueError, match="weighting='own' is unknown"):
        medloss.GeneralizedSurfaceLoss(weighting="own")


def test_authors_symmetric_ce() -> None:
    """A label clipped at 1e-4: -log of it is 9.21 times the 1/2 and 1/4 that the false class has; the paper has 4."""
    for options, most in (({"log_zero": math.log(1e-4)}, 9.210340372), ({}, 4.0)):
        loss = medloss.SymmetricCrossEntropyLoss(to_onehot_y=True, **options)
        expected = 0.1 * (math.log(2) + math.log(4 / 3)) / 2 + most * (1 / 2 + 1 / 4) / 2
        assert loss(P.log(), T).item() == pytest.approx(expected)


def test_authors_cldice() -> None:
    """Lines of 2 and 6 voxels, 1 and 6 found: P is 1, R 1/2 and 1 in each sample, 7/8 in the batch."""
    line = torch.zeros(2, 1, 3, 6)
    line[0, 0, 1, :2], line[1, 0, 1] = 1, 1
    found = line.clone()
    found[0, 0, 1, 0] = 0
    bare = {**BARE, "smooth": 1e-12, "iter_": 10}
    for cls in (medloss.SoftclDiceLoss, medloss.SoftDiceclDiceLoss):
        assert cls(**bare, batch=True)(found, line).item() == pytest.approx(1 - 2 * (7 / 8) / (1 + 7 / 8))
        assert cls(**bare)(found, line).item() == pytest.approx((1 - 2 * (1 / 2) / (1 + 1 / 2)) / 2)


def test_authors_t_loss() -> None:
    """nu = 1 of D = 2 voxels with an energy of 1/2: logs of Gamma(1/2) / Gamma(3/2), pi and 3/2 times (1 + 1/2)."""
    input, target = torch.tensor([[[0.5, 0.5]]]).double(), torch.tensor([[[1.0, 0.0]]]).double()
    whole = math.log(2) + math.log(math.pi) + 1.5 * math.log(1.5)
    assert medloss.TLoss(per_voxel=False)(input, target).item() == pytest.approx(whole)
    assert medloss.TLoss()(input, target).item() == pytest.approx(whole / 2)


def test_authors_size_constraint() -> None:
    """3 of 8 voxels predicted where 1 is the most: 2^2 / 8 there, (2/8)^2 here, an eighth of it."""
    input = torch.tensor([[[1.0, 1, 1, 0, 0, 0, 0, 0]]])
    loss = medloss.SizeConstraintLoss(tolerance=None, upper=1 / 8)
    assert 8 * loss(input, input).item() == pytest.approx(2**2 / 8)


def test_authors_papers() -> None:
    """Each by the paper's formula, where the public code has something else."""
    # combo: the voxel that is not of the class costs -log(1 - 1/2), it gains nothing
    combo = medloss.ComboLoss(sigmoid=True, alpha=1.0)
    both = combo(torch.zeros(1, 1, 2), torch.tensor([[[1.0, 0.0]]])).item()
    assert both == pytest.approx((0.5 * math.log(2) + 0.5 * math.log(2)) / 2)
    # penalty GDice: of one class G = 2/3, L = (1 - G) / (1 + k (1 - G)), which a better G makes smaller
    half, target = torch.tensor([[[1.0, 0.0]]]), torch.tensor([[[1.0, 1.0]]])
    penalised = medloss.PenaltyGeneralizedDiceLoss(smooth_nr=0.0, smooth_dr=0.0)(half, target).item()
    assert penalised == pytest.approx(1 - (2 / 3) / (1 + 2.5 / 3))
    # active contour: the length of one square voxel in the middle is 4 sides, the corner of both differences one sqrt 2
    dot = torch.zeros(1, 1, 3, 3)
    dot[..., 1, 1] = 1
    assert medloss.ActiveContourLoss()(dot, dot).item() == pytest.approx((2 + math.sqrt(2)) / 9)
    # Hausdorff by erosion: errors that touch along the third axis survive an erosion, those of two channels do not
    errors = torch.zeros(1, 2, 3, 3, 3)
    errors[0, 0, 1, 1], errors[0, 0, 1, :, 1], errors[0, 0, :, 1, 1] = 1, 1, 1
    loss = medloss.HausdorffERLoss(k=1, reduction="none")(errors, torch.zeros_like(errors))
    assert loss[0, 0] > 0
    assert loss[0, 1] == 0
    # distance-penalised: the weight is used, 1 + 1/2 at both borders of two voxels each
    labels = torch.tensor([[[0, 0, 1, 1]]])
    penalised = medloss.DistancePenalisedCELoss(to_onehot_y=True)(torch.zeros(1, 2, 4), labels).item()
    assert penalised == pytest.approx(1.25 * math.log(2))
    # boundary: distances between integers stay what they are for a target of integers, sqrt 2 at the corner
    corner = torch.zeros(1, 1, 2, 2)
    corner[..., 0, 0] = 1
    every = torch.zeros(1, 1, 2, 2)
    every[..., 1, 1] = 1
    assert medloss.BoundaryLoss()(every, corner).item() == pytest.approx(math.sqrt(2) / 4)
