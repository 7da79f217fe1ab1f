"""The Triton kernels of ``resample``: the values between voxels, and the gradients in positions and values.

A point reads the voxels around it from the cache, for all channels with the same weights. What points give back to
voxels is added up in whole numbers: the order in which points come does not change a sum, down to the last bit. The
unit of a channel is so small that all that its points give fits; with double precision a second number takes what is
smaller. The three lowest bits of the first number say that something came which is no such number: NaN, or infinite.
"""

from __future__ import annotations

import triton
import triton.language as tl

from medloss.ops.triton_functions import divided, place

NAN, HIGH, LOW = tl.constexpr(1), tl.constexpr(2), tl.constexpr(4)
"""Bits of what is no number: NaN, and both infinities."""
STEP = tl.constexpr(8)
FINENESS = tl.constexpr(2.0**27)
"""What a rest is multiplied by, so that those of 2^34 shares fit."""
VARYING = ["depth", "height", "width", "start", "low"]
"""Numbers of which none is told to the compiler: an axis of one voxel is no case of its own."""


@triton.jit
def bracket(positions, at, coordinate, spacing, size, inside, GRID: tl.constexpr):
    """The voxel below along an axis, how far the point lies above it, and whether it lies within the volume."""
    real: tl.constexpr = spacing.dtype.element_ty
    point = tl.load(positions + at, mask=inside, other=0).to(real)
    if GRID:
        point = coordinate.to(real) + divided(point, tl.load(spacing) + tl.zeros_like(point))
    top = (size - 1).to(real)
    held = tl.where(point < 0, 0, tl.where(point > top, top, point))
    below = tl.where(held > 0, held, 0).to(tl.int32)  # NaN is no index: some voxel, and NaN as a weight
    below = tl.minimum(below, tl.maximum(size - 2, 0))
    return below, held - below.to(real), (point >= 0) & (point <= top)


@triton.jit
def locate(
    positions, spacing, points, depth, height, width, volume, here, z, row, column, inside,
    RANK: tl.constexpr, GRID: tl.constexpr,
):  # fmt: skip
    """Entries of the voxels below, and of each axis the part above it and whether the point lies within; z, y, x."""
    at = volume * RANK * points + here
    x, part_x, in_x = bracket(positions, at + (RANK - 1) * points, column, spacing + 2, width, inside, GRID)
    base, part_y, in_y, part_z, in_z = x, part_x, in_x, part_x, in_x
    if RANK > 1:
        y, part_y, in_y = bracket(positions, at + (RANK - 2) * points, row, spacing + 1, height, inside, GRID)
        base += y * width
    if RANK > 2:
        floor, part_z, in_z = bracket(positions, at, z, spacing, depth, inside, GRID)
        base += floor * (height * width)
    return base, part_z, part_y, part_x, in_z, in_y, in_x


@triton.jit
def corner(NUMBER: tl.constexpr, depth, height, width):
    """How far off a corner's entry lies; along an axis of one voxel the next one is itself."""
    step = tl.where(width > 1, NUMBER & 1, 0) + tl.where(height > 1, NUMBER >> 1 & 1, 0) * width
    return step + tl.where(depth > 1, NUMBER >> 2, 0) * (height * width)


@triton.jit
def side(part, NUMBER: tl.constexpr, AXIS: tl.constexpr):
    """The weight of a corner along an axis."""
    if NUMBER >> AXIS & 1:
        weight = part
    else:
        weight = 1 - part
    return weight


@triton.jit
def weight_of(part_z, part_y, part_x, NUMBER: tl.constexpr, WITHOUT: tl.constexpr, RANK: tl.constexpr):
    """The weight of a corner; WITHOUT an axis, what that of the others is."""
    weight = tl.full(part_x.shape, 1.0, part_x.dtype)
    if RANK > 2 and WITHOUT != 2:
        weight = side(part_z, NUMBER, 2)
    if RANK > 1 and WITHOUT != 1:
        weight = weight * side(part_y, NUMBER, 1)
    if WITHOUT != 0:
        weight = weight * side(part_x, NUMBER, 0)
    return weight


@triton.jit(do_not_specialize=VARYING)
def read(
    values, positions, spacing, result, lines, channels, points, depth, height, width, planes, rows, columns,
    RANK: tl.constexpr, GRID: tl.constexpr, LINES: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """The values at the points, of all channels."""
    volume, z, row, column, inside = place(0, planes, lines, rows, columns, LINES, COLUMNS)
    here = (z * rows + row) * columns + column
    base, part_z, part_y, part_x, _z, _y, _x = locate(
        positions, spacing, points, depth, height, width, volume, here, z, row, column, inside, RANK, GRID
    )
    voxels = (depth * height * width).to(tl.int64)
    for channel in range(channels):
        from_here = values + (volume * channels + channel) * voxels
        total = tl.zeros((LINES, COLUMNS), spacing.dtype.element_ty)
        for number in tl.static_range(1 << RANK):
            value = tl.load(from_here + (base + corner(number, depth, height, width)), mask=inside, other=0)
            total += weight_of(part_z, part_y, part_x, number, 3, RANK) * value.to(total.dtype)
        tl.store(result + (volume * channels + channel) * points + here, total, mask=inside)


@triton.jit
def rise(values, base, part_z, part_y, part_x, inside, depth, height, width, AXIS: tl.constexpr, RANK: tl.constexpr):
    """The slope of a channel along an axis."""
    total = tl.zeros(part_x.shape, part_x.dtype)
    for number in tl.static_range(1 << RANK):
        value = tl.load(values + (base + corner(number, depth, height, width)), mask=inside, other=0)
        share = weight_of(part_z, part_y, part_x, number, AXIS, RANK) * value.to(total.dtype)
        total += share if number >> AXIS & 1 else -share
    return total


@triton.jit
def hand_back(result, at, total, within, spacing, inside, GRID: tl.constexpr):
    """Stores the gradient of a component, in the unit in which positions are given; none beyond the border."""
    if GRID:
        total = divided(total, tl.load(spacing) + tl.zeros_like(total))
    tl.store(result + at, tl.where(within, total, 0).to(result.dtype.element_ty), mask=inside)


@triton.jit(do_not_specialize=VARYING)
def move(
    values, positions, spacing, upstream, result, lines, channels, points, depth, height, width, planes, rows, columns,
    RANK: tl.constexpr, GRID: tl.constexpr, LINES: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """The gradient of the positions: the slopes of all channels, by what comes from above."""
    volume, z, row, column, inside = place(0, planes, lines, rows, columns, LINES, COLUMNS)
    here = (z * rows + row) * columns + column
    base, part_z, part_y, part_x, in_z, in_y, in_x = locate(
        positions, spacing, points, depth, height, width, volume, here, z, row, column, inside, RANK, GRID
    )
    voxels = (depth * height * width).to(tl.int64)
    along_x = tl.zeros((LINES, COLUMNS), spacing.dtype.element_ty)
    along_y, along_z = along_x, along_x
    for channel in range(channels):
        volume_of = volume * channels + channel
        above = tl.load(upstream + volume_of * points + here, mask=inside, other=0)
        own = values + volume_of * voxels
        along_x += above * rise(own, base, part_z, part_y, part_x, inside, depth, height, width, 0, RANK)
        if RANK > 1:
            along_y += above * rise(own, base, part_z, part_y, part_x, inside, depth, height, width, 1, RANK)
        if RANK > 2:
            along_z += above * rise(own, base, part_z, part_y, part_x, inside, depth, height, width, 2, RANK)
    at = volume * RANK * points + here
    hand_back(result, at + (RANK - 1) * points, along_x, in_x, spacing + 2, inside, GRID)
    if RANK > 1:
        hand_back(result, at + (RANK - 2) * points, along_y, in_y, spacing + 1, inside, GRID)
    if RANK > 2:
        hand_back(result, at, along_z, in_z, spacing, inside, GRID)


@triton.jit
def sizes(upstream, result, points, programs, BLOCK: tl.constexpr):
    """The sum of the sizes of what comes from above, of a part of a channel; what is no number does not count."""
    channel, program = (tl.program_id(0) // programs).to(tl.int64), (tl.program_id(0) % programs).to(tl.int64)
    total = tl.zeros((BLOCK,), tl.float64)
    for start in range(program * BLOCK, points, programs * BLOCK):
        at = start + tl.arange(0, BLOCK).to(tl.int64)
        size = tl.abs(tl.load(upstream + channel * points + at, mask=at < points, other=0).to(tl.float64))
        total += tl.where(size < float("inf"), size, 0)
    tl.store(result + channel * programs + program, tl.sum(total, 0))


@triton.jit(do_not_specialize=VARYING)
def scatter(
    positions, spacing, upstream, units, sums, rests, start, low, high, lines, channels, points, depth, height, width,
    planes, rows, columns,
    RANK: tl.constexpr, GRID: tl.constexpr, FINE: tl.constexpr, LINES: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """What points of the samples from ``start`` on give back, to channels from ``low`` to before ``high``."""
    volume, z, row, column, inside = place(0, planes, lines, rows, columns, LINES, COLUMNS)
    here = (z * rows + row) * columns + column
    base, part_z, part_y, part_x, _z, _y, _x = locate(
        positions, spacing, points, depth, height, width, volume + start, here, z, row, column, inside, RANK, GRID
    )
    voxels = (depth * height * width).to(tl.int64)
    for channel in range(low, high):
        source = (volume + start) * channels + channel
        above = tl.load(upstream + source * points + here, mask=inside, other=0)
        unit = tl.load(units + source)
        to = (volume * (high - low) + channel - low) * voxels + base
        for number in tl.static_range(1 << RANK):
            share = (weight_of(part_z, part_y, part_x, number, 3, RANK) * above).to(tl.float64)
            there = to + corner(number, depth, height, width)
            countable = tl.abs(share) < float("inf")
            scaled = tl.where(countable, share, 0) * unit
            whole = scaled.to(tl.int64)
            tl.atomic_add(sums + there, whole * STEP, mask=inside & (whole != 0), sem="relaxed")
            if FINE:
                rest = ((scaled - whole.to(tl.float64)) * FINENESS).to(tl.int64)
                tl.atomic_add(rests + there, rest, mask=inside & (rest != 0), sem="relaxed")
            odd = tl.where(share != share, NAN, tl.where(share > 0, HIGH, LOW)).to(tl.int64)
            tl.atomic_or(sums + there, odd, mask=inside & (countable == 0), sem="relaxed")


@triton.jit
def settle(sums, rests, units, result, voxels, blocks, FINE: tl.constexpr, BLOCK: tl.constexpr):
    """Whole numbers as numbers again."""
    channel, block = (tl.program_id(0) // blocks).to(tl.int64), tl.program_id(0) % blocks
    at = block * BLOCK + tl.arange(0, BLOCK)
    found = tl.load(sums + channel * voxels + at, mask=at < voxels, other=0)
    odd = found & (STEP - 1)
    total = (found >> 3).to(tl.float64)
    if FINE:
        total += tl.load(rests + channel * voxels + at, mask=at < voxels, other=0).to(tl.float64) / FINENESS
    total = total / tl.load(units + channel)
    if FINE == 0:
        total = total.to(tl.float32)
    infinite = float("inf")
    total = tl.where(odd == HIGH, infinite, tl.where(odd == LOW, -infinite, tl.where(odd == 0, total, float("nan"))))
    tl.store(result + channel * voxels + at, total.to(result.dtype.element_ty), mask=at < voxels)
