"""Differences of neighbouring voxels: by hand, and what opcheck asks."""

from __future__ import annotations

import math

import pytest
import torch

from medloss.ops import adjacent_differences

X = torch.tensor([[[[0.0, 1.0, 4.0], [2.0, 2.0, 2.0]]]], dtype=torch.float64)
Y = torch.tensor([[[[1.0, 1.0, 0.0], [1.0, 3.0, 3.0]]]], dtype=torch.float64)


@pytest.mark.parametrize("penalty", ["absolute", "isotropic", "magnitude", "edge_aware"])
def test_opcheck(penalty: str) -> None:
    x = torch.rand(1, 2, 4, 5, dtype=torch.float64, requires_grad=True)
    target = torch.rand_like(x) if penalty in ("magnitude", "edge_aware") else None
    args = (x, target, torch.rand(1, 1, 4, 5), penalty, 1.0, [1.0, 0.5], True)
    torch.library.opcheck(torch.ops.medloss.adjacent_differences.default, args)


def test_every_penalty_by_hand() -> None:
    """X steps by 2, 1, -2 down and 1, 3, 0, 0 across; Y by 0, 2, 3 and 0, -1, 2, 0. Voxels are 1 by 2."""
    expected = {
        ("absolute", 1.0): (2 + 1 + 2) / 3 + (1 + 3) / 2 / 4,
        # the length at each voxel of the steps that start there: 2 and 1/2; 1 and 3/2; 2 alone; 0; 0; none
        ("isotropic", 1.0): (math.hypot(2, 0.5) + math.hypot(1, 1.5) + 2) / 6,
        ("magnitude", 1.0): (2 + 1 + 1) / 3 + (1 + 2 + 2 + 0) / 2 / 4,
        ("magnitude", 2.0): (4 + 1 + 1) / 3 + (1 + 4 + 4 + 0) / 4 / 4,
        ("edge_aware", 1.0): (2 + math.exp(-2) + 2 * math.exp(-3)) / 3 + (1 / 2 + 3 / 2 * math.exp(-1 / 2)) / 4,
        ("edge_aware", 0.0): (2 + 1 + 2) / 3 + (1 + 3) / 2 / 4,
    }
    for (penalty, shape), value in expected.items():
        target = Y if penalty in ("magnitude", "edge_aware") else None
        found = adjacent_differences(X, target, penalty=penalty, shape=shape, axis_scale=[1.0, 0.5])
        assert found.shape == (1, 1)
        assert found.item() == pytest.approx(value), penalty
    summed = adjacent_differences(X, penalty="absolute", axis_scale=[1.0, 0.5], average=False)
    assert summed.item() == pytest.approx(5 + 4 / 2)


def test_a_pair_needs_both_voxels() -> None:
    """Without the 4: steps 2 and 1 down, 1, 0 and 0 across. A pair weighs what the lighter of the two does."""
    mask = torch.ones(1, 1, 2, 3)
    mask[..., 0, 2] = 0
    found = adjacent_differences(X, None, mask, penalty="absolute", axis_scale=[1.0, 1.0])
    assert found.item() == pytest.approx((2 + 1) / 2 + (1 + 0 + 0) / 3)
    # sqrt 5 and 1, then zeros, of five voxels
    found = adjacent_differences(X, None, mask, penalty="isotropic", axis_scale=[1.0, 1.0])
    assert found.item() == pytest.approx((math.sqrt(5) + 1) / 5)
    mask[..., 0, 0] = 0.5
    found = adjacent_differences(X, None, mask, penalty="absolute", axis_scale=[1.0, 1.0])
    assert found.item() == pytest.approx((0.5 * 2 + 1) / 1.5 + 0.5 / 2.5)


def test_an_axis_without_pairs_adds_nothing() -> None:
    line = torch.tensor([[[[1.0, 3.0, 2.0]]]], requires_grad=True)
    for penalty in ("absolute", "isotropic"):
        found = adjacent_differences(line, penalty=penalty, axis_scale=[1.0, 1.0])
        assert found.item() == pytest.approx(3 / (2 if penalty == "absolute" else 3))
        (gradient,) = torch.autograd.grad(found.sum(), line)
        assert torch.isfinite(gradient).all()


def test_an_image_that_only_weights_may_have_channels_of_its_own() -> None:
    map = torch.rand(2, 1, 5, 6)
    image = torch.rand(2, 3, 5, 6)
    mask = (torch.rand(2, 1, 5, 6) > 0.3).float()
    found = adjacent_differences(map, image, mask, penalty="edge_aware", axis_scale=[1.0, 1.0])
    dirty = torch.where(mask > 0, image, torch.full_like(image, torch.nan))
    assert torch.equal(adjacent_differences(map, dirty, mask, penalty="edge_aware", axis_scale=[1.0, 1.0]), found)


def test_an_unknown_penalty_is_told() -> None:
    with pytest.raises(ValueError, match="penalty 'steep' is unknown"):
        adjacent_differences(X, penalty="steep", axis_scale=[1.0, 1.0])
