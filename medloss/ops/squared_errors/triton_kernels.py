"""The Triton kernels of ``squared_errors``: errors of a tile of logits, its sums, and its gradient.

A program leaves its own sums; they are added in order.
"""

from __future__ import annotations

import triton
import triton.language as tl

from medloss.ops.triton_functions import activate, at, before_activation, error_of, load_tile, store_gradient, within


@triton.jit
def load_cost(cost, steps, b, c, v, inside, w, CLASSES: tl.constexpr, FIRST: tl.constexpr, ACC: tl.constexpr):
    """Cost times weight C V; zero for the classes before FIRST, and where nothing may be looked at."""
    counts = (c >= FIRST) & (c < CLASSES)
    price = tl.load(at(cost, steps, b, tl.maximum(c - FIRST, 0), v), inside[None, :] & counts[:, None], 0).to(ACC)
    return tl.where(w > 0, price, 0.0) * w


@triton.jit(do_not_specialize=["ignore"])
def forward(
    input, target, mask, cost, partials, ignore, voxels, input_steps, target_steps, mask_steps, cost_steps,
    CLASSES: tl.constexpr, INDEXED: tl.constexpr, IGNORE: tl.constexpr, MASK: tl.constexpr, ACC: tl.constexpr,
    ACTIVATION: tl.constexpr, FIRST: tl.constexpr, C: tl.constexpr, TILE: tl.constexpr, EVEN: tl.constexpr,
):  # fmt: skip
    """The sums of the classes from FIRST on, for each program of a sample."""
    program, programs, b = tl.program_id(0), tl.num_programs(0), tl.program_id(1).to(tl.int64)
    c = tl.arange(0, C)
    sums = tl.zeros((C,), ACC)
    for start in range(program * TILE, voxels, programs * TILE):
        v = start + tl.arange(0, TILE)
        inside = within(v, voxels, EVEN)
        z, t, w = load_tile(
            input, target, mask, ignore, input_steps, target_steps, mask_steps, b, c, v, inside,
            CLASSES, INDEXED, IGNORE, MASK, ACC,
        )  # fmt: skip
        p, q, _, _ = activate(z, ACTIVATION, False)
        price = load_cost(cost, cost_steps, b, c, v, inside, w, CLASSES, FIRST, ACC)
        error = error_of(p, q, t)
        sums += tl.sum(price * error * error, 1)
    to = partials + (b * programs + program) * (CLASSES - FIRST) + c - FIRST
    tl.store(to, sums, (c >= FIRST) & (c < CLASSES))


@triton.jit(do_not_specialize=["ignore"])
def backward(
    input, target, mask, cost, cotangent, gradient, ignore, voxels, input_steps, target_steps, mask_steps, cost_steps,
    gradient_steps,
    CLASSES: tl.constexpr, INDEXED: tl.constexpr, IGNORE: tl.constexpr, MASK: tl.constexpr, ACC: tl.constexpr,
    ACTIVATION: tl.constexpr, FIRST: tl.constexpr, C: tl.constexpr, TILE: tl.constexpr, EVEN: tl.constexpr,
):  # fmt: skip
    """dL/dp is twice the error times cost and cotangent; then through the activation."""
    program, programs, b = tl.program_id(0), tl.num_programs(0), tl.program_id(1).to(tl.int64)
    c = tl.arange(0, C)
    counts = (c >= FIRST) & (c < CLASSES)
    rate = 2 * tl.load(cotangent + b * (CLASSES - FIRST) + c - FIRST, counts, 0)[:, None]
    for start in range(program * TILE, voxels, programs * TILE):
        v = start + tl.arange(0, TILE)
        inside = within(v, voxels, EVEN)
        z, t, w = load_tile(
            input, target, mask, ignore, input_steps, target_steps, mask_steps, b, c, v, inside,
            CLASSES, INDEXED, IGNORE, MASK, ACC,
        )  # fmt: skip
        p, q, _, _ = activate(z, ACTIVATION, False)
        slope = rate * load_cost(cost, cost_steps, b, c, v, inside, w, CLASSES, FIRST, ACC) * error_of(p, q, t)
        g = before_activation(p, q, slope, ACTIVATION)
        store_gradient(gradient, gradient_steps, b, c, v, g, w, inside, CLASSES)
