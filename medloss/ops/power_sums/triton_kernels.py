"""``power_sums`` on the GPU: all classes of a voxel in one tile, one sweep forward, one backward.

A program walks over tiles of one sample and keeps its sums in registers; each leaves one row of partial sums, which a
second kernel adds in their order, in double: the result depends on no timing.
"""

from __future__ import annotations

import triton
import triton.language as tl

from medloss.ops.region_sums.triton_kernels import COLUMNS, add_regions, focal_power, fold, probability_slope, share
from medloss.ops.triton_functions import (
    activate,
    before_activation,
    error_of,
    load_tile,
    log1p_unit,
    settle,
    store_gradient,
    within,
)


@triton.jit
def bent(base, exponent, POWER: tl.constexpr, TINY: tl.constexpr):
    """base ** exponent and its derivative, which is zero where the base is; POWER as of ``focal_power``."""
    kept = tl.where(base < TINY, TINY, base)
    if POWER == 0.5:
        power = tl.sqrt(kept)
        slope = 0.5 / power
    elif POWER == 1.5:
        root = tl.sqrt(kept)
        power, slope = kept * root, 1.5 * root
    else:
        power, slope = focal_power(base, exponent, POWER, TINY)
    return power, tl.where(base < TINY, 0.0, slope)


@triton.jit
def log_of_others(z):
    """The log of the sum of the exponentials of all classes but the largest, V."""
    rest = tl.where(z == tl.max(z, 0)[None, :], -float("inf"), z)
    second = tl.max(rest, 0)
    second = tl.where(second == -float("inf"), 0.0, second)
    return second + tl.log(tl.sum(tl.exp(rest - second[None, :]), 0))


@triton.jit
def errors(z, p, q, positive, negative, t, ERROR: tl.constexpr, ACTIVATION: tl.constexpr, BOTH: tl.constexpr):
    """What is raised to a power: of what a voxel is of, and of what it is not."""
    if ERROR == "difference":
        positive = tl.abs(error_of(p, q, t))
        negative = positive
    elif ACTIVATION == "softmax" and BOTH:
        above = p > 0.5
        surprise = log1p_unit(tl.where(above, 0.0, p / (1 - p)))
        # -log p of the others together: 1 - p would have no digits left
        whole = tl.max(z, 0) + tl.log(tl.sum(tl.exp(z - tl.max(z, 0)[None, :]), 0))
        negative = tl.where(above, (whole - log_of_others(z))[None, :], surprise)
    return positive, negative


@triton.jit(do_not_specialize=["ignore"])
def forward(
    input, target, mask, regions, powers, ignore, voxels, input_steps, target_steps, mask_steps, exponent: tl.float64,
    CLASSES: tl.constexpr, INDEXED: tl.constexpr, IGNORE: tl.constexpr, MASK: tl.constexpr, ACC: tl.constexpr,
    ACTIVATION: tl.constexpr, ERROR: tl.constexpr, POWER: tl.constexpr, BOTH: tl.constexpr, REGIONS: tl.constexpr,
    TINY: tl.constexpr, ROWS: tl.constexpr, C: tl.constexpr, TILE: tl.constexpr, EVEN: tl.constexpr,
    FOLD: tl.constexpr,
):  # fmt: skip
    """One row of partial sums for each program of a sample: CLASSES COLUMNS of the regions, CLASSES 2 of the powers."""
    program, programs, b = tl.program_id(0), tl.num_programs(0), tl.program_id(1).to(tl.int64)
    c = tl.arange(0, C)
    zero = tl.zeros((C, TILE // FOLD), ACC)
    known = (zero, zero, zero, zero, zero, zero, zero, zero, zero, zero, zero, zero, zero)
    true, false = zero, zero
    for start in range(program * TILE, voxels, programs * TILE):
        v = start + tl.arange(0, TILE)
        inside = within(v, voxels, EVEN)
        z, t, w = load_tile(
            input, target, mask, ignore, input_steps, target_steps, mask_steps, b, c, v, inside,
            CLASSES, INDEXED, IGNORE, MASK, ACC,
        )  # fmt: skip
        p, q, positive, negative = activate(z, ACTIVATION, ERROR == "likelihood")
        if REGIONS:
            if ERROR == "likelihood":
                known = add_regions(known, p, q, t, w, 0x303F, FOLD, ROWS)
            else:
                known = add_regions(known, p, q, t, w, 0x3F, FOLD, ROWS)
        positive, negative = errors(z, p, q, positive, negative, t, ERROR, ACTIVATION, BOTH)
        true += fold(share(w * t, bent(positive, exponent, POWER, TINY)[0]), FOLD, ROWS)
        if BOTH:
            false += fold(share(w * (1 - t), bent(negative, exponent, POWER, TINY)[0]), FOLD, ROWS)
    place = (b * programs + program) * CLASSES + c
    if REGIONS:
        for column in tl.static_range(6):
            tl.store(regions + place * COLUMNS + column, tl.sum(known[column], 1), c < CLASSES)
        if ERROR == "likelihood":
            for column in tl.static_range(12, 14):
                tl.store(regions + place * COLUMNS + column, tl.sum(known[column - 5], 1), c < CLASSES)
    tl.store(powers + place * 2, tl.sum(true, 1), c < CLASSES)
    tl.store(powers + place * 2 + 1, tl.sum(false, 1), c < CLASSES)


@triton.jit
def region_slope(row, c, p, q, t, CLASSES: tl.constexpr, ERROR: tl.constexpr, ACC: tl.constexpr):
    """dL/dp of the columns of the regions, of which there are more beside likelihoods."""
    if ERROR == "likelihood":
        slope = probability_slope(row, c, p, q, t, CLASSES, 0x303F, ACC)
    else:
        slope = probability_slope(row, c, p, q, t, CLASSES, 0x3F, ACC)
    return slope


@triton.jit
def mixed(z, p, k, h, BOTH: tl.constexpr):
    """dL/dz C V of a softmax from k = dL/d(-log p) and h = dL/d(-log(1 - p))."""
    g = p * tl.sum(k, 0)[None, :] - k
    if BOTH:
        above = p > 0.5
        part = h * tl.where(above, 0.0, p / (1 - p))
        own = tl.where(above, p * h, 0.0)
        # the class above a half takes from the others by their shares of each other
        shares = tl.where(above, 0.0, tl.exp(z - log_of_others(z)[None, :]))
        shares = tl.where(tl.sum(above.to(tl.int32), 0)[None, :] > 0, shares, 0.0)
        g += own + part - p * tl.sum(part, 0)[None, :] - tl.sum(own, 0)[None, :] * shares
    return g


@triton.jit(do_not_specialize=["ignore"])
def backward(
    input, target, mask, regions, powers, gradient, ignore, voxels, input_steps, target_steps, mask_steps,
    gradient_steps, exponent: tl.float64,
    CLASSES: tl.constexpr, INDEXED: tl.constexpr, IGNORE: tl.constexpr, MASK: tl.constexpr, ACC: tl.constexpr,
    ACTIVATION: tl.constexpr, ERROR: tl.constexpr, POWER: tl.constexpr, BOTH: tl.constexpr, REGIONS: tl.constexpr,
    TINY: tl.constexpr, C: tl.constexpr, TILE: tl.constexpr, EVEN: tl.constexpr,
):  # fmt: skip
    """The gradient of the logits, from the cotangents CLASSES COLUMNS and CLASSES 2 of each sample."""
    program, programs, b = tl.program_id(0), tl.num_programs(0), tl.program_id(1).to(tl.int64)
    c = tl.arange(0, C)
    own = tl.load(powers + (b * CLASSES + c) * 2, c < CLASSES, 0)[:, None]
    other = tl.load(powers + (b * CLASSES + c) * 2 + 1, c < CLASSES, 0)[:, None]
    for start in range(program * TILE, voxels, programs * TILE):
        v = start + tl.arange(0, TILE)
        inside = within(v, voxels, EVEN)
        z, t, w = load_tile(
            input, target, mask, ignore, input_steps, target_steps, mask_steps, b, c, v, inside,
            CLASSES, INDEXED, IGNORE, MASK, ACC,
        )  # fmt: skip
        p, q, positive, negative = activate(z, ACTIVATION, ERROR == "likelihood")
        positive, negative = errors(z, p, q, positive, negative, t, ERROR, ACTIVATION, BOTH)
        k = share(t, own * bent(positive, exponent, POWER, TINY)[1])
        if BOTH:
            h = share(1 - t, other * bent(negative, exponent, POWER, TINY)[1])
        else:
            h = tl.zeros_like(k)
        if REGIONS:
            s = region_slope(regions + b * (CLASSES * COLUMNS), c, p, q, t, CLASSES, ERROR, ACC)
        else:
            s = tl.zeros_like(k)
        if ERROR == "difference":
            error = error_of(p, q, t)
            s += tl.where(error > 0, k + h, 0.0) - tl.where(error < 0, k + h, 0.0)
        s = tl.where((c < CLASSES)[:, None], w * s, 0.0)
        g = before_activation(p, q, s, ACTIVATION)
        if ERROR == "likelihood" and ACTIVATION == "softmax":
            g += settle(p, mixed(z, p, w * k, w * h, BOTH))
        elif ERROR == "likelihood":
            g += w * (p * h - q * k)
        store_gradient(gradient, gradient_steps, b, c, v, g, w, inside, CLASSES)
