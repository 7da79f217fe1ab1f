"""Losses over distances: values by hand, the limits of the docstrings, MONAI's numbers, and what the peers lack."""

from __future__ import annotations

import math
import warnings

import monai.losses
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import medloss
from medloss.ops import border_distance, signed_distance

NAMES = ["BoundaryLoss", "HausdorffDTLoss", "LogHausdorffDTLoss", "GeneralizedSurfaceLoss"]


def hard(*shape: int, seed: int = 0, share: float = 0.4) -> torch.Tensor:
    """A random binary map in float64."""
    return (torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) < share).double()


def test_boundary_by_hand() -> None:
    """A disc of a plus: phi is -(1 - 1) on the arms and -(1 - 1) in the middle, whose nearest outside is the corner.

    Middle: the nearest voxel outside is a corner at sqrt(2), so phi = 1 - sqrt(2). The four corners are 1 away.
    """
    target = torch.tensor([[[[0.0, 1, 0], [1, 1, 1], [0, 1, 0]]]])
    loss = medloss.BoundaryLoss(reduction="none")
    assert loss(target, target).item() == pytest.approx((1 - math.sqrt(2)) / 9)
    assert loss(1 - target, target).item() == pytest.approx(4 / 9)
    assert loss(torch.full_like(target, 0.5), target).item() == pytest.approx((4 + 1 - math.sqrt(2)) / 18)


def test_boundary_measures_wrong_voxels_by_their_distance() -> None:
    target, prediction = hard(2, 2, 7, 8), hard(2, 2, 7, 8, seed=1)
    spacing = (2.0, 0.5)
    loss = medloss.BoundaryLoss(reduction="none", spacing=spacing)
    phi = signed_distance(target > 0.5, None, spacing, torch.float64)
    expected = ((target != prediction) * phi.abs()).mean((2, 3))
    torch.testing.assert_close(loss(prediction, target) - loss(target, target), expected)


def test_hausdorff_by_hand() -> None:
    """Target a voxel at 0, prediction one at 3 of 5: d_t is 1 1 2 3 4 and d_p 3 2 1 1 1; wrong at 0 and 3."""
    target, prediction = torch.tensor([[[1.0, 0, 0, 0, 0]]]), torch.tensor([[[0.0, 0, 0, 1, 0]]])
    value = ((3**2 + 1**2) + (1**2 + 3**2)) / 5
    assert medloss.HausdorffDTLoss()(prediction, target).item() == pytest.approx(value)
    assert medloss.HausdorffDTLoss(alpha=1)(prediction, target).item() == pytest.approx((4 + 4) / 5)
    assert medloss.LogHausdorffDTLoss()(prediction, target).item() == pytest.approx(math.log(1 + value))
    unsure = medloss.HausdorffDTLoss()(0.6 * prediction, target).item()  # still inside, an error of 0.6
    assert unsure == pytest.approx((10 + 0.6**2 * 10) / 5)
    # twice the mean squared error at alpha = 0
    assert medloss.HausdorffDTLoss(alpha=0)(0.6 * prediction, target).item() == pytest.approx(2 * (1 + 0.36) / 5)


def test_generalized_surface_by_hand() -> None:
    """Squares of phi: 4 1 0 1 0 1 for the first class, 1 0 1 4 9 16 for the second; the second counts double."""
    target = torch.tensor([[[0.0, 0, 1, 1, 1, 0], [0, 1, 0, 0, 0, 0]]])
    prediction = torch.tensor([[[1.0, 0, 1, 1, 1, 0], [0, 1, 0, 0, 0, 0.5]]])
    loss = medloss.GeneralizedSurfaceLoss(weight=[1, 2])
    assert loss(prediction, target).item() == pytest.approx(1 - (3 + 2 * (15 + 16 / 4)) / (7 + 2 * 31))
    assert loss(target, target).item() == pytest.approx(0)
    assert loss(1 - target, target).item() == pytest.approx(1)


def test_penalised_cross_entropy_by_hand() -> None:
    """Voxels of 2 x 1 mm, class 1 a block of 2 x 3 in 2 x 6: d is 3 2 1 1 2 3 in each row (and never across).

    1 + Phi is then 1, 4/3, 5/3, 5/3, 4/3, 1: 8/6 on average for logits of 0. The border column alone is sure here.
    """
    labels = torch.tensor([[[[0, 0, 0, 1, 1, 1]] * 2]])
    loss = medloss.DistancePenalisedCELoss(to_onehot_y=True, spacing=(2, 1), reduction="none")
    logits = torch.zeros(1, 2, 2, 6)
    row = math.log(2) * torch.tensor([1, 4 / 3, 5 / 3, 5 / 3, 4 / 3, 1])
    torch.testing.assert_close(loss(logits, labels), row.expand(1, 2, 6))
    binary = medloss.DistancePenalisedCELoss(sigmoid=True, spacing=(2, 1))
    assert binary(logits[:, :1], labels).item() == pytest.approx(8 / 6 * math.log(2))
    weighted = medloss.DistancePenalisedCELoss(to_onehot_y=True, weight=[1, 3])  # over the weights: the mean stays
    assert weighted(logits, labels).item() == pytest.approx(8 / 6 * math.log(2))
    logits[:, 1, :, 2] = -math.log(3)  # p = 3/4 of the true class
    mean = medloss.DistancePenalisedCELoss(to_onehot_y=True)(logits, labels).item()
    assert mean == pytest.approx((19 / 3 * math.log(2) + 5 / 3 * math.log(4 / 3)) / 6)


def test_penalised_cross_entropy_without_borders_is_cross_entropy() -> None:
    logits, labels = torch.randn(2, 3, 6, 7), torch.ones(2, 1, 6, 7, dtype=torch.int64)
    for options in ({}, {"weight": [1, 2, 0.5]}, {"reduction": "sum"}, {"reduction": "none"}):
        ours = medloss.DistancePenalisedCELoss(to_onehot_y=True, **options)(logits, labels)
        torch.testing.assert_close(ours, medloss.CrossEntropyLoss(to_onehot_y=True, **options)(logits, labels))
    board = (torch.arange(6).view(6, 1) + torch.arange(7)) % 2  # no depth: every d is 1
    ours = medloss.DistancePenalisedCELoss(to_onehot_y=True)(logits, board.expand(2, 1, 6, 7))
    torch.testing.assert_close(ours, medloss.CrossEntropyLoss(to_onehot_y=True)(logits, board.expand(2, 1, 6, 7)))


@pytest.mark.parametrize("name", NAMES)
def test_spacing_scales(name: str) -> None:
    target, prediction = hard(2, 1, 6, 7), hard(2, 1, 6, 7, seed=3) * 0.9
    factor = {"BoundaryLoss": 3.0, "HausdorffDTLoss": 9.0, "GeneralizedSurfaceLoss": 1.0}.get(name)
    plain, scaled = (getattr(medloss, name)(spacing=spacing)(prediction, target) for spacing in (1.0, 3.0))
    if factor is not None:
        torch.testing.assert_close(scaled, factor * plain)
    else:
        one = medloss.HausdorffDTLoss(spacing=3, reduction="none")(prediction, target)
        torch.testing.assert_close(scaled, torch.log1p(one).mean())


@pytest.mark.parametrize("name", NAMES)
def test_the_spacing_of_the_call_goes_first(name: str) -> None:
    target, prediction = hard(1, 2, 6, 7), hard(1, 2, 6, 7, seed=4) * 0.9
    cls = getattr(medloss, name)
    expected = cls(spacing=(1.0, 4.0))(prediction, target)
    torch.testing.assert_close(cls(spacing=7.0)(prediction, target, spacing=[1.0, 4.0]), expected)
    assert not torch.allclose(cls()(prediction, target), expected)
    with pytest.raises(ValueError, match="spacing has 3 entries and input 2 spatial axes"):
        cls()(prediction, target, spacing=(1, 1, 1))
    with pytest.raises(ValueError, match="spacing must be above 0"):
        cls(spacing=(1.0, 0.0))


def test_thick_slices_by_hand_where_monai_counts_voxels() -> None:
    """One false voxel, one slice of 5 mm off the target, or two voxels of 1 mm beside it: MONAI prefers the former."""
    target = torch.zeros(1, 1, 5, 5)
    target[..., 2, 2] = 1
    across, along = target.clone(), target.clone()
    across[..., 3, 2] = 1
    along[..., 2, 3:] = 1
    theirs = monai.losses.BoundaryLoss()
    assert theirs(across, target).item() == pytest.approx(1 / 25)  # the peer's fault: a slice is no voxel
    assert theirs(along, target).item() == pytest.approx((1 + 2) / 25)
    ours = medloss.BoundaryLoss(spacing=(5.0, 1.0))
    assert ours(across, target).item() == pytest.approx(5 / 25)
    assert ours(along, target).item() == pytest.approx((1 + 2) / 25)
    # Hausdorff: the voxel across is 5 from the target and 1 from what is not predicted (beside it)
    ours = medloss.HausdorffDTLoss(spacing=(5.0, 1.0))
    assert ours(across, target).item() == pytest.approx((5**2 + 1**2) / 25)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("filling", [0.0, 1.0])
def test_a_class_without_a_border_has_distance_0(name: str, filling: float) -> None:
    target = torch.full((1, 1, 4, 4), filling)
    prediction = torch.full((1, 1, 4, 4), 0.8, requires_grad=True)  # full
    value = getattr(medloss, name)()(prediction, target)
    (gradient,) = torch.autograd.grad(value, prediction)
    assert value == 0
    assert not gradient.any()


def test_an_empty_class_still_sees_the_border_of_the_prediction() -> None:
    target, prediction = torch.zeros(1, 1, 5), torch.tensor([[[0.0, 1, 0, 0, 0]]])
    assert medloss.HausdorffDTLoss()(prediction, target).item() == pytest.approx(1 / 5)
    assert medloss.HausdorffDTLoss(empty="skip")(prediction, target) == 0


@pytest.mark.parametrize("name", NAMES)
def test_a_precomputed_map_gives_the_same(name: str) -> None:
    logits, labels = torch.randn(2, 3, 6, 7), torch.randint(0, 3, (2, 1, 6, 7))
    mask = torch.rand(2, 1, 6, 7) > 0.2
    inside = labels == torch.arange(3).view(1, 3, 1, 1)
    distance = border_distance if "Hausdorff" in name else signed_distance
    given = distance(inside, mask, [1.0, 2.0])
    given = torch.where(mask, given, torch.nan)  # what is masked is not looked at
    for background in (True, False):
        loss = getattr(medloss, name)(softmax=True, to_onehot_y=True, include_background=background, spacing=(1, 2))
        expected = loss(logits, labels, mask)
        torch.testing.assert_close(loss(logits, labels, mask, distance_map=given), expected)
        torch.testing.assert_close(loss(logits, labels, mask, distance_map=given.double()), expected)
    with pytest.raises(medloss.ShapeError, match="distance_map has shape 2x2x6x7 and input 2x3x6x7"):
        loss(logits, labels, distance_map=given[:, 1:])


def test_the_border_is_a_constant_for_the_gradient() -> None:
    """dL/dp of the boundary loss is phi / V, of Hausdorff 2 (p - t) d / V: nothing comes from the distances."""
    target, prediction = hard(1, 1, 6, 6), torch.rand(1, 1, 6, 6, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(medloss.BoundaryLoss()(prediction, target), prediction)
    torch.testing.assert_close(gradient, signed_distance(target > 0.5, dtype=torch.float64) / 36)
    (gradient,) = torch.autograd.grad(medloss.HausdorffDTLoss(alpha=1)(prediction, target), prediction)
    far = sum(border_distance(map > 0.5, dtype=torch.float64) for map in (target, prediction))
    torch.testing.assert_close(gradient, (2 * (prediction - target) * far / 36).detach())


def compare(ours, theirs, input: torch.Tensor, target: torch.Tensor) -> None:
    results = []
    for loss in (ours, theirs):
        leaf = input.clone().requires_grad_()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            value = loss(leaf, target)
        results.append((value.detach().squeeze(), torch.autograd.grad(value.sum(), leaf)[0]))
    for found, expected in zip(*results):
        atol = 1e-6 * max(1.0, expected.abs().max().item())
        torch.testing.assert_close(found, expected.to(found.dtype), rtol=1e-5, atol=atol)  # MONAI's maps are float32


@settings(max_examples=20, deadline=None)
@given(
    shape=st.sampled_from([(7, 6), (4, 5, 6)]), seed=st.integers(0, 99), background=st.booleans(),
    indexed=st.booleans(), softmax=st.booleans(), reduction=st.sampled_from(["mean", "sum", "none"]),
    alpha=st.sampled_from([1.0, 2.0, 2.5]), share=st.sampled_from([0.0, 0.1, 0.5, 1.0]),
)  # fmt: skip
def test_monai(shape, seed, background, indexed, softmax, reduction, alpha, share) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(2, 3, *shape, generator=generator, dtype=torch.float64)
    present = torch.rand(2, 1, *shape, generator=generator) < share  # classes may be empty or full
    labels = torch.where(present, torch.randint(0, 3, (2, 1, *shape), generator=generator), 1)
    target = labels if indexed else (labels == torch.arange(3).view(1, 3, *[1] * len(shape))).double()
    shared = {
        "include_background": background, "to_onehot_y": indexed, "softmax": softmax, "sigmoid": not softmax,
        "reduction": reduction,
    }  # fmt: skip
    compare(medloss.BoundaryLoss(**shared), monai.losses.BoundaryLoss(**shared), logits, target)
    theirs = monai.losses.HausdorffDTLoss(**shared, alpha=alpha)
    compare(medloss.HausdorffDTLoss(**shared, alpha=alpha), theirs, logits, target)


def test_monai_takes_the_logarithm_of_the_reduced_value() -> None:
    """Equal without reduction; its mean is the logarithm of the mean, ours the mean of the logarithms, as of none."""
    logits, target = torch.randn(2, 2, 7, 6), torch.randint(0, 2, (2, 1, 7, 6))
    options = {"softmax": True, "to_onehot_y": True, "include_background": True}
    theirs = monai.losses.LogHausdorffDTLoss(**options, reduction="none")(logits, target)
    ours = medloss.LogHausdorffDTLoss(**options, reduction="none")(logits, target)
    torch.testing.assert_close(ours, theirs.flatten(1))
    theirs = monai.losses.LogHausdorffDTLoss(**options)(logits, target)
    torch.testing.assert_close(theirs.squeeze(), torch.log1p(medloss.HausdorffDTLoss(**options)(logits, target)))
    torch.testing.assert_close(medloss.LogHausdorffDTLoss(**options)(logits, target), ours.mean())
