"""The operator of hyperelasticity: what opcheck asks, its map and its sums, masks and borders."""

from __future__ import annotations

import pytest
import torch

from medloss.ops import hyperelastic

OPTIONS = {"prices": (1.0, 0.5, 2.0), "floor": 0.1}


@pytest.mark.parametrize("reduce", [False, True])
@pytest.mark.parametrize(("stencil", "border"), [("forward", "interior"), ("central", "replicate")])
def test_opcheck(stencil: str, border: str, reduce: bool) -> None:
    field = (0.2 * torch.randn(2, 3, 4, 5, 4, dtype=torch.float64)).requires_grad_()
    mask = torch.rand(2, 1, 4, 5, 4, dtype=torch.float64)
    arguments = (field, mask, [1.0, 0.5, 2.0], 0.1, stencil, [1.0, 0.5, 2.0], border, reduce)
    torch.library.opcheck(torch.ops.medloss.hyperelastic.default, arguments)


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("border", ["interior", "replicate"])
def test_a_mask_weighs_the_map_and_nothing_under_a_zero_counts(rank: int, border: str) -> None:
    shape = (6, 5, 7)[:rank]
    field = 0.2 * torch.randn(2, rank, *shape, dtype=torch.float64)
    options = {**OPTIONS, "stencil": "forward", "border": border, "axis_scale": [0.5] * rank}
    plain = hyperelastic(field, **options)
    torch.testing.assert_close(hyperelastic(field, torch.full((2, 1, *shape), 3.0), **options), 3 * plain)
    mask = (torch.rand(2, 1, *shape) > 0.2).double()
    dirty = torch.where(mask > 0, field, torch.nan)
    masked = hyperelastic(dirty, mask, **options)
    assert masked.isfinite().all()
    counted = masked != 0
    torch.testing.assert_close(masked[counted], plain[counted])
    assert 0 < counted.sum() < counted.numel()
    sums = hyperelastic(dirty, mask, **options, reduce=True)
    torch.testing.assert_close(sums, masked.flatten(1).sum(1))
