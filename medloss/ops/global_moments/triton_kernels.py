"""The Triton kernels of ``global_moments``: moments of tiles, these joined, and the gradient of an image.

A tile has its means taken off before it is squared, and the tiles are joined in a fixed order and in double (Chan,
Golub and LeVeque, 1979): an offset of the intensities costs no digits.
"""

from __future__ import annotations

import triton
import triton.language as tl

from medloss.ops.local_moments.windows_triton_kernels import voxel


@triton.jit
def load_tile(input, target, mask, tiles, voxels, shared, REAL: tl.constexpr, MASKED: tl.constexpr, TILE: tl.constexpr):
    """Volume, place, what there is of the tile, both images and the weight; zeros where nothing may be looked at."""
    program = tl.program_id(0).to(tl.int64)
    volume, inner = program // tiles, program % tiles * TILE + tl.arange(0, TILE)
    at, inside = volume * voxels + inner, inner < voxels
    x, y, w = voxel(input + at, target + at, mask + volume // shared * voxels + inner, inside, REAL, MASKED)
    return volume, at, inside, x, y, w


@triton.jit
def centred(z, w, mass):
    """An image of a tile less its mean, what the mean lacks, and the whole of it in double.

    One of its values is taken off before they are added: of a constant image, nothing is left to be rounded.
    """
    some, least = tl.where(mass > 0, mass, 1), tl.full(z.shape, -float("inf"), z.dtype)
    level = tl.where(mass > 0, tl.max(tl.where(w > 0, z, least), 0), 0)
    mean = level + tl.sum(tl.where(w > 0, w * (z - level), 0), 0) / some
    left = tl.where(w > 0, z - mean, 0)
    rest = tl.sum(w * left, 0) / some
    return left, rest, mean.to(tl.float64) + rest.to(tl.float64)


@triton.jit
def moments(
    input, target, mask, partials, tiles, voxels, shared, MASKED: tl.constexpr, REAL: tl.constexpr, TILE: tl.constexpr
):
    """Mass, means and centred products of a tile."""
    _, _, _, x, y, w = load_tile(input, target, mask, tiles, voxels, shared, REAL, MASKED, TILE)
    mass = tl.sum(w, 0)
    u, rest_x, mean_x = centred(x, w, mass)
    v, rest_y, mean_y = centred(y, w, mass)
    to = partials + tl.program_id(0).to(tl.int64) * 6
    tl.store(to, mass.to(tl.float64))
    tl.store(to + 1, mean_x)
    tl.store(to + 2, mean_y)
    tl.store(to + 3, (tl.sum(w * u * u, 0) - mass * rest_x * rest_x).to(tl.float64))
    tl.store(to + 4, (tl.sum(w * u * v, 0) - mass * rest_x * rest_y).to(tl.float64))
    tl.store(to + 5, (tl.sum(w * v * v, 0) - mass * rest_y * rest_y).to(tl.float64))


@triton.jit
def row(partials, first, tiles, ROWS: tl.constexpr):
    """Addresses of some tiles of this program's volume, their masses, and which of them count."""
    tile = first + tl.arange(0, ROWS)
    at = partials + (tl.program_id(0).to(tl.int64) * tiles + tile) * 6
    mass = tl.load(at, tile < tiles, 0)
    return at, mass, mass > 0


@triton.jit
def is_flat(squares, mass, mean, REAL: tl.constexpr):
    """Whether squares are no more than the rounding of an image whose mean is off by the digits that it lacks."""
    off = mean - mean.to(REAL).to(tl.float64)
    few: tl.constexpr = 32 * 2.220446049250313e-16 if REAL.primitive_bitwidth == 64 else 32 * 1.1920929e-7
    return squares <= few * (squares + mass * off * off)


@triton.jit(do_not_specialize=["tiles"])
def join(partials, result, levels, tiles, ROWS: tl.constexpr):
    """A volume's moments from its tiles, and what its gradients need: means, and rates that are 0 for constants."""
    low = tl.full((ROWS,), -float("inf"), tl.float64)
    zero = tl.zeros((ROWS,), tl.float64)
    level_x, level_y, masses = low, low, zero
    for first in range(0, tiles, ROWS):
        at, n, counts = row(partials, first, tiles, ROWS)
        masses += n
        level_x = tl.maximum(level_x, tl.load(at + 1, counts, -float("inf")))
        level_y = tl.maximum(level_y, tl.load(at + 2, counts, -float("inf")))
    mass = tl.sum(masses, 0)
    some = tl.where(mass > 0, mass, 1)
    level_x, level_y = tl.where(mass > 0, tl.max(level_x, 0), 0), tl.where(mass > 0, tl.max(level_y, 0), 0)
    sum_x, sum_y = zero, zero
    for first in range(0, tiles, ROWS):
        at, n, counts = row(partials, first, tiles, ROWS)
        sum_x += tl.where(counts, n * (tl.load(at + 1, counts, 0) - level_x), 0)
        sum_y += tl.where(counts, n * (tl.load(at + 2, counts, 0) - level_y), 0)
    mean_x, mean_y = level_x + tl.sum(sum_x, 0) / some, level_y + tl.sum(sum_y, 0) / some
    xx, xy, yy = zero, zero, zero
    for first in range(0, tiles, ROWS):
        at, n, counts = row(partials, first, tiles, ROWS)
        u = tl.where(counts, tl.load(at + 1, counts, 0) - mean_x, 0)
        v = tl.where(counts, tl.load(at + 2, counts, 0) - mean_y, 0)
        xx += tl.load(at + 3, counts, 0) + n * u * u
        xy += tl.load(at + 4, counts, 0) + n * u * v
        yy += tl.load(at + 5, counts, 0) + n * v * v
    var_x, var_y = tl.sum(xx, 0), tl.sum(yy, 0)
    real: tl.constexpr = result.dtype.element_ty
    flat_x, flat_y = is_flat(var_x, some, mean_x, real), is_flat(var_y, some, mean_y, real)
    volume = tl.program_id(0).to(tl.int64)
    to, level = result + volume * 4, levels + volume * 5
    tl.store(to, mass.to(real))
    tl.store(to + 1, tl.where(flat_x | flat_y, 0, tl.sum(xy, 0) / some).to(real))
    tl.store(to + 2, tl.where(flat_x, 0, var_x / some).to(real))
    tl.store(to + 3, tl.where(flat_y, 0, var_y / some).to(real))
    tl.store(level, mean_x)
    tl.store(level + 1, mean_y)
    tl.store(level + 2, tl.where(flat_x, 0, 2 / some))
    tl.store(level + 3, tl.where(flat_y, 0, 2 / some))
    tl.store(level + 4, tl.where(flat_x | flat_y, 0, 1 / some))


@triton.jit
def less(z, mean):
    """An image less its mean, in two parts, as one lacks digits."""
    high = mean.to(z.dtype)
    return (z - high) - (mean - high.to(tl.float64)).to(z.dtype)


@triton.jit
def gradient(
    input, target, mask, levels, grad, result, tiles, voxels, shared,
    OWN: tl.constexpr, MASKED: tl.constexpr, REAL: tl.constexpr, TILE: tl.constexpr,
):  # fmt: skip
    """The gradient of ``input``, which is the operator's (OWN 0) or its target (1), ``target`` being the other one."""
    volume, at, inside, x, y, w = load_tile(input, target, mask, tiles, voxels, shared, REAL, MASKED, TILE)
    level, up = levels + volume * 5, grad + volume * 4
    rate_x, rate_xy = tl.load(level + 2 + OWN), tl.load(level + 4)
    of_x = tl.where(rate_x > 0, rate_x * tl.load(up + 2 + OWN).to(tl.float64), 0).to(REAL)
    of_y = tl.where(rate_xy > 0, rate_xy * tl.load(up + 1).to(tl.float64), 0).to(REAL)
    slope = of_x * less(x, tl.load(level + OWN)) + of_y * less(y, tl.load(level + 1 - OWN))
    if MASKED:
        slope = tl.where(w > 0, w * slope, 0)
    tl.store(result + at, slope.to(result.dtype.element_ty), inside)
