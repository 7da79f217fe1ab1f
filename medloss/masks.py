"""A mask that holds NaN or infinity shows in the value of every loss, whatever a kernel makes of such a weight."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

from torch import Tensor

from medloss import checks
from medloss.ops.masking import accumulation_dtype


def shows_in_value(forward: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """A loss's ``forward`` whose value is NaN where its floating ``mask`` is not finite; others are left alone."""
    names = list(inspect.signature(forward).parameters)
    if "mask" not in names:
        return forward
    place = names.index("mask") - 1  # without self

    @functools.wraps(forward)
    def looking(self: Any, *args: Any, **kwargs: Any) -> Tensor:
        value = forward(self, *args, **kwargs)
        mask = args[place] if len(args) > place else kwargs.get("mask")
        if not isinstance(mask, Tensor) or not mask.is_floating_point():
            return value
        plain = checks.plain("mask", mask)
        # added and not compared: a GPU need not wait, and what compiles a graph need not branch
        return value + (0 * plain.detach().sum(dtype=accumulation_dtype(plain))).to(value.dtype)

    return looking
