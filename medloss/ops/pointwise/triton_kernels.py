"""``pointwise`` on the GPU: penalties of logits, all classes of a voxel in one tile, one sweep forward, one backward.

A program walks over tiles of one sample. Sums over the voxels are left as one row for each program, which a second
kernel adds in their order, in double: the result depends on no timing. A penalty's number, gamma, is told when
it is launched: a schedule of it compiles nothing (of ``reverse``: the least label); POWER is as of ``focal_power``.
"""

from __future__ import annotations

import triton
import triton.language as tl

from medloss.ops.region_sums.triton_kernels import focal_base, focal_power, share
from medloss.ops.triton_functions import activate, load_tile, settle, store_gradient, within


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
    p, q, positive, negative, t, gamma, ACTIVATION: tl.constexpr, FORM: tl.constexpr, POWER: tl.constexpr,
    TINY: tl.constexpr,
):  # fmt: skip
    """The penalty of the true and of the false part."""
    if FORM == "poly":
        positive += gamma * complement(positive)
        negative += gamma * p
    elif FORM == "power":
        positive = complement(gamma * positive) / gamma
        negative = complement(gamma * negative) / gamma
    elif FORM == "plain":
        factor, _ = focal_power(focal_base(p, q, t, ACTIVATION), gamma, POWER, TINY)
        positive, negative = factor * positive, factor * negative
    return positive, negative


@triton.jit
def top_of(z, c, CLASSES: tl.constexpr):
    """The largest logit of each voxel, or NaN where one is."""
    bad = tl.sum(((z != z) & (c < CLASSES)[:, None]).to(tl.int32), 0)
    return tl.where(bad > 0, float("nan"), tl.max(z, 0))[None, :]


@triton.jit
def labels_of(t, gamma, FORM: tl.constexpr):
    """Memberships, mixed with those of the others where the penalty says so."""
    if FORM == "smoothed":
        t = gamma + (1 - 2 * gamma) * t
    return t


@triton.jit
def surprise_of_label(t, least):
    """-log t, of a t of at least that."""
    return -tl.log(tl.where(t < least, least, t))


@triton.jit
def penalties(
    z, t, a, n, c, gamma, CLASSES: tl.constexpr, ACTIVATION: tl.constexpr, FORM: tl.constexpr, POWER: tl.constexpr,
    TINY: tl.constexpr,
):  # fmt: skip
    """The map C V, before the voxels' weights."""
    if FORM == "margin":
        behind = top_of(z, c, CLASSES) - z - gamma
        value = tl.where(behind <= 0, 0.0, behind)
    else:
        p, q, positive, negative = activate(z, ACTIVATION, FORM != "reverse")
        if FORM == "reverse":
            value = p * surprise_of_label(t, gamma)
        else:
            t = labels_of(t, gamma, FORM)
            true, false = parts(p, q, positive, negative, t, gamma, ACTIVATION, FORM, POWER, TINY)
            value = a * share(t, true)
            if ACTIVATION == "sigmoid":
                value += n * share(1 - t, false)
    return value


@triton.jit(do_not_specialize=["ignore"])
def forward(
    input, target, mask, yes, no, result, ignore, voxels, input_steps, target_steps, mask_steps, gamma: tl.float64,
    CLASSES: tl.constexpr, INDEXED: tl.constexpr, IGNORE: tl.constexpr, MASK: tl.constexpr, ACC: tl.constexpr,
    ACTIVATION: tl.constexpr, FORM: tl.constexpr, POWER: tl.constexpr, TINY: tl.constexpr,
    GIVEN: tl.constexpr, C: tl.constexpr, TILE: tl.constexpr, EVEN: tl.constexpr,
):  # fmt: skip
    """The map, its sum over the classes, or one row of sums over the voxels for each program."""
    program, programs, b = tl.program_id(0), tl.num_programs(0), tl.program_id(1).to(tl.int64)
    c = tl.arange(0, C)
    known = (c < CLASSES)[:, None]
    a, n = tl.load(yes + c, c < CLASSES, 0)[:, None], tl.load(no + c, c < CLASSES, 0)[:, None]
    gamma = tl.full((), gamma, ACC)
    sums = tl.zeros((C, TILE), ACC)
    for start in range(program * TILE, voxels, programs * TILE):
        v = start + tl.arange(0, TILE)
        inside = within(v, voxels, EVEN)
        z, t, w = load_tile(
            input, target, mask, ignore, input_steps, target_steps, mask_steps, b, c, v, inside,
            CLASSES, INDEXED, IGNORE, MASK, ACC,
        )  # fmt: skip
        value = penalties(z, t, a, n, c, gamma, CLASSES, ACTIVATION, FORM, POWER, TINY)
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
    z, p, q, positive, t, h, a, gamma, FORM: tl.constexpr, POWER: tl.constexpr, TINY: tl.constexpr
):  # fmt: skip
    """dL/dz = p sum(s) - s with s = dL/d(-log p)."""
    if FORM == "reverse":
        h = p * h * surprise_of_label(t, gamma)
        return settle(p, h - p * tl.sum(h, 0)[None, :])
    if FORM == "poly":
        turn = 1 + gamma * p
    elif FORM == "power":
        turn = tl.exp(-gamma * positive)
    else:
        factor, slope = focal_power(focal_base(p, q, t, "softmax"), gamma, POWER, TINY)
        turn = factor + slope * p * positive
    s = h * a * share(t, turn)
    return settle(p, p * tl.sum(s, 0)[None, :] - s)


@triton.jit
def sigmoid_slope(
    z, p, q, positive, negative, t, h, a, n, gamma, FORM: tl.constexpr, POWER: tl.constexpr, TINY: tl.constexpr
):  # fmt: skip
    """dL/dz by the chain rule, with dp/dz = p (1 - p)."""
    t = labels_of(t, gamma, FORM)
    rise, fall = n * (1 - t) * p, a * t * q
    if FORM == "poly":
        rise, fall = rise * (1 + gamma * q), fall * (1 + gamma * p)
    elif FORM == "power":
        rise, fall = rise * tl.exp(-gamma * negative), fall * tl.exp(-gamma * positive)
    slope = rise - fall
    if FORM == "plain":
        factor, turn = focal_power(focal_base(p, q, t, "sigmoid"), gamma, POWER, TINY)
        term = a * share(t, positive) + n * share(1 - t, negative)
        slope = factor * slope + turn * (1 - 2 * t) * p * q * term
    return h * slope


@triton.jit
def margin_slope(z, h, c, gamma, CLASSES: tl.constexpr):
    """Every logit too far behind rises, and the largest falls for all of them; equals share that."""
    known, top = (c < CLASSES)[:, None], top_of(z, c, CLASSES)
    s = tl.where(known & (top - z - gamma > 0), h, 0.0)
    largest = (known & (z == top)).to(s.dtype)
    slope = largest * (tl.sum(s, 0) / tl.maximum(tl.sum(largest, 0), 1))[None, :] - s
    return tl.where(top == top, slope, top)


@triton.jit(do_not_specialize=["ignore"])
def backward(
    input, target, mask, yes, no, cotangent, gradient, ignore, voxels, input_steps, target_steps, mask_steps,
    gradient_steps, gamma: tl.float64,
    CLASSES: tl.constexpr, INDEXED: tl.constexpr, IGNORE: tl.constexpr, MASK: tl.constexpr, ACC: tl.constexpr,
    ACTIVATION: tl.constexpr, FORM: tl.constexpr, POWER: tl.constexpr, TINY: tl.constexpr,
    GIVEN: tl.constexpr, C: tl.constexpr, TILE: tl.constexpr, EVEN: tl.constexpr,
):  # fmt: skip
    """The gradient of the logits."""
    program, programs, b = tl.program_id(0), tl.num_programs(0), tl.program_id(1).to(tl.int64)
    c = tl.arange(0, C)
    known = (c < CLASSES)[:, None]
    a, n = tl.load(yes + c, c < CLASSES, 0)[:, None], tl.load(no + c, c < CLASSES, 0)[:, None]
    gamma = tl.full((), gamma, ACC)
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
            g = margin_slope(z, h, c, gamma, CLASSES)
        else:
            p, q, positive, negative = activate(z, ACTIVATION, FORM != "reverse")
            if ACTIVATION == "softmax":
                g = softmax_slope(z, p, q, positive, t, h, a, gamma, FORM, POWER, TINY)
            else:
                g = sigmoid_slope(z, p, q, positive, negative, t, h, a, n, gamma, FORM, POWER, TINY)
        store_gradient(gradient, gradient_steps, b, c, v, g, w, inside, CLASSES)
