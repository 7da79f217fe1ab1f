"""``squared_errors``: squares of the errors of probabilities, each at a cost of its own."""

from __future__ import annotations

from torch import Tensor

from medloss.ops.masking import accumulation_dtype
from medloss.ops.operator import Operator
from medloss.ops.squared_errors import reference
from medloss.ops.squared_errors.cpu import NativeSquaredErrors
from medloss.ops.squared_errors.triton_launch import TritonSquaredErrors

__all__ = ["squared_errors"]


def _fake(args: reference.Arguments) -> Tensor:
    input = args.input
    return input.new_empty((input.shape[0], input.shape[1] - args.first), dtype=accumulation_dtype(input))


OPERATOR = Operator(
    "squared_errors",
    reference.Arguments,
    reference.squared_errors,
    _fake,
    (NativeSquaredErrors(), TritonSquaredErrors()),
)


def squared_errors(
    input: Tensor,
    target: Tensor,
    cost: Tensor,
    mask: Tensor | None = None,
    *,
    activation: str = "none",
    indexed: bool = False,
    ignore_index: int | None = None,
    first: int = 0,
) -> Tensor:
    r"""The sums :math:`\sum_i w_i c_i (p_i - t_i)^2` of each sample and class, with no map of p or t made.

    Args:
        input: logits (or probabilities p where ``activation="none"``), B C [spatial], any floating dtype.
        target: class indices B 1 [spatial] of any dtype that compares with integers, or memberships t B C [spatial].
        cost: c of the classes that count, B C - first [spatial].
        mask: weight w of each voxel, at least 0, B 1 [spatial] or B C [spatial]. Nothing under a zero is looked at.
        activation: ``"softmax"``, ``"sigmoid"`` or ``"none"``.
        indexed: whether ``target`` holds class indices. An index outside the classes belongs to no class.
        ignore_index: the label whose voxels weigh nothing; for class indices only.
        first: the first class that counts; the activation has seen all of them.

    Returns:
        B C - first; float64 for double input and float32 otherwise.

    >>> import torch
    >>> squared_errors(torch.tensor([[[1.0, 3.0]]]), torch.tensor([[[0.0, 1.0]]]), torch.tensor([[[1.0, 0.5]]]))
    tensor([[3.]])
    """
    return OPERATOR(input, target, cost, mask, activation, indexed, ignore_index, first)
