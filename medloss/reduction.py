"""The one place where values become a loss: the mean and the sum are those of ``"none"``, over the valid entries."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from medloss.ops.masking import present

REDUCTIONS = ("mean", "sum", "none")


def small_or_rest(wrong: Tensor, right: Tensor, total: Tensor) -> Tensor:
    """``wrong / total`` of a total that is ``wrong + right``, with the digits of whichever is smaller.

    The slope, too, is that of the smaller one: ``1 - right / total`` where more is wrong than right.

    >>> small_or_rest(torch.tensor(1e-9), torch.tensor(2.0), torch.tensor(2.0))
    tensor(5.0000e-10)
    """
    mostly = wrong > right
    one = torch.where(mostly, right, wrong) / total
    return torch.where(mostly, 1 - one, one)


def reduce(values: Tensor, reduction: str, valid: Tensor | None = None) -> Tensor:
    """Reduce values of any shape.

    Args:
        values: one per entry.
        reduction: ``"none"``, ``"sum"`` or ``"mean"``.
        valid: which entries count, of a shape that broadcasts to that of the values; the others give 0 and no gradient.

    Returns:
        a scalar, or the values' shape for ``"none"``. With no valid entry, or none at all, the mean is 0, with a
        gradient of 0.

    >>> reduce(torch.tensor([1.0, 5.0, torch.nan]), "mean", torch.tensor([True, True, False]))
    tensor(3.)
    """
    if valid is not None:
        values = torch.where(valid, values, 0.0)
    if reduction == "none":
        return values
    if reduction == "sum":
        return values.sum()
    if valid is None:
        return values.mean() if values.numel() else values.sum()
    valid = valid if valid.shape == values.shape else valid.expand_as(values)
    return values.sum() / valid.sum().clamp_min(1)


def times(factor: float, value: Tensor) -> Tensor:
    """``factor * value`` of the value's dtype, its forward-mode derivative too.

    Torch gives the derivative of a tensor without axes times a Python number the dtype of the number.
    """
    if factor == 1:
        return value
    largest = torch.finfo(value.dtype).max
    factor = factor if -largest <= factor <= largest else math.copysign(math.inf, factor)
    return value * value.new_full((), factor)


def ratio(total: Tensor, mass: Tensor) -> Tensor:
    """``total / mass``, and 0 with a gradient of 0 where there is no mass."""
    some = present(mass)
    return torch.where(some, total, 0.0) / torch.where(some, mass, 1.0)


def mass(mask: Tensor | None, shape: Sequence[int], like: Tensor) -> Tensor:
    """The sum of the weights of each sample and channel, B C, in the dtype of ``like``.

    Args:
        mask: the weights, B 1 or B C [spatial], or None where each is 1.
        shape: B C [spatial].
        like: a tensor of the wanted dtype and device.
    """
    voxels = 1
    for size in shape[2:]:
        voxels *= size
    if mask is None:
        return like.new_full(tuple(shape[:2]), voxels)  # no float: it would make a constant of a size that is free
    return mask.expand(tuple(shape)).sum(tuple(range(2, len(shape))), dtype=like.dtype)


def voxel_mean(values: Tensor, mask: Tensor | None, shape: Sequence[int], reduction: str) -> Tensor:
    """Reduce what an operator has weighted by a mask: the mean is over voxels and channels, by their weights.

    Args:
        values: a map B C [spatial], or its sums B C where something is reduced.
        mask, shape: see :func:`mass`; the shape is the map's.
        reduction: ``"none"``, ``"sum"`` or ``"mean"``.
    """
    if reduction == "none":
        return values
    total = values.sum()
    return total if reduction == "sum" else ratio(total, mass(mask, shape, values).sum())
