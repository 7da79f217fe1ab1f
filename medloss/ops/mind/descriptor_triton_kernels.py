"""The Triton kernel of the descriptors of ``mind``: their noise, values and slopes, none of which is kept.

A tile has the pairs along its first axis, and looks each one up in the map of its step; a distance below zero is of a
pair that is not there.
"""

from __future__ import annotations

import triton
import triton.language as tl

NOISE, VALUES, TOTALS, SLOPES = (tl.constexpr(kind) for kind in range(4))
"""What is computed of descriptors."""
LEAST_NOISE, MOST_NOISE = tl.constexpr(1e-3), tl.constexpr(1e3)
"""Least and largest noise of a voxel over the mean, as in the reference."""
VARYING = ["start", "first", "low", "high", "blocks"]


@triton.jit
def noise_of(distance):
    """Above the least distance, of each pair; the mean of that; which pairs there are, and how many, at least 1."""
    there = (distance < 0) == 0
    least = tl.min(tl.where(there, distance, float("inf")), 0)[None, :]
    above = tl.where(there, distance - least, 0)
    count = tl.maximum(tl.sum(there.to(distance.dtype), 0), 1)[None, :]
    return above, tl.sum(above, 0)[None, :] / count, there, count


@triton.jit
def bounds(mean):
    """The least and the largest noise."""
    return mean * LEAST_NOISE, mean * MOST_NOISE


@triton.jit
def one_over(noise, mean, TINY: tl.constexpr):
    """One over the noise within its range; NaN where the mean is none."""
    low, high = bounds(mean)
    noise = tl.where(noise < low, low, noise)
    noise = tl.where(noise > high, high, noise)
    noise = tl.where(noise < TINY, TINY, noise)
    return 1 / tl.where(mean == mean, noise, mean)


@triton.jit
def slopes_of(
    above, noise, there, count, over, other, mean, upstream, ABSOLUTE: tl.constexpr, TINY: tl.constexpr
):  # fmt: skip
    """The slopes of a voxel's value in its distances. Several least distances share their slope among them."""
    low, high = bounds(mean)
    entry = tl.exp(-above * over)
    difference = tl.where(there, entry - other, 0)
    if ABSOLUTE:
        rate = tl.where(difference > 0, 1, tl.where(difference < 0, -1, difference))
    else:
        rate = 2 * difference
    steep = upstream / count * rate * entry * over
    slope = tl.where(over >= 1 / TINY, 0, steep)  # nothing varies
    free = tl.sum(tl.where(there, slope * above * over, 0), 0)[None, :] / count
    free = tl.where((noise < low) | (noise > high) | (noise < TINY), 0, free)
    found = tl.where(there, free - slope, 0)
    least = there & ((above > 0) == 0)
    ties = tl.maximum(tl.sum(least.to(found.dtype), 0), 1)[None, :]
    return found - tl.where(least, tl.sum(found, 0)[None, :] / ties, 0)


@triton.jit
def add_up(to, noise_x, noise_y, weight, counts):
    """The noise of both images at voxels, by their weights, and the weights."""
    tl.store(to, tl.sum(tl.where(counts[None, :], weight[None, :] * noise_x, 0)))
    tl.store(to + 1, tl.sum(tl.where(counts[None, :], weight[None, :] * noise_y, 0)))
    tl.store(to + 2, tl.sum(tl.where(counts, weight, 0), 0))


@triton.jit
def look_up(
    pairs, first, low, high, blocks, height, width, planes, rows, pitch, margin_z, margin_y, margin_x, stride,
    COUNT: tl.constexpr, PAIRS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """A program's voxels: their volume, numbers, entries of a map, and which there are; and entries of all pairs."""
    volume, block = (tl.program_id(0) // blocks).to(tl.int64), tl.program_id(0) % blocks
    voxel = block * BLOCK + tl.arange(0, BLOCK)
    inside = voxel < (high - low) * height * width
    k, j, i = voxel % width, voxel // width % height, voxel // width // height + low
    pair = tl.arange(0, PAIRS)
    known = (pair < COUNT)[:, None] & inside[None, :]
    of = tl.load(pairs + 4 * pair, mask=pair < COUNT, other=0).to(tl.int64)
    pz = tl.load(pairs + 4 * pair + 1, mask=pair < COUNT, other=0)
    py = tl.load(pairs + 4 * pair + 2, mask=pair < COUNT, other=0)
    px = tl.load(pairs + 4 * pair + 3, mask=pair < COUNT, other=0)
    row = (volume * planes + i - first + margin_z) * rows + j + margin_y
    from_here = row * pitch + k + margin_x
    at = (of * stride + (pz.to(tl.int64) * rows + py) * pitch + px)[:, None] + from_here[None, :]
    return volume, (i * height + j) * width + k, from_here, inside, at, known, pair


@triton.jit(do_not_specialize=VARYING)
def describe(
    x, y, pairs, mask, means, upstream, result, start, first, low, high, shared, blocks,
    depth, height, width, planes, rows, pitch, margin_z, margin_y, margin_x, stride,
    ASKED: tl.constexpr, ABSOLUTE: tl.constexpr, COUNT: tl.constexpr, PAIRS: tl.constexpr, SUMMED: tl.constexpr,
    MASKED: tl.constexpr, TINY: tl.constexpr, ACC: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """What is computed of the descriptors of both images at the voxels of planes ``low`` to before ``high``."""
    volume, inner, from_here, inside, at, known, pair = look_up(
        pairs, first, low, high, blocks, height, width, planes, rows, pitch, margin_z, margin_y, margin_x, stride,
        COUNT, PAIRS, BLOCK,
    )  # fmt: skip
    source = volume + start
    weight = inside.to(ACC)
    if MASKED:
        weight = tl.load(mask + source // shared * depth * height * width + inner, mask=inside, other=0).to(ACC)
    counts = inside & (weight > 0)
    above_x, noise_x, there, count = noise_of(tl.load(x + at, mask=known, other=-1))
    above_y, noise_y, _there, _count = noise_of(tl.load(y + at, mask=known, other=-1))
    if ASKED == NOISE:
        add_up(result + 3 * tl.program_id(0), noise_x, noise_y, weight, counts)
    else:
        mean_x, mean_y = tl.load(means + 2 * source), tl.load(means + 2 * source + 1)
        over = one_over(noise_x, mean_x, TINY)
        other = tl.exp(-above_y * one_over(noise_y, mean_y, TINY))
        if ASKED == SLOPES:
            place = source if SUMMED else source * depth * height * width + inner
            g = tl.where(counts, tl.load(upstream + place + 0 * inner, mask=counts, other=0) * weight, 0)[None, :]
            slope = slopes_of(above_x, noise_x, there, count, over, other, mean_x, g, ABSOLUTE, TINY)
            slope = tl.where(counts[None, :], slope, 0)
            to = pair.to(tl.int64)[:, None] * stride + from_here[None, :]
            tl.store(result + to, slope, mask=known)
        else:
            difference = tl.where(there, tl.exp(-above_x * over) - other, 0)
            cost = tl.abs(difference) if ABSOLUTE else difference * difference
            value = tl.where(counts, weight * tl.sum(cost / count, 0), 0)
            if ASKED == VALUES:
                tl.store(result + source * depth * height * width + inner, value, mask=inside)
            else:
                tl.store(result + tl.program_id(0), tl.sum(value, 0))
