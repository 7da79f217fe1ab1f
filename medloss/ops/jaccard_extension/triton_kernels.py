"""``jaccard_extension`` on the GPU, around a sort: the errors of each class, and what they cost in their order.

Positions of a sorted row are cut into blocks. ``weigh`` adds up what each block holds of the class and of the others,
``continued`` adds these up in order, in double, and ``rank`` then knows the Jaccard loss before and after each voxel.
"""

from __future__ import annotations

import triton
import triton.language as tl

from medloss.ops.triton_functions import (
    activate,
    before_activation,
    class_of,
    error_of,
    load_tile,
    store_gradient,
    within,
)

VARYING = ["ignore", "low", "high", "start"]


@triton.jit
def distance(z, q, t, HINGE: tl.constexpr):
    """The error of probabilities, or of logits where it is the hinge; NaN stays one."""
    if HINGE:
        e = 1 - z * (2 * t - 1)
        e = tl.where(e <= 0, 0, e)
    else:
        e = tl.abs(error_of(z, q, t))
    return e


@triton.jit(do_not_specialize=VARYING)
def write_errors(
    input, target, mask, errors, ignore, voxels, input_steps, target_steps, mask_steps, start, samples, low, high,
    CLASSES: tl.constexpr, INDEXED: tl.constexpr, IGNORE: tl.constexpr, MASK: tl.constexpr, ACC: tl.constexpr,
    ACTIVATION: tl.constexpr, HINGE: tl.constexpr, C: tl.constexpr, TILE: tl.constexpr, EVEN: tl.constexpr,
):  # fmt: skip
    """The errors of the classes from ``low`` to before ``high``, and of each as many ``samples`` as a row joins."""
    sample = tl.program_id(1).to(tl.int64)
    b, c = sample + start, tl.arange(0, C)
    v = tl.program_id(0) * TILE + tl.arange(0, TILE)
    inside = within(v, voxels, EVEN)
    z, t, w = load_tile(
        input, target, mask, ignore, input_steps, target_steps, mask_steps, b, c, v, inside,
        CLASSES, INDEXED, IGNORE, MASK, ACC,
    )  # fmt: skip
    p, q, _, _ = activate(z, ACTIVATION, False)
    e = tl.where(w > 0, distance(p, q, t, HINGE), 0.0)
    row = sample // samples * (high - low) + c - low
    entry = (row * samples + sample % samples)[:, None] * voxels + v[None, :]
    tl.store(errors + entry, e, inside[None, :] & ((c >= low) & (c < high))[:, None])


@triton.jit
def shares(
    target, mask, ignore, target_steps, mask_steps, b, c, v, seen,
    CLASSES: tl.constexpr, INDEXED: tl.constexpr, IGNORE: tl.constexpr, MASK: tl.constexpr,
):  # fmt: skip
    """What voxels, wherever they lie, weigh of the class and of the others, in double."""
    weight = seen.to(tl.float64)
    if MASK == "class":
        weight = tl.load(mask + b * mask_steps[0] + c * mask_steps[1] + v * mask_steps[2], seen, 0).to(tl.float64)
    elif MASK == "voxel":
        weight = tl.load(mask + b * mask_steps[0] + v * mask_steps[2], seen, 0).to(tl.float64)
    if INDEXED:
        label = tl.load(target + b * target_steps[0] + v * target_steps[2], seen, -1)
        member = (class_of(label, CLASSES) == c).to(tl.float64)
        if IGNORE:
            if label.dtype.is_floating():
                kept = label != ignore.to(label.dtype)
            else:
                kept = label.to(tl.int64) != ignore.to(tl.int64)
            weight = tl.where(kept, weight, 0.0)
    else:
        member = tl.load(target + b * target_steps[0] + c * target_steps[1] + v * target_steps[2], seen, 0)
        member = tl.where(weight > 0, member.to(tl.float64), 0.0)
    return weight * member, weight * (1 - member)


@triton.jit
def sorted_shares(
    target, mask, order, ignore, voxels, target_steps, mask_steps, start, samples, low, high, length,
    CLASSES: tl.constexpr, INDEXED: tl.constexpr, IGNORE: tl.constexpr, MASK: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Where a block's entries are in their rows, which entries they are, and what these weigh."""
    row, place = tl.program_id(1).to(tl.int64), tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    seen = place < length
    entry = tl.load(order + row * length + place, seen, 0)
    b, c = start + row // (high - low) * samples + entry // voxels, low + row % (high - low)
    inside, outside = shares(
        target, mask, ignore, target_steps, mask_steps, b, c, entry % voxels, seen, CLASSES, INDEXED, IGNORE, MASK
    )
    return row, place, seen, entry, inside, outside


@triton.jit(do_not_specialize=VARYING)
def weigh(
    target, mask, order, parts, ignore, voxels, target_steps, mask_steps, start, samples, low, high, length,
    CLASSES: tl.constexpr, INDEXED: tl.constexpr, IGNORE: tl.constexpr, MASK: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """What a block of a sorted row weighs, of the class and of the others."""
    row, _, _, _, inside, outside = sorted_shares(
        target, mask, order, ignore, voxels, target_steps, mask_steps, start, samples, low, high, length,
        CLASSES, INDEXED, IGNORE, MASK, BLOCK,
    )  # fmt: skip
    to = parts + (row * tl.num_programs(0) + tl.program_id(0)) * 2
    tl.store(to, tl.sum(inside))
    tl.store(to + 1, tl.sum(outside))


@triton.jit
def continued(parts, totals, blocks, BLOCKS: tl.constexpr):
    """The sums before each block of a row in place of those of the block, and those of the row."""
    row = tl.program_id(0).to(tl.int64)
    parts += row * blocks * 2
    inside, outside = tl.full((), 0, tl.float64), tl.full((), 0, tl.float64)
    for first in range(0, blocks, BLOCKS):
        block = first + tl.arange(0, BLOCKS)
        here = tl.load(parts + 2 * block, block < blocks, 0)
        others = tl.load(parts + 2 * block + 1, block < blocks, 0)
        tl.store(parts + 2 * block, inside + tl.cumsum(here) - here, block < blocks)
        tl.store(parts + 2 * block + 1, outside + tl.cumsum(others) - others, block < blocks)
        inside += tl.sum(here)
        outside += tl.sum(others)
    tl.store(totals + 2 * row, inside)
    tl.store(totals + 2 * row + 1, outside)


@triton.jit(do_not_specialize=VARYING)
def rank(
    target, mask, order, values, parts, totals, steps, ignore, voxels, target_steps, mask_steps,
    start, samples, low, high, length,
    CLASSES: tl.constexpr, INDEXED: tl.constexpr, IGNORE: tl.constexpr, MASK: tl.constexpr, STEPS: tl.constexpr,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """How much the Jaccard loss grows as each voxel joins the wrong ones: at its place where STEPS, else times its
    error and summed. One quotient, as the difference of two losses would have no digits left."""
    row, place, seen, entry, inside, outside = sorted_shares(
        target, mask, order, ignore, voxels, target_steps, mask_steps, start, samples, low, high, length,
        CLASSES, INDEXED, IGNORE, MASK, BLOCK,
    )  # fmt: skip
    block = row * tl.num_programs(0) + tl.program_id(0)
    total = tl.load(totals + 2 * row)
    gone = tl.load(parts + 2 * block) + tl.cumsum(inside)
    beyond = tl.load(parts + 2 * block + 1) + tl.cumsum(outside)
    before, after = total + (beyond - outside), total + beyond
    overlap = tl.maximum(total - gone, 0.0) / tl.where(after > 0, after, 1.0)
    step = (inside + outside * overlap) / tl.where(before > 0, before, 1.0)
    step = tl.where(before > 0, step, (after > 0).to(tl.float64))  # without the class, the first voxel takes it all
    if STEPS:
        b, c = start + row // (high - low) * samples + entry // voxels, low + row % (high - low)
        tl.store(steps + (b * CLASSES + c) * voxels + entry % voxels, step.to(steps.dtype.element_ty), seen)
    else:
        error = tl.load(values + row * length + place, seen, 0).to(tl.float64)
        tl.store(steps + block, tl.sum(tl.where(seen, step * error, 0.0)))


@triton.jit(do_not_specialize=["ignore", "first"])
def backward(
    input, target, mask, steps, cotangent, gradient, ignore, voxels, input_steps, target_steps, mask_steps,
    gradient_steps, first, apart,
    CLASSES: tl.constexpr, INDEXED: tl.constexpr, IGNORE: tl.constexpr, MASK: tl.constexpr, ACC: tl.constexpr,
    ACTIVATION: tl.constexpr, HINGE: tl.constexpr, C: tl.constexpr, TILE: tl.constexpr, EVEN: tl.constexpr,
):  # fmt: skip
    """The steps, with the sign of what makes the error larger, through the activation. They may lie where it goes."""
    b, c = tl.program_id(1).to(tl.int64), tl.arange(0, C)
    v = tl.program_id(0) * TILE + tl.arange(0, TILE)
    inside = within(v, voxels, EVEN)
    z, t, w = load_tile(
        input, target, mask, ignore, input_steps, target_steps, mask_steps, b, c, v, inside,
        CLASSES, INDEXED, IGNORE, MASK, ACC,
    )  # fmt: skip
    p, q, _, _ = activate(z, ACTIVATION, False)
    used = (c >= first) & (c < CLASSES)
    rate = tl.load(cotangent + b * apart + (c - first) * 3, used, 0).to(ACC)
    step = tl.load(steps + (b * CLASSES + c)[:, None] * voxels + v[None, :], inside[None, :] & used[:, None], 0)
    if HINGE:
        side = 2 * t - 1
        e = 1 - p * side
        sign = tl.where(e <= 0, 0.0, tl.where(e > 0, -side, e))
    else:
        gap = error_of(p, q, t)
        sign = tl.where(gap > 0, 1.0, tl.where(gap < 0, -1.0, gap))
    s = tl.where((w > 0) & used[:, None], sign * step.to(ACC) * rate[:, None], 0.0)
    s = before_activation(p, q, s, ACTIVATION)
    store_gradient(gradient, gradient_steps, b, c, v, s, w, inside, CLASSES)
