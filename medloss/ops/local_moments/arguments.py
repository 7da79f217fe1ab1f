"""What the operators over windows are given, and which of it no kernel can take."""

from __future__ import annotations

import itertools
from typing import NamedTuple

from torch import Tensor

from medloss.ops.misfits import axes_misfits

CORRELATION, SSIM, STRUCTURE, SIGNED, ERROR = range(5)
"""Statistics of a window, as the kernels number them."""
LONGEST_WINDOW = 255
Scales = list[list[list[float]]]
"""Weights of windows, by window and axis."""


class MomentsArguments(NamedTuple):
    """What ``local_moments`` is given."""

    input: Tensor
    target: Tensor
    mask: Tensor | None
    window: list[float]
    renormalise: bool
    smooth_nr: float
    smooth_dr: float
    reduce: bool

    @property
    def statistic(self) -> tuple[int, float, float]:
        """What is computed of the (last) window, and its constants."""
        return CORRELATION, self.smooth_nr, self.smooth_dr


class CorrelationArguments(NamedTuple):
    """What ``local_correlation`` is given."""

    input: Tensor
    target: Tensor
    mask: Tensor | None
    window: list[float]
    renormalise: bool
    smooth_dr: float
    reduce: bool

    @property
    def statistic(self) -> tuple[int, float, float]:
        """What is computed of the window, and its constants."""
        return SIGNED, 0.0, self.smooth_dr


class SSIMArguments(NamedTuple):
    """What ``local_ssim`` is given; the weights of all windows follow one another, as a schema can hold them."""

    input: Tensor
    target: Tensor
    mask: Tensor | None
    windows: list[float]
    sizes: list[int]
    border: str
    c1: float
    c2: float
    luminance: bool
    reduce: bool

    @property
    def statistic(self) -> tuple[int, float, float]:
        """What is computed of the last window, and its constants."""
        return SSIM if self.luminance else STRUCTURE, self.c1, self.c2


class ErrorArguments(NamedTuple):
    """What ``local_error`` is given."""

    input: Tensor
    target: Tensor
    mask: Tensor | None
    windows: list[float]
    sizes: list[int]
    border: str
    reduce: bool

    @property
    def statistic(self) -> tuple[int, float, float]:
        """What is computed of the window, and its constants."""
        return ERROR, 0.0, 0.0


OfOneWindow = MomentsArguments | CorrelationArguments
"""One window, the same along each axis."""
Arguments = OfOneWindow | SSIMArguments | ErrorArguments
"""What a path of all of them is given."""


def border_of(args: Arguments) -> str:
    """What lies beyond the border, as ``local_ssim`` calls it."""
    if isinstance(args, OfOneWindow):
        return "renormalise" if args.renormalise else "zero"
    return args.border


def axes_of(args: Arguments) -> list[list[float]]:
    """The weights of each axis, window by window; of one window, which all axes have, once."""
    if isinstance(args, OfOneWindow):
        return [list(args.window)]
    ends = itertools.accumulate(args.sizes)
    return [list(args.windows[end - size : end]) for size, end in zip(args.sizes, ends, strict=True)]


def scales_of(args: Arguments) -> Scales:
    """The windows."""
    each, rank = axes_of(args), args.input.ndim - 2
    if isinstance(args, OfOneWindow):
        return [each * rank]
    return [each[i : i + rank] for i in range(0, len(each), rank)]


def reach_of(scales: Scales) -> list[int]:
    """How far the largest window reaches along each axis."""
    return [max(len(window) // 2 for window in axis) for axis in zip(*scales, strict=True)]


def lost(args: Arguments) -> list[int]:
    """Voxels at each border along each axis around which there is no window."""
    if border_of(args) != "valid" or args.mask is not None:
        return [0] * (args.input.ndim - 2)
    return reach_of(scales_of(args))


def misfits(args: Arguments) -> list[str]:
    """Why no kernel can take these arguments; empty where one can."""
    found = axes_misfits(args.input)
    if found:
        return found
    if args.input.numel() == 0:
        found.append("there are no voxels")
    windows = axes_of(args)
    if max(map(len, windows)) > LONGEST_WINDOW:
        found.append(f"the window's {max(map(len, windows))} weights are more than {LONGEST_WINDOW}")
    if any(window != window[::-1] for window in windows):
        found.append("the window is not symmetric, which the kernel's gradient takes for granted")
    if args.mask is None and border_of(args) == "reflect":
        reach, sizes = reach_of(scales_of(args)), tuple(args.input.shape[2:])
        if any(by >= size for by, size in zip(reach, sizes)):
            found.append(f"windows that reach {reach} voxels mirror more than there is of {sizes}")
    return found
