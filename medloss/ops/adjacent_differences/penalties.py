"""What every fast path over steps between neighbours has to know: which penalties there are, what it may be given."""

from __future__ import annotations

from typing import Any

from medloss.ops.masking import fits

CODES = {("absolute", None): 0, ("magnitude", 1.0): 1, ("magnitude", 2.0): 2, ("isotropic", None): 3}
"""Penalties and exponents as the kernels number them."""


def code_of(penalty: str, shape: float) -> int | None:
    """The kernels' number of a penalty; None where they have none."""
    return CODES.get((penalty, shape if penalty == "magnitude" else None))


def misfits(args: tuple[Any, ...], needs: tuple[bool, ...] | None, kernel: str) -> list[str]:
    """Why a kernel, named in the messages, cannot take these arguments; empty where it can."""
    input, target, mask, penalty, shape, *_ = args
    found = []
    if code_of(penalty, shape) is None:
        found.append(f"{penalty} with shape={shape} has no {kernel} kernel")
    if target is not None and penalty == "magnitude" and target.shape != input.shape:
        found.append("target is not an image of the input's shape")
    if mask is not None and not fits(mask, input):
        found.append("the mask does not fit the image")
    if not 3 <= input.ndim <= 5:
        found.append(f"input has {input.ndim - 2} spatial axes, the kernel takes 1 to 3")
    elif input.numel() == 0:
        found.append("input has no voxel")
    if needs is not None and any(needs[2:]):
        found.append("a gradient of the mask is asked for")
    if needs is not None and needs[1] and penalty != "magnitude":
        found.append(f"{penalty} has no gradient of the target")
    return found
