"""Volumes of one to three axes as depth, height and width, which kernels over volumes take."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


def planes_first(values: Sequence[T], missing: T) -> tuple[T, T, T]:
    """One value for depth, height and width, from one for each axis: an image's rows are planes of one row.

    >>> planes_first([5, 7], 1)
    (5, 1, 7)
    """
    first, last = values[0], values[-1]
    return ((missing, missing, last), (first, missing, last), (first, values[len(values) // 2], last))[len(values) - 1]


def rows_last(values: Sequence[T], missing: T) -> tuple[T, T, T]:
    """One value for depth, height and width, from one for each axis: an image is one plane.

    >>> rows_last([5, 7], 1)
    (1, 5, 7)
    """
    depth, height, width = (*[missing] * (3 - len(values)), *values)
    return depth, height, width
