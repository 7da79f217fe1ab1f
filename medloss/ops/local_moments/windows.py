"""What every fast path over windows has to know of them: which statistic, which windows it may be given."""

from __future__ import annotations

from torch import Tensor

CORRELATION, SSIM, STRUCTURE, SIGNED, ERROR = range(5)
LONGEST_WINDOW = 255


def window_misfits(input: Tensor, windows: list[list[float]], needs: tuple[bool, ...] | None) -> list[str]:
    """Why a kernel cannot take these windows; empty where it can."""
    found = []
    if not 3 <= input.ndim <= 5:
        found.append(f"input has {input.ndim - 2} spatial axes, the kernel takes 1 to 3")
    if input.numel() == 0:
        found.append("there are no voxels")
    if max(map(len, windows)) > LONGEST_WINDOW:
        found.append(f"the window's {max(map(len, windows))} weights are more than {LONGEST_WINDOW}")
    if any(window != window[::-1] for window in windows):
        found.append("the window is not symmetric, which the kernel's gradient takes for granted")
    if needs is not None and any(needs[2:]):
        found.append("a gradient of the mask is asked for")
    return found


def axes_of(weights: list[float], sizes: list[int]) -> list[list[float]]:
    """The weights of each axis, which a schema holds one behind the other."""
    ends = [sum(sizes[: i + 1]) for i in range(len(sizes))]
    return [list(weights[end - size : end]) for size, end in zip(sizes, ends)]
