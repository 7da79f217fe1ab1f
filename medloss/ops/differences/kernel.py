"""The Triton kernels of ``differences``: energies and their gradient, gathered from tables of the stencil.

A term is a sum of weighted differences of pairs of voxels, squared (or its size) and times a factor. A gradient gathers
from every term of every stencil that touches its voxel, and computes these again: a few loads from the cache in place
of maps of derivatives.
"""

from __future__ import annotations

import triton
import triton.language as tl

from medloss.ops.kernel import place

SQUARE, SIZE = tl.constexpr(0), tl.constexpr(1)
PAIR, TAP = tl.constexpr(7), tl.constexpr(4)
"""Numbers of a pair: two offsets and the component; of a tap: an offset and the component."""
SIZES = ["lines", "components", "maps", "shared", "depth", "height"]
VARYING = [*SIZES, "from_z", "from_y", "from_x", "inner_z", "inner_y"]
"""Of a new shape: none of them is worth a kernel of its own, as the width is."""


@triton.jit
def slope(
    field, pairs, weights, term, channel, z, row, column, inside, depth, height, width,
    JOINT: tl.constexpr, PAIRS: tl.constexpr, LINES: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """One term's sum of differences at the voxels given, of their channel or (joint) of those after it."""
    total = tl.zeros((LINES, COLUMNS), weights.dtype.element_ty)
    for number in range(PAIRS):
        pair = pairs + (term * PAIRS + number) * PAIR
        weight = tl.load(weights + term * PAIRS + number)
        volume = channel + tl.load(pair + 6) if JOINT else channel
        a = ((volume * depth + z + tl.load(pair)) * height + row + tl.load(pair + 1)) * width + tl.load(pair + 2)
        b = ((volume * depth + z + tl.load(pair + 3)) * height + row + tl.load(pair + 4)) * width + tl.load(pair + 5)
        at_a = tl.load(field + a + column, mask=inside, other=0).to(total.dtype)
        at_b = tl.load(field + b + column, mask=inside, other=0).to(total.dtype)
        total += weight * (at_a - at_b)  # the difference first, which keeps the digits of a small one
    return total


@triton.jit(do_not_specialize=VARYING)
def energies(
    field, mask, pairs, weights, factors, scales, result, lines, components, maps, shared, depth, height, width,
    from_z, from_y, from_x, inner_z, inner_y, inner_x,
    POWER: tl.constexpr, JOINT: tl.constexpr, MASKED: tl.constexpr, REDUCED: tl.constexpr,
    TERMS: tl.constexpr, PAIRS: tl.constexpr, LINES: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """The energy at every voxel whose stencil is inside, or its sums over parts of rows."""
    map, z, row, column, inside = place(0, inner_z, lines, inner_y, inner_x, LINES, COLUMNS)
    at = ((map * inner_z + z) * inner_y + row) * inner_x + column
    channel = map // maps * components if JOINT else map
    total = tl.zeros((LINES, COLUMNS), weights.dtype.element_ty)
    for term in range(TERMS):
        found = slope(
            field, pairs, weights, term, channel, z + from_z, row + from_y, column + from_x, inside,
            depth, height, width, JOINT, PAIRS, LINES, COLUMNS,
        )  # fmt: skip
        total += tl.load(factors + term) * (found * found if POWER == SQUARE else tl.abs(found))
    total = tl.where(inside, total * tl.load(scales + map % maps), 0)
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


@triton.jit(do_not_specialize=VARYING)
def gradient(
    field, mask, pairs, taps, weights, tap_weights, factors, scales, upstream, result, lines, components, maps, shared,
    depth, height, width, from_z, from_y, from_x, inner_z, inner_y, inner_x,
    POWER: tl.constexpr, JOINT: tl.constexpr, MASKED: tl.constexpr, REDUCED: tl.constexpr,
    TERMS: tl.constexpr, PAIRS: tl.constexpr, TAPS: tl.constexpr, LINES: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """What every voxel is given by the stencils that touch it."""
    volume, z, row, column, inside = place(0, depth, lines, height, width, LINES, COLUMNS)
    at = ((volume * depth + z) * height + row) * width + column
    map = volume // components * maps if JOINT else volume
    channel = volume // components * components if JOINT else volume
    total = tl.zeros((LINES, COLUMNS), weights.dtype.element_ty)
    for number in range(TERMS * TAPS):
        term, tap = number // TAPS, taps + number * TAP
        weight = tl.load(tap_weights + number)
        # the centre of the stencil, in the interior
        i, j, k = z - tl.load(tap) - from_z, row - tl.load(tap + 1) - from_y, column - tl.load(tap + 2) - from_x
        seen = inside & (i >= 0) & (i < inner_z) & (j >= 0) & (j < inner_y) & (k >= 0) & (k < inner_x)
        if JOINT:
            seen = seen & (volume % components == tl.load(tap + 3))
        if MASKED:
            mask_at = ((map // shared * inner_z + i) * inner_y + j) * inner_x + k
            share = tl.load(mask + mask_at, mask=seen, other=0)
            seen = seen & (share > 0)
        found = slope(
            field, pairs, weights, term, channel, i + from_z, j + from_y, k + from_x, seen, depth, height, width,
            JOINT, PAIRS, LINES, COLUMNS,
        )  # fmt: skip
        if POWER == SQUARE:
            rate = 2 * found
        else:
            rate = tl.where(found > 0, 1, tl.where(found < 0, -1, found))  # 0 at 0, and NaN stays
        scale = tl.load(upstream + map) if REDUCED else tl.load(
            upstream + ((map * inner_z + i) * inner_y + j) * inner_x + k, mask=seen, other=0
        )  # fmt: skip
        rate = weight * tl.load(factors + term) * rate * scale * (share if MASKED else 1)
        total += tl.where(seen, rate, 0)
    tl.store(result + at, total * tl.load(scales + map % maps), mask=inside)
