"""Sums of one volume by several sweeps, whose gradients meet slab by slab: the volume's own is the only whole one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from medloss.labels import LabelView
from medloss.ops import region_sums
from medloss.ops.operator import is_plain_eager
from medloss.ops.region_sums import OPERATOR

LEAST = 1 << 16
"""Entries of a slab, below which calling costs more than memory is worth."""
MOST_SLABS = 16


class Sweep(NamedTuple):
    """A look at the channels from ``first`` on, with the options of ``region_sums``."""

    view: LabelView
    first: int
    terms: int
    gamma: float

    def columns(self, input: Tensor) -> Tensor:
        """The sums of the whole volume."""
        return region_sums(input[:, self.first :], self.view.target, self.view.mask, **self.options)

    @property
    def options(self) -> dict[str, Any]:
        """What ``region_sums`` is told."""
        view = self.view
        told = {"activation": view.activation, "indexed": view.indexed, "ignore_index": view.ignore_index}
        return told | {"terms": self.terms, "gamma": self.gamma}

    def slope(self, input: Tensor, planes: slice, grad: Tensor) -> Tensor:
        """The gradient of some planes of the volume."""
        mask = self.view.mask if self.view.mask is None else self.view.mask[:, :, planes].contiguous()
        cut, target = (each[:, :, planes].contiguous() for each in (input[:, self.first :], self.view.target))
        return OPERATOR.gradient(grad, OPERATOR.arguments(cut, target, mask, **self.options))


def joined_sums(input: Tensor, sweeps: Sequence[Sweep]) -> list[Tensor]:
    """The columns of each sweep over an input B C [spatial]."""
    others = [tensor for sweep in sweeps for tensor in (sweep.view.target, sweep.view.mask) if tensor is not None]
    wanted = torch.is_grad_enabled() and input.requires_grad and input.ndim > 2
    if wanted and is_plain_eager(input, *others) and not any(tensor.requires_grad for tensor in others):
        return list(_Joined.apply(input, tuple(sweeps)))
    return [sweep.columns(input) for sweep in sweeps]


class _Joined(torch.autograd.Function):
    """The sums; backward walks over the volume once, in slabs along its first axis."""

    @staticmethod
    def forward(ctx: Any, input: Tensor, sweeps: tuple[Sweep, ...]) -> tuple[Tensor, ...]:
        ctx.save_for_backward(input)
        ctx.sweeps = sweeps
        return tuple(sweep.columns(input) for sweep in sweeps)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, None]:
        (input,) = ctx.saved_tensors
        if torch.is_grad_enabled():  # somebody wants the second derivative
            columns = [sweep.columns(input) for sweep in ctx.sweeps]
            return torch.autograd.grad(columns, input, grads, create_graph=True)[0], None
        total = torch.empty_like(input, memory_format=torch.contiguous_format)
        length = input.shape[2]
        step = -(-length // max(1, min(MOST_SLABS, length, input.numel() // LEAST)))
        for start in range(0, length, step):
            planes = slice(start, start + step)
            for at, (sweep, grad) in enumerate(zip(ctx.sweeps, grads, strict=True)):
                slope, place = sweep.slope(input, planes, grad.contiguous()), total[:, sweep.first :, planes]
                place.add_(slope) if at else place.copy_(slope)
        return total, None
