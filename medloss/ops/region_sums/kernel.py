"""``region_sums`` on the GPU: all classes of a voxel in one tile, one sweep forward, one backward.

A program walks over tiles of one sample and keeps its sums in registers; each leaves one row of partial sums, which a
second kernel adds in their order, in double. The result depends on neither timing nor the number of processors.
"""

from __future__ import annotations

import triton
import triton.language as tl

COLUMNS: tl.constexpr = tl.constexpr(12)
"""As in columns.py, where the numbers of the columns and the bits of their groups are named."""


@triton.jit
def log1p_unit(e):
    """log(1 + e) for e in [0, 1], twice the area tangent of e / (2 + e): keeps the digits of a tiny e."""
    u = e / (2 + e)
    s = u * u
    if e.dtype == tl.float64:
        return tl.where(e < 1e-4, u * (2 + s * (2.0 / 3 + s * 0.4)), tl.log(1 + e))
    q = 1.0 / 13 + s * (1.0 / 15)
    q = 1.0 / 11 + s * q
    q = 1.0 / 9 + s * q
    q = 1.0 / 7 + s * q
    q = 1.0 / 5 + s * q
    q = 1.0 / 3 + s * q
    return 2 * u * (1 + s * q)


@triton.jit
def activate(z, ACTIVATION: tl.constexpr, SURPRISE: tl.constexpr):
    """p, -log p and -log(1 - p) of logits C V; the logarithms only where asked for."""
    positive, negative = z, z
    if ACTIVATION == "softmax":
        top = tl.max(z, 0)[None, :]
        p = tl.exp(z - top)
        total = tl.sum(p, 0)[None, :]
        p = p / total
        if SURPRISE:
            positive = (top + tl.log(total)) - z
    elif ACTIVATION == "sigmoid":
        e = tl.exp(-tl.abs(z))
        large = 1 / (1 + e)
        p = tl.where(z < 0, e * large, large)
        if SURPRISE:
            both = log1p_unit(e)
            positive, negative = both + tl.maximum(-z, 0.0), both + tl.maximum(z, 0.0)
    else:
        p = z
    return p, positive, negative


@triton.jit
def class_of(label, CLASSES: tl.constexpr):
    """Labels of any type as int32; -1 where they are not one of the classes."""
    inside = (label >= 0) & (label < CLASSES)
    whole = tl.where(inside, label, 0).to(tl.int32)
    return tl.where(inside & (whole.to(label.dtype) == label), whole, -1)


@triton.jit
def load_voxels(
    target, mask, ignore, b, v, c, inside, target_batch, target_class, target_voxel, mask_batch, mask_class, mask_voxel,
    CLASSES: tl.constexpr, INDEXED: tl.constexpr, IGNORE: tl.constexpr, MASK: tl.constexpr, ACC: tl.constexpr,
):  # fmt: skip
    """Memberships C V and weights (1 or C) V of the voxels v; nothing where the weight is zero."""
    weight = inside.to(ACC)[None, :]
    v = v.to(tl.int64)
    if MASK == "voxel":
        weight = tl.load(mask + b * mask_batch + v * mask_voxel, inside, 0).to(ACC)[None, :]
    if MASK == "class":
        at = mask + b * mask_batch + (c.to(tl.int64) * mask_class)[:, None] + (v * mask_voxel)[None, :]
        weight = tl.load(at, inside[None, :] & (c < CLASSES)[:, None], 0).to(ACC)
    if INDEXED:
        label = tl.load(target + b * target_batch + v * target_voxel, inside, 0)
        if IGNORE:
            if label.dtype.is_floating():
                kept = label != ignore.to(label.dtype)
            else:
                kept = label.to(tl.int64) != ignore.to(tl.int64)
            weight = tl.where(kept[None, :], weight, 0.0)
        member = (class_of(label, CLASSES)[None, :] == c[:, None]).to(ACC)
    else:
        at = target + b * target_batch + (c.to(tl.int64) * target_class)[:, None] + (v * target_voxel)[None, :]
        member = tl.load(at, inside[None, :] & (c < CLASSES)[:, None], 0).to(ACC)
    return tl.where(weight > 0, member, 0.0), weight


@triton.jit
def load_logits(input, b, v, c, inside, weight, batch, step, voxel, CLASSES: tl.constexpr, ACC: tl.constexpr):
    """Logits C V: nothing where the weight is zero, -inf for the classes that fill the tile up."""
    at = input + b * batch + (c.to(tl.int64) * step)[:, None] + (v.to(tl.int64) * voxel)[None, :]
    z = tl.load(at, inside[None, :] & (c < CLASSES)[:, None], 0).to(ACC)
    return tl.where((c < CLASSES)[:, None], tl.where(weight > 0, z, 0.0), -float("inf"))


@triton.jit
def focal_power(base, GAMMA: tl.constexpr, TINY: tl.constexpr):
    """base ** GAMMA and its derivative. The base is kept off zero: at saturation the derivative is zero, not NaN."""
    if GAMMA == 0.0:
        power, slope = base * 0 + 1, base * 0
    elif GAMMA == 1.0:
        power, slope = base, base * 0 + 1
    elif GAMMA == 2.0:
        power, slope = base * base, 2 * base
    else:
        log = tl.log(tl.where(base < TINY, TINY, base))
        power = tl.exp(GAMMA * log)
        slope = tl.where(base < TINY, 0.0, GAMMA * tl.exp((GAMMA - 1) * log))
    return power, slope


@triton.jit
def focal_base(p, t, ACTIVATION: tl.constexpr):
    """How far the probability is from the truth: what the focal factor is a power of."""
    if ACTIVATION == "softmax":
        base = 1 - p
    else:
        base = p * (1 - t) + (1 - p) * t
    return base


@triton.jit
def share(portion, term):
    """portion * term, where nothing of infinity is nothing."""
    return tl.where(portion == 0, 0.0, portion * term)


@triton.jit
def fold(x, FOLD: tl.constexpr, ROWS: tl.constexpr):
    """C V to C V/FOLD: adds up voxels that lie in one thread, whose loads are along the voxels (ROWS) or not."""
    C: tl.constexpr = x.shape[0]
    V: tl.constexpr = x.shape[1]
    if ROWS:
        folded = tl.sum(tl.reshape(x, (C, V // FOLD, FOLD)), 2)
    else:
        folded = tl.sum(tl.reshape(x, (C, FOLD, V // FOLD)), 1)
    return folded


@triton.jit
def store_sums(row, c, sums, column: tl.constexpr, CLASSES: tl.constexpr):
    tl.store(row + c * COLUMNS + column, tl.sum(sums, 1), c < CLASSES)


@triton.jit(do_not_specialize=["ignore"])
def forward(
    input, target, mask, partials, ignore, voxels, input_batch, input_class, input_voxel,
    target_batch, target_class, target_voxel, mask_batch, mask_class, mask_voxel,
    CLASSES: tl.constexpr, ACTIVATION: tl.constexpr, INDEXED: tl.constexpr, IGNORE: tl.constexpr, MASK: tl.constexpr,
    ACC: tl.constexpr, TERMS: tl.constexpr, GAMMA: tl.constexpr, TINY: tl.constexpr, ROWS: tl.constexpr,
    C: tl.constexpr, TILE: tl.constexpr, FOLD: tl.constexpr,
):  # fmt: skip
    """One row of partial sums, CLASSES COLUMNS, for each program of a sample; columns not asked for are left alone."""
    SQUARES: tl.constexpr = TERMS & 1
    DIFFERENCE: tl.constexpr = TERMS & 2
    LIKELIHOOD: tl.constexpr = TERMS & 4
    UNIFORM: tl.constexpr = TERMS & 8
    FOCAL: tl.constexpr = TERMS & 16
    SIGMOID: tl.constexpr = ACTIVATION == "sigmoid"
    program, programs, b = tl.program_id(0), tl.num_programs(0), tl.program_id(1).to(tl.int64)
    c = tl.arange(0, C)
    zero = tl.zeros((C, TILE // FOLD), ACC)
    overlap, inputs, targets, weights = zero, zero, zero, zero
    p_squares, t_squares, differences, nll_true, nll_false, nll_all = zero, zero, zero, zero, zero, zero
    focal_true, focal_false = zero, zero
    for start in range(program * TILE, voxels, programs * TILE):
        v = start + tl.arange(0, TILE)
        inside = v < voxels
        t, w = load_voxels(
            target, mask, ignore, b, v, c, inside, target_batch, target_class, target_voxel,
            mask_batch, mask_class, mask_voxel, CLASSES, INDEXED, IGNORE, MASK, ACC,
        )  # fmt: skip
        z = load_logits(input, b, v, c, inside, w, input_batch, input_class, input_voxel, CLASSES, ACC)
        p, positive, negative = activate(z, ACTIVATION, (TERMS & 28) > 0)
        w = tl.broadcast_to(w, (C, TILE))
        wt = w * t
        overlap += fold(wt * p, FOLD, ROWS)
        inputs += fold(w * p, FOLD, ROWS)
        targets += fold(wt, FOLD, ROWS)
        weights += fold(w, FOLD, ROWS)
        if SQUARES:
            p_squares += fold(w * p * p, FOLD, ROWS)
            t_squares += fold(wt * t, FOLD, ROWS)
        if DIFFERENCE:
            differences += fold(w * tl.abs(p - t), FOLD, ROWS)
        if LIKELIHOOD:
            nll_true += fold(share(wt, positive), FOLD, ROWS)
            if SIGMOID:
                nll_false += fold(share(w - wt, negative), FOLD, ROWS)
        if UNIFORM:
            nll_all += fold(w * positive, FOLD, ROWS)
        if FOCAL:
            factor, _ = focal_power(focal_base(p, t, ACTIVATION), GAMMA, TINY)
            focal_true += fold(share(wt, factor * positive), FOLD, ROWS)
            if SIGMOID:
                focal_false += fold(share(w - wt, factor * negative), FOLD, ROWS)
    row = partials + (b * programs + program) * (CLASSES * COLUMNS)
    store_sums(row, c, overlap, 0, CLASSES)
    store_sums(row, c, inputs, 1, CLASSES)
    store_sums(row, c, targets, 2, CLASSES)
    store_sums(row, c, weights, 3, CLASSES)
    if SQUARES:
        store_sums(row, c, p_squares, 4, CLASSES)
        store_sums(row, c, t_squares, 5, CLASSES)
    if DIFFERENCE:
        store_sums(row, c, differences, 6, CLASSES)
    if LIKELIHOOD:
        store_sums(row, c, nll_true, 7, CLASSES)
        if SIGMOID:
            store_sums(row, c, nll_false, 8, CLASSES)
    if UNIFORM:
        store_sums(row, c, nll_all, 9, CLASSES)
    if FOCAL:
        store_sums(row, c, focal_true, 10, CLASSES)
        if SIGMOID:
            store_sums(row, c, focal_false, 11, CLASSES)


@triton.jit
def finish(partials, sums, programs, width, WRITTEN: tl.constexpr, ROWS: tl.constexpr, WIDTH: tl.constexpr):
    """Adds the rows of each sample in their order, in double. WRITTEN has a bit for every column that was."""
    b = tl.program_id(1).to(tl.int64)
    at = tl.program_id(0) * WIDTH + tl.arange(0, WIDTH)
    written = (at < width) & (((WRITTEN >> (at % COLUMNS)) & 1) == 1)
    total = tl.zeros((ROWS, WIDTH), tl.float64)
    for first in range(0, programs, ROWS):
        row = first + tl.arange(0, ROWS)
        offset = (b * programs + row)[:, None] * width + at[None, :]
        total += tl.load(partials + offset, (row < programs)[:, None] & written[None, :], 0).to(tl.float64)
    tl.store(sums + b * width + at, tl.sum(total, 0).to(sums.dtype.element_ty), at < width)


@triton.jit
def load_column(cotangent, c, column: tl.constexpr, ASKED: tl.constexpr, CLASSES: tl.constexpr, ACC: tl.constexpr):
    """The cotangent of a column, C 1; zero where the column was not asked for."""
    if ASKED:
        found = tl.load(cotangent + c * COLUMNS + column, c < CLASSES, 0).to(ACC)[:, None]
    else:
        found = tl.zeros((c.shape[0], 1), ACC)
    return found


@triton.jit(do_not_specialize=["ignore"])
def backward(
    input, target, mask, cotangent, gradient, ignore, voxels, input_batch, input_class, input_voxel,
    target_batch, target_class, target_voxel, mask_batch, mask_class, mask_voxel,
    gradient_batch, gradient_class, gradient_voxel,
    CLASSES: tl.constexpr, ACTIVATION: tl.constexpr, INDEXED: tl.constexpr, IGNORE: tl.constexpr, MASK: tl.constexpr,
    ACC: tl.constexpr, TERMS: tl.constexpr, GAMMA: tl.constexpr, TINY: tl.constexpr,
    C: tl.constexpr, TILE: tl.constexpr,
):  # fmt: skip
    """dL/dz = h - p sum(h) for the softmax, with h = p dL/dp - dL/d(-log p); dL/dp dp/dz and the like for the others."""
    LIKELIHOOD: tl.constexpr = TERMS & 4
    UNIFORM: tl.constexpr = TERMS & 8
    FOCAL: tl.constexpr = TERMS & 16
    SIGMOID: tl.constexpr = ACTIVATION == "sigmoid"
    program, programs, b = tl.program_id(0), tl.num_programs(0), tl.program_id(1).to(tl.int64)
    c = tl.arange(0, C)
    cotangent += b * (CLASSES * COLUMNS)
    by_overlap = load_column(cotangent, c, 0, True, CLASSES, ACC)
    by_input = load_column(cotangent, c, 1, True, CLASSES, ACC)
    by_square = load_column(cotangent, c, 4, (TERMS & 1) > 0, CLASSES, ACC)
    by_difference = load_column(cotangent, c, 6, (TERMS & 2) > 0, CLASSES, ACC)
    by_true = load_column(cotangent, c, 7, LIKELIHOOD > 0, CLASSES, ACC)
    by_false = load_column(cotangent, c, 8, LIKELIHOOD > 0, CLASSES, ACC)
    by_all = load_column(cotangent, c, 9, UNIFORM > 0, CLASSES, ACC)
    by_focal_true = load_column(cotangent, c, 10, FOCAL > 0, CLASSES, ACC)
    by_focal_false = load_column(cotangent, c, 11, FOCAL > 0, CLASSES, ACC)
    for start in range(program * TILE, voxels, programs * TILE):
        v = start + tl.arange(0, TILE)
        inside = v < voxels
        t, w = load_voxels(
            target, mask, ignore, b, v, c, inside, target_batch, target_class, target_voxel,
            mask_batch, mask_class, mask_voxel, CLASSES, INDEXED, IGNORE, MASK, ACC,
        )  # fmt: skip
        z = load_logits(input, b, v, c, inside, w, input_batch, input_class, input_voxel, CLASSES, ACC)
        p, positive, negative = activate(z, ACTIVATION, FOCAL > 0)
        slope = by_input + by_overlap * t
        if TERMS & 1:
            slope += 2 * by_square * p
        if TERMS & 2:
            slope += tl.where(p > t, by_difference, 0.0) - tl.where(p < t, by_difference, 0.0)
        if ACTIVATION == "softmax":
            h = p * slope
            if LIKELIHOOD:
                h -= by_true * t
            if UNIFORM:
                h -= by_all
            if FOCAL:
                factor, turn = focal_power(1 - p, GAMMA, TINY)
                h -= share(by_focal_true * t, factor + turn * p * positive)
            h = tl.where((c < CLASSES)[:, None], w * h, 0.0)
            g = h - p * tl.sum(h, 0)[None, :]
        elif SIGMOID:
            q = 1 - p
            g = p * q * slope
            if LIKELIHOOD:
                g += by_false * (1 - t) * p - by_true * t * q
            if UNIFORM:
                g -= by_all * q
            if FOCAL:
                factor, turn = focal_power(focal_base(p, t, ACTIVATION), GAMMA, TINY)
                side = turn * p * q * (1 - 2 * t)
                g += share(by_focal_true * t, side * positive - factor * q)
                g += share(by_focal_false * (1 - t), side * negative + factor * p)
            g *= w
        else:
            g = slope * w
        g = tl.where(w > 0, g, 0.0)
        at = b * gradient_batch + (c.to(tl.int64) * gradient_class)[:, None]
        at += (v.to(tl.int64) * gradient_voxel)[None, :]
        tl.store(gradient + at, g.to(gradient.dtype.element_ty), inside[None, :] & (c < CLASSES)[:, None])
