"""Losses of two fields: closed forms of affine maps, the composition by grid_sample, masks, units, configuration."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

import medloss
from medloss.config import LossConfigError, build_loss, loss_names
from medloss.registration.warp import there_and_back

PAIRS = ("InverseConsistencyLoss", "GradICONLoss")


def positions(*sizes: int) -> torch.Tensor:
    axes = [torch.arange(size, dtype=torch.float64) for size in sizes]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"))


def towards(matrix: torch.Tensor, centre: torch.Tensor, *sizes: int) -> torch.Tensor:
    """u(x) = A (x - c), 1 d [spatial]."""
    return torch.einsum("ab,b...->a...", matrix, positions(*sizes) - centre.view(-1, *[1] * len(sizes)))[None]


def smooth(*sizes: int, seed: int) -> torch.Tensor:
    coarse = torch.randn(2, len(sizes), *[3] * len(sizes), generator=torch.Generator().manual_seed(seed))
    mode = {1: "linear", 2: "bilinear", 3: "trilinear"}[len(sizes)]
    return 2 * F.interpolate(coarse, size=sizes, mode=mode, align_corners=True).double()


def test_a_field_and_its_inverse_cost_nothing() -> None:
    """u = a (x - c) is undone by v = -a / (1 + a) (x - c); where the map shrinks, nothing leaves the volume."""
    shrink, centre = torch.diag(torch.tensor([-0.4, -0.25], dtype=torch.float64)), torch.tensor([3.0, 4.0])
    back = torch.diag(torch.tensor([0.4 / 0.6, 0.25 / 0.75], dtype=torch.float64))
    field, inverse = towards(shrink, centre, 7, 9), towards(back, centre, 7, 9)
    for name in PAIRS:
        assert getattr(medloss, name)()(field, inverse).item() == pytest.approx(0, abs=1e-25)
        assert getattr(medloss, name)()(field, inverse + 0.5).item() == pytest.approx(
            0.5 if name == "InverseConsistencyLoss" else 0, abs=1e-25
        )


def test_what_two_affine_maps_leave() -> None:
    """r = (A + B + B A) (x - c): its mean squared length, and its gradient's squared norm."""
    generator = torch.Generator().manual_seed(0)
    one, two = 0.2 * torch.randn(2, 3, 3, dtype=torch.float64, generator=generator)
    centre, sizes = torch.tensor([3.0, 3.0, 3.0], dtype=torch.float64), (7, 7, 7)
    field, inverse = towards(one, centre, *sizes), towards(two, centre, *sizes)
    left = one + two + two @ one
    squares = (towards(left, centre, *sizes) ** 2).sum(1)
    landed = positions(*sizes) + field[0]
    inside = ((landed >= 0) & (landed <= 6)).all(0)[None]  # beyond the border the inverse is not linear
    assert inside[:, 2:5, 2:5, 2:5].all()
    none = medloss.InverseConsistencyLoss(reduction="none")(field, inverse)
    torch.testing.assert_close(none[inside], squares[inside])
    for stencil in ("forward", "central"):
        none = medloss.GradICONLoss(stencil=stencil, reduction="none")(field, inverse)
        assert none[0, 2, 2, 2].item() == pytest.approx((left**2).sum().item())


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("sizes", [(9, 8), (6, 7, 5)])
def test_the_composition_is_that_of_grid_sample(name: str, sizes: tuple[int, ...]) -> None:
    """Value and both gradients, with voxels that leave the volume."""
    field, inverse = (smooth(*sizes, seed=seed).requires_grad_() for seed in (0, 1))
    rank, half = len(sizes), (torch.tensor(sizes, dtype=torch.float64) - 1) / 2
    at = (positions(*sizes) + field) / half.view(-1, *[1] * rank) - 1
    assert (at.abs() > 1).any()
    read = F.grid_sample(inverse, at.flip(1).movedim(1, -1), padding_mode="border", align_corners=True)
    residual = field + read
    if name == "GradICONLoss":
        inner = [slice(None, -1)] * rank
        slopes = [residual.diff(dim=axis + 2) for axis in range(rank)]
        expected = 0.0
        for axis, slope in enumerate(slopes):
            cut = [slice(None) if other == axis else part for other, part in enumerate(inner)]
            expected = expected + (slope[(..., *cut)] ** 2).sum(1).mean()
    else:
        expected = (residual**2).sum(1).mean()
    value = getattr(medloss, name)()(field, inverse)
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(
        torch.autograd.grad(value, (field, inverse)), torch.autograd.grad(expected, (field, inverse))
    )


def test_limits_of_a_zero_inverse() -> None:
    field = smooth(6, 7, 5, seed=3)
    consistency = medloss.InverseConsistencyLoss()(field, torch.zeros_like(field))
    torch.testing.assert_close(consistency, (field**2).sum(1).mean())
    for options in ({}, {"stencil": "central"}, {"border": "replicate"}):
        gradient = medloss.GradICONLoss(**options)(field, torch.zeros_like(field))
        diffusion = medloss.DiffusionLoss(**{"stencil": "forward", **options})(field)
        torch.testing.assert_close(gradient, 3 * diffusion)


def test_fields_in_millimetres() -> None:
    """Millimetres and their spacing say what voxels say: lengths in millimetres, gradients without unit."""
    field, inverse = smooth(7, 6, seed=4), smooth(7, 6, seed=5)
    spacing = torch.tensor([2.0, 0.5], dtype=torch.float64).view(1, 2, 1, 1)
    voxels, _ = there_and_back(field, inverse, None, [1.0, 1.0])
    millimetres = (field * spacing, inverse * spacing)
    squares = ((voxels * spacing) ** 2).sum(1)
    none = medloss.InverseConsistencyLoss(reduction="none")(*millimetres, spacing=(2.0, 0.5))
    torch.testing.assert_close(none, squares)
    expected = 2 * medloss.DiffusionLoss(stencil="forward")(voxels * spacing, spacing=(2.0, 0.5))
    torch.testing.assert_close(medloss.GradICONLoss(spacing=(2.0, 0.5))(*millimetres), expected)


def test_under_a_mask_a_point_counts_where_it_lands_on_valid_voxels() -> None:
    """Of four voxels the last is masked: from 0 to 1.5 is known, from 1 to 2.5 is not, from 2 to 2 is."""
    field = torch.tensor([[[1.5, 1.5, 0.0, torch.nan]]])
    inverse = torch.tensor([[[7.0, 2.0, 3.0, torch.inf]]])
    mask = torch.tensor([[[1.0, 1.0, 1.0, 0.0]]])
    none = medloss.InverseConsistencyLoss(reduction="none")(field, inverse, mask)
    assert none.tolist() == [[4**2, 0, 3**2, 0]]
    assert medloss.InverseConsistencyLoss()(field, inverse, mask).item() == (16 + 9) / 2


@pytest.mark.parametrize("name", PAIRS)
def test_faults(name: str) -> None:
    loss, field = getattr(medloss, name)(), torch.zeros(1, 2, 5, 5)
    with pytest.raises(medloss.ShapeError, match="inverse has shape 1x2x5x4 and field 1x2x5x5: they must be equal"):
        loss(field, field[..., :4])
    with pytest.raises(TypeError, match=r"inverse is torch\.int64 and must be floating"):
        loss(field, field.long())
    with pytest.raises(ValueError, match="spacing has 3 entries and the field 2 spatial axes"):
        loss(field, field, spacing=(1.0, 1.0, 1.0))


def test_pairs_are_not_offered_where_there_is_one_field() -> None:
    assert {"cycle_consistency", "inverse_consistency", "gradicon"} == set(loss_names("field_pair"))
    assert not {"inverse_consistency", "gradicon"} & set(loss_names("field"))
    with pytest.raises(LossConfigError, match=r"loss\.gradicon: gradicon compares a field with its inverse"):
        build_loss({"gradicon": {}}, kind="field")
    loss = build_loss({"gradicon": {"weight": 2.0}, "inverse_consistency": None}, kind="field_pair")
    one, two = smooth(6, 5, seed=0), smooth(6, 5, seed=1)
    expected = 2 * medloss.GradICONLoss()(one, two) + medloss.InverseConsistencyLoss()(one, two)
    torch.testing.assert_close(loss(one, two), expected)


def test_fields_and_points_are_configured_too() -> None:
    mapping = {
        "jacobian": {"penalty": "log", "border": "replicate"},
        "linear_elasticity": {"lame_mu": 2},
        "field_gradient": None,
    }
    field = smooth(6, 5, seed=0)
    loss = build_loss(mapping, kind="field")
    expected = sum(
        term(field, spacing=2.0)
        for term in (
            medloss.JacobianLoss(penalty="log", border="replicate"),
            medloss.LinearElasticityLoss(lame_mu=2.0),
            medloss.FieldGradientLoss(),
        )
    )
    torch.testing.assert_close(loss(field, spacing=2.0), expected)
    assert set(loss_names("points")) == {"landmark", "chamfer"}
    with pytest.raises(LossConfigError, match=r"loss\.jacobian: floor=-1\.0 must be above 0"):
        build_loss({"jacobian": {"floor": -1}}, kind="field")
    with pytest.raises(LossConfigError, match="landmark is no field loss; choose one of"):
        build_loss({"landmark": {}}, kind="field")
