"""``power_sums``: powers of each voxel's error, summed over the voxels, per sample and class.

``region_sums`` knows errors and likelihoods to the first power; a loss that bends them voxel by voxel needs these.
"""

from __future__ import annotations

from torch import Tensor

from medloss.ops.masking import accumulation_dtype
from medloss.ops.operator import Operator
from medloss.ops.power_sums import reference
from medloss.ops.power_sums.cpu import NativePowerSums
from medloss.ops.power_sums.triton_launch import TritonPowerSums
from medloss.ops.region_sums.columns import COLUMNS

__all__ = ["ERRORS", "power_sums"]

ERRORS = ("difference", "likelihood")


def _fake(args: reference.Arguments) -> Tensor:
    return args.input.new_empty(
        (*args.input.shape[:2], 2 + args.regions * COLUMNS), dtype=accumulation_dtype(args.input)
    )


OPERATOR = Operator(
    "power_sums", reference.Arguments, reference.power_sums, _fake, (NativePowerSums(), TritonPowerSums())
)


def power_sums(
    input: Tensor,
    target: Tensor,
    mask: Tensor | None = None,
    *,
    error: str,
    exponent: float,
    activation: str = "none",
    indexed: bool = False,
    ignore_index: int | None = None,
    regions: bool = False,
    both: bool = True,
) -> Tensor:
    r"""Powers of the error of each voxel, summed apart for what it is of and for what it is not of.

    Args:
        input: logits (or probabilities where ``activation="none"``), B C [spatial], any floating dtype.
        target: class indices B 1 [spatial] of any dtype that compares with integers, or memberships B C [spatial].
        mask: weight of each voxel, at least 0, B 1 [spatial] or B C [spatial]. Nothing under a zero is looked at.
        error: ``"difference"``, :math:`|p - t|`; or ``"likelihood"``, :math:`-\log p` for what the voxel is of and
            :math:`-\log(1 - p)` for what it is not of.
        exponent: of the error, above 0.
        activation: ``"softmax"``, ``"sigmoid"`` or ``"none"`` (which has no likelihood).
        indexed: whether ``target`` holds class indices. An index outside the classes belongs to no class.
        ignore_index: the label whose voxels weigh nothing; for class indices only.
        regions: return the columns of :func:`region_sums` too, in front, with the squares of both and, beside
            likelihoods, the errors. One operator has one gradient, which in half precision is rounded once.
        both: sum what is not of the class too; without, the second sum is 0 and costs nothing.

    Returns:
        :math:`\sum_i w_i t_{ic} e_{ic}^a` and :math:`\sum_i w_i (1 - t_{ic}) e_{ic}^a`, B C 2 (and more
        with ``regions``); float64 for double input and float32 otherwise. Where a base is 0 the gradient is 0,
        whatever the exponent.

    Raises:
        ValueError: an unknown error, an exponent that is not above 0, or likelihoods without an activation.
    """
    if error not in ERRORS:
        raise ValueError(f"error {error!r} is unknown: choose one of {', '.join(map(repr, ERRORS))}")
    if not exponent > 0:
        raise ValueError(f"exponent={exponent!r} must be above 0")
    if error == "likelihood" and activation == "none":
        raise ValueError("likelihoods are computed from logits, not from probabilities: name their activation")
    return OPERATOR(input, target, mask, error, float(exponent), activation, indexed, ignore_index, regions, both)
