"""Powers of each voxel's error: by hand, at their limits, and as an operator."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from medloss.ops import Column, Terms, power_sums, region_sums

SHAPES = [(1,), (7,), (5, 6), (3, 4, 5)]


def test_by_hand() -> None:
    """Two voxels: of the class at p = 0.25, not of it at p = 0.5."""
    p, target = torch.tensor([[[0.25, 0.5]]]), torch.tensor([[[1.0, 0.0]]])
    sums = power_sums(p, target, error="difference", exponent=1.5)
    torch.testing.assert_close(sums, torch.tensor([[[0.75**1.5, 0.5**1.5]]]))
    sums = power_sums(p.logit(), target, error="likelihood", exponent=0.3, activation="sigmoid")
    torch.testing.assert_close(sums, torch.tensor([[[math.log(4) ** 0.3, math.log(2) ** 0.3]]]))
    soft = power_sums(p, torch.tensor([[[0.75, 0.0]]]), error="difference", exponent=2)
    torch.testing.assert_close(soft, torch.tensor([[[0.75 * 0.25, 0.25 * 0.25 + 0.25]]]))


def test_three_classes_by_hand() -> None:
    """Under a softmax, what a voxel is not of has the likelihood of the other classes."""
    p = torch.tensor([[[0.5], [0.3], [0.2]]], dtype=torch.float64)
    options = {"error": "likelihood", "exponent": 1.0, "activation": "softmax", "indexed": True}
    sums = power_sums(p.log() + 7, torch.tensor([[[1]]]), **options)
    expected = [[0, -math.log(0.5)], [-math.log(0.3), 0], [0, -math.log(0.8)]]
    torch.testing.assert_close(sums, torch.tensor([expected], dtype=torch.float64))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_the_first_power_is_that_of_the_region_sums(activation: str, shape: tuple[int, ...]) -> None:
    logits = torch.randn(2, 4, *shape, dtype=torch.float64, requires_grad=True)
    labels = torch.randint(-1, 5, (2, 1, *shape))
    mask = torch.rand(2, 1, *shape) * (torch.rand(2, 1, *shape) > 0.3)
    options = {"activation": activation, "indexed": True, "ignore_index": -1}
    sums = region_sums(logits, labels, mask, **options, terms=Terms.LIKELIHOOD | Terms.DIFFERENCE)
    pairs = [
        (power_sums(logits, labels, mask, error="difference", exponent=1, **options)[..., 0], Column.LACK),
        (power_sums(logits, labels, mask, error="difference", exponent=1, **options)[..., 1], Column.SURPLUS),
        (power_sums(logits, labels, mask, error="likelihood", exponent=1, **options)[..., 0], Column.NLL_TRUE),
    ]
    if activation == "sigmoid":
        pairs += [
            (power_sums(logits, labels, mask, error="likelihood", exponent=1, **options)[..., 1], Column.NLL_FALSE)
        ]
    for found, column in pairs:
        torch.testing.assert_close(found, sums[..., column])
        cotangent = torch.randn(found.shape, dtype=found.dtype)
        gradients = [
            torch.autograd.grad(x, logits, cotangent, retain_graph=True)[0] for x in (found, sums[..., column])
        ]
        torch.testing.assert_close(*gradients)


def test_a_sure_softmax_keeps_its_digits() -> None:
    """One minus the probability of the likeliest class is not taken by subtraction, which would leave 0."""
    logits = torch.tensor([[[50.0], [-50.0], [-51.0]]], requires_grad=True)
    target = torch.tensor([[[0.0], [1.0], [0.0]]])
    sums = power_sums(logits, target, error="likelihood", exponent=1.0, activation="softmax")
    # the first class has 1 - p = exp(-100) + exp(-101)
    torch.testing.assert_close(sums[0, 0, 1].item(), 100 - math.log1p(math.exp(-1)))
    (gradient,) = torch.autograd.grad(sums.sum(), logits)
    assert torch.isfinite(gradient).all()


@pytest.mark.parametrize("exponent", [0.3, 1.0, 1.5, 2.0])
def test_there_is_no_slope_where_there_is_no_error(exponent: float) -> None:
    logits = torch.tensor([[[200.0, -200.0]]], requires_grad=True)
    target = torch.tensor([[[1.0, 0.0]]])
    for error in ("difference", "likelihood"):
        sums = power_sums(logits, target, error=error, exponent=exponent, activation="sigmoid")
        assert sums.sum().item() == pytest.approx(0, abs=1e-9)
        (gradient,) = torch.autograd.grad(sums.sum(), logits)
        assert not gradient.any()


def test_the_sums_of_the_regions_come_along() -> None:
    logits, labels = torch.randn(2, 3, 5, 6), torch.randint(0, 3, (2, 1, 5, 6))
    options = {"activation": "softmax", "indexed": True}
    whole = power_sums(logits, labels, error="difference", exponent=1.5, regions=True, **options)
    expected = region_sums(logits, labels, terms=Terms.SQUARES, **options)
    expected[..., Column.SQUARED_ERROR] = 0  # which the powers know
    torch.testing.assert_close(whole[..., :-2], expected)
    torch.testing.assert_close(whole[..., -2:], power_sums(logits, labels, error="difference", exponent=1.5, **options))
    dense = F.one_hot(labels[:, 0], 3).movedim(-1, 1)
    found = power_sums(logits, dense, error="difference", exponent=1.5, regions=True, activation="softmax")
    torch.testing.assert_close(found, whole)


def test_faults() -> None:
    x = torch.zeros(1, 2, 3)
    with pytest.raises(ValueError, match="error 'square' is unknown: choose one of 'difference', 'likelihood'"):
        power_sums(x, x, error="square", exponent=1)
    with pytest.raises(ValueError, match="must be above 0"):
        power_sums(x, x, error="difference", exponent=0)
    with pytest.raises(ValueError, match="computed from logits"):
        power_sums(x, x, error="likelihood", exponent=1)


@pytest.mark.parametrize(("error", "exponent", "regions"), [("difference", 1.5, True), ("likelihood", 0.3, False)])
def test_opcheck(error: str, exponent: float, regions: bool) -> None:
    logits = torch.randn(2, 3, 4, 5, dtype=torch.float64, requires_grad=True)
    target, mask = torch.randint(0, 3, (2, 1, 4, 5)), torch.rand(2, 1, 4, 5)
    args = (logits, target, mask, error, exponent, "softmax", True, None, regions, True)
    torch.library.opcheck(torch.ops.medloss.power_sums.default, args)
