"""``region_sums``: what overlap, likelihood and focal losses know of a volume, per sample and class, in one sweep.

A loss over regions is arithmetic on these sums; its gradient is affine in the target at every voxel, so any number of
such losses share one sweep forward and one backward.
"""

from __future__ import annotations

from torch import Tensor

from medloss.ops.masking import accumulation_dtype
from medloss.ops.operator import Operator
from medloss.ops.region_sums import reference
from medloss.ops.region_sums.columns import COLUMNS, Column, Terms
from medloss.ops.region_sums.cpu import NativeRegionSums
from medloss.ops.region_sums.triton_launch import TritonRegionSums

__all__ = ["COLUMNS", "Column", "Terms", "region_sums"]


def _fake(args: reference.Arguments) -> Tensor:
    input = args.input
    return input.new_empty((input.shape[0], input.shape[1], COLUMNS), dtype=accumulation_dtype(input))


OPERATOR = Operator(
    "region_sums", reference.Arguments, reference.region_sums, _fake, (NativeRegionSums(), TritonRegionSums())
)


def region_sums(
    input: Tensor,
    target: Tensor,
    mask: Tensor | None = None,
    *,
    activation: str = "none",
    indexed: bool = False,
    ignore_index: int | None = None,
    terms: int = Terms.NONE,
    gamma: float = 0.0,
) -> Tensor:
    """Sums over the voxels of each sample and class; the columns are those of :class:`Column`.

    Args:
        input: logits (or probabilities where ``activation="none"``), B C [spatial], any floating dtype.
        target: class indices B 1 [spatial] of any dtype that compares with integers, or memberships B C [spatial].
        mask: weight of each voxel, at least 0, B 1 [spatial] or B C [spatial]. Nothing under a zero is looked at.
        activation: ``"softmax"``, ``"sigmoid"`` or ``"none"``.
        indexed: whether ``target`` holds class indices. An index outside the classes belongs to no class.
        ignore_index: the label whose voxels weigh nothing; for class indices only.
        terms: the groups of columns asked for; the others are zero.
        gamma: the exponent of the focal columns.

    Returns:
        B C :data:`COLUMNS`, float64 for double input and float32 otherwise. Differentiable in ``input``, and through
        the reference in ``target`` and ``mask``.
    """
    return OPERATOR(input, target, mask, activation, indexed, ignore_index, int(terms), float(gamma))
