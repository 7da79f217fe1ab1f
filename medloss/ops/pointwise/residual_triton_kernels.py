"""The Triton kernels of the penalties that compare two images: one sweep for the map or its sums, one for the gradient.

A program walks over tiles of a channel, or of all channels of a sample where they are summed up. Numbers of a penalty
come by a table, which holds all their digits: what divides the residual, the shape, and what follows from it.
"""

from __future__ import annotations

import triton
import triton.language as tl

from medloss.ops.pointwise.triton_kernels import complement
from medloss.ops.triton_functions import log1p_unit

SCALE, SHAPE, WIDTH = tl.constexpr(0), tl.constexpr(1), tl.constexpr(2)


@triton.jit
def log1p(x):
    """log(1 + x) of an x of at least 0."""
    return tl.where(x <= 1, log1p_unit(tl.where(x <= 1, x, 1)), tl.log(1 + x))


@triton.jit
def clamped(r, most):
    """At most this, and at least minus that; NaN stays."""
    return tl.where(r > most, most, tl.where(r < -most, -most, r))


@triton.jit
def hypotenuse(r):
    """The root of 1 + r^2, whose square need not be a number that there is."""
    size = tl.abs(r)
    return tl.where(size > 1e9, size, tl.sqrt(1 + r * r))


@triton.jit
def kept(r, share):
    """A residual times what is left of its slope, of which an infinite one has nothing."""
    return tl.where(share != 0, r * share, 0)


@triton.jit
def residual_value(r, numbers, FORM: tl.constexpr):
    """The penalty of a residual."""
    shape = tl.load(numbers + SHAPE)
    if FORM == "squared":
        value = r * r
    elif FORM == "absolute":
        value = tl.abs(r)
    elif FORM == "huber":
        held = clamped(r, shape)
        value = held * (r - held / 2)
    elif FORM == "charbonnier":
        value = r * (r / (hypotenuse(r) + 1))
    elif FORM == "cauchy":
        value = log1p(r * r / 2)
    elif FORM == "geman_mcclure":
        value = 2 * r * r / (r * r + 4)
    elif FORM == "welsch":
        value = complement(r * r / 2)
    elif FORM == "tukey":
        square = r * r
        square = tl.where(square > 1, 1, square)
        value = square * (3 - square * (3 - square)) / 6
    else:
        tl.static_assert(FORM == "general")
        width = tl.load(numbers + WIDTH)
        size = tl.abs(shape)
        power = size / 2 * log1p(r * r / width)
        value = width / size * complement(power) * tl.where(shape > 0, tl.exp(power), 1)
    return value


@triton.jit
def residual_slope(r, numbers, FORM: tl.constexpr):
    """The derivative of the penalty in the residual; NaN stays."""
    shape = tl.load(numbers + SHAPE)
    if FORM == "squared":
        slope = 2 * r
    elif FORM == "absolute":
        slope = tl.where(r > 0, 1, tl.where(r < 0, -1, r))
    elif FORM == "huber":
        slope = clamped(r, shape)
    elif FORM == "charbonnier":
        slope = r / hypotenuse(r)
    elif FORM == "cauchy":
        slope = r / (1 + r * r / 2)
    elif FORM == "geman_mcclure":
        share = 4 / (r * r + 4)
        slope = r * share * share
    elif FORM == "welsch":
        slope = kept(r, tl.exp(-r * r / 2))
    elif FORM == "tukey":
        left = tl.where(r * r > 1, 0, (1 - r) * (1 + r))  # with the digits of a residual close to 1
        slope = kept(r, left * left)
    else:
        tl.static_assert(FORM == "general")
        slope = kept(r, tl.exp((shape / 2 - 1) * log1p(r * r / tl.load(numbers + WIDTH))))
    return slope


@triton.jit
def relative_entropy(a, b, eps):
    """a log((a + eps) / (b + eps)), and 0 where a is 0."""
    some = a != 0
    one, other = tl.where(some, a, 1), tl.where(some, b, 1)
    return tl.where(some, one * (tl.log(one + eps) - tl.log(other + eps)), 0)


@triton.jit
def entropy_slopes(a, b, eps):
    """The derivatives of the relative entropy in both."""
    some = a != 0
    one, other = tl.where(some, a, 1), tl.where(some, b, 1)
    first = tl.log(one + eps) - tl.log(other + eps) + one / (one + eps)
    return tl.where(some, first, 0), tl.where(some, -one / (other + eps), 0)


@triton.jit
def value_of(x, t, numbers, FORM: tl.constexpr):
    """The penalty of an image and another."""
    if FORM == "kullback_leibler":
        value = relative_entropy(t, x, tl.load(numbers + SHAPE))
    elif FORM == "jensen_shannon":
        eps, middle = tl.load(numbers + SHAPE), (x + t) / 2
        value = relative_entropy(x, middle, eps) / 2 + relative_entropy(t, middle, eps) / 2
    else:
        value = residual_value((x - t) / tl.load(numbers + SCALE), numbers, FORM)
    return value


@triton.jit
def slope_of(x, t, numbers, FORM: tl.constexpr, TARGET: tl.constexpr):
    """Its derivative in the first image, or in the second one."""
    if FORM == "kullback_leibler":
        second, first = entropy_slopes(t, x, tl.load(numbers + SHAPE))
        slope = second if TARGET else first
    elif FORM == "jensen_shannon":
        eps, middle = tl.load(numbers + SHAPE), (x + t) / 2
        first, shared = entropy_slopes(x, middle, eps)
        second, other = entropy_slopes(t, middle, eps)
        slope = ((second if TARGET else first) + (shared + other) / 2) / 2
    else:
        slope = residual_slope((x - t) / tl.load(numbers + SCALE), numbers, FORM) / tl.load(numbers + SCALE)
        if TARGET:
            slope = -slope
    return slope


@triton.jit
def load_pair(
    input, target, mask, input_steps, target_steps, mask_steps, b, c, v, inside,
    MASK: tl.constexpr, ACC: tl.constexpr,
):  # fmt: skip
    """Both images and the weights of voxels; where the weight is zero nothing is looked at."""
    weight, seen, c = inside.to(ACC), inside, tl.cast(c, tl.int64)
    if MASK != "none":
        at = b * mask_steps[0] + v * mask_steps[2]
        if MASK == "class":
            at += c * mask_steps[1]
        weight = tl.load(mask + at, mask=inside, other=0).to(ACC)
        seen = weight > 0
    x = tl.load(input + b * input_steps[0] + c * input_steps[1] + v * input_steps[2], mask=seen, other=0).to(ACC)
    t = tl.load(target + b * target_steps[0] + c * target_steps[1] + v * target_steps[2], mask=seen, other=0).to(ACC)
    return x, t, weight, seen


@triton.jit
def where_from(programs, channels, GROUPED: tl.constexpr):
    """Sample, first channel, and number of a program among those of its channel, or of its sample."""
    group = (tl.program_id(0) // programs).to(tl.int64)
    if GROUPED:
        return group, group * 0, (tl.program_id(0) % programs).to(tl.int64)
    return group // channels, group % channels, (tl.program_id(0) % programs).to(tl.int64)


@triton.jit
def compare(
    input, target, mask, numbers, result, programs, channels, voxels, input_steps, target_steps, mask_steps,
    FORM: tl.constexpr, MASK: tl.constexpr, GIVEN: tl.constexpr, ACC: tl.constexpr, TILE: tl.constexpr,
):  # fmt: skip
    """The map, its sum over the channels, or a sum over the voxels for each program and channel."""
    b, c, program = where_from(programs, channels, GIVEN == "joined")
    sums = tl.zeros((TILE,), ACC)
    for start in range(program * TILE, voxels, programs * TILE):
        v = start + tl.arange(0, TILE).to(tl.int64)
        inside = v < voxels
        if GIVEN == "joined":
            total = tl.zeros((TILE,), ACC)
            for channel in range(channels):
                x, t, w, _seen = load_pair(
                    input, target, mask, input_steps, target_steps, mask_steps, b, channel, v, inside, MASK, ACC
                )
                total += w * value_of(x, t, numbers, FORM)
            tl.store(result + b * voxels + v, total, mask=inside)
        else:
            x, t, w, _seen = load_pair(
                input, target, mask, input_steps, target_steps, mask_steps, b, c, v, inside, MASK, ACC
            )
            value = w * value_of(x, t, numbers, FORM)
            if GIVEN == "map":
                tl.store(result + (b * channels + c) * voxels + v, value, mask=inside)
            else:
                sums += tl.where(inside, value, 0)
    if GIVEN == "sums":
        tl.store(result + (b * programs + program) * channels + c, tl.sum(sums, 0))


@triton.jit
def differentiate(
    input, target, mask, numbers, upstream, result, programs, channels, voxels, input_steps, target_steps, mask_steps,
    result_steps,
    FORM: tl.constexpr, MASK: tl.constexpr, GIVEN: tl.constexpr, TARGET: tl.constexpr, ACC: tl.constexpr,
    TILE: tl.constexpr,
):  # fmt: skip
    """The gradient of the first image, or of the second one."""
    b, c, program = where_from(programs, channels, False)
    for start in range(program * TILE, voxels, programs * TILE):
        v = start + tl.arange(0, TILE).to(tl.int64)
        inside = v < voxels
        x, t, w, seen = load_pair(
            input, target, mask, input_steps, target_steps, mask_steps, b, c, v, inside, MASK, ACC
        )
        if GIVEN == "map":
            above = tl.load(upstream + (b * channels + c) * voxels + v, mask=inside, other=0)
        elif GIVEN == "joined":
            above = tl.load(upstream + b * voxels + v, mask=inside, other=0)
        else:
            above = tl.load(upstream + b * channels + c)
        gradient = tl.where(seen, above * w * slope_of(x, t, numbers, FORM, TARGET), 0)
        at = b * result_steps[0] + c * result_steps[1] + v * result_steps[2]
        tl.store(result + at, gradient.to(result.dtype.element_ty), mask=inside)
