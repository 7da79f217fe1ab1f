"""``joint_histogram``: how often two images take each pair of intensities, counted through smooth windows."""

from __future__ import annotations

from torch import Tensor

from medloss.ops.joint_histogram import reference
from medloss.ops.joint_histogram.cpu import NativeJointHistogram
from medloss.ops.joint_histogram.triton_launch import TritonJointHistogram
from medloss.ops.masking import accumulation_dtype, constants
from medloss.ops.operator import Operator

__all__ = ["KERNELS", "LEAST_BINS", "joint_histogram"]

KERNELS = ("gaussian", "b-spline", "mattes")
LEAST_BINS = {"gaussian": 2, "b-spline": 5, "mattes": 5}


def _fake(args: reference.Arguments) -> Tensor:
    return args.input.new_empty((args.input.shape[0], args.bins, args.bins), dtype=accumulation_dtype(args.input))


OPERATOR = Operator(
    "joint_histogram",
    reference.Arguments,
    reference.joint_histogram,
    _fake,
    (NativeJointHistogram(), TritonJointHistogram()),
)


def joint_histogram(
    input: Tensor,
    target: Tensor,
    mask: Tensor | None = None,
    *,
    kernel: str,
    bins: int,
    ranges: Tensor | None = None,
    sigma_ratio: float = 0.5,
) -> Tensor:
    r"""Counts :math:`H_{ab} = \sum_i w_i W_a(x_i) W_b(y_i)` of the pairs of intensities of each sample.

    A voxel counts once in all, spread over the bins by its window weights, :math:`\sum_a W_a = 1`: the sums over the
    rows and over the columns are the histograms of the images, and the sum of all counts is that of the voxel weights.
    The voxels of all channels are counted together.

    Args:
        input: image, B C [spatial], any floating dtype; its bins are the rows.
        target: image, B C [spatial]; its bins are the columns.
        mask: weight of each voxel, at least 0, B 1 [spatial] or B C [spatial]. Nothing under a zero is looked at.
        kernel: ``"gaussian"``: windows of width sigma around centres that divide the range into ``bins - 1`` equal
            parts, made to sum to one. ``"b-spline"``: cubic B-splines for the input and boxes for the target, over
            ``bins - 4`` parts and two bins of padding on either side; its slope in the target is 0 everywhere. A box is
            around its bin's centre, and the last of the parts counts as one intensity. ``"mattes"``: the same parts and
            padding, but a box goes from its bin to the next one, and the splines have a slope up to the end of the
            range.
        bins: number of bins, at least 2 (splines: 5).
        ranges: lowest and highest intensity of the input, then of the target, B 4; by default 0 and 1. Intensities
            outside count as those at the nearer end. A range of no width takes every intensity at its lowest.
        sigma_ratio: sigma of the Gaussian window, in bins.

    Returns:
        B bins bins, float64 for double input and float32 otherwise. Differentiable in ``input``, and through the
        reference in ``target``, ``mask`` and ``ranges``.

    Raises:
        ValueError: an unknown kernel, or too few bins for it.
    """
    if kernel not in KERNELS:
        raise ValueError(f"kernel {kernel!r} is unknown: choose one of {', '.join(KERNELS)}")
    if bins < LEAST_BINS[kernel]:
        raise ValueError(f"{bins} bins are too few: the {kernel} kernel needs {LEAST_BINS[kernel]}")
    if ranges is None:
        unit = constants([0.0, 1.0, 0.0, 1.0], input.new_empty((), dtype=accumulation_dtype(input)))
        ranges = unit.expand(input.shape[0], 4)
    return OPERATOR(input, target, mask, ranges, kernel, int(bins), float(sigma_ratio))
