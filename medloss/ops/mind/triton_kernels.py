"""The Triton kernels of ``mind``: maps of patch distances by sums along each axis, and back from their slopes.

For each step between two patches there is a map of the mean squared difference of the patches around a centre and
around the voxel a step further, -1 where they have no voxel in common. Centres lie up to a margin beyond the border.
For the gradient the slopes of the pairs are gathered by step, shared out over patches by the same sums, and multiplied
by differences.
"""

from __future__ import annotations

import triton
import triton.language as tl

from medloss.ops.triton_functions import place

SUM, MEAN = tl.constexpr(0), tl.constexpr(1)
"""What becomes of sums along an axis: they are kept, or divided by what they weigh."""
VARYING = ["start", "first", "low", "high", "lines"]


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
