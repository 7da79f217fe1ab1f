"""The Triton kernels of ``calibration_error``: the bins of each class in registers, and a gradient by their slopes.

A program leaves the sums of its own voxels; they are added in order, in double.
"""

from __future__ import annotations

import triton
import triton.language as tl

from medloss.ops.triton_functions import within


@triton.jit
def read(tensor, steps, row, v, seen, CLASSES: tl.constexpr, ACC: tl.constexpr):
    """Voxels of a row, which is a class of a sample, by 64-bit offsets."""
    at = tensor + (row // CLASSES * steps[0] + row % CLASSES * steps[1])
    return tl.load(at + v.to(tl.int64) * steps[2], mask=seen, other=0).to(ACC)


@triton.jit
def weigh(mask, steps, row, v, seen, CLASSES: tl.constexpr, MASKED: tl.constexpr, ACC: tl.constexpr):
    """The weights of voxels; zero where there is none."""
    if MASKED:
        weight = read(mask, steps, row, v, seen, CLASSES, ACC)
    else:
        weight = seen.to(ACC)
    return weight


@triton.jit
def bin_of(p, BINS: tl.constexpr):
    """The bins of probabilities, and of what lies beyond; that of a NaN is the first."""
    bin = tl.ceil(p * BINS) - 1
    bin = tl.where(bin < 0, 0, tl.where(bin > BINS - 1, BINS - 1, bin))
    return tl.where(bin == bin, bin, 0).to(tl.int32)


@triton.jit
def count(
    input, target, mask, partials, voxels, input_steps, target_steps, mask_steps,
    CLASSES: tl.constexpr, BINS: tl.constexpr, MASKED: tl.constexpr, ACC: tl.constexpr,
    HELD: tl.constexpr, LANES: tl.constexpr, EVEN: tl.constexpr,
):  # fmt: skip
    """Mass and excess of HELD bins, for each program of a row. Each of its LANES has bins of its own, and one voxel.

    Programs of other bins and the same voxels run side by side: one of them reads what the cache holds for all.
    """
    chunks: tl.constexpr = (BINS + HELD - 1) // HELD
    program, programs, row = tl.program_id(0) // chunks, tl.num_programs(0) // chunks, tl.program_id(1).to(tl.int64)
    held = tl.program_id(0) % chunks * HELD + tl.arange(0, HELD)
    mass, excess = tl.zeros((HELD, LANES), ACC), tl.zeros((HELD, LANES), ACC)
    for start in range(program * LANES, voxels, programs * LANES):
        v = start + tl.arange(0, LANES)
        seen = within(v, voxels, EVEN)
        w = weigh(mask, mask_steps, row, v, seen, CLASSES, MASKED, ACC)
        p = read(input, input_steps, row, v, seen, CLASSES, ACC)
        t = read(target, target_steps, row, v, seen, CLASSES, ACC)
        bin = tl.where(w > 0, bin_of(p, BINS), -1)
        inside = bin[None, :] == held[:, None]
        mass += tl.where(inside, w[None, :], 0.0)
        excess += tl.where(inside, (w * (p - t))[None, :], 0.0)
    to = partials + ((row * programs + program) * (chunks * HELD) + held) * 2
    tl.store(to, tl.sum(mass, 1))
    tl.store(to + 1, tl.sum(excess, 1))


@triton.jit
def close(sums, errors, slopes, BINS: tl.constexpr, ALL: tl.constexpr, PADDED: tl.constexpr):
    """The mean of a row's errors over the bins that hold any voxel, and the slope of each bin; ALL are in ``sums``.

    A NaN is in every mean, none of which has a side then.
    """
    row, bin = tl.program_id(0).to(tl.int64), tl.arange(0, PADDED)
    at = sums + (row * ALL + bin) * 2
    mass, excess = tl.load(at, mask=bin < BINS, other=0), tl.load(at + 1, mask=bin < BINS, other=0)
    some = mass > 0
    held = tl.sum(some.to(tl.float64), 0)
    sides = tl.where(excess > 0, 1.0, tl.where(excess < 0, -1.0, 0.0))
    slope = tl.where(some, sides / tl.where(some, mass, 1.0) / tl.where(held > 0, held, 1.0), 0.0)
    error = tl.sum(tl.where(some, excess * slope, 0.0), 0)
    lost = tl.sum((excess != excess).to(tl.int32), 0) > 0
    tl.store(errors + row, tl.where(lost, float("nan"), error).to(errors.dtype.element_ty))
    slope = tl.where(lost, 0.0, slope).to(slopes.dtype.element_ty)
    tl.store(slopes + row * BINS + bin, slope, mask=bin < BINS)


@triton.jit
def gradient(
    input, mask, slopes, cotangent, result, voxels, input_steps, mask_steps, result_steps,
    CLASSES: tl.constexpr, BINS: tl.constexpr, MASKED: tl.constexpr, ACC: tl.constexpr,
    TILE: tl.constexpr, EVEN: tl.constexpr,
):  # fmt: skip
    """What the bin of each voxel says, times its weight."""
    row = tl.program_id(1).to(tl.int64)
    v = tl.program_id(0) * TILE + tl.arange(0, TILE)
    seen = within(v, voxels, EVEN)
    w = weigh(mask, mask_steps, row, v, seen, CLASSES, MASKED, ACC)
    p = read(input, input_steps, row, v, seen, CLASSES, ACC)
    slope = tl.load(slopes + row * BINS + bin_of(p, BINS)) * tl.load(cotangent + row)
    slope = tl.where(w > 0, w * slope, 0.0).to(result.dtype.element_ty)
    at = result + (row // CLASSES * result_steps[0] + row % CLASSES * result_steps[1])
    tl.store(at + v.to(tl.int64) * result_steps[2], slope, mask=seen)
