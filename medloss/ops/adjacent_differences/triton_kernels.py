"""The Triton kernels of ``adjacent_differences``: sums over parts of rows, and a gradient that gathers from the pairs.

A pair of neighbours is known by the one before. Nothing is stored between the image and the result.
"""

from __future__ import annotations

import triton
import triton.language as tl

from medloss.ops.triton_functions import part, place

ABSOLUTE, MAGNITUDE, SQUARE, ISOTROPIC = (tl.constexpr(number) for number in range(4))
"""The penalties; of magnitudes by their exponents 1 and 2."""
VARYING = ["lines", "shared", "depth", "height"]
"""Of a new shape: none of them is worth a kernel of its own, as the width is."""


@triton.jit
def sign(value):
    """0 at 0, and NaN stays one."""
    return tl.where(value > 0, 1, tl.where(value < 0, -1, value))


@triton.jit
def voxel(image, mask, at, mask_at, seen, real: tl.constexpr, MASKED: tl.constexpr):
    """A value and its weight; zeros where there is none, or it weighs nothing."""
    weight = seen.to(real)
    if MASKED:
        weight = tl.load(mask + mask_at, mask=seen, other=0).to(real)
    return tl.load(image + at, mask=seen & (weight > 0), other=0).to(real), weight


@triton.jit
def pair(
    input, target, mask, at, mask_at, step, there, scale,
    real: tl.constexpr, PENALTY: tl.constexpr, MASKED: tl.constexpr,
):  # fmt: skip
    """The differences of both images along an axis, and the weight of the pair, which is the lesser one."""
    x, weight = voxel(input, mask, at, mask_at, there, real, MASKED)
    next, other = voxel(input, mask, at + step, mask_at + step, there, real, MASKED)
    d, e = scale * (next - x), tl.zeros(x.shape, real)
    if (PENALTY == MAGNITUDE) | (PENALTY == SQUARE):
        y, _ = voxel(target, mask, at, mask_at, there, real, MASKED)
        next, _ = voxel(target, mask, at + step, mask_at + step, there, real, MASKED)
        e = scale * (next - y)
    return d, e, tl.where(weight < other, weight, other)


@triton.jit
def along(z, row, column, depth, height, width, AXIS: tl.constexpr):
    """The place on an axis, its length, and how far off the next voxel lies."""
    if AXIS == 0:
        found, size, step = z, depth, height * width
    elif AXIS == 1:
        found, size, step = row, height, width
    else:
        found, size, step = column, width, 1
    return found, size, step


@triton.jit
def length(
    input, mask, scales, at, mask_at, z, row, column, seen, depth, height, width,
    RANK: tl.constexpr, MASKED: tl.constexpr,
):  # fmt: skip
    """The length of the gradient at voxels, of the pairs with the next ones that count."""
    real: tl.constexpr = scales.dtype.element_ty
    energy = tl.zeros(at.shape, real)
    for axis in tl.static_range(3 - RANK, 3):
        here, size, step = along(z, row, column, depth, height, width, axis)
        there = seen & (here + 1 < size)
        d, _, w = pair(
            input, input, mask, at, mask_at, step, there, tl.load(scales + axis), real, ISOTROPIC, MASKED
        )  # fmt: skip
        energy += tl.where(w > 0, d * d, 0)
    return tl.sqrt(energy)


@triton.jit(do_not_specialize=VARYING)
def sums(
    input, target, mask, scales, parts, lines, shared, depth, height, width,
    PENALTY: tl.constexpr, RANK: tl.constexpr, MASKED: tl.constexpr, LINES: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """Of parts of rows: for each axis (for the length: once) what its pairs cost, and what they weigh."""
    volume, z, row, column, inside = place(0, depth, lines, height, width, LINES, COLUMNS)
    inner = (z.to(tl.int64) * height + row) * width + column
    at, mask_at = volume * depth * height * width + inner, volume // shared * depth * height * width + inner
    real: tl.constexpr = parts.dtype.element_ty
    to, stored = part(parts, 6, lines, width, LINES, COLUMNS)
    if PENALTY == ISOTROPIC:
        _, w = voxel(input, mask, at, mask_at, inside, real, MASKED)
        value = length(
            input, mask, scales, at, mask_at, z, row, column, inside, depth, height, width, RANK, MASKED
        )  # fmt: skip
        tl.store(to, tl.sum(value * w, 1), mask=stored)
        tl.store(to + 1, tl.sum(w, 1), mask=stored)
    else:
        for axis in tl.static_range(3 - RANK, 3):
            here, size, step = along(z, row, column, depth, height, width, axis)
            there = inside & (here + 1 < size)
            d, e, w = pair(
                input, target, mask, at, mask_at, step, there, tl.load(scales + axis), real, PENALTY, MASKED
            )  # fmt: skip
            value = tl.abs(d) if PENALTY == ABSOLUTE else tl.abs(tl.abs(d) - tl.abs(e))
            value = value * value if PENALTY == SQUARE else value
            tl.store(to + 2 * axis, tl.sum(value * w, 1), mask=stored)
            tl.store(to + 2 * axis + 1, tl.sum(w, 1), mask=stored)


@triton.jit
def slope(
    input, target, mask, scales, rates, at, mask_at, z, row, column, there, depth, height, width,
    AXIS: tl.constexpr, PENALTY: tl.constexpr, RANK: tl.constexpr, MASKED: tl.constexpr,
):  # fmt: skip
    """What a pair hands to the next voxel; the one before gets the same with the other sign."""
    real: tl.constexpr = scales.dtype.element_ty
    _, _, step = along(z, row, column, depth, height, width, AXIS)
    scale = tl.load(scales + AXIS)
    d, e, w = pair(input, target, mask, at, mask_at, step, there, scale, real, PENALTY, MASKED)
    if PENALTY == ISOTROPIC:
        size = length(input, mask, scales, at, mask_at, z, row, column, there, depth, height, width, RANK, MASKED)
        _, own = voxel(input, mask, at, mask_at, there, real, MASKED)
        some = (size > 0) | (size != size)  # the root has no slope at 0
        found = tl.where(some & (w > 0), own * (d / tl.where(some, size, 1)), 0)
    elif PENALTY == ABSOLUTE:
        found = w * sign(d)
    else:
        more = tl.abs(d) - tl.abs(e)
        found = w * sign(d) * (sign(more) if PENALTY == MAGNITUDE else 2 * more)
    return tl.where(there, tl.load(rates + AXIS) * scale * found, 0)


@triton.jit(do_not_specialize=VARYING)
def gradient(
    input, target, mask, scales, rates, result, lines, shared, depth, height, width,
    PENALTY: tl.constexpr, RANK: tl.constexpr, MASKED: tl.constexpr, LINES: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """What every voxel is given by the pairs before and behind it."""
    volume, z, row, column, inside = place(0, depth, lines, height, width, LINES, COLUMNS)
    inner = (z.to(tl.int64) * height + row) * width + column
    at, mask_at = volume * depth * height * width + inner, volume // shared * depth * height * width + inner
    real: tl.constexpr = scales.dtype.element_ty
    total = tl.zeros((LINES, COLUMNS), real)
    for axis in tl.static_range(3 - RANK, 3):
        here, size, step = along(z, row, column, depth, height, width, axis)
        total -= slope(
            input, target, mask, scales, rates + volume * 3, at, mask_at, z, row, column, inside & (here + 1 < size),
            depth, height, width, axis, PENALTY, RANK, MASKED,
        )  # fmt: skip
        before = (z - (axis == 0), row - (axis == 1), column - (axis == 2))
        total += slope(
            input, target, mask, scales, rates + volume * 3, at - step, mask_at - step, before[0], before[1], before[2],
            inside & (here > 0), depth, height, width, axis, PENALTY, RANK, MASKED,
        )  # fmt: skip
    _, weight = voxel(input, mask, at, mask_at, inside, real, MASKED)
    tl.store(result + at, tl.where(weight > 0, total, 0), mask=inside)
