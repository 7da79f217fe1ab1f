"""``calibration_error``: how far confidence and accuracy lie apart, in bins of the predicted probability."""

from __future__ import annotations

from torch import Tensor

from medloss.ops.calibration_error import reference
from medloss.ops.calibration_error.cpu import NativeCalibrationError
from medloss.ops.calibration_error.triton_launch import TritonCalibrationError
from medloss.ops.masking import accumulation_dtype
from medloss.ops.operator import Operator

__all__ = ["calibration_error"]


def _fake(args: reference.Arguments) -> Tensor:
    return args.input.new_empty(args.input.shape[:2], dtype=accumulation_dtype(args.input))


OPERATOR = Operator(
    "calibration_error",
    reference.Arguments,
    reference.calibration_error,
    _fake,
    (NativeCalibrationError(), TritonCalibrationError()),
)


def calibration_error(input: Tensor, target: Tensor, mask: Tensor | None = None, *, bins: int) -> Tensor:
    """The mean over the bins that hold any voxel of ``|mean probability - mean membership|``.

    Args:
        input: probabilities, B C [spatial], any floating dtype. Bin m of n holds those above (m - 1) / n, up to m / n.
        target: memberships, B C [spatial].
        mask: weight of each voxel, at least 0, B 1 [spatial] or B C [spatial]. Nothing under a zero is looked at.
        bins: the number of bins.

    Returns:
        B C, float64 for double input and float32 otherwise. Differentiable in ``input``, whose voxels stay in their
        bins; 0 where there is no voxel.

    >>> import torch
    >>> calibration_error(torch.tensor([[[0.2, 0.6]]]), torch.tensor([[[0.0, 1.0]]]), bins=2)  # .2 and .4
    tensor([[0.3000]])
    """
    return OPERATOR(input, target, mask, bins)
