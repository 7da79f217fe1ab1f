"""``mind``: how unlike two images are in what each voxel's surroundings look like to each other."""

from __future__ import annotations

from torch import Tensor

from medloss.ops.masking import accumulation_dtype
from medloss.ops.mind import reference
from medloss.ops.mind.cpu import NativeMind
from medloss.ops.mind.triton_launch import TritonMind
from medloss.ops.operator import Operator

__all__ = ["PENALTIES", "mind"]

PENALTIES = ("squared", "absolute")


def _fake(args: reference.Arguments) -> Tensor:
    input = args.input
    return input.new_empty(input.shape[:2] if args.reduce else input.shape, dtype=accumulation_dtype(input))


OPERATOR = Operator("mind", reference.Arguments, reference.mind, _fake, (NativeMind(), TritonMind()))


def mind(
    input: Tensor,
    target: Tensor,
    mask: Tensor | None = None,
    *,
    radius: int = 2,
    dilation: int = 2,
    penalty: str = "squared",
    reduce: bool = False,
) -> Tensor:
    r"""Mean difference of the self-similarity descriptors of two images at every voxel.

    A descriptor has an entry :math:`\exp(-(D_k - \min_j D_j) / V)` for each pair k of neighbours of a voxel, with D the
    mean squared difference of the patches around the two, and V the mean of :math:`D_k - \min_j D_j` over the pairs,
    kept between a thousandth of its mean over the image and a thousand times that (a number without a gradient).

    Args:
        input: image, B C [spatial], any floating dtype, 1 to 3 spatial axes.
        target: image, B C [spatial].
        mask: weight of each voxel, at least 0, B 1 [spatial] or B C [spatial]. Patches count pairs of voxels that are
            both inside the image and have a weight; a pair of neighbours without any has no entry. The result is
            weighted too, and nothing under a zero is looked at.
        radius: of the patches, in voxels; 0 is a voxel alone.
        dilation: distance of the neighbours from the voxel, in voxels.
        penalty: ``"squared"`` or ``"absolute"`` difference of the descriptors.
        reduce: sum over the voxels.

    Returns:
        B C [spatial], or B C with ``reduce``; float64 for double input and float32 otherwise.

    Raises:
        ValueError: an unknown penalty, a negative radius, or a dilation below 1.
    """
    if penalty not in PENALTIES:
        raise ValueError(f"penalty {penalty!r} is unknown: choose one of {', '.join(PENALTIES)}")
    if radius < 0 or dilation < 1:
        raise ValueError(f"radius={radius} and dilation={dilation} must be at least 0 and 1")
    return OPERATOR(input, target, mask, int(radius), int(dilation), penalty, reduce)
