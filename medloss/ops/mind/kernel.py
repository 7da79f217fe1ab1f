"""The Triton kernels of ``mind``: maps of patch distances by sums along each axis, and descriptors from them.

For each step between two patches there is a map of the mean squared difference of the patches around a centre and
around the voxel a step further, -1 where they have no voxel in common. Centres lie up to a margin beyond the border. A
tile of descriptors has the pairs along its first axis, and looks each one up in the map of its step. For the gradient
the slopes of the pairs are gathered by step, shared out over patches by the same sums, and multiplied by differences.
"""

from __future__ import annotations

import triton
import triton.language as tl

from medloss.ops.kernel import place

SUM, MEAN = tl.constexpr(0), tl.constexpr(1)
"""What becomes of sums along an axis: they are kept, or divided by what they weigh."""
NOISE, VALUES, TOTALS, SLOPES = (tl.constexpr(kind) for kind in range(4))
"""What is asked of descriptors."""
LEAST_NOISE, MOST_NOISE = tl.constexpr(1e-3), tl.constexpr(1e3)
"""Least and largest noise of a voxel over the mean, as in the reference."""
VARYING = ["start", "first", "low", "high", "lines", "blocks"]


@triton.jit
def cell(lines, planes, rows, pitch, LINES: tl.constexpr, COLUMNS: tl.constexpr):
    """Volume, plane, row and column of a program's entries of a map, their offset, and whether there are such."""
    volume, plane, row, column, inside = place(0, planes, lines, rows, pitch, LINES, COLUMNS)
    return volume, plane, row, column, ((volume * planes + plane) * rows + row) * pitch + column, inside


@triton.jit
def load_both(mask, here, there, seen, ACC: tl.constexpr, MASKED: tl.constexpr):
    """The weight of a pair of voxels."""
    both = seen.to(ACC)
    if MASKED:
        both = tl.load(mask + here, mask=seen, other=0).to(ACC) * tl.load(mask + there, mask=seen, other=0).to(ACC)
    return both


@triton.jit
def squared(image, at, further, both, seen, ACC: tl.constexpr):
    """The squared difference of two voxels, by the weight of the pair; nothing of no weight is looked at."""
    seen = seen & (both > 0)
    difference = tl.load(image + at, mask=seen, other=0).to(ACC)
    difference -= tl.load(image + at + further, mask=seen, other=0).to(ACC)
    return tl.where(seen, both * (difference * difference), 0)


@triton.jit(do_not_specialize=VARYING)
def squares(
    x_image, y_image, mask, steps, result, start, first, lines, shared, depth, height, width, planes, rows, pitch,
    margin_z, margin_y, margin_x, stride,
    RADIUS: tl.constexpr, ACC: tl.constexpr, MASKED: tl.constexpr, LINES: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """Squared differences along a step, summed along x: a map for each step, of one image, the other, and weights."""
    volume, plane, row, column, at, inside = cell(lines, planes, rows, pitch, LINES, COLUMNS)
    step = steps + 3 * tl.program_id(1)
    dz, dy, dx = tl.load(step), tl.load(step + 1), tl.load(step + 2)
    z, y, x = plane - margin_z + first, row - margin_y, column - margin_x
    there = inside & (z >= 0) & (z < depth) & (z + dz >= 0) & (z + dz < depth)
    there = there & (y >= 0) & (y < height) & (y + dy >= 0) & (y + dy < height)
    least, most = tl.maximum(0, -dx), tl.minimum(width, width - dx)  # columns that have one a step further
    source = ((volume + start) * depth + z) * height * width + y.to(tl.int64) * width + x
    weights = (((volume + start) // shared) * depth + z) * height * width + y.to(tl.int64) * width + x
    further = (dz.to(tl.int64) * height + dy) * width + dx
    one, other, mass = tl.zeros((LINES, COLUMNS), ACC), tl.zeros((LINES, COLUMNS), ACC), tl.zeros((LINES, COLUMNS), ACC)
    for number in range(2 * RADIUS + 1):
        by = number - RADIUS
        seen = there & (x + by >= least) & (x + by < most)
        both = load_both(mask, weights + by, weights + by + further, seen, ACC, MASKED)
        one += squared(x_image, source + by, further, both, seen, ACC)
        other += squared(y_image, source + by, further, both, seen, ACC)
        mass += both
    to, image = result + tl.program_id(1).to(tl.int64) * stride + at, tl.num_programs(1).to(tl.int64) * stride
    tl.store(to, one, mask=inside)
    tl.store(to + image, other, mask=inside)
    if MASKED:
        tl.store(to + 2 * image, mass, mask=inside)


@triton.jit
def common(place, step, size, RADIUS: tl.constexpr):
    """How many voxels of a window along an axis lie inside, and a step further, too."""
    low = tl.maximum(tl.maximum(place - RADIUS, 0), -step)
    high = tl.minimum(tl.minimum(place + RADIUS, size - 1), size - 1 - step)
    return tl.maximum(high - low + 1, 0)


@triton.jit
def one_over_count(
    z, row, column, step, depth, height, width, RADIUS_Z: tl.constexpr, RADIUS_Y: tl.constexpr,
    RADIUS_X: tl.constexpr, ACC: tl.constexpr,
):  # fmt: skip
    """One over the number of voxels that two patches have in common, where no voxel weighs more than another."""
    count = common(z, tl.load(step), depth, RADIUS_Z).to(ACC)
    count = count * common(row, tl.load(step + 1), height, RADIUS_Y).to(ACC)
    return positive_inverse(count * common(column, tl.load(step + 2), width, RADIUS_X).to(ACC))


@triton.jit
def positive_inverse(mass):
    """One over it, or 0 where it is."""
    return tl.where(mass > 0, 1 / tl.where(mass > 0, mass, 1), 0)


@triton.jit
def window(source, number_of, length, by, inside, RADIUS: tl.constexpr, ACC: tl.constexpr):
    """The sum of a map along an axis."""
    total = tl.zeros(inside.shape, ACC)
    for number in range(2 * RADIUS + 1):
        away = number - RADIUS
        seen = inside & (number_of + away >= 0) & (number_of + away < length)
        total += tl.load(source + away * by, mask=seen, other=0)
    return total


@triton.jit(do_not_specialize=VARYING)
def box(
    source, steps, result, first, lines, depth, height, width, planes, rows, pitch,
    margin_z, margin_y, margin_x, stride,
    AXIS: tl.constexpr, GIVEN: tl.constexpr, IMAGES: tl.constexpr, RADIUS: tl.constexpr, RADIUS_Z: tl.constexpr,
    RADIUS_Y: tl.constexpr, RADIUS_X: tl.constexpr, ACC: tl.constexpr, MASKED: tl.constexpr, LINES: tl.constexpr,
    COLUMNS: tl.constexpr,
):  # fmt: skip
    """Sums along an axis of the maps of all steps, of so many images. With means goes one over what they weigh."""
    _volume, plane, row, column, at, inside = cell(lines, planes, rows, pitch, LINES, COLUMNS)
    number_of, length, by = column, pitch, tl.full((1, 1), 1, tl.int64)
    if AXIS == 1:
        number_of, length, by = row, rows, by * pitch
    elif AXIS == 2:
        number_of, length, by = plane, planes, by * pitch * rows
    here, image = at + tl.program_id(1).to(tl.int64) * stride, tl.num_programs(1).to(tl.int64) * stride
    if GIVEN == MEAN:
        if MASKED:
            over = positive_inverse(window(source + 2 * image + here, number_of, length, by, inside, RADIUS, ACC))
            tl.store(result + 2 * image + here, over, mask=inside)
        else:
            over = one_over_count(
                plane - margin_z + first, row - margin_y, column - margin_x, steps + 3 * tl.program_id(1),
                depth, height, width, RADIUS_Z, RADIUS_Y, RADIUS_X, ACC,
            )  # fmt: skip
    for number in tl.static_range(IMAGES):
        total = window(source + number * image + here, number_of, length, by, inside, RADIUS, ACC)
        if GIVEN == MEAN:
            total = tl.where(over > 0, total * over, -1)
        tl.store(result + number * image + here, total, mask=inside)


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


@triton.jit(do_not_specialize=VARYING)
def describe(
    x, y, pairs, mask, means, upstream, result, start, first, low, high, shared, blocks,
    depth, height, width, planes, rows, pitch, margin_z, margin_y, margin_x, stride,
    ASKED: tl.constexpr, ABSOLUTE: tl.constexpr, COUNT: tl.constexpr, PAIRS: tl.constexpr, SUMMED: tl.constexpr,
    MASKED: tl.constexpr, TINY: tl.constexpr, ACC: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """What is asked of the descriptors of both images at the voxels of planes ``low`` to before ``high``."""
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
    size = volume * planes * rows * pitch
    from_here = size + ((i - first + margin_z).to(tl.int64) * rows + j + margin_y) * pitch + k + margin_x
    at = (of * stride + (pz.to(tl.int64) * rows + py) * pitch + px)[:, None] + from_here[None, :]
    source = volume + start
    inner = (i * height + j) * width + k
    weight = inside.to(ACC)
    if MASKED:
        weight = tl.load(mask + source // shared * depth * height * width + inner, mask=inside, other=0).to(ACC)
    counts = inside & (weight > 0)
    above_x, noise_x, there, count = noise_of(tl.load(x + at, mask=known, other=-1))
    above_y, noise_y, _there, _count = noise_of(tl.load(y + at, mask=known, other=-1))
    if ASKED == NOISE:
        to = result + 3 * tl.program_id(0)
        tl.store(to, tl.sum(tl.where(counts[None, :], weight[None, :] * noise_x, 0)))
        tl.store(to + 1, tl.sum(tl.where(counts[None, :], weight[None, :] * noise_y, 0)))
        tl.store(to + 2, tl.sum(tl.where(counts, weight, 0), 0))
    else:
        mean_x, mean_y = tl.load(means + 2 * source), tl.load(means + 2 * source + 1)
        over = one_over(noise_x, mean_x, TINY)
        other = tl.exp(-above_y * one_over(noise_y, mean_y, TINY))
        if ASKED == SLOPES:
            g = tl.load(upstream + source) if SUMMED else tl.load(
                upstream + source * depth * height * width + inner, mask=counts, other=0
            )  # fmt: skip
            g = tl.where(counts, g * weight, 0)[None, :]
            slope = slopes_of(above_x, noise_x, there, count, over, other, mean_x, g, ABSOLUTE, TINY)
            slope = tl.where(counts[None, :], slope, 0)
            to = pair.to(tl.int64)[:, None] * stride + from_here[None, :]
            tl.store(result + to, slope, mask=known)
        else:
            difference = tl.where(there, tl.exp(-above_x * over) - other, 0)
            cost = tl.abs(difference) if ABSOLUTE else difference * difference
            value = tl.sum(cost / count, 0)
            value = tl.where(counts, weight * value, 0)
            if ASKED == VALUES:
                tl.store(result + source * depth * height * width + inner, value, mask=inside)
            else:
                tl.store(result + tl.program_id(0), tl.sum(value, 0))


@triton.jit(do_not_specialize=VARYING)
def centres(
    slopes, inverse, steps, pairs, result, first, low, high, lines, depth, height, width, planes, rows, pitch,
    margin_z, margin_y, margin_x, stride,
    EACH: tl.constexpr, RADIUS_Z: tl.constexpr, RADIUS_Y: tl.constexpr, RADIUS_X: tl.constexpr, ACC: tl.constexpr,
    MASKED: tl.constexpr, LINES: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """The slopes of the pairs of each step, around the centres that they start from, over what their means weigh."""
    _volume, plane, row, column, at, inside = cell(lines, planes, rows, pitch, LINES, COLUMNS)
    z, y, x = plane - margin_z + first, row - margin_y, column - margin_x
    total = tl.zeros((LINES, COLUMNS), ACC)
    for number in range(EACH):
        own = tl.program_id(1) * EACH + number
        pz, py, px = tl.load(pairs + 4 * own + 1), tl.load(pairs + 4 * own + 2), tl.load(pairs + 4 * own + 3)
        seen = inside & (z - pz >= low) & (z - pz < high) & (y - py >= 0) & (y - py < height)
        seen = seen & (x - px >= 0) & (x - px < width)
        away = (pz.to(tl.int64) * rows + py) * pitch + px
        total += tl.load(slopes + own.to(tl.int64) * stride + at - away, mask=seen, other=0)
    here = tl.program_id(1).to(tl.int64) * stride + at
    if MASKED:
        over = tl.load(inverse + here, mask=inside, other=0)
    else:
        step = steps + 3 * tl.program_id(1)
        over = one_over_count(z, y, x, step, depth, height, width, RADIUS_Z, RADIUS_Y, RADIUS_X, ACC)
    tl.store(result + here, tl.where(over > 0, total * over, 0), mask=inside)


@triton.jit(do_not_specialize=VARYING)
def multiply(
    sums, image, mask, steps, result, start, first, low, high, lines, shared, depth, height, width,
    planes, rows, pitch, margin_z, margin_y, margin_x, stride,
    STEPS: tl.constexpr, ACC: tl.constexpr, MASKED: tl.constexpr, LINES: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """The gradient of the image: what each pair of voxels is given, by twice its difference."""
    volume, plane, row, column, at, inside = cell(lines, planes, rows, pitch, LINES, COLUMNS)
    z, y, x = plane - margin_z + first, row - margin_y, column - margin_x
    inside = inside & (z >= low) & (z < high) & (y >= 0) & (y < height) & (x >= 0) & (x < width)
    source = (((volume + start) * depth + z) * height + y) * width + x
    weights = ((((volume + start) // shared) * depth + z) * height + y) * width + x
    own = tl.load(image + source, mask=inside, other=0).to(ACC)
    total = tl.zeros((LINES, COLUMNS), ACC)
    for number in range(2 * STEPS):
        step, sign = steps + 3 * (number // 2), 1 - number % 2 * 2
        dz, dy, dx = sign * tl.load(step), sign * tl.load(step + 1), sign * tl.load(step + 2)
        seen = inside & (z + dz >= 0) & (z + dz < depth) & (y + dy >= 0) & (y + dy < height)
        seen = seen & (x + dx >= 0) & (x + dx < width)
        away = (dz.to(tl.int64) * height + dy) * width + dx
        both = load_both(mask, weights, weights + away, seen, ACC, MASKED)
        seen = seen & (both > 0)
        # the patches around the voxel that the step starts from
        back = tl.where(sign > 0, 0, (dz.to(tl.int64) * rows + dy) * pitch + dx)
        given = tl.load(sums + tl.cast(number // 2, tl.int64) * stride + at + back, mask=seen, other=0)
        difference = own - tl.load(image + source + away, mask=seen, other=0).to(ACC)
        total += tl.where(seen, 2 * both * difference * given, 0)
    tl.store(result + source, total.to(result.dtype.element_ty), mask=inside)
