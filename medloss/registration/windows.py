"""The windows of local losses, as separable weights of odd length."""

from __future__ import annotations

import math

KINDS = ("rectangular", "triangular", "gaussian")


def window(kind: str, size: int, sigma: float | None = None) -> list[float]:
    """Weights along one axis.

    ``"rectangular"`` is ones; ``"triangular"`` is (size + 1) / 2 - abs(x); ``"gaussian"`` is exp(-x^2 / (2 s^2)) with
    s = size / 3 or the sigma that is given, for x from -(size - 1) / 2.

    >>> window("triangular", 5)
    [1.0, 2.0, 3.0, 2.0, 1.0]
    """
    centre = size // 2
    offsets = [abs(i - centre) for i in range(size)]
    if kind == "rectangular":
        return [1.0] * size
    if kind == "triangular":
        return [float(centre + 1 - x) for x in offsets]
    return [math.exp(-(x**2) / (2 * (sigma or size / 3) ** 2)) for x in offsets]
