"""What every fast path over two images' gradients has to know: which images it may be given."""

from __future__ import annotations

from typing import Any

from medloss.ops.masking import fits


def misfits(args: tuple[Any, ...], needs: tuple[bool, ...] | None) -> list[str]:
    """Why no kernel can take these arguments; empty where one can."""
    input, target, mask = args[:3]
    found = []
    if target.shape != input.shape or input.numel() == 0:
        found.append("target is not of the input's shape, or there is no voxel")
    if not 3 <= input.ndim <= 5:
        found.append(f"input has {input.ndim - 2} spatial axes, the kernel takes 1 to 3")
    if mask is not None and not fits(mask, input):
        found.append("the mask does not fit the images")
    if needs is not None and any(needs[2:]):
        found.append("a gradient of the mask is asked for")
    return found
