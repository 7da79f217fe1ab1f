"""The Triton kernel of ``distance_map`` and ``nearest_source``: one axis at a time, outwards from every voxel.

A program looks further along the axis only while the way alone is no more than the largest distance that one of its
voxels has come to, so its work grows with the distances that there are, and not with the volume.
"""

from __future__ import annotations

import triton
import triton.language as tl

from medloss.ops.kernel import place


@triton.jit
def known(squared, at, seen, FIRST: tl.constexpr):
    """Squared distances along the axes before; before the first one a source is at 0 and all else is infinitely far."""
    if FIRST:
        source = tl.load(squared + at, mask=seen, other=0) != 0
        found = tl.where(source, 0.0, float("inf")).to(tl.float64)
    else:
        found = tl.load(squared + at, mask=seen, other=float("inf"))
    return found


@triton.jit
def along(
    squared, places, result, nearest, numbers, lines, depth, height, width,
    FIRST: tl.constexpr, LAST: tl.constexpr, NEAREST: tl.constexpr, AXIS: tl.constexpr,
    LINES: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """Of every voxel the best on its line, by its own value and the square of the way to it.

    Of equals it is that of the lowest place: one further back wins if equal, one further on does not.
    """
    volume, z, row, column, inside = place(0, depth, lines, height, width, LINES, COLUMNS)
    inner = (z.to(tl.int64) * height + row) * width + column
    at = volume * depth * height * width + inner
    place_here = z if AXIS == 0 else (row if AXIS == 1 else column)
    size = depth if AXIS == 0 else (height if AXIS == 1 else width)
    stride = tl.full((), 1, tl.int64) * (height * width if AXIS == 0 else (width if AXIS == 1 else 1))
    square, unit = tl.load(numbers), tl.load(numbers + 1)
    best = known(squared, at, inside, FIRST)
    taken = tl.zeros((LINES, COLUMNS), tl.int32)
    reach = 1
    way = square
    while (reach < size) & (way <= tl.max(tl.where(inside, best, 0.0))):
        back = known(squared, at - reach * stride, inside & (place_here >= reach), FIRST) + way
        taken = tl.where(back <= best, -reach, taken)
        best = tl.where(back <= best, back, best)
        ahead = known(squared, at + reach * stride, inside & (place_here + reach < size), FIRST) + way
        taken = tl.where(ahead < best, reach, taken)
        best = tl.where(ahead < best, ahead, best)
        reach += 1
        way = square * reach * reach
    reached = best < float("inf")
    if NEAREST:
        # only what is reached has a place on its line
        step = tl.where(reached, taken, 0) * stride
        found = inner + step if FIRST else tl.load(places + at + step, mask=inside, other=0)
        tl.store(nearest + at, tl.where(reached, found, -1) if LAST else found, mask=inside)
    if not LAST:
        tl.store(result + at, best, mask=inside)
    elif not NEAREST:
        tl.store(result + at, tl.sqrt(tl.where(reached, best, 0.0)) * unit, mask=inside)
