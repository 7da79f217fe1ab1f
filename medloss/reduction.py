"""The one place where values become a loss: the mean and the sum are those of ``"none"``, over the valid entries."""

from __future__ import annotations

import torch
from torch import Tensor

REDUCTIONS = ("mean", "sum", "none")


def reduce(values: Tensor, reduction: str, valid: Tensor | None = None) -> Tensor:
    """Reduce values of any shape.

    Args:
        values: one per entry.
        reduction: ``"none"``, ``"sum"`` or ``"mean"``.
        valid: which entries count, of a shape that broadcasts to that of the values; the others give 0 and no gradient.

    Returns:
        a scalar, or the values' shape for ``"none"``. With no valid entry the mean is 0, with a gradient of 0.

    >>> reduce(torch.tensor([1.0, 5.0, torch.nan]), "mean", torch.tensor([True, True, False]))
    tensor(3.)
    """
    if valid is not None:
        values = torch.where(valid, values, torch.zeros_like(values))
    if reduction == "none":
        return values
    if reduction == "sum":
        return values.sum()
    if valid is None:
        return values.mean()
    return values.sum() / valid.expand_as(values).sum().clamp_min(1)


def ratio(total: Tensor, mass: Tensor) -> Tensor:
    """``total / mass``, and 0 with a gradient of 0 where there is no mass."""
    some = mass > 0
    return torch.where(some, total, torch.zeros_like(total)) / torch.where(some, mass, torch.ones_like(mass))
