"""The Triton kernel of the distance maps: one axis at a time, outwards from every voxel.

A program looks further along the axis only while the way alone is no more than the largest distance that one of its
voxels has come to, so its work grows with the distances that there are, and not with the volume. Lines without a
source are skipped.
"""

from __future__ import annotations

import triton
import triton.language as tl

from medloss.ops.triton_functions import number, place

DISTANCE, SQUARE, SIGNED = tl.constexpr(0), tl.constexpr(1), tl.constexpr(2)
"""What is made of the distance to the border."""
VARYING = ["lines", "depth", "height"]
"""Of a new shape: none of them is worth a kernel of its own, as the width is."""


@triton.jit
def known(squared, sides, side, at, seen, FIRST: tl.constexpr, BORDER: tl.constexpr):
    """Squared distances along the axes before; before the first one a source is at 0 and all else is infinitely far.

    To the BORDER, a voxel's own distance is that to the other ``side``, on which whoever lies there is at 0.
    """
    source = tl.zeros(seen.shape, tl.int1)
    if BORDER:
        source = seen & (tl.load(sides + at, mask=seen, other=0) != side)
    elif FIRST:
        source = tl.load(squared + at, mask=seen, other=0) != 0
    if FIRST:
        found = tl.where(source, 0.0, float("inf")).to(tl.float64)
    else:
        found = tl.load(squared + at, mask=seen & (source == 0), other=float("inf"))
        found = tl.where(source, 0.0, found)
    return found


@triton.jit
def of_kind(distance, side, unit, KIND: tl.constexpr):
    """The distance, its square, or a map that is negative inside."""
    if KIND == SQUARE:
        distance = distance * distance
    elif KIND == SIGNED:
        distance = tl.where(side != 0, 0.0 - tl.maximum(distance - unit.to(distance.dtype), 0.0), distance)
    return distance


@triton.jit
def line_of(volume, z, row, depth, height, AXIS: tl.constexpr):
    """The volume, plane or row whose voxels decide whether a line along the axis has anything on it to be found.

    Along a line without, nothing is known, and it would be walked to its end.
    """
    return volume if AXIS == 0 else (volume * depth + z if AXIS == 1 else (volume * depth + z) * height + row)


@triton.jit(do_not_specialize=VARYING)
def along(
    squared, places, sides, live, result, nearest, numbers, lines, depth, height, width,
    FIRST: tl.constexpr, LAST: tl.constexpr, NEAREST: tl.constexpr, BORDER: tl.constexpr, KIND: tl.constexpr,
    AXIS: tl.constexpr, LINES: tl.constexpr, COLUMNS: tl.constexpr,
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
    square, unit = number(numbers, 0, tl.float64), number(numbers, 1, tl.float64)
    side = tl.load(sides + at, mask=inside, other=0) if BORDER else 0
    best = known(squared, sides, side, at, inside, FIRST, BORDER)
    walked = inside & (tl.load(live + line_of(volume, z, row, depth, height, AXIS)) != 0)
    taken = tl.zeros((LINES, COLUMNS), tl.int32)
    reach, way = 1, square
    while (reach < size) & (way <= tl.max(tl.where(walked, best, 0.0))):
        seen = inside & (place_here >= reach)
        back = known(squared, sides, side, at - reach * stride, seen, FIRST, BORDER) + way
        taken = tl.where(back <= best, -reach, taken)
        best = tl.where(back <= best, back, best)
        seen = inside & (place_here + reach < size)
        ahead = known(squared, sides, side, at + reach * stride, seen, FIRST, BORDER) + way
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
        found = (tl.sqrt(tl.where(reached, best, 0.0)) * unit).to(result.dtype.element_ty)
        tl.store(result + at, of_kind(found, side, unit, KIND), mask=inside)
