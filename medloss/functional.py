"""Losses as functions: ``functional.dice(input, target, softmax=True)``. Derived from the classes, never written twice.

Tensors are positional as in the loss's call (``mask`` too), options are keywords as in its constructor.

>>> import torch
>>> from medloss import functional
>>> functional.mse(torch.zeros(1, 1, 2), torch.ones(1, 1, 2))
tensor(1.)
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from torch import Tensor

from medloss.base import Loss
from medloss.options import options
from medloss.registry import losses


def tensors_of(cls: type[Loss]) -> list[str]:
    """The names of the tensors that a loss takes in front of its mask."""
    names = list(inspect.signature(cls.forward).parameters)[1:]
    return names[: names.index("mask")]


def _derive(name: str, cls: type[Loss]) -> Callable[..., Tensor]:
    def function(*tensors: Any, mask: Tensor | None = None, **given: Any) -> Tensor:
        return cls(**given)(*tensors) if mask is None else cls(**given)(*tensors, mask=mask)

    Parameter = inspect.Parameter
    parameters = [Parameter(tensor, Parameter.POSITIONAL_ONLY) for tensor in tensors_of(cls)]
    parameters.append(Parameter("mask", Parameter.POSITIONAL_OR_KEYWORD, default=None))
    parameters += [
        Parameter(option, Parameter.KEYWORD_ONLY, default=default) for option, (default, _) in options(cls).items()
    ]
    function.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"See :class:`medloss.{cls.__name__}`."
    return function


globals().update({name: _derive(name, cls) for name, cls in losses().items()})
__all__ = sorted(losses())
