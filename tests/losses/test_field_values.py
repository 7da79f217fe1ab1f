"""Losses of a field's derivatives: values by hand, closed forms of affine and quadratic fields, and their limits."""

from __future__ import annotations

import itertools
import math

import monai.losses
import numpy as np
import pytest
import torch

import medloss

STENCILS = ("forward", "central")


def coordinates(*sizes: int, spacing: tuple[float, ...] | None = None) -> torch.Tensor:
    """Positions of the voxels, d [spatial]."""
    spacing = spacing or (1.0,) * len(sizes)
    axes = [step * torch.arange(size, dtype=torch.float64) for size, step in zip(sizes, spacing)]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"))


def affine(matrix: torch.Tensor, *sizes: int, spacing: tuple[float, ...] | None = None) -> torch.Tensor:
    """The displacement u(x) = A x, 1 d [spatial]."""
    return torch.einsum("ab,b...->a...", matrix, coordinates(*sizes, spacing=spacing))[None]


def noise(*shape: int, seed: int = 0, scale: float = 1.0) -> torch.Tensor:
    return scale * torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_curvature_by_hand() -> None:
    """A quadratic's Laplacian is constant: of a i^2 + b j^2 + c k^2 twice a + b + c, whatever the mixed terms."""
    i, j, k = coordinates(7, 6, 8)
    field = torch.stack([i**2 + 2 * j**2 - 4 * k**2, i * j + 3 * k**2, 0 * k])[None]  # Laplacians -2, 6 and 0
    for stencil in ("compact", "wide"):
        assert medloss.CurvatureLoss(stencil=stencil)(field).item() == pytest.approx((4 + 36) / 3)


def test_curvature_costs_no_harmonic_field_and_is_bending_in_1d() -> None:
    i, j = coordinates(6, 7)
    harmonic = torch.stack([i**2 - j**2, i * j])[None]
    assert medloss.CurvatureLoss()(harmonic) == 0
    assert medloss.BendingEnergyLoss()(harmonic).item() == pytest.approx((4 + 4 + 2) / 2)
    line = noise(2, 1, 9)
    torch.testing.assert_close(medloss.CurvatureLoss()(line), medloss.BendingEnergyLoss()(line))


def test_curvature_is_physical() -> None:
    x, y = coordinates(9, 9, spacing=(2.0, 0.5))
    field = torch.stack([x**2 + y**2, 3 * y**2])[None]
    assert medloss.CurvatureLoss(spacing=(2.0, 0.5))(field).item() == pytest.approx((4**2 + 6**2) / 2)


@pytest.mark.parametrize("stencil", STENCILS)
def test_elasticity_of_an_affine_field(stencil: str) -> None:
    """lambda / 2 tr(A)^2 + mu / 4 |A + A^T|^2, in any unit."""
    matrix, spacing = noise(3, 3), (2.0, 0.5, 1.5)
    field = affine(matrix, 4, 5, 6, spacing=spacing)
    loss = medloss.LinearElasticityLoss(lame_lambda=0.7, lame_mu=1.3, stencil=stencil, spacing=spacing)
    expected = 0.35 * matrix.trace() ** 2 + 1.3 / 4 * ((matrix + matrix.T) ** 2).sum()
    torch.testing.assert_close(loss(field), expected)
    turn = matrix - matrix.T
    assert loss(affine(turn, 4, 5, 6, spacing=spacing)).item() == pytest.approx(0, abs=1e-20)
    divergence = medloss.DivergenceLoss(stencil=stencil)
    torch.testing.assert_close(divergence(field, spacing=spacing), matrix.trace() ** 2)


@pytest.mark.parametrize("stencil", STENCILS)
def test_limits_of_elasticity(stencil: str) -> None:
    line, field = noise(2, 1, 9), noise(2, 3, 5, 6, 4)
    elastic = medloss.LinearElasticityLoss(lame_lambda=3.0, lame_mu=0.5, stencil=stencil)
    torch.testing.assert_close(elastic(line), 2 * medloss.DiffusionLoss(stencil=stencil)(line))
    swelling = medloss.LinearElasticityLoss(lame_lambda=2.0, lame_mu=0.0, stencil=stencil)
    torch.testing.assert_close(swelling(field), medloss.DivergenceLoss(stencil=stencil)(field))
    with pytest.raises(ValueError, match="lame_mu=-1 is too small"):
        medloss.LinearElasticityLoss(lame_mu=-1)


def test_elasticity_from_its_definition() -> None:
    """On noise, against the formula written with tensor indices."""
    field = noise(2, 3, 5, 6, 4)
    inner = field[:, :, :-1, :-1, :-1]
    slopes = [field[:, :, 1:, :-1, :-1], field[:, :, :-1, 1:, :-1], field[:, :, :-1, :-1, 1:]]
    gradient = torch.stack([slope - inner for slope in slopes], 2)  # B component axis [interior]
    strain = gradient + gradient.transpose(1, 2)
    divergence = torch.einsum("bii...->b...", gradient)
    expected = 1.5 * divergence**2 + 0.25 * 2.0 * (strain**2).sum((1, 2))
    none = medloss.LinearElasticityLoss(lame_lambda=3.0, lame_mu=2.0, reduction="none")(field)
    torch.testing.assert_close(none, expected)


def test_total_variation_counts_jumps_by_their_height() -> None:
    for width in (1, 3):  # a jump of 6 in one or three steps
        ramp = torch.clamp(torch.arange(8.0) - 2, 0, width) * 6 / width
        field = torch.stack([ramp.expand(8, 8), torch.zeros(8, 8)])[None]
        assert medloss.FieldTotalVariationLoss()(field).item() == pytest.approx(6 * 7 / (2 * 7 * 7))
    assert medloss.FieldTotalVariationLoss(spacing=2.0)(field).item() == pytest.approx(3 * 7 / (2 * 7 * 7))


@pytest.mark.parametrize("penalty", ["l1", "l2"])
@pytest.mark.parametrize("sizes", [(9,), (5, 7), (4, 6, 5)])
def test_the_gradient_loss_is_voxelmorphs(penalty: str, sizes: tuple[int, ...]) -> None:
    """The mean of all differences along an axis, averaged over the axes; value and gradient."""
    field = noise(2, len(sizes), *sizes).requires_grad_()
    along = [field.diff(dim=axis + 2) for axis in range(len(sizes))]
    expected = sum((d.abs() if penalty == "l1" else d**2).mean() for d in along) / len(sizes)
    value = medloss.FieldGradientLoss(penalty=penalty)(field)
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(torch.autograd.grad(value, field), torch.autograd.grad(expected, field))


def test_the_gradient_loss_of_constant_slopes() -> None:
    field = affine(noise(3, 3), 4, 5, 6)
    for penalty, whole in (("l2", medloss.DiffusionLoss), ("l1", medloss.FieldTotalVariationLoss)):
        value = medloss.FieldGradientLoss(penalty=penalty)(field)
        torch.testing.assert_close(3 * value, whole(stencil="forward")(field))


def test_borders_by_hand() -> None:
    """u = 0 1 3: forward differences 1 2 and then 0; central ones 1/2 3/2 1; second ones 1 1 -2."""
    line = torch.tensor([[[0.0, 1.0, 3.0]]])
    expected = {
        (medloss.DiffusionLoss, "forward"): (1 + 4) / 3,
        (medloss.DiffusionLoss, "central"): (0.25 + 2.25 + 1) / 3,
        (medloss.BendingEnergyLoss, "compact"): (1 + 1 + 4) / 3,
        (medloss.FieldTotalVariationLoss, "forward"): (1 + 2) / 3,
    }
    for (loss, stencil), value in expected.items():
        assert loss(stencil=stencil, border="replicate")(line).item() == pytest.approx(value)
    growth = medloss.JacobianLoss(penalty="volume", border="replicate", reduction="none")(line)
    assert growth.tolist() == [[1, 2, 0]]


@pytest.mark.parametrize(
    ("name", "stencil"),
    [("DiffusionLoss", "central"), ("BendingEnergyLoss", "compact"), ("CurvatureLoss", "wide")],
)
def test_a_replicated_border_is_a_ring_around_the_field(name: str, stencil: str) -> None:
    field, ring = noise(2, 3, 5, 6, 7), 2 if stencil == "wide" else 1
    padded = torch.nn.functional.pad(field, (ring,) * 6, mode="replicate")
    loss = getattr(medloss, name)
    value = loss(stencil=stencil, border="replicate")(field)
    torch.testing.assert_close(value, loss(stencil=stencil)(padded))
    mask = torch.ones(2, 1, 5, 6, 7)
    mask[:, :, 0] = 0  # a masked voxel takes its neighbours' stencils with it, at any border
    masked = loss(stencil=stencil, border="replicate")(field, mask)
    widened = torch.nn.functional.pad(mask, (ring,) * 6, mode="replicate")
    torch.testing.assert_close(masked, loss(stencil=stencil)(padded, widened))


def test_one_voxel_has_a_border_and_no_interior() -> None:
    one = torch.ones(1, 2, 1, 1)
    assert medloss.DiffusionLoss(border="replicate")(one) == 0
    with pytest.raises(medloss.ShapeError, match="the central stencil needs 3 voxels per axis"):
        medloss.DiffusionLoss()(one)
    with pytest.raises(medloss.ShapeError, match="a difference needs 2 voxels per axis"):
        medloss.FieldGradientLoss()(one)
    with pytest.raises(ValueError, match="border='zero' is unknown: choose one of 'interior', 'replicate'"):
        medloss.DiffusionLoss(border="zero")


@pytest.mark.filterwarnings("ignore:Using a non-tuple sequence")
def test_d7_monai_is_blind_to_a_checkerboard() -> None:
    board = (-1.0) ** coordinates(8, 8, 8).sum(0).expand(1, 3, 8, 8, 8)
    assert monai.losses.DiffusionLoss()(board) == 0  # the peer's fault
    # every forward difference is +-2: 4 along each of 3 axes
    assert medloss.DiffusionLoss(stencil="forward")(board).item() == pytest.approx(12)
    assert medloss.FieldGradientLoss()(board).item() == pytest.approx(4)
    # second differences are +-4 along each axis: (3 * 4)^2
    assert medloss.CurvatureLoss()(board).item() == pytest.approx(144)
    for name in ("LinearElasticityLoss", "DivergenceLoss", "FieldTotalVariationLoss"):
        assert getattr(medloss, name)()(board) > 1
        assert getattr(medloss, name)(stencil="central")(board) == 0


@pytest.mark.parametrize("stencil", ["central", "forward", "backward", "all"])
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_jacobian_of_an_affine_field(rank: int, stencil: str) -> None:
    matrix, spacing = noise(rank, rank, seed=rank), (2.0, 0.5, 1.5)[:rank]
    matrix[0] -= 3.0 if torch.linalg.det(torch.eye(rank) + matrix) > 0 else 0.0
    determinant = torch.linalg.det(torch.eye(rank) + matrix).item()
    field = affine(matrix, *(5, 4, 6)[:rank], spacing=spacing)
    options = {"stencil": stencil, "spacing": spacing}
    folding = medloss.JacobianLoss(**options)(field).item()
    assert folding == pytest.approx(max(0, -determinant))
    assert medloss.JacobianLoss(penalty="volume", **options)(field).item() == pytest.approx(abs(determinant - 1))
    logarithm = math.log(determinant) if determinant > 0.01 else math.log(0.01) + (determinant - 0.01) / 0.01
    assert medloss.JacobianLoss(penalty="log", **options)(field).item() == pytest.approx(logarithm**2)
    assert medloss.JacobianLoss(penalty="sdlog", **options)(field).item() == pytest.approx(0, abs=1e-6)
    for margin in (0.0, 0.1, 50.0):
        hinge = medloss.JacobianLoss(penalty="hinge", margin=margin, **options)(field).item()
        assert hinge == pytest.approx(max(0, margin - determinant) ** 2, rel=1e-5)


def test_sdlogj_is_that_of_numpy() -> None:
    field, spacing = noise(2, 3, 6, 7, 8, scale=0.15), (2.0, 0.5, 1.0)
    expected = []
    for sample in field.numpy():
        slopes = np.stack([np.stack(np.gradient(each, *spacing)) for each in sample])[..., 1:-1, 1:-1, 1:-1]
        determinant = np.linalg.det(np.moveaxis(slopes, (0, 1), (-2, -1)) + np.eye(3))
        assert determinant.min() > 0.01
        expected.append(np.log(determinant).std())
    loss = medloss.JacobianLoss(penalty="sdlog", stencil="central", spacing=spacing, reduction="none")
    np.testing.assert_allclose(loss(field).numpy(), expected, rtol=1e-10)


def test_a_deeper_fold_costs_more_and_has_a_gradient() -> None:
    """Below the floor the logarithm goes on as its tangent: log f + (J - f) / f."""
    for penalty in ("folding", "log", "volume"):
        values = []
        for slope in (-1.5, -2.5):  # J = -0.5 and -1.5
            line = (slope * torch.arange(5.0, dtype=torch.float64)).view(1, 1, 5).requires_grad_()
            value = medloss.JacobianLoss(penalty=penalty, floor=0.5)(line)
            assert torch.autograd.grad(value, line)[0].any()
            values.append(value.item())
        assert values[1] > values[0]
        if penalty == "log":
            assert values == pytest.approx([(math.log(0.5) + (j - 0.5) / 0.5) ** 2 for j in (-0.5, -1.5)])


def test_a_voxel_that_leaves_its_neighbours_is_no_news_to_central_differences() -> None:
    """The example of Liu et al.: the middle of nine moves out of the volume, and J there stays 1."""
    field = torch.zeros(1, 2, 3, 3)
    field[0, 0, 1, 1] = 5
    assert medloss.JacobianLoss(stencil="central", penalty="volume")(field) == 0
    # four cells; in the two behind the middle it moves past its next voxel, and of the four triangles at a cell's
    # corners the two with the edge between them have 1 - 5 times their area
    assert medloss.JacobianLoss(stencil="all")(field).item() == pytest.approx((2 * (4 + 4) / 4) / 4)


CELL = [
    [[[0.3, -0.1], [-0.1, 0.5]], [[0.7, 0.4], [-0.6, -0.8]]],
    [[[0.4, 0.8], [-0.4, 0.0]], [[0.7, -0.5], [0.5, -0.2]]],
    [[[-0.4, -0.6], [-0.8, -0.2]], [[0.3, -0.4], [0.6, 0.8]]],
]


def tetrahedra(field: torch.Tensor) -> dict[frozenset[tuple[int, ...]], float]:
    """The volumes of the ten tetrahedra of a cell after the deformation, signed as before it, by their corners."""
    corners = list(itertools.product((0, 1), repeat=3))
    found = {}
    for four in itertools.combinations(corners, 4):
        start = torch.tensor(four, dtype=torch.float64)
        size = torch.linalg.det(start[1:] - start[0]).item() / 6
        lengths = sorted(sum(abs(a - b) for a, b in zip(one, two)) for one, two in itertools.combinations(four, 2))
        if lengths in ([1, 1, 1, 2, 2, 2], [2] * 6):  # three edges at a right angle, or six diagonals of the faces
            end = start + torch.stack([field[(slice(None), *corner)] for corner in four])
            found[frozenset(four)] = torch.linalg.det(end[1:] - end[0]).item() / 6 * math.copysign(1, size)
    assert len(found) == 10
    return found


def test_the_volume_that_folds_is_that_of_the_tetrahedra() -> None:
    """Of noise: the two tilings of each cell, averaged; and one cell of which no corner folds, but the inside does."""
    field = noise(3, 3, 4, 3)
    folded = 0.0
    for i, j, k in itertools.product(range(2), range(3), range(2)):
        volumes = tetrahedra(field[:, i : i + 2, j : j + 2, k : k + 2])
        folded += sum(max(0, -volume) for volume in volumes.values()) / 2
    assert medloss.JacobianLoss(stencil="all")(field[None]).item() == pytest.approx(folded / (2 * 3 * 2))

    cell = torch.tensor(CELL, dtype=torch.float64)
    volumes = sorted(tetrahedra(cell).values())
    assert volumes[0] < 0 < volumes[1]
    assert medloss.JacobianLoss(stencil="all")(cell[None]).item() == pytest.approx(-volumes[0] / 2)
    determinants = medloss.ops.jacobian_determinant(cell[None], stencil="all", axis_scale=[1, 1, 1]).flatten()
    assert (determinants[:8] > 0).all()


def test_a_mask_for_each_component_is_the_mask_where_all_hold() -> None:
    field, mask = noise(2, 3, 5, 6, 4), torch.rand(2, 3, 5, 6, 4) > 0.1
    for name in ("LinearElasticityLoss", "JacobianLoss", "FieldGradientLoss"):
        loss = getattr(medloss, name)()
        for given in (mask, mask.float()):
            torch.testing.assert_close(loss(field, given), loss(field, mask.all(1, keepdim=True)))


def test_faults_of_the_options() -> None:
    with pytest.raises(ValueError, match="stencil='compact' is unknown: choose one of 'central', 'forward'"):
        medloss.LinearElasticityLoss(stencil="compact")
    with pytest.raises(ValueError, match="penalty='fold' is unknown: choose one of 'folding', 'log', 'volume'"):
        medloss.JacobianLoss(penalty="fold")
    with pytest.raises(ValueError, match="floor=0 must be above 0"):
        medloss.JacobianLoss(floor=0)
    with pytest.raises(medloss.ShapeError, match="up to 3 spatial axes"):
        medloss.JacobianLoss()(torch.zeros(1, 4, 3, 3, 3, 3))
