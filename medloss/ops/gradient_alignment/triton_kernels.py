"""The Triton kernels of ``gradient_alignment``: sums over parts of rows, values, and a gradient that gathers.

Derivatives are computed where they are wanted, from loads that the cache holds, and never stored. For its gradient a
voxel computes anew those of its neighbours, which are made of it, too: no two programs write to one voxel.
"""

from __future__ import annotations

import triton
import triton.language as tl

from medloss.ops.triton_functions import part, place

VARYING = ["lines", "shared", "depth", "height"]
"""Of a new shape: none of them is worth a kernel of its own, as the width is."""


@triton.jit
def voxel(
    input, target, mask, spot, sizes, real: tl.constexpr, MASKED: tl.constexpr,
    Z: tl.constexpr, Y: tl.constexpr, X: tl.constexpr,
):  # fmt: skip
    """Values of both images and the weight, Z, Y and X voxels off; zeros where there is none, or it weighs nothing."""
    at, mask_at, z, row, column, seen = spot
    depth, height, width = sizes
    if Z != 0:
        seen = seen & (z + Z >= 0) & (z + Z < depth)
    if Y != 0:
        seen = seen & (row + Y >= 0) & (row + Y < height)
    if X != 0:
        seen = seen & (column + X >= 0) & (column + X < width)
    off = (tl.cast(Z, tl.int64) * height + Y) * width + X
    weight = seen.to(real)
    if MASKED:
        weight = tl.load(mask + (mask_at + off), mask=seen, other=0).to(real)
        seen = seen & (weight > 0)
    x = tl.load(input + (at + off), mask=seen, other=0).to(real)
    return x, tl.load(target + (at + off), mask=seen, other=0).to(real), weight


@triton.jit
def derivatives(input, target, mask, scales, spot, sizes, own, MASKED: tl.constexpr, AXIS: tl.constexpr):
    """Those of both images along an axis, at voxels that are given as their own; and who makes them up.

    These are the factor on a difference, and how often it counts the voxel itself, with its sign: 1, 0 or -1 times.
    """
    x, y, w = own
    x_next, y_next, w_next = voxel(
        input, target, mask, spot, sizes, x.dtype, MASKED, 0 + (AXIS == 0), 0 + (AXIS == 1), 0 + (AXIS == 2)
    )  # fmt: skip
    x_last, y_last, w_last = voxel(
        input, target, mask, spot, sizes, x.dtype, MASKED, 0 - (AXIS == 0), 0 - (AXIS == 1), 0 - (AXIS == 2)
    )  # fmt: skip
    on, back = (w > 0) & (w_next > 0), (w > 0) & (w_last > 0)
    scale = tl.load(scales + AXIS)
    share = tl.where(on & back, scale / 2, scale)
    g = share * (tl.where(on, x_next - x, 0) + tl.where(back, x - x_last, 0))
    h = share * (tl.where(on, y_next - y, 0) + tl.where(back, y - y_last, 0))
    return g, h, share, back.to(x.dtype) - on.to(x.dtype)


@triton.jit
def products(input, target, mask, scales, spot, sizes, RANK: tl.constexpr, MASKED: tl.constexpr):
    """The squares of both gradients, their product, and the weight."""
    own = voxel(input, target, mask, spot, sizes, scales.dtype.element_ty, MASKED, 0, 0, 0)
    xx, yy, xy = tl.zeros_like(own[0]), tl.zeros_like(own[0]), tl.zeros_like(own[0])
    for axis in tl.static_range(3 - RANK, 3):
        g, h, _, _ = derivatives(input, target, mask, scales, spot, sizes, own, MASKED, axis)
        xx, yy, xy = xx + g * g, yy + h * h, xy + g * h
    return xx, yy, xy, own[2]


@triton.jit
def inverse_length(square, energy, real: tl.constexpr):
    """One over the length of a gradient, its edge included; a constant image has none, which would be 1 / 0."""
    least: tl.constexpr = 2.2250738585072014e-308 if real == tl.float64 else 1.17549435e-38
    square += energy.to(real)
    return tl.rsqrt(tl.where(square < least, least, square))


@triton.jit
def spot_of(lines, shared, sizes, LINES: tl.constexpr, COLUMNS: tl.constexpr):
    """The volumes of a program's voxels; and where these lie in the images, in the mask, and in their volume."""
    depth, height, width = sizes
    volume, z, row, column, inside = place(0, depth, lines, height, width, LINES, COLUMNS)
    inner = (z.to(tl.int64) * height + row) * width + column
    at, mask_at = volume * depth * height * width + inner, volume // shared * depth * height * width + inner
    return volume, (at, mask_at, z, row, column, inside)


@triton.jit(do_not_specialize=VARYING)
def energies(
    input, target, mask, scales, parts, lines, shared, depth, height, width,
    RANK: tl.constexpr, MASKED: tl.constexpr, LINES: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """Of parts of rows: the squares of both images' gradients and the mass, each weighted."""
    sizes = (depth, height, width)
    _, spot = spot_of(lines, shared, sizes, LINES, COLUMNS)
    xx, yy, _, w = products(input, target, mask, scales, spot, sizes, RANK, MASKED)
    to, there = part(parts, 3, lines, width, LINES, COLUMNS)
    tl.store(to, tl.sum(xx * w, 1), mask=there)
    tl.store(to + 1, tl.sum(yy * w, 1), mask=there)
    tl.store(to + 2, tl.sum(w, 1), mask=there)


@triton.jit(do_not_specialize=VARYING)
def values(
    input, target, mask, scales, energy, upstream, result, lines, shared, depth, height, width,
    SUMS: tl.constexpr, WEIGHTED: tl.constexpr, RANK: tl.constexpr, MASKED: tl.constexpr,
    LINES: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """The map; or (SUMS) of parts of rows its sum, and by how much it grows with the energy of either image.

    WEIGHTED: that growth times what each voxel is given.
    """
    real: tl.constexpr = scales.dtype.element_ty
    sizes = (depth, height, width)
    volume, spot = spot_of(lines, shared, sizes, LINES, COLUMNS)
    xx, yy, xy, w = products(input, target, mask, scales, spot, sizes, RANK, MASKED)
    a = inverse_length(xx, tl.load(energy + volume * 2), real)
    b = inverse_length(yy, tl.load(energy + volume * 2 + 1), real)
    cosine = xy * a * b
    square = cosine * cosine
    value = tl.where(w > 0, w * (1 - square), 0)
    if SUMS:
        growth = w * square
        if WEIGHTED:
            growth = growth * tl.load(upstream + spot[0], mask=w > 0, other=0)
        growth = tl.where((w > 0) & (square != 0), growth, 0)
        to, there = part(result, 3, lines, width, LINES, COLUMNS)
        tl.store(to, tl.sum(value, 1), mask=there)
        tl.store(to + 1, tl.sum(growth * a * a, 1), mask=there)
        tl.store(to + 2, tl.sum(growth * b * b, 1), mask=there)
    else:
        tl.store(result + spot[0], value, mask=spot[5])


@triton.jit
def flow(
    input, target, mask, scales, energy, pull, upstream, volume, spot, sizes, axis,
    OWN: tl.constexpr, MAP: tl.constexpr, RANK: tl.constexpr, MASKED: tl.constexpr,
):  # fmt: skip
    """What the input's derivative along an axis hands to its differences; or what all of them hand to their OWN voxel.

    And whether this counts.
    """
    own = voxel(input, target, mask, spot, sizes, scales.dtype.element_ty, MASKED, 0, 0, 0)
    w, none = own[2], tl.zeros_like(own[2])
    xx, yy, xy, x_share, y_share = none, none, none, none, none
    for each in tl.static_range(3 - RANK, 3):
        g, h, share, itself = derivatives(input, target, mask, scales, spot, sizes, own, MASKED, each)
        xx, yy, xy = xx + g * g, yy + h * h, xy + g * h
        share = share * itself if OWN else tl.where(axis == each, share, 0)
        x_share, y_share = x_share + share * g, y_share + share * h
    a = inverse_length(xx, tl.load(energy + volume * 2), w.dtype)
    b = inverse_length(yy, tl.load(energy + volume * 2 + 1), w.dtype)
    cosine = xy * a * b
    given = tl.load(upstream + spot[0], mask=w > 0, other=0) if MAP else tl.load(upstream + volume)
    turn = -2 * w * cosine * given * a
    rate = w * tl.load(pull + volume).to(w.dtype) - turn * cosine * a
    return tl.where(w > 0, rate * x_share + turn * b * y_share, 0), w > 0


@triton.jit
def moved(spot, sizes, axis, way):
    """The next (way 1) or the last (-1) voxels along an axis, as far as there are any."""
    at, mask_at, z, row, column, inside = spot
    depth, height, width = sizes
    on_z, on_row, on_column = tl.where(axis == 0, way, 0), tl.where(axis == 1, way, 0), tl.where(axis == 2, way, 0)
    off = (on_z.to(tl.int64) * height + on_row) * width + on_column
    z, row, column = z + on_z, row + on_row, column + on_column
    inside = inside & (z >= 0) & (z < depth) & (row >= 0) & (row < height) & (column >= 0) & (column < width)
    return at + off, mask_at + off, z, row, column, inside


@triton.jit(do_not_specialize=VARYING)
def gradient(
    input, target, mask, scales, energy, pull, upstream, result, lines, shared, depth, height, width,
    MAP: tl.constexpr, RANK: tl.constexpr, MASKED: tl.constexpr, LINES: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """What every voxel of the input is given by the derivatives before, behind and at it."""
    sizes = (depth, height, width)
    volume, spot = spot_of(lines, shared, sizes, LINES, COLUMNS)
    total, counts = flow(
        input, target, mask, scales, energy, pull, upstream, volume, spot, sizes, 0, True, MAP, RANK, MASKED
    )  # fmt: skip
    for number in range(2 * RANK):  # not unrolled, as all the neighbours' neighbours are more than registers hold
        axis, way = 3 - RANK + number // 2, 1 - number % 2 * 2
        neighbour = moved(spot, sizes, axis, way)
        given, _ = flow(
            input, target, mask, scales, energy, pull, upstream, volume, neighbour, sizes, axis,
            False, MAP, RANK, MASKED,
        )  # fmt: skip
        total -= way * given
    tl.store(result + spot[0], tl.where(counts, total, 0), mask=spot[5])
