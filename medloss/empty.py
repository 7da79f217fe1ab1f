"""Calls with nothing in them: no sample, no voxel, or no point. A loss of nothing is 0, with an empty gradient."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from medloss import checks
from medloss.ops.masking import accumulation_dtype, added

SIZES = (512, 513)
"""Stand-ins for a size of 0, more than any window needs. Tensors on meta have no memory."""


def zero_of_nothing(forward: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """A loss's ``forward`` that gives 0 where a tensor without entries is among its arguments.

    Where sums are added up over processes, it is left alone: a process without samples takes part, too.
    """

    @functools.wraps(forward)
    def looking(self: Any, *args: Any, **kwargs: Any) -> Tensor:
        for each in (*args, *kwargs.values()):
            if isinstance(each, Tensor) and each.numel() == 0 and getattr(self, "process_group", None) is None:
                return _zero(lambda *a, **k: forward(self, *a, **k), args, kwargs)
        return forward(self, *args, **kwargs)

    return looking


def _zero(call: Callable[..., Tensor], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    """0 in the shape that the call would have; the call checks stand-ins of the arguments, on meta."""
    shapes = []
    for size in SIZES:
        with torch.no_grad():
            stand_ins = [_standing_in(each, size) for each in args]
            shapes.append(call(*stand_ins, **{name: _standing_in(each, size) for name, each in kwargs.items()}).shape)
    tensors = [checks.plain("argument", each) for each in (*args, *kwargs.values()) if isinstance(each, Tensor)]
    floating = [each for each in tensors if each.is_floating_point()]
    zero = added(each.flatten()[:0].sum(dtype=accumulation_dtype(floating[0])) for each in floating)
    # what grows with the size is as long as the empty axis, or shorter by a window
    shape = [0 if other != one else one for one, other in zip(*shapes, strict=True)]
    return zero.expand(shape) if shape else zero


def _standing_in(value: Any, size: int) -> Any:
    """A tensor on meta of the same kind, with some entries."""
    if not isinstance(value, Tensor):
        return value
    return torch.empty([extent or size for extent in value.shape], dtype=value.dtype, device="meta")
