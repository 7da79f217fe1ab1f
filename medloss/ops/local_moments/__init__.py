"""How alike two images are in the window around each voxel, from the window's moments.

``local_moments`` is their squared correlation, ``local_ssim`` their structural similarity; ``local_error`` is the mean
of their difference.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from medloss.ops.local_moments import reference, ssim_reference
from medloss.ops.local_moments.arguments import Arguments, ErrorArguments, MomentsArguments, SSIMArguments, lost
from medloss.ops.local_moments.cpu import NativeWindows
from medloss.ops.local_moments.triton_launch import TritonWindows
from medloss.ops.masking import accumulation_dtype
from medloss.ops.operator import Operator

__all__ = ["BORDERS", "local_error", "local_moments", "local_ssim"]


PATHS = (NativeWindows(), TritonWindows())
"""They serve every statistic of a window."""


def fake(args: Arguments) -> Tensor:
    """An empty result of any of the operators."""
    spatial = [size - 2 * by for size, by in zip(args.input.shape[2:], lost(args), strict=True)]
    shape = (*args.input.shape[:2], *([] if args.reduce else spatial))
    return args.input.new_empty(shape, dtype=accumulation_dtype(args.input))


OPERATOR = Operator("local_moments", MomentsArguments, reference.local_moments, fake, PATHS)
SSIM_OPERATOR = Operator("local_ssim", SSIMArguments, ssim_reference.local_ssim, fake, PATHS)
ERROR_OPERATOR = Operator("local_error", ErrorArguments, ssim_reference.local_error, fake, PATHS)


def local_moments(
    input: Tensor,
    target: Tensor,
    mask: Tensor | None = None,
    *,
    window: Sequence[float],
    renormalise: bool = False,
    smooth_nr: float = 0.0,
    smooth_dr: float = 1e-5,
    reduce: bool = False,
) -> Tensor:
    r"""Squared local correlation :math:`(A^2 + nr) / (\max(B, dr) \max(C, dr))` at every voxel.

    With window weights k, voxel weights w, and sums over the window, :math:`V = \sum k w`,
    :math:`A = \sum k w x y - \sum k w x \sum k w y / V`, and B, C likewise for xx and yy. A constant is taken off both
    images first, which changes no A, B or C, and saves their digits. A window whose variance is no more than the
    rounding of its sums is constant: its A, B and C are 0.

    Args:
        input: image, B C [spatial], any floating dtype.
        target: image, B C [spatial].
        mask: weight of each voxel, at least 0, B 1 [spatial] or B C [spatial]. Windows count weighted voxels alone, and
            the result is weighted too. Nothing under a zero is looked at.
        window: separable weights of odd length, the same along each axis.
        renormalise: windows at the border count the voxels that they hold; by default zeros lie beyond it. Always so
            under a mask.
        smooth_nr: added to the numerator.
        smooth_dr: least value of each variance (times V).
        reduce: sum over the voxels.

    Returns:
        B C [spatial], or B C with ``reduce``; float64 for double input and float32 otherwise.
    """
    return OPERATOR(
        input, target, mask, [float(k) for k in window], renormalise, float(smooth_nr), float(smooth_dr), reduce
    )


BORDERS = ("valid", "zero", "reflect", "renormalise")


def local_ssim(
    input: Tensor,
    target: Tensor,
    mask: Tensor | None = None,
    *,
    windows: Sequence[Sequence[Sequence[float]]],
    border: str = "valid",
    c1: float,
    c2: float,
    luminance: bool = True,
    reduce: bool = False,
) -> Tensor:
    r"""One minus the structural similarity of two images at every voxel, of one window or as a product over several.

    .. math:: 1 - \frac{2 \mu_x \mu_y + c_1}{\mu_x^2 + \mu_y^2 + c_1}
        \prod_m \frac{2 \sigma_{xy} + c_2}{\sigma_x^2 + \sigma_y^2 + c_2}

    with the moments of window m, and the means of the last one. Each factor is computed as one minus the (variance of
    the) difference over the denominator, from images whose mean has been taken off: neither an offset nor two images
    that are nearly equal cost digits. A window whose variance is no more than the rounding of its sums is constant.

    Args:
        input: image, B C [spatial], any floating dtype.
        target: image, B C [spatial].
        mask: weight of each voxel, at least 0, B 1 [spatial] or B C [spatial]. Windows count weighted voxels alone, and
            the result is weighted too. Nothing under a zero is looked at.
        windows: separable weights of odd length, by window and axis.
        border: ``"valid"``: only windows inside the image; ``"zero"`` or ``"reflect"``: what lies beyond the border;
            ``"renormalise"``: windows count the voxels that they hold. Under a mask it is always the last one.
        c1: constant of the luminance, in squared units of intensity.
        c2: constant of the structure.
        luminance: whether its factor is there.
        reduce: sum over the voxels.

    Returns:
        B C [spatial] (less the reach of the largest window for ``"valid"`` without a mask), in [0, 2], or B C with
        ``reduce``; float64 for double input and float32 otherwise.
    """
    flat, sizes = _flat(windows, border)
    return SSIM_OPERATOR(input, target, mask, flat, sizes, border, float(c1), float(c2), luminance, reduce)


def local_error(
    input: Tensor,
    target: Tensor,
    mask: Tensor | None = None,
    *,
    window: Sequence[Sequence[float]],
    border: str = "valid",
    reduce: bool = False,
) -> Tensor:
    """Mean absolute difference of two images in the window around each voxel; arguments as of :func:`local_ssim`."""
    flat, sizes = _flat([window], border)
    return ERROR_OPERATOR(input, target, mask, flat, sizes, border, reduce)


def _flat(windows: Sequence[Sequence[Sequence[float]]], border: str) -> tuple[list[float], list[int]]:
    """The windows one behind the other, as a schema can hold them, and their lengths."""
    if border not in BORDERS:
        raise ValueError(f"border {border!r} is unknown: choose one of {', '.join(BORDERS)}")
    each = [window for scale in windows for window in scale]
    return [float(k) for window in each for k in window], [len(window) for window in each]
