"""The Triton kernels of the pools in boxes: one launch for each axis, on the way there and on the way back.

The largest in a box is the largest along x of the largest along y of the largest along z. Erosion is the same of the
values' negatives. A voxel that does not count is minus infinity. For a gradient a byte says who of the window won, of
equals the last one, as in the reference; with it each voxel finds, in its window, whose winner it was: sums in a fixed
order, no atomics.
"""

from __future__ import annotations

import triton
import triton.language as tl

from medloss.ops.triton_functions import place

SCRATCH, MAP, BOUNDARY, SUMS = (tl.constexpr(kind) for kind in range(4))
"""What becomes of the largest: it is kept, it is the result, it is taken off the map, or it is summed up."""
KEPT, UPSTREAM, CROSSED = tl.constexpr(0), tl.constexpr(1), tl.constexpr(2)
"""Of what cotangents are shared out: a kept map, the map from above, or the other's boundary by a rate."""
PASSED, RESULT, JOINED, TAKEN = (tl.constexpr(kind) for kind in range(4))
"""What becomes of the sums: they are kept, they are the gradient, the boundary's own cotangent joins them, or they are
taken off that: the gradient of a boundary."""
VARYING = ["start", "lines"]


@triton.jit
def entries(start, planes, lines, height, width, shared, LINES: tl.constexpr, COLUMNS: tl.constexpr):
    """Where voxels lie: in a volume, in scratch, in the whole map and in the mask; and whether there are such."""
    volume, z, row, column, inside = place(0, planes, lines, height, width, LINES, COLUMNS)
    inner = (z.to(tl.int64) * height + row) * width + column
    here, at = volume * planes * height * width + inner, (volume + start) * planes * height * width + inner
    return volume, z, row, column, inside, here, at, (volume + start) // shared * planes * height * width + inner


@triton.jit
def along(z, row, column, planes, height, width, AXIS: tl.constexpr):
    """Place, length and step of an axis; a step has 64 bits, as some of them may be more than 32 have."""
    step = tl.full((1, 1), 1, tl.int64)
    if AXIS == 2:
        place_in, length, step = z, planes, step * height * width
    elif AXIS == 1:
        place_in, length, step = row, height, step * width
    else:
        place_in, length = column, width
    return place_in, length, step


@triton.jit
def value_at(source, mask, at, mask_at, seen, ACC: tl.constexpr, RAW: tl.constexpr, SIGN: tl.constexpr,
             MASKED: tl.constexpr):  # fmt: skip
    """A value, or minus infinity where none counts. RAW: of a map as it is given."""
    if RAW and MASKED:
        seen = seen & (tl.load(mask + mask_at, mask=seen, other=0).to(ACC) > 0)
    value = tl.load(source + at, mask=seen, other=0).to(ACC)
    if RAW:
        value = SIGN * value
    return tl.where(seen, value, -float("inf"))


@triton.jit
def weight_at(mask, mask_at, inside, ACC: tl.constexpr, MASKED: tl.constexpr):
    """The weight of a voxel."""
    if MASKED:
        return tl.load(mask + mask_at, mask=inside, other=0).to(ACC)
    return inside.to(ACC)


@triton.jit(do_not_specialize=VARYING)
def pool(
    source, mask, result, codes, other, start, lines, shared, planes, height, width,
    AXIS: tl.constexpr, SIZE: tl.constexpr, SIGN: tl.constexpr, RAW: tl.constexpr, CODED: tl.constexpr,
    GIVEN: tl.constexpr, MASKED: tl.constexpr, ACC: tl.constexpr, LINES: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """The largest of a window along an axis. ``other``: the map whose boundary it is, or the boundary it is in."""
    _volume, z, row, column, inside, here, at, mask_at = entries(
        start, planes, lines, height, width, shared, LINES, COLUMNS
    )
    number_of, length, step = along(z, row, column, planes, height, width, AXIS)
    largest = tl.full((LINES, COLUMNS), -float("inf"), ACC)
    winner = tl.full((LINES, COLUMNS), SIZE // 2, tl.int32)
    for number in range(SIZE):
        away = number - SIZE // 2
        seen = inside & (number_of + away >= 0) & (number_of + away < length)
        from_here = (at if RAW else here) + away * step
        value = value_at(source, mask, from_here, mask_at + away * step, seen, ACC, RAW, SIGN, MASKED)
        better = seen & ((value >= largest) | (value != value))
        largest, winner = tl.where(better, value, largest), tl.where(better, number, winner)
    if CODED:
        tl.store(codes + here, winner.to(tl.uint8), mask=inside)
    weight = weight_at(mask, mask_at, inside, ACC, MASKED)
    counts = inside & (weight > 0)
    if GIVEN == SCRATCH:
        tl.store(result + here, largest, mask=inside)
    elif GIVEN == MAP:
        tl.store(result + at, tl.where(counts, largest, 0), mask=inside)
    elif GIVEN == BOUNDARY:
        own = tl.load(other + at, mask=counts, other=0).to(ACC) + largest  # minus the least
        tl.store(result + here, tl.where(counts, own, -float("inf")), mask=inside)
    else:
        across = tl.cdiv(width, COLUMNS)
        line = tl.program_id(0) // across * LINES + tl.arange(0, LINES)
        to = result + 2 * (line.to(tl.int64) * across + tl.program_id(0) % across)
        boundary = tl.where(counts, weight * tl.load(other + here, mask=counts, other=0), 0)
        tl.store(to, tl.sum(tl.where(counts, boundary * largest, 0), 1), mask=line < lines)
        tl.store(to + 1, tl.sum(boundary, 1), mask=line < lines)


@triton.jit
def cotangent(
    source, mask, rates, at, mask_at, seen, ACC: tl.constexpr, FROM: tl.constexpr, MASKED: tl.constexpr
):  # fmt: skip
    """What a largest value is given; nothing where none counts."""
    if FROM == KEPT:
        return tl.load(source + at, mask=seen, other=0)
    weight = seen.to(ACC)
    if MASKED:
        weight = tl.load(mask + mask_at, mask=seen, other=0).to(ACC)
        seen = seen & (weight > 0)
    above = tl.load(source + at, mask=seen, other=0)
    if FROM == CROSSED:
        above = weight * tl.load(rates + 2, mask=seen, other=0) * above
    return tl.where(seen, above, 0)


@triton.jit(do_not_specialize=VARYING)
def gather(
    codes, source, mask, rates, dilated, boundary, result, start, lines, shared, planes, height, width,
    AXIS: tl.constexpr, SIZE: tl.constexpr, FROM: tl.constexpr, INTO: tl.constexpr, MASKED: tl.constexpr,
    ACC: tl.constexpr, LINES: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """What a voxel has won of the cotangents of its window. ``rates``: of each volume, those of the four sums;
    ``dilated``: the other's boundary, dilated; ``boundary``: the cotangents of the boundary itself."""
    volume, z, row, column, inside, here, at, mask_at = entries(
        start, planes, lines, height, width, shared, LINES, COLUMNS
    )
    number_of, length, step = along(z, row, column, planes, height, width, AXIS)
    rates += 4 * (volume + start)
    total = tl.zeros((LINES, COLUMNS), ACC)
    for number in range(SIZE):
        away = SIZE // 2 - number  # whose window has one at this number
        seen = inside & (number_of + away >= 0) & (number_of + away < length)
        seen = seen & (tl.load(codes + here + away * step, mask=seen, other=255).to(tl.int32) == number)
        from_here = (at if FROM == UPSTREAM else here) + away * step
        total += cotangent(source, mask, rates, from_here, mask_at + away * step, seen, ACC, FROM, MASKED)
    weight = weight_at(mask, mask_at, inside, ACC, MASKED)
    counts = inside & (weight > 0)
    if INTO == PASSED:
        tl.store(result + here, total, mask=inside)
    elif INTO == JOINED:
        inner = tl.load(rates, mask=counts, other=0) * tl.load(dilated + here, mask=counts, other=0)
        total += weight * (inner + tl.load(rates + 1, mask=counts, other=0))
        tl.store(result + here, tl.where(counts, total, 0), mask=inside)
    else:
        if INTO == TAKEN:
            total = tl.load(boundary + here, mask=counts, other=0) - total
        tl.store(result + at, tl.where(counts, total, 0).to(result.dtype.element_ty), mask=inside)
