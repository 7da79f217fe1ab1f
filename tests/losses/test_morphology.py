"""Losses over erosion, dilation and skeletons: values by hand, the limits of their docstrings, and absent classes."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

import medloss
from medloss.ops import max_pool, soft_skeleton

BARE = {"smooth_nr": 0.0, "smooth_dr": 0.0}
VESSEL = torch.zeros(1, 1, 5, 8, dtype=torch.float64)
VESSEL[..., 2, :] = 1
GAP = VESSEL.clone()
GAP[..., 2, 3:5] = 0  # two of eight voxels


def one_hot(target: Tensor, classes: int) -> Tensor:
    return F.one_hot(target[:, 0], classes).movedim(-1, 1).double()


def probabilities(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_cldice_by_hand() -> None:
    """P = 6/6 and R = 6/8 of lines that are their own skeletons, whatever the smoothing adds."""
    bare = medloss.SoftclDiceLoss(**BARE, smooth=1e-12)
    assert bare(GAP, VESSEL).item() == pytest.approx(1 - 2 * 0.75 / 1.75)
    assert bare(VESSEL, GAP).item() == pytest.approx(1 - 2 * 0.75 / 1.75)
    default = medloss.SoftclDiceLoss()(GAP, VESSEL).item()  # P = 7/7, R = 7/9
    assert default == pytest.approx(1 - 2 * (7 / 9) / (1 + 7 / 9 + 1e-4))


def test_cldice_of_a_wide_vessel_asks_for_its_middle() -> None:
    """A target of width 3 has its middle line as skeleton; a prediction of that line misses nothing of it."""
    wide = torch.zeros(1, 1, 9, 12)
    wide[..., 3:6, :] = 1
    middle = torch.zeros(1, 1, 9, 12)
    middle[..., 4, :] = 1
    loss = medloss.SoftclDiceLoss(**BARE)
    assert loss(middle, wide).item() == pytest.approx(0, abs=1e-4)
    assert medloss.DiceLoss()(middle, wide) > 0.4


def test_cldice_sums_over_classes_and_batch() -> None:
    """Two classes of one sample, and two samples of one class, are one sum where asked for; weights are factors."""
    both, true = torch.cat([GAP, VESSEL], 1), torch.cat([VESSEL, GAP], 1)
    loss = medloss.SoftclDiceLoss(**BARE, smooth=1e-12)
    assert loss(both, true).item() == pytest.approx(1 - 2 * (12 / 14) ** 2 / (24 / 14))  # P = (6+6)/(6+8) = R
    weighted = medloss.SoftclDiceLoss(**BARE, smooth=1e-12, weight=[1.0, 3.0])
    recall = (6 + 3 * 8) / (8 + 3 * 8)  # and P = 1
    assert weighted(both, VESSEL.expand_as(both)).item() == pytest.approx(1 - 2 * recall / (1 + recall))
    samples = both.movedim(1, 0), true.movedim(1, 0)
    batch = medloss.SoftclDiceLoss(**BARE, smooth=1e-12, batch=True)
    torch.testing.assert_close(batch(*samples), loss(both, true))
    assert medloss.SoftclDiceLoss(batch=True, reduction="none")(*samples).shape == (1,)
    alone = [loss(GAP, VESSEL), loss(VESSEL, GAP)]
    torch.testing.assert_close(medloss.SoftclDiceLoss(**BARE, smooth=1e-12)(*samples), torch.stack(alone).mean())


def test_cldice_of_thin_lines_is_dice() -> None:
    """Rows with background between them, of any probability, are their own skeletons."""
    rows = torch.zeros(2, 1, 9, 10, dtype=torch.float64)
    rows[:, :, 1::2] = 1
    x, t = rows * probabilities(2, 1, 9, 10), rows * (probabilities(2, 1, 9, 10, seed=1) > 0.4)
    assert torch.equal(soft_skeleton(x, iterations=3), x)
    found = medloss.SoftclDiceLoss(**BARE, smooth=1e-12)(x, t)
    torch.testing.assert_close(found, medloss.DiceLoss(**BARE)(x, t))


def test_cldice_can_leave_out_samples_without_a_target() -> None:
    x, t = torch.cat([GAP, GAP]), torch.cat([VESSEL, 0 * VESSEL])
    with_vessel = medloss.SoftclDiceLoss()(GAP, VESSEL)
    torch.testing.assert_close(medloss.SoftclDiceLoss(empty="skip")(x, t), with_vessel)
    assert medloss.SoftclDiceLoss()(x, t) > with_vessel


def test_dice_cldice_and_its_limits() -> None:
    logits, target = torch.randn(2, 3, 9, 8), torch.randint(0, 3, (2, 1, 9, 8))
    options = {"softmax": True, "to_onehot_y": True, "weight": [1.0, 2.0, 0.5], "include_background": False}
    smooth = {"smooth_nr": 1.0, "smooth_dr": 1.0}
    dice = medloss.DiceLoss(**options, **smooth)(logits, target)
    centre = medloss.SoftclDiceLoss(**options)(logits, target)
    for alpha in (0.0, 0.3, 1.0):
        loss = medloss.SoftDiceclDiceLoss(**options, alpha=alpha)
        torch.testing.assert_close(loss(logits, target), (1 - alpha) * dice + alpha * centre)
    terms = loss.terms(logits, target)
    assert [term.weight for term in terms.values()] == [0, 1]
    torch.testing.assert_close(terms["dice"].raw, dice)
    for alpha in (-0.1, 1.1):
        with pytest.raises(ValueError, match="it is the share of clDice"):
            medloss.SoftDiceclDiceLoss(alpha=alpha)
    with pytest.raises(ValueError, match="reduction='none' is unknown"):
        medloss.SoftDiceclDiceLoss(reduction="none")


def test_hausdorff_by_hand() -> None:
    """A wrong block of 3 x 3 in 5 x 5.

    First erosion: means 3/5, 4/5, 1 (corner, edge, centre; 1/5 beside the block), less one half .1, .3, .5, stretched
    .2, .6, 1. Second: the centre alone is above one half, (1 + 4 * .6) / 5 = .68, stretched to 1. Third: nothing.
    """
    x, t = torch.zeros(1, 1, 5, 5), torch.zeros(1, 1, 5, 5)
    x[..., 1:4, 1:4] = 1
    first = (4 * 0.2 + 4 * 0.6 + 1) / 25
    assert medloss.HausdorffERLoss(k=1)(x, t).item() == pytest.approx(first)
    assert medloss.HausdorffERLoss(k=2, alpha=2)(x, t).item() == pytest.approx(first + 4 / 25)
    assert medloss.HausdorffERLoss(k=9, alpha=3)(x, t).item() == pytest.approx(first + 8 / 25)
    assert medloss.HausdorffERLoss(k=9, alpha=0)(t, x).item() == pytest.approx(first + 1 / 25)


@pytest.mark.parametrize("shape", [(24,), (12, 12), (8, 8, 8)])
def test_hausdorff_counts_wide_errors_alone(shape: tuple[int, ...]) -> None:
    target = torch.zeros(1, 1, *shape)
    isolated, block = target.clone(), target.clone()
    isolated[(..., *[slice(None, None, 3)] * len(shape))] = 1
    block[(..., *[slice(1, 6)] * len(shape))] = 1
    loss = medloss.HausdorffERLoss()
    assert loss(isolated, target) == 0
    assert loss(block, target) > 0
    assert loss(0.7 * block, target) == 0  # errors squared are below one half
    assert loss(block, block) == 0
    torch.testing.assert_close(*(medloss.HausdorffERLoss(k=1, alpha=alpha)(block, target) for alpha in (0.0, 3.0)))


def boundary_f1(p: Tensor, t: Tensor, theta0: int, theta: int) -> Tensor:
    """The paper's formula by torch's own pooling, for each sample and class of two dimensions."""

    def pool(map: Tensor, size: int) -> Tensor:
        return F.max_pool2d(map, size, 1, size // 2)

    edges = [pool(1 - map, theta0) - (1 - map) for map in (p, t)]
    near = [pool(edge, theta) for edge in edges]
    precision = (edges[0] * near[1]).sum((2, 3)) / (edges[0].sum((2, 3)) + 1e-7)
    recall = (edges[1] * near[0]).sum((2, 3)) / (edges[1].sum((2, 3)) + 1e-7)
    return 1 - 2 * precision * recall / (precision + recall + 1e-7)


@pytest.mark.parametrize(("theta0", "theta"), [(3, 1), (3, 5), (5, 3), (19, 19)])
def test_boundary_f1_is_the_paper_s_formula(theta0: int, theta: int) -> None:
    p = probabilities(2, 3, 20, 21).requires_grad_()
    target = torch.randint(0, 3, (2, 1, 20, 21))
    expected = boundary_f1(p, one_hot(target, 3), theta0, theta)
    found = medloss.BoundaryF1Loss(to_onehot_y=True, theta0=theta0, theta=theta, reduction="none")(p, target)
    torch.testing.assert_close(found, expected)
    cotangent = torch.randn_like(expected)
    gradients = [torch.autograd.grad(value, p, cotangent)[0] for value in (found, expected)]
    torch.testing.assert_close(*gradients)


def test_boundary_f1_by_hand() -> None:
    """Squares of 5 x 5, one of them shifted by two: each boundary has 16 voxels, of which some lie near the other."""
    p, t = torch.zeros(1, 1, 12, 12), torch.zeros(1, 1, 12, 12)
    t[..., 2:7, 2:7], p[..., 2:7, 4:9] = 1, 1
    # shared are three columns of the upper and of the lower side
    assert medloss.BoundaryF1Loss(theta=1)(p, t).item() == pytest.approx(1 - 6 / 16)
    # within one voxel: a fourth column of each, and of the side in the other's inside the two voxels at its ends
    assert medloss.BoundaryF1Loss(theta=3)(p, t).item() == pytest.approx(1 - 10 / 16)
    assert medloss.BoundaryF1Loss(theta=5)(p, t).item() == pytest.approx(0, abs=1e-6)
    assert medloss.BoundaryF1Loss()(t, t).item() == pytest.approx(0, abs=1e-6)


def test_boundary_f1_without_tolerance_is_dice_of_boundaries() -> None:
    p, t = ((max_pool(torch.rand(2, 1, 16, 17), size=3) > 0.9).double() for _ in range(2))
    edges = [map + max_pool(-map, size=3) for map in (p, t)]
    found = medloss.BoundaryF1Loss(theta=1)(p, t)
    torch.testing.assert_close(found, medloss.DiceLoss(**BARE)(*edges), rtol=0, atol=1e-6)


def test_d10_a_class_without_a_boundary_is_no_constant_in_the_mean() -> None:
    """GDL counts a class that the target lacks as 1, whatever is predicted: a third of the mean here."""
    logits = torch.randn(2, 3, 12, 13, dtype=torch.float64, requires_grad=True)
    target = torch.randint(0, 2, (2, 1, 12, 13))
    peer = boundary_f1(logits.softmax(1), one_hot(target, 3), 3, 5)
    assert torch.equal(peer[:, 2], torch.ones_like(peer[:, 2]))  # the peer's fault
    options = {"softmax": True, "to_onehot_y": True}
    torch.testing.assert_close(medloss.BoundaryF1Loss(**options, empty="smooth")(logits, target), peer.mean())
    torch.testing.assert_close(medloss.BoundaryF1Loss(**options)(logits, target), peer[:, :2].mean())
    everywhere = medloss.BoundaryF1Loss(**options)(logits, torch.zeros_like(target))
    assert everywhere == 0  # no class has a boundary
    assert not torch.autograd.grad(everywhere, logits)[0].any()


def test_the_boxes_of_boundary_f1_are_odd() -> None:
    for options in ({"theta": 4}, {"theta0": 2}, {"theta0": 1}, {"theta": 0}, {"theta": 5.0}):
        with pytest.raises(ValueError, match="must be an odd number of voxels, at least"):
            medloss.BoundaryF1Loss(**options)


def test_skeleton_recall_by_hand() -> None:
    """Two of eight voxels missed; what is predicted beside the vessel costs nothing."""
    loss = medloss.SkeletonRecallLoss(**BARE)
    assert loss(GAP, VESSEL).item() == pytest.approx(2 / 8)
    assert loss((GAP + 1 - VESSEL).clamp(max=1), VESSEL).item() == pytest.approx(2 / 8)
    wide = torch.zeros(1, 1, 9, 12)
    wide[..., 3:6, :] = 1
    prediction = wide.clone()
    prediction[..., 3, :] = 0  # off the middle line
    assert medloss.SkeletonRecallLoss(**BARE, radius=0)(prediction, wide) == 0
    assert medloss.SkeletonRecallLoss(**BARE, radius=1)(prediction, wide).item() == pytest.approx(1 / 3)


def test_skeleton_recall_of_the_target_is_tversky() -> None:
    logits, target = torch.randn(2, 3, 7, 8), torch.randint(0, 3, (2, 1, 7, 8))
    mask = torch.rand(2, 1, 7, 8)
    options = {"softmax": True, "to_onehot_y": True, "weight": [1.0, 2.0, 0.5]}
    dense = F.one_hot(target[:, 0], 3).movedim(-1, 1)
    found = medloss.SkeletonRecallLoss(**options)(logits, target, mask, skeleton=dense)
    torch.testing.assert_close(found, medloss.TverskyLoss(**options, alpha=0, beta=1)(logits, target, mask))


def test_skeletons_of_classes_and_of_labels_agree() -> None:
    """In a map of labels 0 is no skeleton, so the background has none and its recall is whole."""
    logits, target = torch.randn(2, 3, 7, 8), torch.randint(0, 3, (2, 1, 7, 8))
    skeleton = torch.where(torch.rand(2, 1, 7, 8) > 0.5, target, 0)
    dense = F.one_hot(skeleton[:, 0], 3).movedim(-1, 1).float()
    dense[:, 0] = 0
    loss = medloss.SkeletonRecallLoss(softmax=True, to_onehot_y=True, reduction="none")
    found = loss(logits, target, skeleton=skeleton)
    torch.testing.assert_close(found, loss(logits, target, skeleton=dense))
    assert torch.equal(found[:, 0], torch.zeros(2))
    front = medloss.SkeletonRecallLoss(softmax=True, to_onehot_y=True, reduction="none", include_background=False)
    torch.testing.assert_close(front(logits, target, skeleton=skeleton), found[:, 1:])


def test_a_skeleton_must_fit() -> None:
    loss, logits = medloss.SkeletonRecallLoss(sigmoid=True), torch.randn(2, 3, 7, 8)
    for shape in ((2, 2, 7, 8), (2, 1, 8, 7), (1, 1, 7, 8), (2, 3, 7, 1)):
        given = "x".join(map(str, shape))
        with pytest.raises(medloss.ShapeError, match=f"skeleton has shape {given}: expected 2x3x7x8, or one channel"):
            loss(logits, logits.sigmoid(), skeleton=torch.zeros(shape))
    one = medloss.SkeletonRecallLoss(sigmoid=True, **BARE)(
        torch.zeros(4, 2), torch.ones(4, 2), skeleton=torch.ones(4, 2)
    )
    assert one == 0.5  # a voxel each, as batch x classes
    with pytest.raises(TypeError, match="skeleton is list"):
        loss(logits, logits.sigmoid(), skeleton=[1])


def test_what_lies_under_a_mask_of_a_given_skeleton_does_not_count() -> None:
    logits, target = torch.randn(1, 2, 6), torch.randint(0, 2, (1, 1, 6))
    mask = torch.tensor([[[1.0, 1, 1, 1, 0, 0]]])
    skeleton = torch.tensor([[[0.0, 1, 1, 0, torch.nan, 5]]]).expand(1, 2, 6)
    loss = medloss.SkeletonRecallLoss(softmax=True, to_onehot_y=True)
    found = loss(logits, target, mask, skeleton=skeleton)
    torch.testing.assert_close(found, loss(logits[..., :4], target[..., :4], skeleton=skeleton[..., :4]))


def test_boundary_dou_by_hand() -> None:
    """A square of 10 x 10 has 36 boundary voxels: alpha = 1 - 72/100 = .28; shifted by one, 90 overlap."""
    t, p = torch.zeros(1, 1, 14, 14), torch.zeros(1, 1, 14, 14)
    t[..., 2:12, 2:12], p[..., 2:12, 3:13] = 1, 1
    loss = medloss.BoundaryDoULoss(**BARE)
    assert loss(p, t).item() == pytest.approx((200 - 180) / (200 - 1.28 * 90))
    capped = medloss.BoundaryDoULoss(**BARE, alpha_max=0.1)
    assert capped(p, t).item() == pytest.approx((200 - 180) / (200 - 1.1 * 90))
    assert medloss.BoundaryDoULoss()(t, t).item() == pytest.approx(0, abs=1e-5)
    # cut at the border of the volume, 8 x 10 voxels have 32 boundary voxels, those at the border among them
    assert loss(p[..., 4:], t[..., 4:]).item() == pytest.approx((170 - 160) / (170 - 1.2 * 80))


def test_boundary_dou_of_thin_targets_is_jaccard() -> None:
    p, t = probabilities(2, 1, 5, 8), GAP.expand(2, -1, -1, -1)
    jaccard = medloss.DiceLoss(**BARE, squared_pred=True, jaccard=True)
    torch.testing.assert_close(medloss.BoundaryDoULoss(**BARE)(p, t), jaccard(p, t))


def test_boundary_dou_over_the_batch() -> None:
    """Sizes and boundaries add up before alpha: two squares of 36 and 100 voxels with 20 and 36 boundary voxels."""
    t = torch.zeros(2, 1, 14, 14)
    t[0, 0, 2:12, 2:12], t[1, 0, 2:8, 2:8] = 1, 1
    p = t.roll(1, 3)
    value = medloss.BoundaryDoULoss(**BARE, batch=True)(p, t)
    alpha = 1 - 2 * 56 / 136
    assert value.item() == pytest.approx((272 - 2 * 120) / (272 - (1 + alpha) * 120))


def test_duo_is_half_of_each() -> None:
    logits, target = torch.randn(2, 3, 9, 8), torch.randint(0, 3, (2, 1, 9, 8))
    options = {"softmax": True, "to_onehot_y": True, "ignore_index": 1}
    lovasz = medloss.LovaszSoftmaxLoss(**options)(logits, target)
    boundary = medloss.BoundaryF1Loss(**options, theta0=5, theta=3)(logits, target)
    duo = medloss.DuoLoss(to_onehot_y=True, ignore_index=1, theta0=5, theta=3)
    torch.testing.assert_close(duo(logits, target), (lovasz + boundary) / 2)
    with pytest.raises(ValueError, match="theta=4"):
        medloss.DuoLoss(theta=4)


def test_bad_options() -> None:
    for name, option, value, error in (
        ("SoftclDiceLoss", "iter_", -1, ValueError),
        ("SoftclDiceLoss", "iter_", 1.5, TypeError),
        ("SoftclDiceLoss", "smooth", 0, ValueError),
        ("SoftclDiceLoss", "smooth_nr", -1, ValueError),
        ("HausdorffERLoss", "k", 0, ValueError),
        ("HausdorffERLoss", "k", 2.5, TypeError),
        ("SkeletonRecallLoss", "radius", 1.5, TypeError),
        ("HausdorffERLoss", "alpha", -1, ValueError),
        ("BoundaryDoULoss", "alpha_max", 1.0, ValueError),
        ("SkeletonRecallLoss", "radius", -1, ValueError),
    ):
        with pytest.raises(error, match=option):
            getattr(medloss, name)(**{option: value})
