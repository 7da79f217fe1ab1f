"""Hyperelasticity and cycle consistency: values by hand, their definitions, and limits."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

import medloss

BARE = {"alpha_length": 0.0, "alpha_surface": 0.0, "alpha_volume": 0.0}


def affine(matrix: list[list[float]], size: int = 4) -> Tensor:
    """The displacement y - x of y = A x, 1 d [size each]."""
    given = torch.tensor(matrix, dtype=torch.float64)
    axes = [torch.arange(size, dtype=torch.float64)] * len(matrix)
    places = torch.stack(torch.meshgrid(*axes, indexing="ij"))
    return (torch.einsum("ij,j...->i...", given, places) - places)[None]


@pytest.mark.parametrize("stencil", ["forward", "central"])
def test_hyperelasticity_of_a_stretch(stencil: str) -> None:
    """Stretched by 2, 1 and 1/2: edges change by 1, 0 and -1/2, faces grow to 1/2, 1 and 2, and the volume stays."""
    field = affine([[2, 0, 0], [0, 1, 0], [0, 0, 0.5]])
    for name, expected in (("length", (1 + 0.25) / 2), ("surface", (4 - 1) ** 2), ("volume", 0.0)):
        loss = medloss.HyperelasticLoss(**{**BARE, f"alpha_{name}": 1.0}, stencil=stencil)
        assert loss(field).item() == pytest.approx(expected, abs=1e-12)
    loss = medloss.HyperelasticLoss(alpha_length=2.0, alpha_surface=0.5, alpha_volume=3.0)
    assert loss(field).item() == pytest.approx(2 * 0.625 + 0.5 * 9)


def test_a_volume_costs_as_much_doubled_as_halved() -> None:
    loss = medloss.HyperelasticLoss(**{**BARE, "alpha_volume": 1.0})
    for growth in (2.0, 0.5):
        assert loss(affine([[growth]])).item() == pytest.approx(((growth - 1) ** 2 / growth) ** 2)
        assert loss(affine([[growth, 0], [3, 1]])).item() == pytest.approx(0.25)  # sheared, too


def test_a_fold_has_a_finite_price_and_a_gradient() -> None:
    """Below a floor of 1/2, where the term is 1/4 with a slope of -3, it goes on as a line: 1/4 + 3 (1/2 - J)."""
    loss = medloss.HyperelasticLoss(**{**BARE, "alpha_volume": 1.0}, floor=0.5)
    for growth in (0.25, 0.0, -1.0):
        assert loss(affine([[growth]])).item() == pytest.approx(0.25 + 3 * (0.5 - growth))
    field = affine([[-1.0, 0.0], [0.0, 1.0]]).requires_grad_()
    (gradient,) = torch.autograd.grad(loss(field), field)
    assert gradient.abs().max() > 0.1


def test_a_rotation_costs_length_alone() -> None:
    """Half of |R - I|^2 = 4 (1 - cos), where linear elasticity sees a change of volume."""
    turn = [[math.cos(0.7), -math.sin(0.7), 0], [math.sin(0.7), math.cos(0.7), 0], [0, 0, 1]]
    for rank in (2, 3):
        field = affine([row[:rank] for row in turn[:rank]])
        assert medloss.HyperelasticLoss(alpha_length=0)(field).item() == pytest.approx(0, abs=1e-12)
        assert medloss.HyperelasticLoss()(field).item() == pytest.approx(2 * (1 - math.cos(0.7)))
        assert medloss.LinearElasticityLoss()(field) > 0.05


def test_hyperelasticity_from_its_definition() -> None:
    """Cofactors as determinant times the inverse's transpose, of forward differences, at every voxel."""
    spacing = (2.0, 1.0, 0.5)
    field = 0.2 * torch.randn(2, 3, 4, 5, 6, dtype=torch.float64)
    slopes = []
    for axis, size in enumerate(spacing, start=2):
        step = field.diff(dim=axis) / size
        slopes.append(step[:, :, :3, :4, :5])
    gradient = torch.stack(slopes, -1).movedim(1, -2)  # [..., k, j] is the derivative of u_k along axis j
    matrix = gradient + torch.eye(3, dtype=torch.float64)
    growth = torch.linalg.det(matrix)
    cofactors = growth[..., None, None] * torch.linalg.inv(matrix).transpose(-1, -2)
    faces = (cofactors**2).sum(-2)  # of each column, the normal of one kind of face
    expected = (gradient**2).sum((-1, -2)) / 2 + torch.relu(faces - 1).pow(2).sum(-1)
    inside = growth.clamp_min(0.1)
    volume = (inside - 1) ** 4 / inside**2 + 2 * (-0.9) ** 3 * 1.1 / 0.1**3 * (growth - inside)
    found = medloss.HyperelasticLoss(reduction="none")(field, spacing=spacing)
    torch.testing.assert_close(found, expected + volume)


def test_limits_of_hyperelasticity() -> None:
    field = torch.randn(2, 3, 5, 5, 5, dtype=torch.float64)
    for stencil in ("forward", "central"):
        length = medloss.HyperelasticLoss(**{**BARE, "alpha_length": 1.0}, stencil=stencil)
        diffusion = medloss.DiffusionLoss(stencil=stencil)
        torch.testing.assert_close(length(field), 1.5 * diffusion(field))
    physical = medloss.HyperelasticLoss(spacing=2.5)(2.5 * field)
    torch.testing.assert_close(physical, medloss.HyperelasticLoss()(field))
    assert medloss.HyperelasticLoss()(torch.full((1, 2, 4, 4), 3.0)) == 0


def test_faults_of_hyperelasticity() -> None:
    with pytest.raises(ValueError, match="alpha_surface=-1 is too small"):
        medloss.HyperelasticLoss(alpha_surface=-1)
    for floor in (0, 1.5, math.nan):
        with pytest.raises(ValueError, match=r"lies outside \(0, 1\]"):
            medloss.HyperelasticLoss(floor=floor)
    with pytest.raises(medloss.ShapeError, match="up to 3 spatial axes"):
        medloss.HyperelasticLoss()(torch.zeros(1, 4, 2, 2, 2, 2))


def test_cycle_by_hand() -> None:
    """One step on, then half a step back: the image half a step on, by 1/2, 1 and 3/2, and as it was at the border."""
    image = torch.tensor([[[0.0, 1.0, 3.0, 6.0], [0.0, 0.0, 4.0, 4.0]]])
    field, inverse = torch.ones(1, 1, 4), torch.full((1, 1, 4), -0.5)
    first, second = [0.5, 1.0, 1.5, 0.0], [0.0, 2.0, 0.0, 0.0]
    means = [(a + b) / 2 for a, b in zip(first, second)]
    none = medloss.CycleConsistencyLoss(reduction="none")(field, inverse, image)
    torch.testing.assert_close(none, torch.tensor([means]))
    squares = sum(x * x for x in first + second) / 8
    assert medloss.CycleConsistencyLoss(penalty="l2")(field, inverse, image).item() == pytest.approx(squares)
    # without the third voxel the second counts no more, which would read there, nor the third
    mask = torch.tensor([[[1, 1, 0, 1]]])
    found = medloss.CycleConsistencyLoss()(field, inverse, image, mask)
    assert found.item() == pytest.approx((means[0] + means[3]) / 2)


def test_cycle_is_that_of_grid_sample() -> None:
    """An independent composition; under a field that is undone nothing changes, whatever the image."""
    shape = (6, 7)
    field, inverse = (0.5 * torch.randn(2, 2, *shape, dtype=torch.float64) for _ in range(2))
    image = torch.rand(2, 3, *shape, dtype=torch.float64)
    places = torch.stack(torch.meshgrid(*[torch.arange(n, dtype=torch.float64) for n in shape], indexing="ij"))[None]

    def read(values: Tensor, at: Tensor) -> Tensor:
        scaled = torch.stack([2 * at[:, k] / (shape[k] - 1) - 1 for k in (1, 0)], -1)
        return F.grid_sample(values, scaled, align_corners=True, padding_mode="border")

    residual = field + read(inverse, places + field)
    expected = (read(image, places + residual) - image).abs().mean()
    torch.testing.assert_close(medloss.CycleConsistencyLoss()(field, inverse, image), expected)
    physical = medloss.CycleConsistencyLoss(spacing=(2.0, 0.5))
    sizes = torch.tensor([2.0, 0.5], dtype=torch.float64).view(1, 2, 1, 1)
    torch.testing.assert_close(physical(sizes * field, sizes * inverse, image), expected)
    shift = torch.full((2, 2, *shape), 1.5, dtype=torch.float64)
    assert medloss.CycleConsistencyLoss()(shift, -shift, image) == 0
    assert medloss.CycleConsistencyLoss()(field, inverse, torch.ones_like(image)).item() == pytest.approx(0, abs=1e-12)


def test_faults_of_the_cycle() -> None:
    field = torch.zeros(1, 2, 4, 5)
    with pytest.raises(medloss.ShapeError, match="they must lie on one grid"):
        medloss.CycleConsistencyLoss()(field, field, torch.zeros(1, 1, 4, 4))
    with pytest.raises(medloss.ShapeError, match="inverse has shape"):
        medloss.CycleConsistencyLoss()(field, field[..., 1:], torch.zeros(1, 1, 4, 5))
    with pytest.raises(ValueError, match="penalty='mse' is unknown"):
        medloss.CycleConsistencyLoss(penalty="mse")
