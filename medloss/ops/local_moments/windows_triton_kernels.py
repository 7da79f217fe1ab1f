"""Device functions of the Triton kernels of windows: sums along a row, and by a window that slides along an axis.

A sliding window reads each plane (or row) once: the sums of all windows that hold it are kept in registers,
``LENGTH - 1`` to a map, and each step completes one of them. Nothing is subtracted again: the rounding of a large value
would stay behind.
"""

# ruff: noqa: RUF005 (Triton joins tuples, and unpacks none)

from __future__ import annotations

import triton
import triton.language as tl

CORRELATION, SSIM, STRUCTURE, SIGNED, ERROR = (tl.constexpr(kind) for kind in range(5))
NUMBERS = tl.constexpr(8)
"""Of each volume: the levels that are taken off, and what the maps have of a voxel beyond the border."""
UNROLLED = tl.constexpr(13)
"""Taps of a row up to which they are written out, so that their loads are all under way at once."""


@triton.jit
def voxel(input, target, mask, seen, real: tl.constexpr, MASKED: tl.constexpr):
    """Both images and the weight; zeros where there is no voxel, and where it weighs nothing, whatever lies there."""
    weight = seen.to(real)
    if MASKED:
        weight = tl.load(mask, mask=seen, other=0).to(real)
        seen = seen & (weight > 0)
    x = tl.load(input, mask=seen, other=0).to(real)
    y = tl.load(target, mask=seen, other=0).to(real)
    return x, y, weight


@triton.jit
def mirror(at, size):
    """The index that a border shows in place of one beyond it, by less than ``size``."""
    at = tl.where(at < 0, -at, at)
    return tl.where(at >= size, 2 * (size - 1) - at, at)


@triton.jit
def weights_of(table, LENGTH: tl.constexpr):
    """The weights up to the middle: windows are symmetric."""
    weights = ()
    for tap in tl.static_range(LENGTH // 2 + 1):
        weights = weights + (tl.load(table + tap),)
    return weights


@triton.jit
def copies(value, COUNT: tl.constexpr):
    """A tuple of so many."""
    found = ()
    for _ in tl.static_range(COUNT):
        found = found + (value,)
    return found


@triton.jit
def push(state, values, weights, LENGTH: tl.constexpr, EQUAL: tl.constexpr):
    """One step of a sliding window: the sums that the new values complete, and those that wait for more."""
    sums, waiting = (), ()
    for m in tl.static_range(len(values)):
        if LENGTH == 1:
            sums = sums + (values[m] * weights[0],)
        elif EQUAL:
            sums = sums + ((state[m * (LENGTH - 1)] + values[m]) * weights[0],)
            for i in tl.static_range(1, LENGTH - 1):
                waiting = waiting + (state[m * (LENGTH - 1) + i] + values[m],)
            waiting = waiting + (values[m],)
        else:
            sums = sums + (state[m * (LENGTH - 1)] + weights[0] * values[m],)
            for i in tl.static_range(1, LENGTH - 1):
                weight = weights[min(i, LENGTH - 1 - i)]
                waiting = waiting + (state[m * (LENGTH - 1) + i] + weight * values[m],)
            waiting = waiting + (weights[0] * values[m],)
    return sums, waiting


@triton.jit
def scaled(sums, weight):
    """Each entry times the weight."""
    found = ()
    for m in tl.static_range(len(sums)):
        found = found + (sums[m] * weight,)
    return found


@triton.jit
def with_neighbour(
    sums, x_at, y_at, w_at, column, width, limit, seen, by, weight, level_x, level_y,
    KIND: tl.constexpr, WEIGHED: tl.constexpr, MASKED: tl.constexpr, REFLECT: tl.constexpr, EQUAL: tl.constexpr,
):  # fmt: skip
    """The sums of x, u, xx, yy, and xu or uu, or of the error alone (and of the weights), and what a neighbour adds."""
    other = column + by
    if REFLECT:
        by = mirror(other, width) - column
    else:
        seen = other.to(tl.uint32) < limit  # no less than 0, by the same comparison
    factor = weight  # which is not looked at where all are equal
    if WEIGHED:
        held = seen.to(level_x.dtype)
        if MASKED:
            held = tl.load(w_at + by, mask=seen, other=0).to(level_x.dtype)
            seen = seen & (held > 0)
        factor = held if EQUAL else held * weight
    x = tl.load(x_at + by, mask=seen, other=0).to(level_x.dtype) - level_x  # a zero beyond the border, too
    y = tl.load(y_at + by, mask=seen, other=0).to(level_x.dtype) - level_y
    scale: tl.constexpr = WEIGHED or not EQUAL
    if KIND == ERROR:
        found = (sums[0] + (tl.abs(x - y) * factor if scale else tl.abs(x - y)),)
    else:
        u = x - y if (KIND == SSIM) | (KIND == STRUCTURE) else y
        along = u if (KIND == SSIM) | (KIND == STRUCTURE) else x
        weighed_x, weighed_y = x * factor if scale else x, y * factor if scale else y
        weighed_u = u * factor if scale else u
        found = (sums[0] + weighed_x, sums[1] + weighed_u, sums[2] + weighed_x * x, sums[3] + weighed_y * y)
        found = found + (sums[4] + weighed_u * along,)
    if WEIGHED:
        found = found + (sums[len(sums) - 1] + factor,)
    return found


@triton.jit
def row_sums(
    x_at, y_at, w_at, column, width, seen, level_x, level_y, weights, table,
    MAPS: tl.constexpr, KIND: tl.constexpr, WEIGHED: tl.constexpr, MASKED: tl.constexpr, REFLECT: tl.constexpr,
    LENGTH: tl.constexpr, EQUAL: tl.constexpr,
):  # fmt: skip
    """Sums along the row of what windows sum, around the voxels at the given addresses."""
    limit = tl.where(seen, width, 0).to(tl.uint32)
    sums = copies(tl.zeros(column.shape, level_x.dtype), MAPS)
    if LENGTH <= UNROLLED:
        for tap in tl.static_range(LENGTH):
            sums = with_neighbour(
                sums, x_at, y_at, w_at, column, width, limit, seen, tap - LENGTH // 2,
                weights[min(tap, LENGTH - 1 - tap)], level_x, level_y, KIND, WEIGHED, MASKED, REFLECT, EQUAL,
            )  # fmt: skip
    else:
        for tap in range(LENGTH):
            sums = with_neighbour(
                sums, x_at, y_at, w_at, column, width, limit, seen, tap - LENGTH // 2, tl.load(table + tap),
                level_x, level_y, KIND, WEIGHED, MASKED, REFLECT, EQUAL,
            )  # fmt: skip
    return scaled(sums, weights[0]) if EQUAL else sums


@triton.jit
def with_slopes(
    sums, at, stride, place, size, limit, seen, by, step, weight, FOLD: tl.constexpr, EQUAL: tl.constexpr
):  # fmt: skip
    """Sums of the maps of the adjoint, and what a neighbour adds. FOLD: those, too, whose mirror image it is."""
    found = ()
    for m in tl.static_range(len(sums)):
        total = tl.load(at + by * step, mask=(place + by).to(tl.uint32) < limit, other=0)
        if FOLD:
            low, high = by - place, 2 * (size - 1) - place + by
            there = seen & (place > 0) & (low >= 0) & (low < size)
            total += tl.load(at + (low - place) * step, mask=there, other=0)
            there = seen & (place < size - 1) & (high >= 0) & (high < size)
            total += tl.load(at + (high - place) * step, mask=there, other=0)
        found = found + (sums[m] + (total if EQUAL else total * weight),)
        at += stride
    return found


@triton.jit
def axis_slopes(
    at, stride, place, size, step, seen, weights, table,
    MAPS: tl.constexpr, LENGTH: tl.constexpr, FOLD: tl.constexpr, EQUAL: tl.constexpr,
):  # fmt: skip
    """Sums along an axis of the maps of the adjoint."""
    limit = tl.where(seen, size, 0).to(tl.uint32)
    sums = copies(tl.zeros(place.shape, weights[0].dtype), MAPS)
    if LENGTH <= UNROLLED and not FOLD:
        for tap in tl.static_range(LENGTH):
            weight = weights[min(tap, LENGTH - 1 - tap)]
            sums = with_slopes(sums, at, stride, place, size, limit, seen, tap - LENGTH // 2, step, weight, FOLD, EQUAL)
    else:
        for tap in range(LENGTH):
            weight = tl.load(table + tap)
            sums = with_slopes(sums, at, stride, place, size, limit, seen, tap - LENGTH // 2, step, weight, FOLD, EQUAL)
    return scaled(sums, weights[0]) if EQUAL else sums
