"""Small segmentations that the tests of voxelwise losses share, in double."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F


def value_and_gradient(
    loss: Callable[..., Tensor], logits: Tensor, *rest: Tensor, **more: Any
) -> tuple[Tensor, Tensor]:
    """The loss, and its gradient in the logits."""
    first = logits.clone().requires_grad_()
    value = loss(first, *rest, **more)
    return value.detach(), torch.autograd.grad(value, first)[0]


def volume(seed: int = 0, classes: int = 4, shape: tuple[int, ...] = (5, 6)) -> tuple[Tensor, Tensor]:
    """Logits and class indices of two samples."""
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(2, classes, *shape, generator=generator, dtype=torch.float64)
    return logits, torch.randint(0, classes, (2, 1, *shape), generator=generator)


def one_hot(target: Tensor, classes: int = 4) -> Tensor:
    """Memberships of class indices B 1 [spatial]."""
    return F.one_hot(target[:, 0], classes).movedim(-1, 1).double()
