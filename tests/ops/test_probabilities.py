"""The softmax of map losses, beside torch's: value, gradient, second derivative, equal and forbidden classes."""

from __future__ import annotations

import pytest
import torch

from medloss.ops.probabilities import of_largest, probabilities


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_derivatives(activation: str) -> None:
    logits = torch.randn(2, 3, 4, dtype=torch.float64).requires_grad_()
    weight = torch.randn(2, 3, 4, dtype=torch.float64)

    def energy(logits: torch.Tensor) -> torch.Tensor:
        return (probabilities(logits, activation) * weight).square().sum()

    assert torch.autograd.gradcheck(energy, (logits,))
    assert torch.autograd.gradgradcheck(energy, (logits,))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_equal_and_forbidden_classes_have_torchs_gradient(dtype: torch.dtype) -> None:
    """By hand: shares of a half and a half and nothing of the third, with slopes 3 and 1, give 1/2 and -1/2."""
    logits = torch.tensor([[[0.0], [0.0], [-torch.inf]]], dtype=dtype, requires_grad=True)
    slope = torch.tensor([[[3.0], [1.0], [7.0]]], dtype=dtype)
    (found,) = torch.autograd.grad(probabilities(logits, "softmax"), logits, slope)
    assert found.flatten().tolist() == [0.5, -0.5, 0.0]


def test_a_nearer_class_never_stands_for_the_largest() -> None:
    """Probabilities one step of float32 apart, and values as far apart as float32 goes."""
    p = torch.tensor([[[0.5], [torch.nextafter(torch.tensor(0.5), torch.tensor(0.0))]]])
    assert of_largest(torch.tensor([[[-1e29], [1e29]]]), p).item() == pytest.approx(-1e29)
