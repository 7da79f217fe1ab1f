"""Losses of points: distances by hand, gradients where points meet, masks of either set, and fields that move them."""

from __future__ import annotations

import math

import pytest
import torch

import medloss
from medloss import functional


def cloud(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_landmarks_by_hand() -> None:
    """(3, 4) away, and (0, 0): 5 and 0."""
    one, two = torch.tensor([[[1.0, 1.0], [2.0, 2.0]]]), torch.tensor([[[4.0, 5.0], [2.0, 2.0]]])
    assert medloss.LandmarkLoss()(one, two) == 2.5
    assert medloss.LandmarkLoss(squared=True)(one, two) == 12.5
    assert medloss.LandmarkLoss(reduction="none")(one, two).tolist() == [[5, 0]]
    assert medloss.LandmarkLoss()(one, two, torch.tensor([[3.0, 1.0]])) == 15 / 4
    torch.testing.assert_close(
        medloss.LandmarkLoss(squared=True)(one, two), 2 * medloss.MSELoss()(one.mT, two.mT), rtol=0, atol=0
    )


def test_points_that_meet_have_a_gradient_of_zero() -> None:
    one = torch.tensor([[[1.0, 1.0], [2.0, 2.0]]], requires_grad=True)
    two = torch.tensor([[[4.0, 5.0], [2.0, 2.0]]])
    for loss in (medloss.LandmarkLoss(reduction="sum"), medloss.ChamferLoss(squared=False)):
        (gradient,) = torch.autograd.grad(loss(one, two), one)
        assert gradient.isfinite().all()
    (gradient,) = torch.autograd.grad(medloss.LandmarkLoss(reduction="sum")(one, two), one)
    torch.testing.assert_close(gradient, torch.tensor([[[-0.6, -0.8], [0.0, 0.0]]]))


def test_a_field_moves_the_landmarks() -> None:
    """A quarter of the way from 2 to 4 the field is 2.5, along the second axis; its gradient has those shares."""
    field = torch.zeros(1, 2, 3, 4, requires_grad=True)
    with torch.no_grad():
        field[0, 1, 1, 2], field[0, 1, 1, 3] = 2.0, 4.0
    fixed, moving = torch.tensor([[[1.0, 2.25]]]), torch.tensor([[[1.0, 5.75]]])
    value = medloss.LandmarkLoss()(fixed, moving, field=field)
    assert value.item() == pytest.approx(5.75 - (2.25 + 2.5))
    (gradient,) = torch.autograd.grad(value, field)
    assert gradient[0, 1, 1].tolist() == pytest.approx([0, 0, -0.75, -0.25])
    assert gradient.abs().sum().item() == pytest.approx(1)
    torch.testing.assert_close(functional.landmark(fixed, moving, None, field), value)


def test_landmarks_in_millimetres() -> None:
    """Points, field and distances in millimetres, voxels of 2 mm and 0.5 mm."""
    spacing = torch.tensor([2.0, 0.5], dtype=torch.float64)
    field = cloud(1, 2, 5, 6)
    fixed = torch.rand(1, 4, 2, dtype=torch.float64) * torch.tensor([4.0, 5.0])
    shift = medloss.ops.resample(field, fixed.mT).mT
    moving = fixed + shift
    assert medloss.LandmarkLoss()(fixed, moving, field=field).item() == pytest.approx(0, abs=1e-12)
    scaled = medloss.LandmarkLoss()(
        fixed * spacing, moving * spacing, field=field * spacing.view(1, 2, 1, 1), spacing=(2.0, 0.5)
    )
    assert scaled.item() == pytest.approx(0, abs=1e-12)
    with pytest.raises(ValueError, match="spacing is the voxel size of a field, and there is none"):
        medloss.LandmarkLoss()(fixed, moving, spacing=2.0)


def test_points_beyond_the_volume_move_like_its_border() -> None:
    field = torch.tensor([[[1.0, 2.0, 4.0]]])
    points = torch.tensor([[[-7.0], [9.0]]])
    assert medloss.LandmarkLoss(reduction="none")(points, points, field=field).tolist() == [[1, 4]]


def test_chamfer_by_hand() -> None:
    """0 and 4 from their nearest of 1, 1, 3: 1 and 1; those back: 1, 1, 1. And 0 and 9: 1 and 6; back 1, 1, 3."""
    two = torch.tensor([[[1.0], [1.0], [3.0]]])
    assert medloss.ChamferLoss()(torch.tensor([[[0.0], [4.0]]]), two) == 1 + 1
    far = torch.tensor([[[0.0], [9.0]]])
    assert medloss.ChamferLoss(squared=False)(far, two).item() == pytest.approx(7 / 2 + 5 / 3)
    assert medloss.ChamferLoss()(far, two).item() == pytest.approx(37 / 2 + 11 / 3)


def test_chamfer_from_its_definition() -> None:
    """Against all pairs inside the graph, in value and both gradients, and whatever the order of the points."""
    one, two = cloud(2, 9, 3).requires_grad_(), cloud(2, 5, 3, seed=1).requires_grad_()
    pairs = ((one.unsqueeze(2) - two.unsqueeze(1)) ** 2).sum(-1)
    for squared in (True, False):
        each = pairs if squared else pairs.sqrt()
        expected = each.amin(2).mean(1) + each.amin(1).mean(1)
        value = medloss.ChamferLoss(squared=squared, reduction="none")(one, two)
        torch.testing.assert_close(value, expected)
        for leaf in (one, two):
            found, wanted = (torch.autograd.grad(v.sum(), leaf, retain_graph=True) for v in (value, expected))
            torch.testing.assert_close(found, wanted)
    loss = medloss.ChamferLoss()
    torch.testing.assert_close(loss(one.flip(1), two), loss(one, two))
    torch.testing.assert_close(loss(two, one), loss(one, two))
    assert loss(one, one.flip(1)) == 0


def test_limits_of_chamfer() -> None:
    one, two = cloud(3, 1, 2), cloud(3, 1, 2, seed=1)
    for squared in (True, False):
        torch.testing.assert_close(
            medloss.ChamferLoss(squared=squared)(one, two), 2 * medloss.LandmarkLoss(squared=squared)(one, two)
        )


@pytest.mark.parametrize("poison", [math.nan, math.inf, 1e30])
def test_masks_of_either_set_remove_points(poison: float) -> None:
    """Padded sets of unlike lengths equal the sets; what stands in the padding reaches neither value nor gradient."""
    one, two = cloud(1, 6, 3), cloud(1, 5, 3, seed=1)
    loss = medloss.ChamferLoss()
    expected = loss(one[:, :4], two[:, :3])
    first = torch.cat([one[:, :4], torch.full((1, 2, 3), poison, dtype=torch.float64)], 1).requires_grad_()
    second = torch.cat([two[:, :3], torch.full((1, 2, 3), poison, dtype=torch.float64)], 1).requires_grad_()
    here = torch.tensor([[1, 1, 1, 1, 0, 0]])
    there = torch.tensor([[True, True, True, False, False]])
    value = loss(first, second, here, target_mask=there)
    torch.testing.assert_close(value, expected)
    for gradient in torch.autograd.grad(value, (first, second)):
        assert gradient.isfinite().all()
        assert not gradient[:, -2:].any()
    # a set without points has no distance, and its sample does not count
    both = loss(torch.cat([one, one]), torch.cat([two, two]), torch.tensor([[1.0] * 6, [0.0] * 6]))
    torch.testing.assert_close(both, loss(one, two))
    assert loss(one, two, target_mask=torch.zeros(1, 5)) == 0


def test_weights_of_points() -> None:
    """A point of weight 2 counts as two points."""
    one, two = cloud(1, 3, 2), cloud(1, 4, 2, seed=1)
    weights = torch.tensor([[2.0, 1.0, 1.0]])
    twice = torch.cat([one[:, :1], one], 1)
    for loss, other in ((medloss.ChamferLoss(), two), (medloss.LandmarkLoss(), two[:, :3])):
        target = other if loss._get_name() == "ChamferLoss" else torch.cat([other[:, :1], other], 1)
        torch.testing.assert_close(loss(one, other, weights), loss(twice, target))


def test_a_surface_moves_with_the_field() -> None:
    field = torch.full((1, 2, 5, 5), 0.5, dtype=torch.float64, requires_grad=True)
    one = torch.rand(1, 6, 2, dtype=torch.float64) * 4
    loss = medloss.ChamferLoss()
    torch.testing.assert_close(loss(one, one + 0.5, field=field).item(), 0.0, atol=1e-12, rtol=0)
    assert torch.autograd.grad(loss(one, one + 3, field=field), field)[0].any()


def test_faults() -> None:
    points = torch.zeros(2, 4, 3)
    with pytest.raises(medloss.ShapeError, match="input has shape 4x3 and must be batch x points x coordinates"):
        medloss.LandmarkLoss()(points[0], points[0])
    with pytest.raises(medloss.ShapeError, match="target has shape 2x3x3 and input 2x4x3: they must be equal"):
        medloss.LandmarkLoss()(points, points[:, :3])
    with pytest.raises(medloss.ShapeError, match="target has shape 2x4x2 and input 2x4x3: batch and coordinates must"):
        medloss.ChamferLoss()(points, points[..., :2])
    with pytest.raises(medloss.ShapeError, match="mask has shape 2x3: expected 2x4, one for each point"):
        medloss.LandmarkLoss()(points, points, torch.ones(2, 3))
    with pytest.raises(medloss.ShapeError, match="target_mask has shape 2x3: expected 2x4"):
        medloss.ChamferLoss()(points, points, target_mask=torch.ones(2, 3))
    with pytest.raises(medloss.ShapeError, match="field has shape 1x3x5x5x5: expected 2x3 and 3 spatial axes"):
        medloss.LandmarkLoss()(points, points, field=torch.zeros(1, 3, 5, 5, 5))
    with pytest.raises(TypeError, match=r"input is torch.int64 and must be floating: convert it with .float\(\)"):
        medloss.LandmarkLoss()(points.long(), points)
    with medloss.check_values(), pytest.raises(ValueError, match="mask holds negative weights"):
        medloss.LandmarkLoss()(points, points, -torch.ones(2, 4))
