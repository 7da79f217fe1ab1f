"""The Triton kernels over windows. ``slab_launcher.py`` says in which order they are launched, and what they move.

``plane_sums`` sums along a row and slides a window down the rows, ``score`` slides one through the planes, where the
sums become the result. In the backward pass ``adjoint`` is in its place: the sums become maps, which the same sliding
window sums along the planes again, and ``slope`` sums these along a row and down the rows, and makes the gradient of
them. ``smooth`` is for axes without a sliding window: long windows, and the adjoint of a border that mirrors. A scratch
map has ``room`` planes of some volumes, from ``low`` on.
"""

# ruff: noqa: RUF005 (Triton joins tuples, and unpacks none)

from __future__ import annotations

import triton
import triton.language as tl

from medloss.ops.local_moments.scores_triton_kernels import judge
from medloss.ops.local_moments.windows_triton_kernels import (
    ERROR,
    NUMBERS,
    SSIM,
    STRUCTURE,
    axis_slopes,
    copies,
    mirror,
    push,
    row_sums,
    voxel,
    weights_of,
)

VALUES, FACTORS, SUMS = (tl.constexpr(wanted) for wanted in range(3))
VARYING = ["first", "planes", "lines", "start", "chunk", "low", "room", "last", "part", "parts"]


@triton.jit
def place(lines, width, TILE: tl.constexpr):
    """Line and column of a program's voxels, and whether there are such."""
    at = tl.program_id(0) * TILE + tl.arange(0, TILE)
    inside = at < lines * width
    at = tl.minimum(at, lines * width - 1)
    return at // width, at % width, inside


@triton.jit
def long(number):
    """A number that may be an int of Python as one of 64 bits."""
    return tl.zeros((), tl.int64) + number


@triton.jit(do_not_specialize=VARYING)
def plane_sums(
    input, target, mask, level, weights_x, weights_y, maps, stride, first, planes, lines, start, chunk,
    depth, height, width, shared,
    MAPS: tl.constexpr, KIND: tl.constexpr, WEIGHED: tl.constexpr, MASKED: tl.constexpr, REFLECT: tl.constexpr,
    LENGTH_X: tl.constexpr, LENGTH_Y: tl.constexpr, EQUAL_X: tl.constexpr, EQUAL_Y: tl.constexpr, TILE: tl.constexpr,
):  # fmt: skip
    """Sums along rows and columns of what windows sum."""
    line, column, inside = place(lines, width, TILE)
    volume, z, plane = (start + line // planes).to(tl.int64), first + line % planes, long(height) * width
    at, mask_at = (volume * depth + z) * plane + column, (volume // shared * depth + z) * plane + column
    input, target, mask, maps = input + at, target + at, mask + mask_at, maps + line * plane + column
    level_x, level_y = tl.load(level + volume * NUMBERS), tl.load(level + volume * NUMBERS + 1)
    along, down = weights_of(weights_x, LENGTH_X), weights_of(weights_y, LENGTH_Y)
    waiting = copies(tl.zeros((TILE,), level_x.dtype), MAPS * (LENGTH_Y - 1))
    top = tl.program_id(1) * chunk
    bottom = tl.minimum(top + chunk, height)
    for y in range(top - LENGTH_Y // 2, bottom + LENGTH_Y // 2):
        row = mirror(y, height) if REFLECT else y
        offset, seen = row * width, inside & (row >= 0) & (row < height)
        sums = row_sums(
            input + offset, target + offset, mask + offset, column, width, seen, level_x, level_y, along, weights_x,
            MAPS, KIND, WEIGHED, MASKED, REFLECT, LENGTH_X, EQUAL_X,
        )  # fmt: skip
        sums, waiting = push(waiting, sums, down, LENGTH_Y, EQUAL_Y)
        done = y - LENGTH_Y // 2
        to, there = maps + done * width, inside & (done >= top)
        for m in tl.static_range(MAPS):
            tl.store(to, sums[m], mask=there)
            to += stride


@triton.jit(do_not_specialize=VARYING)
def smooth(
    maps, result, level, weights, before, stride, first, planes, lines, start, low, room, depth, height, width,
    FILLED: tl.constexpr, REFLECT: tl.constexpr, FOLD: tl.constexpr, LENGTH: tl.constexpr, AXIS: tl.constexpr,
    TILE: tl.constexpr,
):  # fmt: skip
    """Windowed sums of one map along the planes (axis 0) or rows (axis 1), which the second grid axis chooses."""
    line, inner, inside = place(lines, height * width, TILE)
    number, volume, z = tl.program_id(1).to(tl.int64), line // planes, first + line % planes
    at = number * stride + (long(volume) * room + z - low) * (long(height) * width) + inner
    if AXIS == 0:
        spot, size, step = z, depth, long(height) * width
    else:
        spot, size, step = inner // width, height, long(width)
    if REFLECT or FILLED:
        total = tl.zeros((TILE,), weights.dtype.element_ty)
        beyond = tl.load(level + (start + volume) * NUMBERS + 2 + number) * tl.load(before)
        for tap in range(LENGTH):
            other = spot + tap - LENGTH // 2
            other = mirror(other, size) if REFLECT else other
            seen = inside & (other >= 0) & (other < size)
            total += tl.load(weights + tap) * tl.load(maps + at + (other - spot) * step, mask=seen, other=beyond)
    else:
        along = weights_of(weights, LENGTH)
        total = axis_slopes(maps + at, stride, spot, size, step, inside, along, weights, 1, LENGTH, FOLD, False)[0]
    tl.store(result + at, total, mask=inside)


@triton.jit
def plane_values(
    maps, stride, s, end, low, depth, plane, inside, beyond,
    MAPS: tl.constexpr, FILLED: tl.constexpr, REFLECT: tl.constexpr,
):  # fmt: skip
    """The maps at a plane; beyond the border what they have there."""
    at = mirror(s, depth) if REFLECT else s
    seen = inside & (at >= 0) & (at < depth) & (s < end)
    maps += long(at - low) * plane
    values = ()
    for m in tl.static_range(MAPS):
        values = values + (tl.load(maps, mask=seen, other=beyond[m] if FILLED else 0),)
        maps += stride
    return values


@triton.jit
def border_values(number, before, MAPS: tl.constexpr, FILLED: tl.constexpr):
    """What the maps have of a window's rows beyond the border: that of a padded voxel, times their weights."""
    values = ()
    for m in tl.static_range(MAPS if FILLED else 0):
        values = values + (tl.load(number + 2 + m) * tl.load(before),)
    return values


@triton.jit
def tile_of(height, width, margin_y, margin_x, TILE: tl.constexpr):
    """Volume and voxels of a program that slides through planes; which count, and where they are among these."""
    tiles = tl.cdiv(height * width, TILE)
    at = tl.program_id(0) % tiles * TILE + tl.arange(0, TILE)
    row, column, inside = at // width, at % width, at < height * width
    counted = inside & (row >= margin_y) & (row < height - margin_y)
    counted = counted & (column >= margin_x) & (column < width - margin_x)
    return tl.program_id(0) // tiles, at, inside, counted, (row - margin_y) * (width - 2 * margin_x) + column - margin_x


@triton.jit(do_not_specialize=VARYING)
def score(
    maps, level, weights, before, constants, mask, result, stride, first, last, start, chunk, low, room, part, parts,
    depth, height, width, shared, margin_z, margin_y, margin_x,
    MAPS: tl.constexpr, KIND: tl.constexpr, WEIGHED: tl.constexpr, MASKED: tl.constexpr, REFLECT: tl.constexpr,
    ROUNDING: tl.constexpr, WANTED: tl.constexpr, LENGTH: tl.constexpr, EQUAL: tl.constexpr, TILE: tl.constexpr,
):  # fmt: skip
    """Windows become values, or factors, which the mask does not weigh, or sums of values, one to a program."""
    volume, at, inside, counted, inner = tile_of(height, width, margin_y, margin_x, TILE)
    source, plane = long(start + volume), long(height) * width
    maps, mask = maps + long(volume) * room * plane + at, mask + source // shared * depth * plane + at
    outer = long(height - 2 * margin_y) * (width - 2 * margin_x)
    to, number = result + (source * (depth - 2 * margin_z) - margin_z) * outer + inner, level + source * NUMBERS
    level_x, level_y, a, b = tl.load(number), tl.load(number + 1), tl.load(constants), tl.load(constants + 1)
    mass = tl.load(constants + 2)
    FILLED: tl.constexpr = not (WEIGHED or REFLECT)
    down, beyond = weights_of(weights, LENGTH), border_values(number, before, MAPS, FILLED)
    total = tl.zeros((TILE,), level.dtype.element_ty)
    waiting = copies(total, MAPS * (LENGTH - 1))
    top = first + tl.program_id(1) * chunk
    end = tl.minimum(top + chunk, last) + LENGTH // 2
    begin = top - LENGTH // 2
    ahead = plane_values(maps, stride, begin, end, low, depth, plane, inside, beyond, MAPS, FILLED, REFLECT)
    later = plane_values(maps, stride, begin + 1, end, low, depth, plane, inside, beyond, MAPS, FILLED, REFLECT)
    for s in range(begin, end):
        sums, waiting = push(waiting, ahead, down, LENGTH, EQUAL)
        ahead = later
        later = plane_values(maps, stride, s + 2, end, low, depth, plane, inside, beyond, MAPS, FILLED, REFLECT)
        z = s - LENGTH // 2
        there = counted & (z >= tl.maximum(top, margin_z)) & (z < depth - margin_z)
        value, _ = judge(sums, mass, level_x, level_y, a, b, KIND, WEIGHED, ROUNDING)
        if MASKED:  # by selection: an empty window may have no value
            weight = tl.load(mask + z * plane, mask=there, other=0).to(value.dtype)
            value = tl.where(weight > 0, value if WANTED == FACTORS else value * weight, 0)
        if WANTED == SUMS:
            total += tl.where(there, value, 0)
        else:
            tl.store(to + z * outer, value, mask=there)
    if WANTED == SUMS:
        at = source * parts + part + tl.program_id(0) % tl.cdiv(height * width, TILE) * tl.num_programs(1)
        tl.store(result + at + tl.program_id(1), tl.sum(total, 0))


@triton.jit(do_not_specialize=VARYING)
def adjoint(
    maps, level, weights, before, constants, mask, upstream, result, stride, first, last, start, chunk, low, room,
    depth, height, width, shared, margin_z, margin_y, margin_x,
    MAPS: tl.constexpr, SLOPES: tl.constexpr, KIND: tl.constexpr, WEIGHED: tl.constexpr, MASKED: tl.constexpr,
    REFLECT: tl.constexpr, ROUNDING: tl.constexpr, REDUCED: tl.constexpr, PLAIN: tl.constexpr, LENGTH: tl.constexpr,
    AGAIN: tl.constexpr, EQUAL: tl.constexpr, TILE: tl.constexpr,
):  # fmt: skip
    """Windows become the maps of the adjoint, and these (AGAIN: the window's length, or 0) their sums along planes."""
    volume, at, inside, counted, inner = tile_of(height, width, margin_y, margin_x, TILE)
    source, plane = long(start + volume), long(height) * width
    scratch, mask = long(volume) * room * plane + at, mask + source // shared * depth * plane + at
    outer = long(height - 2 * margin_y) * (width - 2 * margin_x)
    maps, result, number = maps + scratch, result + scratch, level + source * NUMBERS
    upstream += source if REDUCED else (source * (depth - 2 * margin_z) - margin_z) * outer + inner
    level_x, level_y, a, b = tl.load(number), tl.load(number + 1), tl.load(constants), tl.load(constants + 1)
    mass = tl.load(constants + 2)
    FILLED: tl.constexpr = not (WEIGHED or REFLECT)
    down, beyond = weights_of(weights, LENGTH), border_values(number, before, MAPS, FILLED)
    zero = tl.zeros((TILE,), level.dtype.element_ty)
    waiting, again = copies(zero, MAPS * (LENGTH - 1)), copies(zero, SLOPES * (AGAIN - 1) if AGAIN else 0)
    top = first + tl.program_id(1) * chunk
    begin, end = top - LENGTH // 2 - AGAIN // 2, tl.minimum(top + chunk, last) + LENGTH // 2 + AGAIN // 2
    ahead = plane_values(maps, stride, begin, end, low, depth, plane, inside, beyond, MAPS, FILLED, REFLECT)
    later = plane_values(maps, stride, begin + 1, end, low, depth, plane, inside, beyond, MAPS, FILLED, REFLECT)
    for s in range(begin, end):
        sums, waiting = push(waiting, ahead, down, LENGTH, EQUAL)
        ahead = later
        later = plane_values(maps, stride, s + 2, end, low, depth, plane, inside, beyond, MAPS, FILLED, REFLECT)
        z = s - LENGTH // 2
        there = counted & (z >= margin_z) & (z < depth - margin_z)
        _, found = judge(sums, mass, level_x, level_y, a, b, KIND, WEIGHED, ROUNDING)
        weight = (tl.load(mask + z * plane, mask=there, other=0) if MASKED else there).to(zero.dtype)
        scale = tl.load(upstream) if REDUCED else tl.load(upstream + z * outer, mask=there, other=0)
        slopes = upstream_slopes(found, weight, scale if PLAIN else weight * scale)
        if AGAIN:
            slopes, again = push(again, slopes, down, AGAIN, EQUAL)
        done = z - AGAIN // 2
        to = result + long(done - low) * plane
        for m in tl.static_range(SLOPES):
            tl.store(to, slopes[m], mask=inside & (done >= top))
            to += stride


@triton.jit
def upstream_slopes(found, weight, scale):
    """The maps of the adjoint, times the gradient of their windows' values; 0 where these do not count."""
    slopes = ()
    for m in tl.static_range(len(found)):
        slopes = slopes + (tl.where(weight > 0, found[m] * scale, 0),)
    return slopes


@triton.jit(do_not_specialize=VARYING)
def slope(
    input, target, mask, level, weights_x, weights_y, maps, result, stride, first, planes, lines, start, chunk, low,
    room, depth, height, width, shared,
    SLOPES: tl.constexpr, KIND: tl.constexpr, MASKED: tl.constexpr, FOLD: tl.constexpr, ADD: tl.constexpr,
    LENGTH_X: tl.constexpr, LENGTH_Y: tl.constexpr, EQUAL_X: tl.constexpr, EQUAL_Y: tl.constexpr, TILE: tl.constexpr,
):  # fmt: skip
    """The adjoint's sums along rows and columns, and the gradient of the input (ADD: what there is of it, and this)."""
    line, column, inside = place(lines, width, TILE)
    volume, z, plane = (start + line // planes).to(tl.int64), first + line % planes, long(height) * width
    at, mask_at = (volume * depth + z) * plane + column, (volume // shared * depth + z) * plane + column
    input, target, mask, result = input + at, target + at, mask + mask_at, result + at
    maps += (long(line // planes) * room + z - low) * plane + column
    level_x, level_y = tl.load(level + volume * NUMBERS), tl.load(level + volume * NUMBERS + 1)
    along, down = weights_of(weights_x, LENGTH_X), weights_of(weights_y, LENGTH_Y)
    waiting = copies(tl.zeros((TILE,), level_x.dtype), SLOPES * (LENGTH_Y - 1))
    top = tl.program_id(1) * chunk
    bottom = tl.minimum(top + chunk, height)
    for s in range(top - LENGTH_Y // 2, bottom + LENGTH_Y // 2):
        seen = inside & (s >= 0) & (s < height)
        sums = axis_slopes(
            maps + s * width, stride, column, width, 1, seen, along, weights_x, SLOPES, LENGTH_X, FOLD, EQUAL_X
        )  # fmt: skip
        sums, waiting = push(waiting, sums, down, LENGTH_Y, EQUAL_Y)
        offset = (s - LENGTH_Y // 2) * width
        there = inside & (s - LENGTH_Y // 2 >= top)
        x, y, weight = voxel(input + offset, target + offset, mask + offset, there, level_x.dtype, MASKED)
        x, y = x - level_x, y - level_y
        if KIND == ERROR:
            found = sums[0] * tl.where(x > y, 1, tl.where(x < y, -1, 0))
        else:
            found = (x - y if (KIND == SSIM) | (KIND == STRUCTURE) else y) * sums[0] + x * sums[1] - sums[2]
        found = tl.where(weight > 0, found * weight, 0) if MASKED else found
        found += tl.load(result + offset, mask=there, other=0) if ADD else 0
        tl.store(result + offset, found, mask=there)
