"""Faults with names, and the checks that every loss shares: what was given, what is expected, what to do."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, overload

import torch
from torch import Tensor

from medloss.ops.contexts import Blocks
from medloss.ops.masking import accumulation_dtype, holds
from medloss.options import frozen

SIGNED = {torch.uint16: torch.int32, torch.uint32: torch.int64, torch.uint64: torch.int64}
"""Types that torch knows and hardly computes with, as readers of images hand labels over, and what holds the same."""


class ShapeError(ValueError, AssertionError):
    """A tensor has the wrong shape. Both a ValueError and an AssertionError, as the peers raise one or the other."""


_checking: Blocks[bool] = Blocks("medloss_check_values")
_always = os.environ.get("MEDLOSS_CHECKS", "0") not in ("", "0")


@contextlib.contextmanager
def check_values(enabled: bool = True) -> Iterator[None]:
    """Look at the values of labels, masks and probabilities too, inside the block (``MEDLOSS_CHECKS=1``: everywhere).

    The block is that of its thread, and of its task in asyncio.

    Off by default: looking costs a pass over the labels, and on a GPU a wait for it.

    >>> import medloss
    >>> with medloss.check_values():
    ...     medloss.DiceLoss(softmax=True, to_onehot_y=True)(torch.zeros(1, 2, 3), torch.full((1, 1, 3), 7))
    Traceback (most recent call last):
        ...
    ValueError: target holds labels outside the 2 classes 0..1: [7]. Remap them, or name one as ignore_index
    """
    with _checking.holding(enabled):
        yield


def checking_values() -> bool:
    """Whether values are looked at."""
    return _checking.innermost(_always)


def choice(name: str, value: Any, allowed: Sequence[Any]) -> None:
    """Raise a ValueError where an option is none of those allowed."""
    if value not in allowed:
        raise ValueError(f"{name}={value!r} is unknown: choose one of {', '.join(map(repr, allowed))}")


def at_least(name: str, value: float, least: float) -> None:
    """Raise a ValueError where a number is too small (or NaN)."""
    if not value >= least:
        raise ValueError(f"{name}={value!r} is too small: it must be at least {least}")


def voxel_sizes(spacing: Any, axes: int | None, of: str = "input") -> list[float]:
    """The size of a voxel along each axis, from a number for all axes or one for each, of any kind.

    Args:
        spacing: the sizes.
        axes: how many axes there are; None where that is not known yet.
        of: what has the axes, in the words of the message.

    Raises:
        ValueError: a number of sizes that does not fit, or one that is not above 0.
    """
    if not isinstance(spacing, (int, float, tuple)):  # an option is one of these already, and maybe traced
        spacing = frozen("spacing", spacing)
    sizes = [float(size) for size in spacing] if isinstance(spacing, Iterable) else [float(spacing)] * (axes or 1)
    if axes is not None and len(sizes) != axes:
        raise ValueError(f"spacing has {len(sizes)} entries and {of} {axes} spatial axes: give one per axis")
    if not all(0 < size < float("inf") for size in sizes):
        raise ValueError(f"spacing must be above 0 along every axis: {sizes}")
    return sizes


def without_gradient(name: str, tensor: Tensor) -> Tensor:
    """The tensor, which must not ask for a gradient that it would silently not get.

    Raises:
        ValueError: it requires a gradient, and gradients are computed.
    """
    if tensor.requires_grad and torch.is_grad_enabled():
        raise ValueError(f"{name} requires a gradient, and the loss gives it none: pass {name}.detach()")
    return tensor.detach()


def shape(tensor: Tensor) -> str:
    """A shape as people write it."""
    return "x".join(map(str, tensor.shape)) if tensor.ndim else "scalar"


def image_like(name: str, tensor: Any, least_rank: int = 2) -> Tensor:
    """A plain floating tensor B C [spatial] (a MetaTensor loses its metadata here), or a clear error."""
    tensor = plain(name, tensor)
    if not tensor.is_floating_point():
        raise TypeError(f"{name} is {tensor.dtype} and must be floating: convert it with .float()")
    if tensor.ndim < least_rank:
        raise ShapeError(f"{name} has shape {shape(tensor)} and must be batch x channels x spatial axes")
    return tensor


def plain(name: str, tensor: Any) -> Tensor:
    """The tensor without its subclass's metadata, and of a type that torch computes with."""
    if not isinstance(tensor, Tensor):
        raise TypeError(f"{name} is {type(tensor).__name__} and must be a torch.Tensor")
    as_tensor = getattr(tensor, "as_tensor", None)  # MONAI's MetaTensor, known by its manner and not by import
    tensor = as_tensor() if callable(as_tensor) else tensor
    return tensor.to(SIGNED[tensor.dtype]) if tensor.dtype in SIGNED else tensor


def same_device(name: str, tensor: Tensor, input: Tensor) -> None:
    """Raise where a tensor lies on another device than the input."""
    if tensor.device != input.device:
        raise ValueError(f"{name} is on {tensor.device} and input on {input.device}: move one with .to()")


def same_shape(name: str, tensor: Tensor, input: Tensor) -> None:
    """Raise where a tensor has another shape than the input, which broadcasting would hide."""
    if tensor.shape != input.shape:
        raise ShapeError(f"{name} has shape {shape(tensor)} and input {shape(input)}: they must be equal")


@overload
def mask_like(mask: Tensor, input: Tensor) -> Tensor: ...


@overload
def mask_like(mask: Any, input: Tensor) -> Tensor | None: ...


def mask_like(mask: Any, input: Tensor) -> Tensor | None:
    """A mask B 1 [spatial], 1 1 [spatial], B C [spatial] or B [spatial], with batch and channel axes put in place."""
    if mask is None:
        return None
    mask = plain("mask", mask)
    same_device("mask", mask, input)
    batch, channels, *spatial = input.shape
    if mask.shape[2:] == input.shape[2:] and mask.shape[0] in (1, batch) and mask.shape[1] in (1, channels):
        mask = mask.expand(batch, *mask.shape[1:])
    elif list(mask.shape) == [batch, *spatial]:
        mask = mask.unsqueeze(1)
    else:
        expected = "x".join(map(str, [batch, 1, *spatial]))
        raise ShapeError(f"mask has shape {shape(mask)}: expected {expected} for input {shape(input)}")
    if checking_values() and not bool((mask >= 0).all()):
        raise ValueError("mask holds negative weights, or NaN: they must be 0 (not looked at) or more")
    # whole numbers are weights like others
    return mask if mask.is_floating_point() or mask.dtype == torch.bool else mask.to(accumulation_dtype(input))


def labels_within(target: Tensor, classes: int, ignore_index: int | None) -> None:
    """Raise a ValueError that lists the labels outside ``0 .. classes - 1``."""
    wrong = (target < 0) | (target >= classes) | (target != target.floor() if target.is_floating_point() else False)
    if ignore_index is not None:
        wrong = wrong & ~holds(target, ignore_index)
    if bool(wrong.any()):
        found = target[wrong].unique().tolist()
        found = found if len(found) <= 10 else [*found[:10], "..."]
        raise ValueError(
            f"target holds labels outside the {classes} classes 0..{classes - 1}: {found}. "
            "Remap them, or name one as ignore_index"
        )


def probabilities(input: Tensor, mask: Tensor | None) -> None:
    """Raise a ValueError where values that count lie outside [0, 1]: logits without an activation, most often."""
    wrong = (input < 0) | (input > 1 + 1e-3)
    if mask is not None:
        wrong = wrong & (mask > 0)
    if bool(wrong.any()):
        found = input.detach()[wrong]
        raise ValueError(
            f"input holds values outside 0..1, from {found.min().item():.4g} to {found.max().item():.4g}, and no "
            "activation is chosen: pass softmax=True or sigmoid=True for logits"
        )
