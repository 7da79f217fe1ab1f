"""``nth_largest``: the value that so many others of a row reach."""

from __future__ import annotations

from torch import Tensor

from medloss.ops.nth_largest import reference
from medloss.ops.nth_largest.cpu import NativeNthLargest
from medloss.ops.nth_largest.triton_launch import TritonNthLargest
from medloss.ops.operator import Operator

__all__ = ["nth_largest"]


def _fake(args: reference.Arguments) -> Tensor:
    return args.values.new_empty((args.values.shape[0], 1))


OPERATOR = Operator(
    "nth_largest", reference.Arguments, reference.nth_largest, _fake, (NativeNthLargest(), TritonNthLargest())
)


def nth_largest(values: Tensor, counted: Tensor, n: Tensor) -> Tensor:
    """The n-th largest of the values that count in each row; a NaN is larger than any number.

    Args:
        values: R V, any floating dtype.
        counted: bool, R V: which of them are there.
        n: int64, R 1: the place, from 1 on. Less than 1 is 1.

    Returns:
        R 1, in the dtype of the values; minus infinity where fewer than n count. No gradient.

    >>> import torch
    >>> values = torch.tensor([[3.0, 1.0, 2.0, 5.0]])
    >>> nth_largest(values, values < 4, torch.tensor([[2]]))
    tensor([[2.]])
    """
    return OPERATOR(values.detach(), counted, n)
