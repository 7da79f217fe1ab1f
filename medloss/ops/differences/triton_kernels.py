"""The Triton kernels of ``differences``: energies, and their gradient.

A term is a sum of weighted differences of pairs of voxels, squared (or its size) and times a factor. Energies load each
voxel that a stencil touches once. Where nothing but squares is added up, the gradient inside of the volume is one
stencil, composed of all terms; near the border, under a mask and for sizes it gathers from every term of every stencil
that touches its voxel, by tables, and computes these again. A voxel has one address, and others lie beside it by
offsets that all threads share.
"""

# ruff: noqa: RUF005 (Triton joins tuples, and unpacks none)

from __future__ import annotations

import triton
import triton.language as tl

from medloss.ops.triton_functions import number, place

SQUARE, SIZE = tl.constexpr(0), tl.constexpr(1)
PAIR, TAP = tl.constexpr(7), tl.constexpr(4)
"""Numbers of a pair: two offsets and the component; of a tap: an offset and the component."""
SIZES = ["lines", "components", "maps", "shared", "depth", "height"]
VARYING = [*SIZES, "from_z", "from_y", "from_x", "inner_z", "inner_y"]
"""Of a new shape: none of them is worth a kernel of its own, as the width is."""
BOX = ["start_z", "start_y", "start_x", "cut_z", "cut_y", "cut_x", "jump_z", "jump_y", "jump_x", "size_z", "size_y"]


@triton.jit
def offset(z, y, x, component, depth, height, width):
    """How far off a voxel of a component lies, in 64 bits."""
    return ((component * tl.cast(depth, tl.int64) + z) * height + y) * width + x


@triton.jit
def scale_of(scales, map, real: tl.constexpr, SCALES: tl.constexpr):
    """The factor of a map: one for all, or one for each."""
    scale = number(scales, 0, real)
    for n in tl.static_range(1, SCALES):
        scale = tl.where(map == n, number(scales, n, real), scale)
    return scale


@triton.jit(do_not_specialize=VARYING)
def energies(
    field, mask, numbers, scales, result, lines, components, maps, shared, depth, height, width,
    from_z, from_y, from_x, inner_z, inner_y, inner_x,
    POWER: tl.constexpr, JOINT: tl.constexpr, MASKED: tl.constexpr, REDUCED: tl.constexpr, SCALES: tl.constexpr,
    VOXELS: tl.constexpr, COUNTS: tl.constexpr, ENDS: tl.constexpr, PAIRS: tl.constexpr,
    LINES: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """The energy at every voxel whose stencil is inside, or its sums over parts of rows.

    VOXELS are offsets and components. Each term has as many pairs as COUNTS says, with room for PAIRS: their ENDS are
    numbers of two voxels. ``numbers`` are a factor for each term, then for each the weights of its pairs.
    """
    real: tl.constexpr = result.dtype.element_ty
    map, z, row, column, inside = place(0, inner_z, lines, inner_y, inner_x, LINES, COLUMNS)
    at = ((map * inner_z + z) * inner_y + row) * inner_x + column
    channel = map // maps * components if JOINT else map
    here = field + (((channel * depth + z + from_z) * height + row + from_y) * width + column + from_x)
    values = ()
    for n in tl.static_range(len(VOXELS)):
        away = offset(VOXELS[n][0], VOXELS[n][1], VOXELS[n][2], VOXELS[n][3], depth, height, width)
        values = values + (tl.load(here + away, mask=inside, other=0).to(real),)
    total = tl.zeros((LINES, COLUMNS), real)
    for term in tl.static_range(len(COUNTS)):
        found = tl.zeros((LINES, COLUMNS), real)
        for n in tl.static_range(PAIRS):
            if n < COUNTS[term]:
                # the difference first, which keeps the digits of a small one
                found += number(numbers, len(COUNTS) + term * PAIRS + n, real) * (
                    values[ENDS[2 * (term * PAIRS + n)]] - values[ENDS[2 * (term * PAIRS + n) + 1]]
                )
        total += number(numbers, term, real) * (found * found if POWER == SQUARE else tl.abs(found))
    total = tl.where(inside, total * scale_of(scales, map % maps, real, SCALES), 0)
    if MASKED:
        mask_at = ((map // shared * inner_z + z) * inner_y + row) * inner_x + column
        weight = tl.load(mask + mask_at, mask=inside, other=0)
        total = tl.where(weight > 0, total * weight, 0)
    if REDUCED:
        across = tl.cdiv(inner_x, COLUMNS)
        line = tl.program_id(0) // across * LINES + tl.arange(0, LINES)
        tl.store(result + line * across + tl.program_id(0) % across, tl.sum(total, 1), mask=line < lines)
    else:
        tl.store(result + at, total, mask=inside)


@triton.jit(do_not_specialize=["lines", "maps", "depth", "height", "start_z", "start_y", "start_x", "size_z", "size_y"])
def inner_gradient(
    field, numbers, scales, upstream, result, lines, maps, depth, height, width,
    start_z, start_y, start_x, size_z, size_y, size_x,
    SCALES: tl.constexpr, VOXELS: tl.constexpr, LINES: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """The gradient of sums of squares in a box whose voxels are touched by stencils on all sides: one stencil."""
    real: tl.constexpr = upstream.dtype.element_ty
    volume, z, row, column, inside = place(0, size_z, lines, size_y, size_x, LINES, COLUMNS)
    at = ((volume * depth + z + start_z) * height + row + start_y) * width + column + start_x
    own = tl.load(field + at, mask=inside, other=0).to(real)
    total = tl.zeros((LINES, COLUMNS), real)
    for n in tl.static_range(len(VOXELS)):
        away = offset(VOXELS[n][0], VOXELS[n][1], VOXELS[n][2], 0, depth, height, width)
        # the weights' sum is 0: of differences to the voxel itself, which keep the digits of small ones
        total += number(numbers, n, real) * (tl.load(field + at + away, mask=inside, other=0).to(real) - own)
    total *= tl.load(upstream + volume) * scale_of(scales, volume % maps, real, SCALES)
    tl.store(result + at, total, mask=inside)


@triton.jit
def slope(
    field, pairs, weights, term, here, inside, depth, height, width,
    JOINT: tl.constexpr, PAIRS: tl.constexpr, LINES: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """One term's sum of differences around the voxels given, of their channel or (joint) of those after it."""
    total = tl.zeros((LINES, COLUMNS), weights.dtype.element_ty)
    for n in range(PAIRS):
        pair = pairs + (term * PAIRS + n) * PAIR
        component = tl.load(pair + 6) if JOINT else 0
        a = offset(tl.load(pair), tl.load(pair + 1), tl.load(pair + 2), component, depth, height, width)
        b = offset(tl.load(pair + 3), tl.load(pair + 4), tl.load(pair + 5), component, depth, height, width)
        at_a = tl.load(field + here + a, mask=inside, other=0).to(total.dtype)
        at_b = tl.load(field + here + b, mask=inside, other=0).to(total.dtype)
        total += tl.load(weights + term * PAIRS + n) * (at_a - at_b)
    return total


@triton.jit
def rate_of(found, POWER: tl.constexpr):
    """The derivative of a square, or of a size: 0 at 0, and NaN stays."""
    if POWER == SQUARE:
        rate = 2 * found
    else:
        rate = tl.where(found > 0, 1, tl.where(found < 0, -1, found))
    return rate


@triton.jit
def placed(coordinate, start, cut, jump):
    """A coordinate of the volume from one of a box, which goes on beyond a gap."""
    return coordinate + start + tl.where(coordinate >= cut, jump, 0)


@triton.jit(do_not_specialize=[*VARYING, *BOX])
def gradient(
    field, mask, pairs, taps, weights, tap_weights, factors, scales, upstream, result, lines, components, maps, shared,
    depth, height, width, from_z, from_y, from_x, inner_z, inner_y, inner_x,
    start_z, start_y, start_x, cut_z, cut_y, cut_x, jump_z, jump_y, jump_x, size_z, size_y, size_x,
    POWER: tl.constexpr, JOINT: tl.constexpr, MASKED: tl.constexpr, REDUCED: tl.constexpr, SCALES: tl.constexpr,
    TERMS: tl.constexpr, PAIRS: tl.constexpr, TAPS: tl.constexpr, LINES: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """What every voxel of a box is given by the stencils that touch it."""
    volume, z, row, column, inside = place(0, size_z, lines, size_y, size_x, LINES, COLUMNS)
    z = placed(z, start_z, cut_z, jump_z)
    row, column = placed(row, start_y, cut_y, jump_y), placed(column, start_x, cut_x, jump_x)
    real: tl.constexpr = weights.dtype.element_ty
    at = ((volume * depth + z) * height + row) * width + column
    map = volume // components * maps if JOINT else volume
    own = volume % components
    channel = volume - own if JOINT else volume
    here = ((channel * depth + z) * height + row) * width + column
    at_map = ((map * inner_z + z - from_z) * inner_y + row - from_y) * inner_x + column - from_x
    at_mask = ((map // shared * inner_z + z - from_z) * inner_y + row - from_y) * inner_x + column - from_x
    total = tl.zeros((LINES, COLUMNS), real)
    for n in range(TERMS * TAPS):
        term, tap = n // TAPS, taps + n * TAP
        tap_z, tap_y, tap_x = tl.load(tap), tl.load(tap + 1), tl.load(tap + 2)
        # the centre of the stencil, in the interior
        i, j, k = z - tap_z - from_z, row - tap_y - from_y, column - tap_x - from_x
        seen = inside & (i >= 0) & (i < inner_z) & (j >= 0) & (j < inner_y) & (k >= 0) & (k < inner_x)
        if JOINT:
            seen = seen & (own == tl.load(tap + 3))
        back = offset(tap_z, tap_y, tap_x, 0, inner_z, inner_y, inner_x)
        if MASKED:
            share = tl.load(mask + (at_mask - back), mask=seen, other=0)
            seen = seen & (share > 0)
        centre = here - offset(tap_z, tap_y, tap_x, 0, depth, height, width)
        found = slope(field, pairs, weights, term, centre, seen, depth, height, width, JOINT, PAIRS, LINES, COLUMNS)
        scale = tl.load(upstream + map) if REDUCED else tl.load(upstream + (at_map - back), mask=seen, other=0)
        weight = tl.load(tap_weights + n) * tl.load(factors + term)
        rate = weight * rate_of(found, POWER) * scale * (share if MASKED else 1)
        total += tl.where(seen, rate, 0)
    total *= scale_of(scales, map % maps, real, SCALES)
    tl.store(result + at, total, mask=inside)
