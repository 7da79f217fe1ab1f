"""``region_sums`` on the GPU: all classes of a voxel in one tile, one sweep forward, one backward.

A program walks over tiles of one sample and keeps its sums in registers; each leaves one row of partial sums, which a
second kernel adds in their order, in double. The result depends on neither timing nor the number of processors.
"""

from __future__ import annotations

import triton
import triton.language as tl

from medloss.ops.region_sums.columns import Column
from medloss.ops.triton_functions import activate, error_of, load_tile, settle, store_gradient, within

COLUMNS: tl.constexpr = tl.constexpr(len(Column))
"""Numbered as in columns.py. WRITTEN has a bit for each one that is asked for: 1 << Column."""


@triton.jit
def focal_power(base, gamma, POWER: tl.constexpr, TINY: tl.constexpr):
    """base ** gamma and its derivative. The base is kept off zero: at saturation the derivative is zero, not NaN.

    POWER is gamma where there is a short way; None for all others, which share one kernel.
    """
    if POWER == 0.0:
        power, slope = base * 0 + 1, base * 0
    elif POWER == 1.0:
        power, slope = base, base * 0 + 1
    elif POWER == 2.0:
        power, slope = base * base, 2 * base
    else:
        gamma = tl.full((), gamma, base.dtype)
        log = tl.log(tl.where(base < TINY, TINY, base))
        power = tl.exp(gamma * log)
        slope = tl.where(base < TINY, 0.0, gamma * tl.exp((gamma - 1) * log))
    return power, slope


@triton.jit
def focal_base(p, q, t, ACTIVATION: tl.constexpr):
    """How far the probability is from the truth: what the focal factor is a power of."""
    if ACTIVATION == "softmax":
        base = q
    else:
        base = p * (1 - t) + q * t
    return base


@triton.jit
def share(portion, term):
    """portion * term, where nothing of infinity is nothing."""
    return tl.where(portion == 0, 0.0, portion * term)


@triton.jit
def fold(x, FOLD: tl.constexpr, ROWS: tl.constexpr):
    """C V to C V/FOLD: adds up voxels of one thread, whose loads are along the voxels (ROWS) or not."""
    if ROWS:
        folded = tl.sum(tl.reshape(x, (x.shape[0], x.shape[1] // FOLD, FOLD)), 2)
    else:
        folded = tl.sum(tl.reshape(x, (x.shape[0], FOLD, x.shape[1] // FOLD)), 1)
    return folded


@triton.jit
def fold_both(x, y, FOLD: tl.constexpr, ROWS: tl.constexpr):
    """Of two maps. Joined they lie alike: one that is not made of logits would have another layout, and be shuffled."""
    both = tl.join(x, y)
    if ROWS:
        folded = tl.sum(tl.reshape(both, (x.shape[0], x.shape[1] // FOLD, FOLD, 2)), 2)
    else:
        folded = tl.sum(tl.reshape(both, (x.shape[0], FOLD, x.shape[1] // FOLD, 2)), 1)
    return tl.split(folded)


@triton.jit
def add_regions(sums, p, q, t, w, WRITTEN: tl.constexpr, FOLD: tl.constexpr, ROWS: tl.constexpr):
    """The columns OVERLAP to SURPLUS and FALSE_POSITIVE to SQUARED_ERROR with a tile added."""
    overlap, inputs, targets, weights, p_squares, t_squares, surplus, invented, missed, clear, common, lack, off = sums
    wp, wt = w * p, w * t
    first, second = fold_both(wp * t, wt, FOLD, ROWS)
    overlap, targets = overlap + first, targets + second
    first, second = fold_both(wp, tl.broadcast_to(w, p.shape), FOLD, ROWS)
    inputs, weights = inputs + first, weights + second
    if WRITTEN & 0x10:
        first, second = fold_both(wp * p, wt * t, FOLD, ROWS)
        p_squares, t_squares = p_squares + first, t_squares + second
    error = error_of(p, q, t)
    if WRITTEN & 0x20000:
        off += fold(w * error * error, FOLD, ROWS)
    if WRITTEN & 0x40:
        surplus += fold(w * tl.where(error > 0, error, 0.0), FOLD, ROWS)
        lack += fold(w * tl.where(error < 0, -error, 0.0), FOLD, ROWS)
        common += fold(w * tl.where(p < t, p + 0 * t, t), FOLD, ROWS)
    if WRITTEN & 0x1000:
        first, second = fold_both(wp * (1 - t), wt * q, FOLD, ROWS)
        invented, missed = invented + first, missed + second
    if WRITTEN & 0x4000:
        clear += fold(w * (1 - t) * q, FOLD, ROWS)
    return overlap, inputs, targets, weights, p_squares, t_squares, surplus, invented, missed, clear, common, lack, off


@triton.jit
def add_likelihoods(
    sums, p, q, positive, negative, t, w, gamma, ACTIVATION: tl.constexpr, WRITTEN: tl.constexpr, POWER: tl.constexpr,
    TINY: tl.constexpr, FOLD: tl.constexpr, ROWS: tl.constexpr,
):  # fmt: skip
    """The columns NLL_TRUE to FOCAL_FALSE with a tile added; the false ones are the sigmoid's."""
    nll_true, nll_false, nll_all, focal_true, focal_false = sums
    true, false = w * t, w * (1 - t)
    if WRITTEN & 0x80:
        nll_true += fold(share(true, positive), FOLD, ROWS)
    if WRITTEN & 0x100:
        nll_false += fold(share(false, negative), FOLD, ROWS)
    if WRITTEN & 0x200:
        nll_all += fold(w * positive, FOLD, ROWS)
    if WRITTEN & 0x400:
        factor, _ = focal_power(focal_base(p, q, t, ACTIVATION), gamma, POWER, TINY)
        focal_true += fold(share(true, factor * positive), FOLD, ROWS)
        if WRITTEN & 0x800:
            focal_false += fold(share(false, factor * negative), FOLD, ROWS)
    return nll_true, nll_false, nll_all, focal_true, focal_false


@triton.jit(do_not_specialize=["ignore"])
def forward(
    input, target, mask, partials, ignore, voxels, input_steps, target_steps, mask_steps, gamma: tl.float64,
    CLASSES: tl.constexpr, INDEXED: tl.constexpr, IGNORE: tl.constexpr, MASK: tl.constexpr, ACC: tl.constexpr,
    ACTIVATION: tl.constexpr, WRITTEN: tl.constexpr, POWER: tl.constexpr, TINY: tl.constexpr, ROWS: tl.constexpr,
    C: tl.constexpr, TILE: tl.constexpr, EVEN: tl.constexpr, FOLD: tl.constexpr,
):  # fmt: skip
    """One row of partial sums, CLASSES COLUMNS, for each program of a sample; columns not asked for are left alone."""
    program, programs, b = tl.program_id(0), tl.num_programs(0), tl.program_id(1).to(tl.int64)
    c = tl.arange(0, C)
    zero = tl.zeros((C, TILE // FOLD), ACC)
    regions = (zero, zero, zero, zero, zero, zero, zero, zero, zero, zero, zero, zero, zero)
    likelihoods = (zero, zero, zero, zero, zero)
    for start in range(program * TILE, voxels, programs * TILE):
        v = start + tl.arange(0, TILE)
        inside = within(v, voxels, EVEN)
        z, t, w = load_tile(
            input, target, mask, ignore, input_steps, target_steps, mask_steps, b, c, v, inside,
            CLASSES, INDEXED, IGNORE, MASK, ACC,
        )  # fmt: skip
        p, q, positive, negative = activate(z, ACTIVATION, (WRITTEN & 0xF80) != 0)
        regions = add_regions(regions, p, q, t, w, WRITTEN, FOLD, ROWS)
        likelihoods = add_likelihoods(
            likelihoods, p, q, positive, negative, t, w, gamma, ACTIVATION, WRITTEN, POWER, TINY, FOLD, ROWS
        )
    row = partials + (b * programs + program) * (CLASSES * COLUMNS) + c * COLUMNS
    for column in tl.static_range(7):
        if (WRITTEN >> column) & 1:
            tl.store(row + column, tl.sum(regions[column], 1), c < CLASSES)
    for column in tl.static_range(7, 12):
        if (WRITTEN >> column) & 1:
            tl.store(row + column, tl.sum(likelihoods[column - 7], 1), c < CLASSES)
    for column in tl.static_range(12, 18):
        if (WRITTEN >> column) & 1:
            tl.store(row + column, tl.sum(regions[column - 5], 1), c < CLASSES)


@triton.jit
def cotangent_of(row, c, column: tl.constexpr, CLASSES: tl.constexpr, WRITTEN: tl.constexpr, ACC: tl.constexpr):
    """The cotangent of a column, C 1; zero where it was not asked for."""
    if (WRITTEN >> column) & 1:
        found = tl.load(row + c * COLUMNS + column, c < CLASSES, 0).to(ACC)[:, None]
    else:
        found = tl.zeros((c.shape[0], 1), ACC)
    return found


@triton.jit
def probability_slope(row, c, p, q, t, CLASSES: tl.constexpr, WRITTEN: tl.constexpr, ACC: tl.constexpr):
    """dL/dp of the columns OVERLAP to SURPLUS and FALSE_POSITIVE to SQUARED_ERROR."""
    others = cotangent_of(row, c, 1, CLASSES, WRITTEN, ACC)  # of voxels that the class has not
    own = others + cotangent_of(row, c, 0, CLASSES, WRITTEN, ACC)
    if WRITTEN & 0x1000:
        others += cotangent_of(row, c, 12, CLASSES, WRITTEN, ACC)
        own -= cotangent_of(row, c, 13, CLASSES, WRITTEN, ACC)
    if WRITTEN & 0x4000:
        others -= cotangent_of(row, c, 14, CLASSES, WRITTEN, ACC)
    slope = others * (1 - t) + own * t
    if WRITTEN & 0x10:
        slope += 2 * cotangent_of(row, c, 4, CLASSES, WRITTEN, ACC) * p
    if WRITTEN & 0x20000:
        slope += 2 * cotangent_of(row, c, 17, CLASSES, WRITTEN, ACC) * error_of(p, q, t)
    if WRITTEN & 0x40:
        error, above = error_of(p, q, t), cotangent_of(row, c, 6, CLASSES, WRITTEN, ACC)
        below = cotangent_of(row, c, 15, CLASSES, WRITTEN, ACC) - cotangent_of(row, c, 16, CLASSES, WRITTEN, ACC)
        slope += tl.where(error > 0, above, tl.where(error < 0, below, (above + below) / 2))
    return slope


@triton.jit
def softmax_slope(
    row, c, p, q, positive, t, w, gamma, CLASSES: tl.constexpr, WRITTEN: tl.constexpr, POWER: tl.constexpr,
    TINY: tl.constexpr, ACC: tl.constexpr,
):  # fmt: skip
    """dL/dz = h - p sum(h), where h = p dL/dp - dL/d(-log p)."""
    slope = probability_slope(row, c, p, q, t, CLASSES, WRITTEN, ACC)
    h = p * slope
    if WRITTEN & 0x80:
        h -= cotangent_of(row, c, 7, CLASSES, WRITTEN, ACC) * t
    if WRITTEN & 0x200:
        h -= cotangent_of(row, c, 9, CLASSES, WRITTEN, ACC)
    if WRITTEN & 0x400:
        factor, turn = focal_power(q, gamma, POWER, TINY)
        h -= share(cotangent_of(row, c, 10, CLASSES, WRITTEN, ACC) * t, factor + turn * p * positive)
    h = tl.where((c < CLASSES)[:, None], w * h, 0.0)
    return settle(p, h - p * tl.sum(h, 0)[None, :])


@triton.jit
def sigmoid_slope(
    row, c, p, q, positive, negative, t, w, gamma, CLASSES: tl.constexpr, WRITTEN: tl.constexpr, POWER: tl.constexpr,
    TINY: tl.constexpr, ACC: tl.constexpr,
):  # fmt: skip
    """dL/dz by the chain rule, with dp/dz = p (1 - p)."""
    g = p * q * probability_slope(row, c, p, q, t, CLASSES, WRITTEN, ACC)
    if WRITTEN & 0x80:
        g -= cotangent_of(row, c, 7, CLASSES, WRITTEN, ACC) * t * q
    if WRITTEN & 0x100:
        g += cotangent_of(row, c, 8, CLASSES, WRITTEN, ACC) * (1 - t) * p
    if WRITTEN & 0x200:
        g -= cotangent_of(row, c, 9, CLASSES, WRITTEN, ACC) * q
    if WRITTEN & 0x400:
        factor, turn = focal_power(focal_base(p, q, t, "sigmoid"), gamma, POWER, TINY)
        side = turn * p * q * (1 - 2 * t)
        true, false = t, 1 - t
        g += share(cotangent_of(row, c, 10, CLASSES, WRITTEN, ACC) * true, side * positive - factor * q)
        g += share(cotangent_of(row, c, 11, CLASSES, WRITTEN, ACC) * false, side * negative + factor * p)
    return w * g


@triton.jit(do_not_specialize=["ignore"])
def backward(
    input, target, mask, cotangent, gradient, ignore, voxels, input_steps, target_steps, mask_steps, gradient_steps,
    gamma: tl.float64,
    CLASSES: tl.constexpr, INDEXED: tl.constexpr, IGNORE: tl.constexpr, MASK: tl.constexpr, ACC: tl.constexpr,
    ACTIVATION: tl.constexpr, WRITTEN: tl.constexpr, POWER: tl.constexpr, TINY: tl.constexpr,
    C: tl.constexpr, TILE: tl.constexpr, EVEN: tl.constexpr,
):  # fmt: skip
    """The gradient of the logits, from the cotangents CLASSES COLUMNS of each sample."""
    program, programs, b = tl.program_id(0), tl.num_programs(0), tl.program_id(1).to(tl.int64)
    c = tl.arange(0, C)
    row = cotangent + b * (CLASSES * COLUMNS)
    for start in range(program * TILE, voxels, programs * TILE):
        v = start + tl.arange(0, TILE)
        inside = within(v, voxels, EVEN)
        z, t, w = load_tile(
            input, target, mask, ignore, input_steps, target_steps, mask_steps, b, c, v, inside,
            CLASSES, INDEXED, IGNORE, MASK, ACC,
        )  # fmt: skip
        p, q, positive, negative = activate(z, ACTIVATION, (WRITTEN & 0xC00) != 0)
        if ACTIVATION == "softmax":
            g = softmax_slope(row, c, p, q, positive, t, w, gamma, CLASSES, WRITTEN, POWER, TINY, ACC)
        elif ACTIVATION == "sigmoid":
            g = sigmoid_slope(row, c, p, q, positive, negative, t, w, gamma, CLASSES, WRITTEN, POWER, TINY, ACC)
        else:
            g = w * probability_slope(row, c, p, q, t, CLASSES, WRITTEN, ACC)
        store_gradient(gradient, gradient_steps, b, c, v, g, w, inside, CLASSES)
