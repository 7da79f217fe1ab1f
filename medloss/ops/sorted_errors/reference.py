"""``sorted_errors`` in plain torch: the specification of the operator, and what serves where no fast path can."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from medloss.ops.masking import accumulation_dtype, blank


class Arguments(NamedTuple):
    """What ``sorted_errors`` is given."""

    errors: Tensor
    foreground: Tensor
    weight: Tensor | None


def sorted_errors(args: Arguments) -> Tensor:
    """See :func:`medloss.ops.sorted_errors.sorted_errors`."""
    dtype = accumulation_dtype(args.errors)
    mass = None if args.weight is None else args.weight.to(dtype).expand(args.errors.shape).detach()
    values = blank(args.errors.to(dtype), mass)
    inside = blank(args.foreground.to(dtype), mass).detach()
    return (values * jaccard_steps(values.detach(), inside, mass)).sum(-1)


def jaccard_steps(errors: Tensor, inside: Tensor, mass: Tensor | None) -> Tensor:
    """How much the Jaccard loss grows as each voxel joins the wrong ones, the largest error first.

    Written as one quotient: the difference of two neighbouring Jaccard losses would have no digits left in a volume.
    """
    order = torch.sort(errors, dim=-1, descending=True, stable=True).indices
    inside = inside.gather(-1, order)
    mass = torch.ones_like(inside) if mass is None else mass.gather(-1, order)
    hits, others = mass * inside, mass * (1 - inside)
    total = hits.sum(-1, keepdim=True)
    overlap = (total - hits.cumsum(-1)).clamp_min(0)
    union = total + others.cumsum(-1)
    before = torch.cat([total, union[..., :-1]], -1)
    shares = overlap / torch.where(union > 0, union, torch.ones_like(union))
    steps = (hits + others * shares) / torch.where(before > 0, before, torch.ones_like(before))
    # without any foreground the first voxel alone takes the loss from 0 to 1
    steps = torch.where(before > 0, steps, (union > 0).to(steps.dtype))
    return torch.zeros_like(steps).scatter(-1, order, steps)
