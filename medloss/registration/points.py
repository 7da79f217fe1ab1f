"""What the losses of points share: their shapes, masks, lengths, and the field that moves them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from medloss import checks
from medloss.ops.masking import accumulation_dtype, present
from medloss.registration.warp import moved


def points(name: str, given: Any) -> Tensor:
    """Points B N d in the accumulation dtype, or a clear error."""
    tensor = checks.plain(name, given)
    if not tensor.is_floating_point():
        raise TypeError(f"{name} is {tensor.dtype} and must be floating: convert it with .float()")
    if tensor.ndim != 3:
        raise checks.ShapeError(f"{name} has shape {checks.shape(tensor)} and must be batch x points x coordinates")
    return tensor.to(accumulation_dtype(tensor))


def alike(input: Tensor, target: Tensor, lengths: bool) -> None:
    """Raise where two sets differ in what must be equal: batch and coordinates, and the number of points if asked."""
    checks.same_device("target", target, input)
    compared = slice(None) if lengths else slice(None, None, 2)
    if input.shape[compared] != target.shape[compared]:
        wanted = "they must be equal" if lengths else "batch and coordinates must be equal"
        raise checks.ShapeError(f"target has shape {checks.shape(target)} and input {checks.shape(input)}: {wanted}")


def visible(name: str, mask: Any, given: Tensor) -> tuple[Tensor, Tensor | None]:
    """The points, zero where the mask is, so that what stands there reaches nothing; and their weights B N."""
    if mask is None:
        return given, None
    mask = checks.plain(name, mask)
    checks.same_device(name, mask, given)
    if mask.shape != given.shape[:2]:
        expected = "x".join(map(str, given.shape[:2]))
        raise checks.ShapeError(f"{name} has shape {checks.shape(mask)}: expected {expected}, one for each point")
    if checks.checking_values() and not bool((mask >= 0).all()):
        raise ValueError(f"{name} holds negative weights, or NaN: they must be 0 (not looked at) or more")
    weight = mask.to(given.dtype)
    return torch.where(weight.unsqueeze(-1) > 0, given, torch.zeros_like(given)), weight


def displaced(given: Tensor, field: Any, spacing: Sequence[float] | float | None) -> Tensor:
    """The points where a field moves them, or as they are without a field."""
    rank = given.shape[-1]
    if field is None:
        if spacing is not None:
            raise ValueError("spacing is the voxel size of a field, and there is none")
        return given
    field = checks.image_like("field", field, 3)
    checks.same_device("field", field, given)
    if field.shape[0] != given.shape[0] or field.shape[1] != rank or field.ndim != rank + 2:
        raise checks.ShapeError(
            f"field has shape {checks.shape(field)}: expected {given.shape[0]}x{rank} and {rank} spatial axes for "
            f"points {checks.shape(given)}"
        )
    return moved(given, field, checks.voxel_sizes(1.0 if spacing is None else spacing, rank, "the field"))


def length(vectors: Tensor, squared: bool) -> Tensor:
    """The length of vectors, or its square; of none it is 0 with a gradient of 0."""
    squares = (vectors * vectors).sum(-1)
    if squared:
        return squares
    some = present(squares)
    return torch.where(some, torch.where(some, squares, torch.ones_like(squares)).sqrt(), torch.zeros_like(squares))
