"""The Triton kernels of ``local_moments`` and ``local_ssim``: separable windows, axis by axis.

Volumes are planes of rows of columns, and a program has some columns of some rows, of whichever planes and volumes
these are. ``products`` sums along the rows, ``smooth`` along another axis, and ``score`` along the last one, where the
sums become the result, or three maps p, q and r: with u = y for the correlation and u = x - y for SSIM, the gradient is
u k*p + x k*q - k*r, which ``slope`` computes. A scratch map holds plane z of a volume at z modulo its ring.
"""

from __future__ import annotations

import triton
import triton.language as tl

from medloss.ops.kernel import place

CORRELATION, SSIM = tl.constexpr(0), tl.constexpr(1)
VALUES, SUMS, ADJOINTS = tl.constexpr(0), tl.constexpr(1), tl.constexpr(2)
NUMBERS = tl.constexpr(8)
"""Of each volume: the levels that are taken off, and what the maps have of a voxel beyond the border."""
VARYING = ["first", "planes", "lines", "start"]


@triton.jit
def voxel(input, target, mask, at, mask_at, seen, real: tl.constexpr, MASKED: tl.constexpr):
    """Both images and the weight; zeros where there is no voxel, and where it weighs nothing, whatever lies there."""
    weight = seen.to(real)
    if MASKED:
        weight = tl.load(mask + mask_at, mask=seen, other=0).to(real)
        seen = seen & (weight > 0)
    x = tl.load(input + at, mask=seen, other=0).to(real)
    y = tl.load(target + at, mask=seen, other=0).to(real)
    return x, y, weight


@triton.jit
def keep(at, stride, a, b, c, there):
    """Three maps, one stride apart, which may be more than 32 bits hold when doubled."""
    tl.store(at, a, mask=there)
    tl.store(at + stride, b, mask=there)
    at += stride
    tl.store(at + stride, c, mask=there)


@triton.jit
def level_sums(input, target, mask, partials, blocks, voxels, shared, MASKED: tl.constexpr, BLOCK: tl.constexpr):
    """Weighted sums of both images, and of the weights, over a block of a volume."""
    program = tl.program_id(0).to(tl.int64)
    volume, inner = program // blocks, program % blocks * BLOCK + tl.arange(0, BLOCK)
    at, mask_at = volume * voxels + inner, volume // shared * voxels + inner
    x, y, weight = voxel(input, target, mask, at, mask_at, inner < voxels, partials.dtype.element_ty, MASKED)
    keep(partials + program * 3, 1, tl.sum(x * weight), tl.sum(y * weight), tl.sum(weight), True)


@triton.jit
def settle(partials, level, blocks, KIND: tl.constexpr, WEIGHED: tl.constexpr, BLOCKS: tl.constexpr):
    """The means of a volume, and what a zero beyond its border is once they are taken off."""
    volume = tl.program_id(0).to(tl.int64)
    block = tl.arange(0, BLOCKS)
    at = partials + (volume * blocks + block) * 3
    mass = tl.sum(tl.load(at + 2, mask=block < blocks, other=0))
    mass = tl.where(mass > 0, mass, 1)
    mean_x = tl.sum(tl.load(at, mask=block < blocks, other=0)) / mass
    mean_y = tl.sum(tl.load(at + 1, mask=block < blocks, other=0)) / mass
    level += volume * NUMBERS
    tl.store(level, mean_x)
    tl.store(level + 1, mean_y)
    x, y = -mean_x, -mean_y
    if WEIGHED:
        x, y = x * 0, y * 0
    u = y if KIND == CORRELATION else x - y
    keep(level + 2, 1, x, u, x * x, True)
    keep(level + 5, 1, y * y, x * u if KIND == CORRELATION else u * u, x * 0, True)


@triton.jit(do_not_specialize=VARYING)
def products(
    input, target, mask, level, weights, maps, stride, first, planes, lines, start, depth, height, width, ring, shared,
    KIND: tl.constexpr, WEIGHED: tl.constexpr, MASKED: tl.constexpr, LENGTH: tl.constexpr,
    LINES: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """Sums along the rows of x, u, xx, yy, and xu or uu (and of the weights)."""
    volume, z, row, column, inside = place(first, planes, lines, height, width, LINES, COLUMNS)
    source = volume + start
    real: tl.constexpr = level.dtype.element_ty
    line = (source * depth + z) * height * width + row * width
    mask_line = (source // shared * depth + z) * height * width + row * width
    level_x, level_y = tl.load(level + source * NUMBERS), tl.load(level + source * NUMBERS + 1)
    sum_x = tl.zeros((LINES, COLUMNS), real)
    sum_u, sum_xx, sum_yy, sum_xu, mass = sum_x, sum_x, sum_x, sum_x, sum_x
    there = (column < width) & (row < height)
    for tap in range(LENGTH):
        other = column + (tap - LENGTH // 2)
        seen = there & (other >= 0) & (other < width)
        x, y, weight = voxel(input, target, mask, line + other, mask_line + other, seen, real, MASKED)
        x, y = x - level_x, y - level_y
        u = y if KIND == CORRELATION else x - y
        weight = (weight if WEIGHED else tl.full((LINES, COLUMNS), 1, real)) * tl.load(weights + 1 + tap)
        sum_x += weight * x
        sum_u += weight * u
        sum_xx += weight * (x * x)
        sum_yy += weight * (y * y)
        sum_xu += weight * (x * u if KIND == CORRELATION else u * u)
        mass += weight
    at = maps + (volume * ring + z % ring) * height * width + row * width + column
    keep(at, stride, sum_x, sum_u, sum_xx, inside)
    at += stride
    at += stride
    at += stride
    tl.store(at, sum_yy, mask=inside)
    tl.store(at + stride, sum_xu, mask=inside)
    if WEIGHED:
        at += stride
        tl.store(at + stride, mass, mask=inside)


@triton.jit(do_not_specialize=VARYING)
def smooth(
    maps, result, level, weights, stride, first, planes, lines, start, height, width, ring,
    FILLED: tl.constexpr, LENGTH: tl.constexpr, AXIS: tl.constexpr, LINES: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """Windowed sums of one map along the columns (axis 1) or rows (axis 2), which the second grid axis chooses."""
    volume, z, row, column, inside = place(first, planes, lines, height, width, LINES, COLUMNS)
    number = tl.program_id(1).to(tl.int64)
    plane = number * stride + (volume * ring + z % ring) * height * width
    beyond = tl.load(weights) * 0
    if FILLED:
        beyond = tl.load(weights) * tl.load(level + (volume + start) * NUMBERS + 2 + number)
    total = tl.zeros((LINES, COLUMNS), result.dtype.element_ty)
    for tap in range(LENGTH):
        other = (row if AXIS == 1 else column) + (tap - LENGTH // 2)
        seen = inside & (other >= 0) & (other < (height if AXIS == 1 else width))
        at = plane + (other * width + column if AXIS == 1 else row * width + other)
        total += tl.load(weights + 1 + tap) * tl.load(maps + at, mask=seen, other=beyond)
    tl.store(result + plane + row * width + column, total, mask=inside)


@triton.jit
def seek(at, seen, beyond, before, FILLED: tl.constexpr):
    """A map's value; beyond the border that of a padded voxel, times the weights of the axes that went before."""
    return tl.load(at, mask=seen, other=tl.load(beyond) * before) if FILLED else tl.load(at, mask=seen, other=0)


@triton.jit
def gathered(
    maps, number, weights, stride, volume, z, row, column, inside, depth, height, width, ring,
    FILLED: tl.constexpr, WEIGHED: tl.constexpr, COUNT: tl.constexpr, LENGTH: tl.constexpr, AXIS: tl.constexpr,
    LINES: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """The sums of three or five maps (and the mass) along the last axis, planes (0) or rows (1)."""
    zero = tl.zeros((LINES, COLUMNS), weights.dtype.element_ty)
    sum_0, sum_1, sum_2, sum_3, sum_4, mass = zero, zero, zero, zero, zero, zero
    before = tl.load(weights)
    for tap in range(LENGTH):
        plane = z + (tap - LENGTH // 2) if AXIS == 0 else z
        line = row if AXIS == 0 else row + (tap - LENGTH // 2)
        seen = inside & (plane >= 0) & (plane < depth) & (line >= 0) & (line < height)
        at = maps + (volume * ring + plane % ring) * height * width + line * width + column
        weight = tl.load(weights + 1 + tap)
        sum_0 += weight * seek(at, seen, number + 2, before, FILLED)
        sum_1 += weight * seek(at + stride, seen, number + 3, before, FILLED)
        at += stride
        sum_2 += weight * seek(at + stride, seen, number + 4, before, FILLED)
        if COUNT > 3:
            at += stride
            sum_3 += weight * seek(at + stride, seen, number + 5, before, FILLED)
            at += stride
            sum_4 += weight * seek(at + stride, seen, number + 6, before, FILLED)
        if WEIGHED:
            at += stride
            mass += weight * tl.load(at + stride, mask=seen, other=0)
    return sum_0, sum_1, sum_2, sum_3, sum_4, mass


@triton.jit
def spread(total, squares, mass, ROUNDING: tl.constexpr):
    """Variance times mass, and where it is no more than rounding: 0 there, as for a constant."""
    found = squares - total * total / mass
    flat = found <= ROUNDING * squares
    return tl.where(flat, 0, found), flat


@triton.jit
def correlation(sum_x, sum_y, sum_xx, sum_yy, sum_xy, mass, nr, dr, ROUNDING: tl.constexpr):
    """The squared correlation of each window, and p, q, r."""
    var_x, flat_x = spread(sum_x, sum_xx, mass, ROUNDING)
    var_y, flat_y = spread(sum_y, sum_yy, mass, ROUNDING)
    cross = tl.where(flat_x | flat_y, 0, sum_xy - sum_x * sum_y / mass)
    clamped = var_x < dr  # by selection, which keeps NaN
    var_x, var_y = tl.where(clamped, dr, var_x), tl.where(var_y < dr, dr, var_y)
    value = (cross * cross + nr) / (var_x * var_y)
    p = 2 * cross / (var_x * var_y)
    q = tl.where(clamped | flat_x, 0, -2 * value / var_x)
    return value, p, q, (p * sum_y + q * sum_x) / mass


@triton.jit
def fraction(part, whole):
    """``part / whole``, and 0 where the whole is 0."""
    return tl.where(whole != 0, part, 0) / tl.where(whole != 0, whole, 1)


@triton.jit
def structure(
    sum_x, sum_d, sum_xx, sum_yy, sum_dd, mass, level_x, level_y, c1, c2,
    ROUNDING: tl.constexpr, LUMINANCE: tl.constexpr,
):  # fmt: skip
    """One minus the structural similarity of each window, and p, q, r."""
    var_x, flat_x = spread(sum_x, sum_xx, mass, ROUNDING)
    var_y, _ = spread(sum_x - sum_d, sum_yy, mass, ROUNDING)
    var_d, flat_d = spread(sum_d, sum_dd, mass, ROUNDING)
    whole = (var_x + var_y) / mass + c2
    unlike, light, tilt = fraction(var_d / mass, whole), mass * 0, mass * 0
    if LUMINANCE:
        mean_x, mean_d = sum_x / mass + level_x, sum_d / mass + (level_x - level_y)
        energy = mean_x * mean_x + (mean_x - mean_d) * (mean_x - mean_d) + c1
        light = fraction(mean_d * mean_d, energy)
        tilt = (1 - unlike) * fraction(2 * (mean_d - light * mean_x), energy)
    value = light + unlike - light * unlike
    beyond = (value < 0) | (value > 2)  # by rounding alone
    share = 2 * (1 - light) / mass
    p = tl.where(flat_d | beyond, 0, fraction(share, whole))
    q = tl.where(flat_x | beyond, 0, fraction(-share * unlike, whole))
    r = (p * sum_d + q * sum_x - tl.where(beyond, 0, tilt)) / mass
    return tl.where(value < 0, 0, tl.where(value > 2, 2, value)), p, q, r


@triton.jit(do_not_specialize=VARYING)
def score(
    maps, level, weights, constants, mask, upstream, result, stride, first, planes, lines, start, depth, height, width,
    ring, shared, margin_z, margin_y, margin_x,
    KIND: tl.constexpr, WEIGHED: tl.constexpr, MASKED: tl.constexpr, LUMINANCE: tl.constexpr, ROUNDING: tl.constexpr,
    WANTED: tl.constexpr, REDUCED: tl.constexpr, LENGTH: tl.constexpr, AXIS: tl.constexpr,
    LINES: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """The last axis: windows become values, or their sums over a part of a row, or the maps of the adjoint."""
    volume, z, row, column, there = place(first, planes, lines, height, width, LINES, COLUMNS)
    source, number = volume + start, level + (volume + start) * NUMBERS
    sum_x, sum_u, sum_xx, sum_yy, sum_xu, mass = gathered(
        maps, number, weights, stride, volume, z, row, column, there, depth, height, width, ring,
        not WEIGHED, WEIGHED, 5, LENGTH, AXIS, LINES, COLUMNS,
    )  # fmt: skip
    mass = tl.where(mass > 0, mass, 1) if WEIGHED else mass + tl.load(constants + 2)
    x, y, a, b = tl.load(number), tl.load(number + 1), tl.load(constants), tl.load(constants + 1)
    if KIND == CORRELATION:
        value, p, q, r = correlation(sum_x, sum_u, sum_xx, sum_yy, sum_xu, mass, a, b, ROUNDING)
    else:
        value, p, q, r = structure(sum_x, sum_u, sum_xx, sum_yy, sum_xu, mass, x, y, a, b, ROUNDING, LUMINANCE)
    inside = there & (z >= margin_z) & (z < depth - margin_z) & (row >= margin_y) & (row < height - margin_y)
    inside = inside & (column >= margin_x) & (column < width - margin_x)
    at = (source * (depth - 2 * margin_z) + z - margin_z) * (height - 2 * margin_y) + row - margin_y
    at = at * (width - 2 * margin_x) + column - margin_x
    weight = inside.to(value.dtype)
    if MASKED:
        mask_at = (source // shared * depth + z) * height * width + row * width + column
        weight = tl.load(mask + mask_at, mask=inside, other=0).to(value.dtype)
    if WANTED == ADJOINTS:
        scale = weight * (tl.load(upstream + source) if REDUCED else tl.load(upstream + at, mask=inside, other=0))
        p, q = tl.where(weight > 0, p * scale, 0), tl.where(weight > 0, q * scale, 0)
        to = result + (volume * ring + z % ring) * height * width + row * width + column
        keep(to, stride, p, q, tl.where(weight > 0, r * scale, 0), there)
    else:
        value = tl.where(weight > 0, value * weight, 0)  # by selection: an empty window may have no value
        across = tl.cdiv(width, COLUMNS)
        line = tl.program_id(0) // across * LINES + tl.arange(0, LINES)
        if WANTED == SUMS:
            tl.store(result + line * across + tl.program_id(0) % across, tl.sum(value, 1), mask=line < lines)
        else:
            tl.store(result + at, value, mask=inside)


@triton.jit(do_not_specialize=VARYING)
def slope(
    input, target, mask, level, weights, maps, result, stride, first, planes, lines, start, depth, height, width, ring,
    shared, KIND: tl.constexpr, MASKED: tl.constexpr, LENGTH: tl.constexpr, AXIS: tl.constexpr,
    LINES: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """The last axis of the adjoint, and the gradient of the input."""
    volume, z, row, column, inside = place(first, planes, lines, height, width, LINES, COLUMNS)
    source, number = volume + start, level + (volume + start) * NUMBERS
    p, q, r, _, _, _ = gathered(
        maps, number, weights, stride, volume, z, row, column, inside, depth, height, width, ring,
        False, False, 3, LENGTH, AXIS, LINES, COLUMNS,
    )  # fmt: skip
    at = (source * depth + z) * height * width + row * width + column
    mask_at = (source // shared * depth + z) * height * width + row * width + column
    x, y, weight = voxel(input, target, mask, at, mask_at, inside, level.dtype.element_ty, MASKED)
    x, y = x - tl.load(number), y - tl.load(number + 1)
    found = (y if KIND == CORRELATION else x - y) * p + x * q - r
    tl.store(result + at, tl.where(weight > 0, found * weight, 0) if MASKED else found, mask=inside)
