"""Losses as functions: ``functional.dice(input, target, softmax=True)``. Derived from the classes, never written twice.

Tensors are positional as in the loss's call (``mask`` too), options are keywords as in its constructor.

>>> import torch
>>> from medloss import functional
>>> functional.mse(torch.zeros(1, 1, 2), torch.ones(1, 1, 2))
tensor(1.)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from medloss.names import losses


def _derive(name: str, kind: type) -> Callable[..., Tensor]:
    def function(*tensors: Any, mask: Tensor | None = None, **options: Any) -> Tensor:
        return kind(**options)(*tensors) if mask is None else kind(**options)(*tensors, mask=mask)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"See :class:`medloss.{kind.__name__}`."
    return function


globals().update({name: _derive(name, kind) for name, kind in losses().items()})
__all__ = sorted(losses())
