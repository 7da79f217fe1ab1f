"""``pointwise``: a penalty at every voxel and channel, as a map or summed over the voxels.

A residual penalty compares an image with another; a likelihood penalty compares logits with labels.
"""

from __future__ import annotations

from torch import Tensor

from medloss.ops.operator import Operator
from medloss.ops.pointwise import reference
from medloss.ops.pointwise.penalties import RESIDUAL
from medloss.ops.voxels import accumulation_dtype

__all__ = ["PENALTIES", "pointwise"]

PENALTIES = (*RESIDUAL, "softmax", "sigmoid")


def _fake(
    input: Tensor,
    target: Tensor,
    mask: Tensor | None,
    penalty: str,
    indexed: bool,
    ignore_index: int | None,
    gamma: float,
    positive: Tensor | None,
    negative: Tensor | None,
    reduce: bool,
) -> Tensor:
    shape = input.shape[:2] if reduce else input.shape
    return input.new_empty(shape, dtype=accumulation_dtype(input))


OPERATOR = Operator("pointwise", reference.pointwise, _fake)


def pointwise(
    input: Tensor,
    target: Tensor,
    mask: Tensor | None = None,
    *,
    penalty: str,
    indexed: bool = False,
    ignore_index: int | None = None,
    gamma: float = 0.0,
    positive: Tensor | None = None,
    negative: Tensor | None = None,
    reduce: bool = False,
) -> Tensor:
    """A penalty at every voxel, times the voxel's weight.

    Args:
        input: image or logits, B C [spatial], any floating dtype.
        target: image or memberships B C [spatial], or class indices B 1 [spatial] with ``indexed``.
        mask: weight of each voxel, at least 0, B 1 [spatial] or B C [spatial]. Nothing under a zero is looked at.
        penalty: one of :data:`PENALTIES`. ``"squared"`` and ``"absolute"`` are of the residual; ``"softmax"`` and
            ``"sigmoid"`` are minus the log-likelihood of the classes, the former with nothing for the false ones.
        indexed: whether ``target`` holds class indices.
        ignore_index: the label whose voxels weigh nothing; for class indices only.
        gamma: exponent of the focal factor of a likelihood.
        positive: factor per class on the true part of a likelihood, C.
        negative: factor per class on the false part of a likelihood, C.
        reduce: sum over the voxels.

    Returns:
        B C [spatial], or B C with ``reduce``; float64 for double input and float32 otherwise.

    Raises:
        ValueError: an unknown penalty.
    """
    if penalty not in PENALTIES:
        raise ValueError(f"penalty {penalty!r} is unknown: choose one of {', '.join(PENALTIES)}")
    return OPERATOR(input, target, mask, penalty, indexed, ignore_index, float(gamma), positive, negative, reduce)
