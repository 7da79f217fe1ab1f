"""``pointwise`` on the GPU: penalties of logits, all classes of a voxel in one tile, one sweep forward, one backward.

A program walks over tiles of one sample. Sums over the voxels are left as one row for each program, which a second
kernel adds in their order, in double: the result depends on no timing.
"""

from __future__ import annotations

import triton
import triton.language as tl

from medloss.ops.kernel import activate, load_tile, store_gradient, within
from medloss.ops.region_sums.kernel import focal_base, focal_power, share


@triton.jit
def complement(x):
    """1 - exp(-x) of an x of at least 0, which keeps the digits of a small one."""
    q = 1.0 / 720 - x * (1.0 / 5040)
    q = 1.0 / 120 - x * q
    q = 1.0 / 24 - x * q
    q = 1.0 / 6 - x * q
    q = 0.5 - x * q
    return tl.where(x < 0.05, x * (1 - x * q), 1 - tl.exp(-x))


@triton.jit
def parts(
    p, positive, negative, t, ACTIVATION: tl.constexpr, FORM: tl.constexpr, GAMMA: tl.constexpr, TINY: tl.constexpr
):
    """The penalty of the true and of the false part."""
    if FORM == "poly":
        positive += GAMMA * complement(positive)
        negative += GAMMA * p
    elif FORM == "power":
        positive = complement(GAMMA * positive) / GAMMA
        negative = complement(GAMMA * negative) / GAMMA
    elif FORM == "plain":
        factor, _ = focal_power(focal_base(p, t, ACTIVATION), GAMMA, TINY)
        positive, negative = factor * positive, factor * negative
    return positive, negative


@triton.jit
def top_of(z, c, CLASSES: tl.constexpr):
    """The largest logit of each voxel, or NaN where one is."""
    bad = tl.sum(((z != z) & (c < CLASSES)[:, None]).to(tl.int32), 0)
    return tl.where(bad > 0, float("nan"), tl.max(z, 0))[None, :]


@triton.jit
def labels_of(t, FORM: tl.constexpr, GAMMA: tl.constexpr):
    """Memberships, mixed with those of the others where the penalty says so."""
    if FORM == "smoothed":
        t = GAMMA + (1 - 2 * GAMMA) * t
    return t


@triton.jit
def surprise_of_label(t, LEAST: tl.constexpr):
    """-log t, of a t of at least LEAST."""
    return -tl.log(tl.where(t < LEAST, LEAST, t))


@triton.jit
def penalties(
    z, t, a, n, c, CLASSES: tl.constexpr, ACTIVATION: tl.constexpr, FORM: tl.constexpr, GAMMA: tl.constexpr,
    LEAST: tl.constexpr, TINY: tl.constexpr,
):  # fmt: skip
    """The map C V, before the voxels' weights."""
    if FORM == "margin":
        behind = top_of(z, c, CLASSES) - z - GAMMA
        value = tl.where(behind <= 0, 0.0, behind)
    else:
        p, positive, negative = activate(z, ACTIVATION, FORM != "reverse")
        if FORM == "reverse":
            value = p * surprise_of_label(t, LEAST)
        else:
            t = labels_of(t, FORM, GAMMA)
            true, false = parts(p, positive, negative, t, ACTIVATION, FORM, GAMMA, TINY)
            value = a * share(t, true)
            if ACTIVATION == "sigmoid":
                value += n * share(1 - t, false)
    return value


@triton.jit(do_not_specialize=["ignore"])
def forward(
    input, target, mask, yes, no, result, ignore, voxels, input_steps, target_steps, mask_steps,
    CLASSES: tl.constexpr, INDEXED: tl.constexpr, IGNORE: tl.constexpr, MASK: tl.constexpr, ACC: tl.constexpr,
    ACTIVATION: tl.constexpr, FORM: tl.constexpr, GAMMA: tl.constexpr, LEAST: tl.constexpr, TINY: tl.constexpr,
    GIVEN: tl.constexpr, C: tl.constexpr, TILE: tl.constexpr, EVEN: tl.constexpr,
):  # fmt: skip
    """The map, its sum over the classes, or one row of sums over the voxels for each program."""
    program, programs, b = tl.program_id(0), tl.num_programs(0), tl.program_id(1).to(tl.int64)
    c = tl.arange(0, C)
    known = (c < CLASSES)[:, None]
    a, n = tl.load(yes + c, c < CLASSES, 0)[:, None], tl.load(no + c, c < CLASSES, 0)[:, None]
    sums = tl.zeros((C, TILE), ACC)
    for start in range(program * TILE, voxels, programs * TILE):
        v = start + tl.arange(0, TILE)
        inside = within(v, voxels, EVEN)
        z, t, w = load_tile(
            input, target, mask, ignore, input_steps, target_steps, mask_steps, b, c, v, inside,
            CLASSES, INDEXED, IGNORE, MASK, ACC,
        )  # fmt: skip
        value = penalties(z, t, a, n, c, CLASSES, ACTIVATION, FORM, GAMMA, LEAST, TINY)
        value = tl.where((w > 0) & known, w * value, 0.0)
        if GIVEN == "map":
            place = result + ((b * CLASSES + c.to(tl.int64)) * voxels)[:, None] + v[None, :]
            tl.store(place, value, inside[None, :] & known)
        elif GIVEN == "joined":
            tl.store(result + b * voxels + v, tl.sum(value, 0), inside)
        else:
            sums += value
    if GIVEN == "sums":
        tl.store(result + (b * programs + program) * CLASSES + c, tl.sum(sums, 1), c < CLASSES)


@triton.jit
def softmax_slope(
    z, p, positive, t, h, a, FORM: tl.constexpr, GAMMA: tl.constexpr, LEAST: tl.constexpr, TINY: tl.constexpr
):  # fmt: skip
    """dL/dz = p sum(s) - s with s = dL/d(-log p)."""
    if FORM == "reverse":
        h = p * h * surprise_of_label(t, LEAST)
        return h - p * tl.sum(h, 0)[None, :]
    if FORM == "poly":
        turn = 1 + GAMMA * p
    elif FORM == "power":
        turn = tl.exp(-GAMMA * positive)
    else:
        factor, slope = focal_power(focal_base(p, t, "softmax"), GAMMA, TINY)
        turn = factor + slope * p * positive
    s = h * a * share(t, turn)
    return p * tl.sum(s, 0)[None, :] - s


@triton.jit
def sigmoid_slope(
    z, p, positive, negative, t, h, a, n, FORM: tl.constexpr, GAMMA: tl.constexpr, TINY: tl.constexpr
):  # fmt: skip
    """dL/dz by the chain rule, with dp/dz = p (1 - p)."""
    t, q = labels_of(t, FORM, GAMMA), 1 - p
    rise, fall = n * (1 - t) * p, a * t * q
    if FORM == "poly":
        rise, fall = rise * (1 + GAMMA * q), fall * (1 + GAMMA * p)
    elif FORM == "power":
        rise, fall = rise * tl.exp(-GAMMA * negative), fall * tl.exp(-GAMMA * positive)
    slope = rise - fall
    if FORM == "plain":
        factor, turn = focal_power(focal_base(p, t, "sigmoid"), GAMMA, TINY)
        term = a * share(t, positive) + n * share(1 - t, negative)
        slope = factor * slope + turn * (1 - 2 * t) * p * q * term
    return h * slope


@triton.jit
def margin_slope(z, h, c, CLASSES: tl.constexpr, GAMMA: tl.constexpr):
    """Every logit too far behind rises, and the largest falls for all of them; equals share that."""
    known, top = (c < CLASSES)[:, None], top_of(z, c, CLASSES)
    s = tl.where(known & (top - z - GAMMA > 0), h, 0.0)
    largest = (known & (z == top)).to(s.dtype)
    slope = largest * (tl.sum(s, 0) / tl.maximum(tl.sum(largest, 0), 1))[None, :] - s
    return tl.where(top == top, slope, top)


@triton.jit(do_not_specialize=["ignore"])
def backward(
    input, target, mask, yes, no, cotangent, gradient, ignore, voxels, input_steps, target_steps, mask_steps,
    gradient_steps,
    CLASSES: tl.constexpr, INDEXED: tl.constexpr, IGNORE: tl.constexpr, MASK: tl.constexpr, ACC: tl.constexpr,
    ACTIVATION: tl.constexpr, FORM: tl.constexpr, GAMMA: tl.constexpr, LEAST: tl.constexpr, TINY: tl.constexpr,
    GIVEN: tl.constexpr, C: tl.constexpr, TILE: tl.constexpr, EVEN: tl.constexpr,
):  # fmt: skip
    """The gradient of the logits."""
    program, programs, b = tl.program_id(0), tl.num_programs(0), tl.program_id(1).to(tl.int64)
    c = tl.arange(0, C)
    known = (c < CLASSES)[:, None]
    a, n = tl.load(yes + c, c < CLASSES, 0)[:, None], tl.load(no + c, c < CLASSES, 0)[:, None]
    for start in range(program * TILE, voxels, programs * TILE):
        v = start + tl.arange(0, TILE)
        inside = within(v, voxels, EVEN)
        z, t, w = load_tile(
            input, target, mask, ignore, input_steps, target_steps, mask_steps, b, c, v, inside,
            CLASSES, INDEXED, IGNORE, MASK, ACC,
        )  # fmt: skip
        if GIVEN == "map":
            place = cotangent + ((b * CLASSES + c.to(tl.int64)) * voxels)[:, None] + v[None, :]
            above = tl.load(place, inside[None, :] & known, 0)
        elif GIVEN == "joined":
            above = tl.load(cotangent + b * voxels + v, inside, 0)[None, :]
        else:
            above = tl.load(cotangent + b * CLASSES + c, c < CLASSES, 0)[:, None]
        h = tl.where((w > 0) & known, w * above, 0.0)
        if FORM == "margin":
            g = margin_slope(z, h, c, CLASSES, GAMMA)
        else:
            p, positive, negative = activate(z, ACTIVATION, FORM != "reverse")
            if ACTIVATION == "softmax":
                g = softmax_slope(z, p, positive, t, h, a, FORM, GAMMA, LEAST, TINY)
            else:
                g = sigmoid_slope(z, p, positive, negative, t, h, a, n, FORM, GAMMA, TINY)
        store_gradient(gradient, gradient_steps, b, c, v, g, w, inside, CLASSES)
