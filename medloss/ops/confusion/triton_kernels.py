"""``confusion`` on the GPU: a product of matrices per tile, memberships by probabilities, on the tensor cores.

In three passes of TF32 (or, on AMD's GPUs, as it is) the product has the digits of float32. A program leaves its own
matrix; they are added in order.
"""

from __future__ import annotations

import triton
import triton.language as tl

from medloss.ops.triton_functions import activate, before_activation, load_class, load_tile, store_gradient, within


@triton.jit(do_not_specialize=["ignore"])
def forward(
    input, target, mask, partials, ignore, voxels, input_steps, target_steps, mask_steps,
    CLASSES: tl.constexpr, INDEXED: tl.constexpr, IGNORE: tl.constexpr, MASK: tl.constexpr, ACC: tl.constexpr,
    ACTIVATION: tl.constexpr, C: tl.constexpr, TILE: tl.constexpr, EVEN: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """One matrix CLASSES CLASSES, true by predicted, for each program of a sample."""
    program, programs, b = tl.program_id(0), tl.num_programs(0), tl.program_id(1).to(tl.int64)
    c = tl.arange(0, C)
    matrix = tl.zeros((C, C), ACC)
    for start in range(program * TILE, voxels, programs * TILE):
        v = start + tl.arange(0, TILE)
        inside = within(v, voxels, EVEN)
        z, t, w = load_tile(
            input, target, mask, ignore, input_steps, target_steps, mask_steps, b, c, v, inside,
            CLASSES, INDEXED, IGNORE, MASK, ACC,
        )  # fmt: skip
        p, _, _, _ = activate(z, ACTIVATION, False)
        matrix = tl.dot(w * t, tl.trans(p), matrix, input_precision=PRECISION)
    to = partials + (b * programs + program) * (CLASSES * CLASSES) + c[:, None] * CLASSES + c[None, :]
    tl.store(to, matrix, (c < CLASSES)[:, None] & (c < CLASSES)[None, :])


@triton.jit(do_not_specialize=["ignore"])
def backward(
    input, target, mask, cotangent, gradient, ignore, voxels, input_steps, target_steps, mask_steps, gradient_steps,
    CLASSES: tl.constexpr, INDEXED: tl.constexpr, IGNORE: tl.constexpr, MASK: tl.constexpr, ACC: tl.constexpr,
    ACTIVATION: tl.constexpr, C: tl.constexpr, TILE: tl.constexpr, EVEN: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """dL/dp is the transposed cotangent by the memberships, a look-up for labels; then through the activation."""
    program, programs, b = tl.program_id(0), tl.num_programs(0), tl.program_id(1).to(tl.int64)
    c = tl.arange(0, C)
    known = c < CLASSES
    prices = cotangent + b * (CLASSES * CLASSES)
    for start in range(program * TILE, voxels, programs * TILE):
        v = start + tl.arange(0, TILE)
        inside = within(v, voxels, EVEN)
        z, t, w = load_tile(
            input, target, mask, ignore, input_steps, target_steps, mask_steps, b, c, v, inside,
            CLASSES, INDEXED, IGNORE, MASK, ACC,
        )  # fmt: skip
        p, q, _, _ = activate(z, ACTIVATION, False)
        if INDEXED:
            g = load_class(target, target_steps, b, v, inside, CLASSES)[None, :]
            slope = tl.load(prices + tl.maximum(g, 0) * CLASSES + c[:, None], (g >= 0) & known[:, None], 0)
            # the weight of a class, B C, is the true one's
            slope *= tl.sum(w * t, 0)[None, :]
        else:
            table = tl.load(prices + c[None, :] * CLASSES + c[:, None], known[:, None] & known[None, :], 0)
            slope = tl.dot(table, w * t, input_precision=PRECISION)
        g = before_activation(p, q, slope, ACTIVATION)
        store_gradient(gradient, gradient_steps, b, c, v, g, w, inside, CLASSES)
