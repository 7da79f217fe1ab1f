"""The operators of fields: what opcheck asks, maps and their sums, gradients by a random cotangent, and resampling."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from medloss.ops import differences, jacobian_determinant, jacobian_penalty, resample
from medloss.ops.differences import BORDERS, STENCILS
from medloss.ops.jacobian import PENALTIES

ENERGIES = [(energy, stencil) for energy, stencils in STENCILS.items() if energy != "jacobian" for stencil in stencils]
SCALE = [1.0, 0.5]

SAMPLES = {
    "differences": [
        lambda x: (x, None, "elasticity", "forward", SCALE, [1.0, 1.0], False, "replicate", [1.0, 2.0]),
        lambda x: (x, torch.ones(2, 1, 6, 7), "variation", "forward", [1.0, 0.0], [1.0, 1.0], True, "interior", None),
    ],
    "jacobian_determinant": [lambda x: (x, None, "all", SCALE, "interior")],
    "jacobian_penalty": [lambda x: (x, torch.ones(2, 1, 6, 7), "sdlog", 0.1, "forward", SCALE, "replicate", True)],
    "resample": [
        lambda x: (x, 5 * torch.rand(2, 2, 9, dtype=torch.float64, requires_grad=True), None),
        lambda x: (x, torch.rand(2, 2, 4, 5, dtype=torch.float64, requires_grad=True), SCALE),
    ],
}


@pytest.mark.parametrize(("name", "sample"), [(name, each) for name, some in SAMPLES.items() for each in some])
def test_opcheck(name: str, sample) -> None:
    x = torch.randn(2, 2, 6, 7, dtype=torch.float64, requires_grad=True)
    torch.library.opcheck(getattr(torch.ops.medloss, name).default, sample(x))


@pytest.mark.parametrize("border", BORDERS)
@pytest.mark.parametrize(("energy", "stencil"), ENERGIES)
def test_a_reduced_map_is_its_sum(energy: str, stencil: str, border: str) -> None:
    field, mask = torch.randn(2, 2, 9, 10), (torch.rand(2, 1, 9, 10) > 0.1).float()
    options = {"energy": energy, "stencil": stencil, "border": border}
    options |= {"axis_scale": SCALE, "component_scale": [1.0, 2.0]}
    for weight in (None, mask):
        map = differences(field, weight, **options)
        assert map.shape[:2] == (2, 1 if energy == "elasticity" else 2)
        assert (tuple(map.shape[2:]) == (9, 10)) == (border == "replicate")
        torch.testing.assert_close(differences(field, weight, **options, reduce=True), map.sum((2, 3)))


@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize("stencil", STENCILS["jacobian"])
def test_penalties_are_those_of_the_determinants(stencil: str, penalty: str) -> None:
    """Where no determinant is below the floor, with simplices that count alike as those of 2D do."""
    field = 0.1 * torch.randn(2, 2, 6, 7, dtype=torch.float64)
    maps = jacobian_determinant(field, stencil=stencil, axis_scale=SCALE)
    assert maps.shape[1] == (4 if stencil == "all" else 1)
    assert (maps > 0.1).all()
    options = {"penalty": penalty, "floor": 0.1, "stencil": stencil, "axis_scale": SCALE}
    found = jacobian_penalty(field, **options)
    if penalty == "sdlog":
        expected = maps.log().flatten(1).std(1, correction=0)
        torch.testing.assert_close(found, expected)
        return
    costs = {"folding": torch.relu(-maps), "log": maps.log() ** 2, "volume": (maps - 1).abs()}
    expected = {**costs, "hinge": torch.relu(0.1 - maps) ** 2}[penalty].mean(1)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(jacobian_penalty(field, **options, reduce=True), expected.sum((1, 2)))


def test_a_determinant_under_a_mask_is_one() -> None:
    field = torch.randn(1, 2, 6, 6)
    field[..., 3, 3] = torch.nan
    mask = torch.ones(1, 1, 6, 6)
    mask[..., 3, 3] = 0
    maps = jacobian_determinant(field, mask, axis_scale=[1, 1])
    assert (maps[..., 1:, 1:] == 1)[..., :3, :3].all()  # whose stencils touch the masked voxel
    torch.testing.assert_close(maps[..., 0, :], jacobian_determinant(field, axis_scale=[1, 1])[..., 0, :])


def test_an_axis_of_scale_zero_needs_no_neighbours() -> None:
    field = torch.randn(1, 2, 5, 1)
    options = {"energy": "diffusion", "stencil": "forward", "component_scale": [1, 1]}
    map = differences(field, axis_scale=[1, 0], **options)
    torch.testing.assert_close(map, field.diff(dim=2) ** 2)


@pytest.mark.parametrize("sizes", [(7, 5), (1, 6), (4, 3, 5)])
def test_resampling_is_that_of_grid_sample(sizes: tuple[int, ...]) -> None:
    """Value and both gradients, with a random cotangent, inside the volume and beyond."""
    rank = len(sizes)
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(2, 4, *sizes, generator=generator, dtype=torch.float64, requires_grad=True)
    at = torch.rand(2, rank, *[11] * rank, generator=generator, dtype=torch.float64) * 1.6 - 0.3
    at = (at * (torch.tensor(sizes) - 1).view(-1, *[1] * rank)).requires_grad_()
    half = ((torch.tensor(sizes) - 1) / 2).clamp_min(0.5).view(-1, *[1] * rank)
    theirs = F.grid_sample(values, (at / half - 1).flip(1).movedim(1, -1), padding_mode="border", align_corners=True)
    ours = resample(values, at)
    torch.testing.assert_close(ours, theirs)
    cotangent = torch.randn(ours.shape, generator=generator, dtype=torch.float64)
    found, expected = (torch.autograd.grad(each, (values, at), cotangent) for each in (ours, theirs))
    torch.testing.assert_close(found, expected)


def test_resampling_a_line_is_that_of_numpy() -> None:
    values, at = torch.randn(1, 1, 8, dtype=torch.float64), torch.rand(1, 1, 40, dtype=torch.float64) * 11 - 2
    expected = np.interp(at[0, 0].numpy(), np.arange(8), values[0, 0].numpy())
    np.testing.assert_allclose(resample(values, at)[0, 0].numpy(), expected)


def test_resampling_twice_differentiable() -> None:
    values = torch.randn(1, 2, 4, 5, dtype=torch.float64, requires_grad=True)
    at = (torch.rand(1, 2, 6, dtype=torch.float64) * 2.8 + 0.1).requires_grad_()
    torch.autograd.gradcheck(resample, (values, at))
    torch.autograd.gradgradcheck(resample, (values, at))


def test_a_position_that_is_no_number_reads_no_voxel() -> None:
    values = torch.rand(1, 1, 4, 4)
    at = torch.tensor([[[torch.nan, torch.inf, -torch.inf, 1e30], [0.0, 0.0, 3.0, 3.0]]])
    found = resample(values, at)[0, 0]
    assert found[0].isnan()
    assert found[1:].tolist() == [values[0, 0, 3, 0], values[0, 0, 0, 3], values[0, 0, 3, 3]]


def test_half_precision_is_read_in_float32() -> None:
    values, at = torch.rand(1, 1, 9).half(), torch.rand(1, 1, 20).half() * 8
    with torch.autocast("cpu", torch.bfloat16):
        found = resample(values, at)
    assert found.dtype == torch.float32
    assert torch.equal(found, resample(values.float(), at.float()))
