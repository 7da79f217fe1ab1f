"""``confusion``: which classes a volume's voxels are of, and which are predicted there: the soft confusion matrix.

A loss that prices each kind of mistake on its own is arithmetic on this matrix.
"""

from __future__ import annotations

from torch import Tensor

from medloss.ops.confusion import reference
from medloss.ops.confusion.cpu import NativeConfusion
from medloss.ops.confusion.triton_launch import TritonConfusion
from medloss.ops.masking import accumulation_dtype
from medloss.ops.operator import Operator

__all__ = ["confusion"]


def _fake(args: reference.Arguments) -> Tensor:
    batch, classes = args.input.shape[:2]
    return args.input.new_empty((batch, classes, classes), dtype=accumulation_dtype(args.input))


OPERATOR = Operator(
    "confusion", reference.Arguments, reference.confusion, _fake, (NativeConfusion(), TritonConfusion())
)


def confusion(
    input: Tensor,
    target: Tensor,
    mask: Tensor | None = None,
    *,
    activation: str = "none",
    indexed: bool = False,
    ignore_index: int | None = None,
) -> Tensor:
    r"""Soft confusion matrix :math:`\sum_i w_i t_{ig} p_{ic}` of each sample.

    Its row sums are the target's (where the probabilities of a voxel add up to one), its column sums those of the
    input, its diagonal is the overlap.

    Args:
        input: logits (or probabilities where ``activation="none"``), B C [spatial], any floating dtype.
        target: class indices B 1 [spatial] of any dtype that compares with integers, or memberships B C [spatial].
        mask: weight of each voxel, at least 0, B 1 [spatial], or B C [spatial] by the target's class. Nothing under a
            zero is looked at.
        activation: ``"softmax"``, ``"sigmoid"`` or ``"none"``.
        indexed: whether ``target`` holds class indices. An index outside the classes belongs to no class.
        ignore_index: the label whose voxels weigh nothing; for class indices only.

    Returns:
        B C_true C_predicted, float64 for double input and float32 otherwise.
    """
    return OPERATOR(input, target, mask, activation, indexed, ignore_index)
