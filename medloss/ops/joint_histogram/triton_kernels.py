"""The Triton kernels of ``joint_histogram``: products of window weights, bins times voxels, that exist as tiles alone.

A tile has a voxel in each column, so that a thread has all bins of its voxels, or half of them: their sums need few
threads of others.

A program counts some voxels of one sample; the counts of all programs are added in their order. The gradient reads the
cotangent as a table, whose slopes are taken from their mean under the voxel's window: what the table has in common
would cost digits otherwise.
"""

from __future__ import annotations

import triton
import triton.language as tl

from medloss.ops.triton_functions import number

GAUSSIAN, SPLINE = tl.constexpr(0), tl.constexpr(1)


@triton.jit
def placed(values, low, high):
    """Where each value lies in its range, from 0 to 1, and whether it lies there or is moved to the nearer end."""
    width = tl.where(high > low, high - low, 1)
    free = (values >= low) & (values <= high)
    moved = tl.where(values < low, low, values)  # by selection, which keeps NaN
    return (tl.where(moved > high, high, moved) - low) / width, free, width


@triton.jit
def gaussian(places, bin, bins, sigma, EVEN: tl.constexpr):
    """Window weights, bins by voxels, one over the sum of each voxel's, and the distances from the centres."""
    position = places * (bins - 1)
    distance = position[None, :] - bin[:, None]
    nearest = position - tl.floor(position + 0.5)  # whose weight is 1 before they are made to sum to one
    power = (nearest * nearest)[None, :] - distance * distance
    weights = tl.exp(power * (1 / (2 * sigma * sigma)))
    if not EVEN:
        weights = tl.where(bin[:, None] < bins, weights, 0)
    return weights, 1 / tl.sum(weights, 0), distance


@triton.jit
def spline(places, bin, bins, CUBIC: tl.constexpr):
    """Cubic B-splines and their slopes in bins, or boxes, bins by voxels, with two bins of padding on either side."""
    position = places * (bins - 4) + 2
    free = (position >= 2) & (position <= bins - 3)
    position = tl.where(position < 2, 2, tl.where(position > bins - 3, bins - 3, position))
    offset = position[None, :] - bin[:, None]
    distance = tl.abs(offset)
    if CUBIC:
        far = tl.where(distance < 2, 2 - distance, distance * 0)
        near = (4 - 6 * distance * distance + 3 * distance * distance * distance) / 6
        weights = tl.where(distance < 1, near, far * far * far / 6)
        steep = tl.where(distance < 1, 1.5 * distance * distance - 2 * distance, -far * far / 2)
        slopes = tl.where(offset < 0, -steep, steep)
    else:
        weights = tl.where(distance < 0.5, 1 + distance * 0, tl.where(distance == 0.5, 0.5, distance * 0))
        slopes = weights
    return weights, tl.where(free[None, :], slopes, 0)


@triton.jit
def read(image, weights, at, seen, real: tl.constexpr, MASKED: tl.constexpr):
    """Intensities and weights; zeros where nothing counts."""
    weight = seen.to(real)
    if MASKED:
        weight = tl.load(weights + at[1], mask=seen, other=0).to(real)
        seen = seen & (weight > 0)
    return tl.load(image + at[0], mask=seen, other=0).to(real), weight


@triton.jit
def counts(
    input, target, mask, ranges, partials, voxels, spatial, mask_sample, sigmas, steps, bins,
    KIND: tl.constexpr, MASKED: tl.constexpr, BINS: tl.constexpr, EVEN: tl.constexpr, BLOCK: tl.constexpr,
    PRECISION: tl.constexpr,
):  # fmt: skip
    """The histogram of this program's voxels."""
    program, sample = tl.program_id(0), tl.program_id(1).to(tl.int64)
    real: tl.constexpr = partials.dtype.element_ty
    low_x, high_x = tl.load(ranges + sample * 4), tl.load(ranges + sample * 4 + 1)
    low_y, high_y = tl.load(ranges + sample * 4 + 2), tl.load(ranges + sample * 4 + 3)
    bin, sigma = tl.arange(0, BINS), number(sigmas, 0, real)
    total = tl.zeros((BINS, BINS), real)
    for step in range(steps):
        voxel = (program.to(tl.int64) * steps + step) * BLOCK + tl.arange(0, BLOCK)
        seen, at = voxel < voxels, sample * voxels + voxel
        mask_at = sample * mask_sample + voxel % spatial
        x, weight = read(input, mask, (at, mask_at), seen, real, MASKED)
        y, _ = read(target, mask, (at, mask_at), seen, real, MASKED)
        place_x, _, _ = placed(x, low_x, high_x)
        place_y, _, _ = placed(y, low_y, high_y)
        if KIND == GAUSSIAN:
            rows, share_x, _ = gaussian(place_x, bin, bins, sigma, EVEN)
            columns, share_y, _ = gaussian(place_y, bin, bins, sigma, EVEN)
            weight = weight * share_x * share_y
        else:
            rows, _ = spline(place_x, bin, bins, True)
            columns, _ = spline(place_y, bin, bins, False)
        columns = columns * weight[None, :]
        total += tl.dot(rows, tl.trans(columns), input_precision=PRECISION, out_dtype=real)
    at = partials + ((sample * tl.num_programs(0) + program) * bins + bin[:, None]) * bins + bin[None, :]
    tl.store(at, total, mask=(bin[:, None] < bins) & (bin[None, :] < bins))


@triton.jit
def gradient(
    input, target, mask, ranges, upstream, result, voxels, spatial, mask_sample, sigmas, bins,
    KIND: tl.constexpr, MASKED: tl.constexpr, BINS: tl.constexpr, EVEN: tl.constexpr, BLOCK: tl.constexpr,
    PRECISION: tl.constexpr,
):  # fmt: skip
    """The gradient of the input: what its window's change moves from bin to bin of its row of the table."""
    sample = tl.program_id(1).to(tl.int64)
    real: tl.constexpr = upstream.dtype.element_ty
    low_x, high_x = tl.load(ranges + sample * 4), tl.load(ranges + sample * 4 + 1)
    low_y, high_y = tl.load(ranges + sample * 4 + 2), tl.load(ranges + sample * 4 + 3)
    bin, sigma = tl.arange(0, BINS), number(sigmas, 0, real)
    voxel = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    seen, at = voxel < voxels, sample * voxels + voxel
    mask_at = sample * mask_sample + voxel % spatial
    x, weight = read(input, mask, (at, mask_at), seen, real, MASKED)
    y, _ = read(target, mask, (at, mask_at), seen, real, MASKED)
    place_x, free, width = placed(x, low_x, high_x)
    place_y, _, _ = placed(y, low_y, high_y)
    there = (bin[:, None] < bins) & (bin[None, :] < bins)
    # transposed, as what is on the right of a product lies in shared memory, and not in each thread's registers
    table = tl.load(upstream + (sample * bins + bin[None, :]) * bins + bin[:, None], mask=there, other=0)
    if KIND == GAUSSIAN:
        columns, share_y, _ = gaussian(place_y, bin, bins, sigma, EVEN)
        columns = columns * share_y[None, :]
        found = tl.trans(tl.dot(tl.trans(columns), table, input_precision=PRECISION, out_dtype=real))
        # behind the product, beside which a table of 128 bins leaves no registers for them
        rows, share_x, distance = gaussian(place_x, bin, bins, sigma, EVEN)
        found = found - (tl.sum(rows * found, 0) * share_x)[None, :]
        slope = -tl.sum(rows * distance * found, 0) * share_x * ((bins - 1) / (sigma * sigma))
    else:
        rows, slopes = spline(place_x, bin, bins, True)
        columns, _ = spline(place_y, bin, bins, False)
        found = tl.trans(tl.dot(tl.trans(columns), table, input_precision=PRECISION, out_dtype=real))
        found = found - tl.sum(tl.where(bin[:, None] < bins, rows, 0) * found, 0)[None, :]
        slope = tl.sum(tl.where(bin[:, None] < bins, slopes, 0) * found, 0) * (bins - 4)
    slope = tl.where(free, slope * weight / width, 0)
    if MASKED:
        slope = tl.where(weight > 0, slope, 0)
    tl.store(result + at, slope, mask=seen)
