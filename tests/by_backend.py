"""What tests of fast paths over labelled volumes share: a call by one backend, and how near two calls are."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from medloss import backend


def runner_of(operator: Callable[..., Tensor]) -> Callable[..., tuple[Tensor, Tensor]]:
    """``run(backend, input, target, **options)``: value, and the input's gradient under a random cotangent."""

    def run(name: str, input: Tensor, target: Tensor, **options) -> tuple[Tensor, Tensor]:
        leaf = input.detach().clone(memory_format=torch.preserve_format).requires_grad_()
        with backend(name):
            value = operator(leaf, target, **options)
            cotangent = torch.randn(value.shape, generator=torch.Generator().manual_seed(3)).to(value.dtype)
            return value.detach(), torch.autograd.grad(value, leaf, cotangent)[0]

    return run


def close(found: tuple[Tensor, ...], expected: tuple[Tensor, ...], tolerance: float) -> None:
    """Equal to a tolerance beside each tensor's largest entry; NaN where there is NaN."""
    for ours, theirs in zip(found, expected, strict=True):
        theirs = theirs.double()
        atol = tolerance * max(1.0, float(theirs.nan_to_num().abs().max()))
        torch.testing.assert_close(ours.double(), theirs, rtol=tolerance, atol=atol, equal_nan=True)
