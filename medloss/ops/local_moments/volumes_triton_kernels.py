"""The Triton kernels without a sliding window: levels of the volumes, sums of the results, products over windows."""

# ruff: noqa: RUF005 (Triton joins tuples, and unpacks none)

from __future__ import annotations

import triton
import triton.language as tl

from medloss.ops.local_moments.windows_triton_kernels import CORRELATION, NUMBERS, SIGNED, voxel


@triton.jit
def weighted_sums(input, target, mask, at, mask_at, seen, real: tl.constexpr, MASKED: tl.constexpr):
    """Of both images, and of the weights."""
    x, y, weight = voxel(input + at, target + at, mask + mask_at, seen, real, MASKED)
    return tl.sum(x * weight, 0), tl.sum(y * weight, 0), tl.sum(weight, 0)


@triton.jit
def level_sums(input, target, mask, partials, blocks, voxels, shared, MASKED: tl.constexpr, BLOCK: tl.constexpr):
    """Weighted sums of both images, and of the weights, over a block of a volume."""
    program = tl.program_id(0).to(tl.int64)
    volume, inner = program // blocks, program % blocks * BLOCK + tl.arange(0, BLOCK)
    at, mask_at = volume * voxels + inner, volume // shared * voxels + inner
    x, y, mass = weighted_sums(input, target, mask, at, mask_at, inner < voxels, partials.dtype.element_ty, MASKED)
    tl.store(partials + program * 3, x)
    tl.store(partials + program * 3 + 1, y)
    tl.store(partials + program * 3 + 2, mass)


@triton.jit
def numbers_of(level, sum_x, sum_y, mass, KIND: tl.constexpr, WEIGHED: tl.constexpr):
    """The means of a volume, and what a zero beyond its border is once they are taken off."""
    mass = tl.where(mass > 0, mass, 1)
    tl.store(level, sum_x / mass)
    tl.store(level + 1, sum_y / mass)
    x, y = -(sum_x / mass), -(sum_y / mass)
    if WEIGHED:
        x, y = x * 0, y * 0
    same: tl.constexpr = (KIND == CORRELATION) | (KIND == SIGNED)
    u = y if same else x - y
    tl.store(level + 2, x)
    tl.store(level + 3, u)
    tl.store(level + 4, x * x)
    tl.store(level + 5, y * y)
    tl.store(level + 6, x * u if same else u * u)
    tl.store(level + 7, x * 0)


@triton.jit
def settle(partials, level, blocks, KIND: tl.constexpr, WEIGHED: tl.constexpr, BLOCKS: tl.constexpr):
    """The numbers of a volume from its blocks."""
    volume, block = tl.program_id(0).to(tl.int64), tl.arange(0, BLOCKS)
    at, seen = partials + (volume * blocks + block) * 3, block < blocks
    sum_x, sum_y = tl.sum(tl.load(at, mask=seen, other=0), 0), tl.sum(tl.load(at + 1, mask=seen, other=0), 0)
    numbers_of(level + volume * NUMBERS, sum_x, sum_y, tl.sum(tl.load(at + 2, mask=seen, other=0), 0), KIND, WEIGHED)


@triton.jit
def level_of(
    input, target, mask, level, voxels, shared,
    KIND: tl.constexpr, WEIGHED: tl.constexpr, MASKED: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """The numbers of a volume that one program goes through."""
    volume = tl.program_id(0).to(tl.int64)
    real: tl.constexpr = level.dtype.element_ty
    zero = tl.zeros((BLOCK,), real)
    sum_x, sum_y, mass = zero, zero, zero
    for first in range(0, voxels, BLOCK):
        inner = first + tl.arange(0, BLOCK)
        at, mask_at = volume * voxels + inner, volume // shared * voxels + inner
        x, y, weight = voxel(input + at, target + at, mask + mask_at, inner < voxels, real, MASKED)
        sum_x += x * weight
        sum_y += y * weight
        mass += weight
    numbers_of(level + volume * NUMBERS, tl.sum(sum_x, 0), tl.sum(sum_y, 0), tl.sum(mass, 0), KIND, WEIGHED)


@triton.jit(do_not_specialize=["parts"])
def finish(partials, result, parts, BLOCK: tl.constexpr):
    """The parts of a volume's sum, added in a fixed order and in double."""
    volume = tl.program_id(0).to(tl.int64)
    total = tl.zeros((BLOCK,), tl.float64)
    for first in range(0, parts, BLOCK):
        part = first + tl.arange(0, BLOCK)
        total += tl.load(partials + volume * parts + part, mask=part < parts, other=0).to(tl.float64)
    tl.store(result + volume, tl.sum(total, 0).to(result.dtype.element_ty))


@triton.jit
def factors_of(factors, at, stride, inside, COUNT: tl.constexpr):
    """One minus the factor of each window."""
    found = ()
    for _ in tl.static_range(COUNT):
        found = found + (tl.load(factors + at, mask=inside, other=0),)
        at += stride
    return found


@triton.jit
def unlike(found, COUNT: tl.constexpr):
    """One minus the product, with the digits of a small one."""
    total = found[0]
    for m in tl.static_range(1, COUNT):
        total = total + found[m] - total * found[m]
    return total


@triton.jit
def product(
    factors, mask, result, stride, voxels, shared,
    COUNT: tl.constexpr, MASKED: tl.constexpr, SUMS: tl.constexpr, TILE: tl.constexpr,
):  # fmt: skip
    """The value at every voxel from the factors of the windows, or their sums, one to a program."""
    tiles, program = tl.cdiv(voxels, TILE), tl.program_id(0).to(tl.int64)
    volume, inner = program // tiles, program % tiles * TILE + tl.arange(0, TILE)
    at, inside = volume * voxels + inner, inner < voxels
    value = unlike(factors_of(factors, at, stride, inside, COUNT), COUNT)
    value = tl.where(value < 0, 0, tl.where(value > 2, 2, value))
    if MASKED:
        weight = tl.load(mask + volume // shared * voxels + inner, mask=inside, other=0).to(value.dtype)
        value = tl.where(weight > 0, value * weight, 0)
    if SUMS:
        tl.store(result + program, tl.sum(tl.where(inside, value, 0), 0))
    else:
        tl.store(result + at, value, mask=inside)


@triton.jit
def shares(
    factors, mask, upstream, stride, voxels, shared,
    COUNT: tl.constexpr, MASKED: tl.constexpr, REDUCED: tl.constexpr, TILE: tl.constexpr,
):  # fmt: skip
    """The gradient of each window's factor, in its place: that of the value, times all the other factors."""
    tiles, program = tl.cdiv(voxels, TILE), tl.program_id(0).to(tl.int64)
    volume, inner = program // tiles, program % tiles * TILE + tl.arange(0, TILE)
    at, inside = volume * voxels + inner, inner < voxels
    found = factors_of(factors, at, stride, inside, COUNT)
    value = unlike(found, COUNT)
    before = tl.load(upstream + volume) if REDUCED else tl.load(upstream + at, mask=inside, other=0)
    before = tl.where((value < 0) | (value > 2), 0, before)  # beyond by rounding alone
    if MASKED:
        weight = tl.load(mask + volume // shared * voxels + inner, mask=inside, other=0).to(value.dtype)
        before = tl.where(weight > 0, before * weight, 0)
    for m in tl.static_range(COUNT):
        others = before
        for n in tl.static_range(m + 1, COUNT):
            others = others * (1 - found[n])
        tl.store(factors + at, others, mask=inside)
        before = before * (1 - found[m])
        at += stride
