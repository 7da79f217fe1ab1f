"""``pointwise``: a penalty at every voxel and channel, as a map or summed over the voxels.

A residual penalty compares an image with another, a divergence a distribution over the voxels with another; a
likelihood penalty compares logits with labels.
"""

from __future__ import annotations

from torch import Tensor

from medloss.ops.masking import accumulation_dtype
from medloss.ops.operator import Operator
from medloss.ops.pointwise import reference
from medloss.ops.pointwise.cpu import NativeResiduals
from medloss.ops.pointwise.likelihood import NativeLikelihoods
from medloss.ops.pointwise.path import PointwisePath
from medloss.ops.pointwise.penalties import DIVERGENCE, LIKELIHOOD, LOGITS, RESIDUAL, SMOOTHED
from medloss.ops.pointwise.residual_triton_launch import TritonResiduals
from medloss.ops.pointwise.triton_launch import TritonLikelihoods

__all__ = ["PENALTIES", "pointwise"]

ACTIVATIONS = ("softmax", "sigmoid")
LIKELIHOODS = tuple(f"{form}_{activation}" for form in LIKELIHOOD for activation in ACTIVATIONS)
PENALTIES = (*RESIDUAL, *DIVERGENCE, *ACTIVATIONS, *LIKELIHOODS, SMOOTHED, *LOGITS)


def _fake(args: reference.Arguments) -> Tensor:
    batch, channels, *spatial = args.input.shape
    shape = (batch, 1 if args.joined else channels, *(() if args.reduce else spatial))
    return args.input.new_empty(shape, dtype=accumulation_dtype(args.input))


OPERATOR = Operator(
    "pointwise",
    reference.Arguments,
    reference.pointwise,
    _fake,
    (PointwisePath(NativeResiduals(), NativeLikelihoods()), PointwisePath(TritonResiduals(), TritonLikelihoods())),
)


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
    scale: float = 1.0,
    joined: bool = False,
) -> Tensor:
    """A penalty at every voxel, times the voxel's weight.

    Args:
        input: image or logits, B C [spatial], any floating dtype.
        target: image or memberships B C [spatial], or class indices B 1 [spatial] with ``indexed``.
        mask: weight of each voxel, at least 0, B 1 [spatial] or B C [spatial]. Nothing under a zero is looked at.
        penalty: one of :data:`PENALTIES`. ``"softmax"`` and ``"sigmoid"`` are minus the log-likelihood of the classes,
            the former with nothing for the false ones; ``"poly"`` and ``"power"`` before one of them are functions of
            it (Poly-1, generalised cross-entropy), and ``"smoothed_sigmoid"`` mixes the labels; ``"margin"`` and
            ``"reverse_softmax"`` are of all logits of a voxel; ``"kullback_leibler"`` and ``"jensen_shannon"`` compare
            distributions; the others are of the residual.
        indexed: whether ``target`` holds class indices.
        ignore_index: the label whose voxels weigh nothing; for class indices only.
        gamma: exponent of the focal factor of a likelihood; the parameter of its functions (the factor of
            ``"poly"``, the exponent of ``"power"``, the share of the other label in ``"smoothed_sigmoid"``, the width
            of ``"margin"``, the most that ``"reverse_softmax"`` takes for -log 0); the shape of ``"huber"`` (its
            threshold) and of ``"general"`` (Barron's alpha); what a divergence adds inside its logarithms.
        positive: factor per class on the true part of a likelihood, C.
        negative: factor per class on the false part of a likelihood, C.
        reduce: sum over the voxels.
        scale: what a residual is divided by.
        joined: sum over the channels, which spares the map of each.

    Returns:
        B C [spatial], or B C with ``reduce``; 1 for C with ``joined``. float64 for double input and float32 otherwise.

    Raises:
        ValueError: an unknown penalty.
    """
    if penalty not in PENALTIES:
        raise ValueError(f"penalty {penalty!r} is unknown: choose one of {', '.join(PENALTIES)}")
    return OPERATOR(
        input, target, mask, penalty, indexed, ignore_index, float(gamma), positive, negative, reduce, float(scale),
        joined,
    )  # fmt: skip
