"""A drop-in and its peer of kornia side by side: the same call, held to the same value, gradients, shape and type."""

from __future__ import annotations

from typing import Any

import kornia.losses
import torch
from hypothesis import settings
from hypothesis import strategies as st
from torch import Tensor

import medloss.compat.kornia as drop_ins

BOOL = st.booleans()
SEED = st.integers(0, 99)
REDUCTION = st.sampled_from(["mean", "sum", "none"])
few = settings(max_examples=20, deadline=None)


def agree(ours: Tensor, theirs: Tensor, rtol: float = 3e-4) -> None:
    """Entries of a gradient are sums whose terms may cancel: they are measured by the largest one."""
    finite = theirs[theirs.isfinite()]
    largest = finite.abs().max().item() if finite.numel() else 0.0
    torch.testing.assert_close(ours, theirs, rtol=rtol, atol=rtol / 100 * max(1.0, largest), equal_nan=True)


def outcome(function: Any, tensors: tuple[Tensor, ...]) -> tuple[Tensor, list[Tensor | None]]:
    """Value, and the gradients of the floating tensors under a fixed cotangent."""
    tensors = tuple(t.clone().requires_grad_() if t.is_floating_point() else t for t in tensors)
    value = function(*tensors)
    wanted = [t for t in tensors if t.requires_grad]
    if not value.requires_grad:
        return value, [None for _ in wanted]
    cotangent = torch.linspace(0.5, 1.5, value.numel()).to(value).view(value.shape)
    return value.detach(), list(torch.autograd.grad(value, wanted, cotangent, allow_unused=True))


def same(function: Any, *tensors: Tensor, rtol: float = 3e-4, gradient: bool = True) -> Tensor:
    """Hold ``function(package)``, called on the tensors, to the peer's; returns our value.

    Args:
        function: from a package to what is called.
        tensors: what it is called on; each floating one has a gradient.
        rtol: the tolerance.
        gradient: whether gradients are looked at.
    """
    mine, slopes = outcome(function(drop_ins), tensors)
    theirs, their_slopes = outcome(function(kornia.losses), tensors)
    assert mine.shape == theirs.shape
    assert mine.dtype == theirs.dtype
    agree(mine, theirs, rtol)
    for slope, their_slope in zip(slopes, their_slopes, strict=True):
        if gradient and their_slope is not None:
            agree(slope, their_slope, rtol)
    return mine


def both(function: str, kind: str | None, options: dict[str, Any], *tensors: Tensor, **how: Any) -> Tensor:
    """Hold a function and the class that binds its options to the peer's."""
    found = same(lambda package: lambda *t: getattr(package, function)(*t, **options), *tensors, **how)
    if kind is not None:
        same(lambda package: getattr(package, kind)(**options), *tensors, **how)
    return found


def images(seed: int, shape: tuple[int, ...], dtype: torch.dtype = torch.float32) -> list[Tensor]:
    """Two images in [0, 1]."""
    generator = torch.Generator().manual_seed(seed)
    return [torch.rand(shape, generator=generator, dtype=torch.float64).to(dtype) for _ in range(2)]


def labelled(seed: int, shape: tuple[int, ...], dtype: torch.dtype = torch.float32, missing: int = 0) -> list[Tensor]:
    """Logits B C [spatial] and labels B [spatial], which the last classes lack."""
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)
    return [logits, torch.randint(0, max(1, shape[1] - missing), (shape[0], *shape[2:]), generator=generator)]
