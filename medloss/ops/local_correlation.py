"""``local_correlation``: the correlation of two images in the window around each voxel, with its sign.

``local_moments`` is its square, which needs no root, and whose kernels serve this too.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from medloss.ops.local_moments import PATHS, fake
from medloss.ops.local_moments.arguments import CorrelationArguments, border_of
from medloss.ops.local_moments.reference import smooth, variance
from medloss.ops.local_moments.ssim_reference import framed, level
from medloss.ops.masking import spatial_axes
from medloss.ops.operator import Operator

__all__ = ["local_correlation"]


def reference(args: CorrelationArguments) -> Tensor:
    """See :func:`local_correlation`. Plain torch: the specification of the operator."""
    input, window, smooth_dr = args.input, args.window, args.smooth_dr
    windows = [window] * (input.ndim - 2)
    reach = [len(window) // 2] * len(windows)
    x, y, weight = framed(input, args.target, args.mask, reach, border_of(args))
    x, y = x - level(x, weight), y - level(y, weight)
    products = [x, y, x * x, y * y, x * y]
    maps = torch.stack(products if weight is None else [*(map * weight for map in products), weight])
    sum_x, sum_y, sum_xx, sum_yy, sum_xy, *counted = smooth(maps, windows, padded=weight is None)
    mass = counted[0] if counted else torch.full_like(sum_x, sum(window) ** len(windows))
    mass = torch.where(mass > 0, mass, torch.ones_like(mass))
    var_x, flat_x = variance(sum_x, sum_xx, mass)
    var_y, flat_y = variance(sum_y, sum_yy, mass)
    cross = sum_xy - sum_x * sum_y / mass
    cross = torch.where(flat_x | flat_y, torch.zeros_like(cross), cross)
    result = cross * var_x.clamp_min(smooth_dr).rsqrt() * var_y.clamp_min(smooth_dr).rsqrt()
    result = result if weight is None else result * weight
    return result.sum(spatial_axes(result)) if args.reduce else result


OPERATOR = Operator("local_correlation", CorrelationArguments, reference, fake, PATHS)


def local_correlation(
    input: Tensor,
    target: Tensor,
    mask: Tensor | None = None,
    *,
    window: Sequence[float],
    renormalise: bool = False,
    smooth_dr: float = 1e-5,
    reduce: bool = False,
) -> Tensor:
    r"""Correlation :math:`A / \sqrt{\max(B, dr) \max(C, dr)}` at every voxel.

    A, B and C, the arguments, and what is a constant window are those of :func:`~medloss.ops.local_moments`.

    Returns:
        B C [spatial], or B C with ``reduce``; float64 for double input and float32 otherwise.
    """
    return OPERATOR(input, target, mask, [float(k) for k in window], renormalise, float(smooth_dr), reduce)
