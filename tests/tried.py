"""What tests of options share: values to try, what a call gives or raises, and whether two outcomes are one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

TRIED = (
    *(True, False, None, 0, 1, 2, 3, 5, 0.25, 0.5, 0.75, 1.5, 2.5, -1, float("nan")),
    *([1.0, 2.0, 4.0], [0.5, 1.5], [0.2, 0.3, 0.4], (2, 1, 2), [0.5, 1.0, 2.0], "no such choice", ["no", "such"]),
)
"""Values that some option or other takes. What the constructor says of each is what setting it must do."""
CHOICES = (
    *("mean", "sum", "none", "smooth", "skip", "all", "present", "zero", "renormalise", "reflect", "repeat"),
    *("gaussian", "triangular", "rectangular", "b-spline", "cauchy", "square", "simple", "uniform", "default", "GDL"),
    *("l1", "l2", "bilinear", "linear", "nearest", "forward", "central", "balls", "dilation", "valid", "mirror"),
)


def made(make: Callable[[], Any]) -> tuple[Any, Exception | None]:
    """What a call gives, or what it raises."""
    try:
        return make(), None
    except (ValueError, TypeError, RuntimeError, NotImplementedError) as fault:
        return None, fault


def same(one: Any, other: Any) -> bool:
    """Whether two results are equal to the last bit, or two faults in kind and words."""
    if isinstance(one, Exception) or isinstance(other, Exception):
        return type(one) is type(other) and str(one) == str(other)
    return torch.equal(one.nan_to_num(), other.nan_to_num()) if one.shape == other.shape else False


def alike(one: Any, other: Any) -> bool:
    """Whether two losses, or what they are made of, hold the same to the last bit, and so give the same.

    False where that is not plain to see.
    """
    if one is other:
        return True
    if type(one) is not type(other):
        return False
    if isinstance(one, torch.nn.Module):
        return alike(vars(one), vars(other))
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(alike(value, other[key]) for key, value in one.items())
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(alike, one, other))
    if isinstance(one, torch.Tensor):
        return one.dtype == other.dtype and one.device == other.device and torch.equal(one, other)
    if isinstance(one, (set, frozenset)):
        return one == other
    return isinstance(one, (bool, int, float, str)) and repr(one) == repr(other)


def outcome(loss: Any, tensors: list[Any]) -> Any:
    """The value of a loss, or its fault."""
    value, fault = made(lambda: loss(*tensors))
    return value if fault is None else fault
