"""``squared_errors``: squares of differences, each at a cost of its own."""

from __future__ import annotations

from torch import Tensor

from medloss.ops.operator import Operator
from medloss.ops.squared_errors import reference
from medloss.ops.squared_errors.native import NativeSquaredErrors
from medloss.ops.squared_errors.triton import TritonSquaredErrors
from medloss.ops.voxels import accumulation_dtype

__all__ = ["squared_errors"]


def _fake(input: Tensor, target: Tensor, cost: Tensor) -> Tensor:
    return input.new_empty(input.shape[:2], dtype=accumulation_dtype(input))


OPERATOR = Operator("squared_errors", reference.squared_errors, _fake, (NativeSquaredErrors(), TritonSquaredErrors()))


def squared_errors(input: Tensor, target: Tensor, cost: Tensor) -> Tensor:
    r"""The sums :math:`\sum_i c_i (p_i - t_i)^2` of each sample and channel.

    Args:
        input: p, B C [spatial], any floating dtype.
        target: t, B C [spatial].
        cost: c, B C [spatial].

    Returns:
        B C; float64 for double input and float32 otherwise.

    >>> import torch
    >>> squared_errors(torch.tensor([[[1.0, 3.0]]]), torch.tensor([[[0.0, 1.0]]]), torch.tensor([[[1.0, 0.5]]]))
    tensor([[3.]])
    """
    return OPERATOR(input, target, cost)
