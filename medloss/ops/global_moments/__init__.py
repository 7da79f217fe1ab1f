"""``global_moments``: variances and covariance of two images over all voxels, per sample and channel."""

from __future__ import annotations

from torch import Tensor

from medloss.ops.global_moments import reference
from medloss.ops.global_moments.cpu import NativeGlobalMoments
from medloss.ops.global_moments.triton_launch import TritonGlobalMoments
from medloss.ops.masking import accumulation_dtype
from medloss.ops.operator import Operator

__all__ = ["global_moments"]


def _fake(args: reference.Arguments) -> Tensor:
    return args.input.new_empty((*args.input.shape[:2], 4), dtype=accumulation_dtype(args.input))


OPERATOR = Operator(
    "global_moments",
    reference.Arguments,
    reference.global_moments,
    _fake,
    (NativeGlobalMoments(), TritonGlobalMoments()),
)


def global_moments(input: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
    """The sum of the voxel weights, the covariance of two images, and the variance of each.

    Args:
        input: image, B C [spatial], any floating dtype.
        target: image, B C [spatial].
        mask: weight of each voxel, at least 0, B 1 [spatial] or B C [spatial]. Nothing under a zero is looked at.

    Returns:
        B C 4, float64 for double input and float32 otherwise. An image whose variance is no more than the rounding of
        its sums is constant: its variance and covariance are 0.
    """
    return OPERATOR(input, target, mask)
