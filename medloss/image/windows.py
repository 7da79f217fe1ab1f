"""The windows of structural similarity: their weights, whether they fit into an image, and how many of them do."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor

from medloss.checks import ShapeError

KINDS = ("gaussian", "uniform")


def window(kind: str, size: int, sigma: float) -> list[float]:
    """Weights along one axis, which sum to 1: a Gaussian sampled at whole voxels, or all alike.

    >>> window("uniform", 5, 1.5)
    [0.2, 0.2, 0.2, 0.2, 0.2]
    """
    weights = [1.0] * size
    if kind == "gaussian":
        weights = [math.exp(-(((i - size // 2) / sigma) ** 2) / 2) for i in range(size)]
    return [k / sum(weights) for k in weights]


def per_axis(name: str, value: Sequence[float] | float, rank: int) -> list[float]:
    """An option for each axis.

    Raises:
        ValueError: another number of entries than axes.
    """
    values = list(value) if isinstance(value, Sequence) else [value] * rank
    if len(values) != rank:
        raise ValueError(f"{name} has {len(values)} entries and the image {rank} spatial axes")
    return values


def check_window(size: Sequence[int] | int, sigma: Sequence[float] | float) -> None:
    """Raise a ValueError where a size is not odd or a sigma not above 0."""
    for length in size if isinstance(size, Sequence) else [size]:
        if not isinstance(length, int) or length < 1 or length % 2 == 0:
            raise ValueError(f"window_size={size!r} must be an odd number of voxels")
    for width in sigma if isinstance(sigma, Sequence) else [sigma]:
        if not 0 < width < math.inf:
            raise ValueError(f"sigma={sigma!r} must be a number above 0")


def least_voxels(sizes: Sequence[int], border: str, mask: Tensor | None) -> list[int]:
    """How many voxels an image needs along each axis for windows of some sizes."""
    if mask is None and border == "valid":
        return list(sizes)
    return [size // 2 + 1 if mask is None and border == "reflect" else 1 for size in sizes]


def map_shape(shape: Sequence[int], sizes: Sequence[int], border: str, mask: Tensor | None) -> list[int]:
    """The shape B C [spatial] of a map of windows of some sizes over an image.

    Raises:
        ShapeError: an axis is too short for the window.
    """
    spatial, least = list(shape[2:]), least_voxels(sizes, border, mask)
    if any(size < needed for size, needed in zip(spatial, least, strict=True)):
        raise ShapeError(
            f"input has spatial shape {by(spatial)}: border={border!r} with windows of {by(sizes)} needs at least "
            f"{by(least)} voxels. Take a smaller window, or border='renormalise'"
        )
    if border == "valid" and mask is None:
        spatial = [size - window + 1 for size, window in zip(spatial, sizes, strict=True)]
    return [*shape[:2], *spatial]


def by(sizes: Sequence[int]) -> str:
    """Sizes as people write them."""
    return "x".join(map(str, sizes))
