"""``nth_largest`` in plain torch: the specification of the operator, and what serves where no fast path can."""

from __future__ import annotations

import torch
from torch import Tensor


def nth_largest(values: Tensor, counted: Tensor, n: Tensor) -> Tensor:
    """See :func:`medloss.ops.nth_largest.nth_largest`."""
    ordered = torch.where(counted, values.detach(), -torch.inf).sort(1, descending=True).values
    beyond = torch.full_like(ordered[:, :1], -torch.inf)
    place = (n - 1).clamp_min(0)
    return torch.where(place < values.shape[1], ordered.gather(1, place.clamp_max(values.shape[1] - 1)), beyond)
