"""The Triton kernels of the erosions of the error: two launches for each, on the way there and on the way back.

A map of means holds each mean as it is, and -1 where a voxel does not count. What a mean becomes, less one half and
stretched, is made where it is read, from the extremes that ``settle`` has found of its volume. The terms of a mean are
added in the reference's order: what is just one half must be so here, too.
"""

from __future__ import annotations

import triton
import triton.language as tl

from medloss.ops.triton_functions import divided, number, place

ERRORS, MEANS, SLOPES = tl.constexpr(0), tl.constexpr(1), tl.constexpr(2)
"""What a mean is taken of: squared errors, stretched means, or what the cotangents of these are for the means."""
LOW, SPAN, HIGH, TO_LOW, TO_HIGH, NUMBERS = (tl.constexpr(number) for number in (0, 1, 2, 3, 4, 8))
"""Of each volume: the extremes (high is NaN where there is one value alone), and the gradients that they get."""
VARYING = ["start", "lines", "entries"]


@triton.jit
def stretched(mean, numbers):
    """What a mean becomes; nothing where none is."""
    above = tl.where(mean < 0.5, 0, mean - 0.5) - tl.load(numbers + LOW)
    return tl.where(mean < 0, 0, divided(above, tl.load(numbers + SPAN) + tl.zeros_like(above)))


@triton.jit
def fetch(first, second, mask, numbers, at, mask_at, seen, KIND: tl.constexpr, MASKED: tl.constexpr):
    """One of what a mean is taken of; zero where nothing is, or where it does not count."""
    real: tl.constexpr = numbers.dtype.element_ty
    if KIND == ERRORS:
        if MASKED:
            seen = seen & (tl.load(mask + mask_at, mask=seen, other=0).to(real) > 0)
        error = tl.load(first + at, mask=seen, other=0).to(real) - tl.load(second + at, mask=seen, other=0).to(real)
        found = error * error
    elif KIND == MEANS:
        found = stretched(tl.load(first + at, mask=seen, other=-1), numbers)
    else:
        mean = tl.load(second + at, mask=seen, other=-1)
        above = tl.where(mean < 0.5, 0, mean - 0.5)
        found = tl.load(first + at, mask=seen, other=0) / tl.load(numbers + SPAN)
        varies, low, high = tl.load(numbers + HIGH), tl.load(numbers + LOW), tl.load(numbers + HIGH)
        found += tl.where(above == high, tl.load(numbers + TO_HIGH), 0)
        found += tl.where((above == low) & (varies == varies), tl.load(numbers + TO_LOW), 0)
        found = tl.where(mean < 0.5, 0, found)  # with a slope of 1 at one half
    return found


@triton.jit
def beside(z, row, column, planes, height, width, NUMBER: tl.constexpr):
    """Whether there is a neighbour, and how far off: the ones before and behind along z, y, then x."""
    SIGN: tl.constexpr = 1 - NUMBER % 2 * 2
    if NUMBER < 3:
        there, step = (z + SIGN >= 0) & (z + SIGN < planes), SIGN * height * width
    elif NUMBER < 5:
        there, step = (row + SIGN >= 0) & (row + SIGN < height), SIGN * width
    else:
        there, step = (column + SIGN >= 0) & (column + SIGN < width), SIGN
    return there, step


@triton.jit
def cross_mean(
    first, second, mask, numbers, at, mask_at, z, row, column, inside, planes, height, width,
    KIND: tl.constexpr, TERMS: tl.constexpr, MASKED: tl.constexpr,
):  # fmt: skip
    """The mean over each voxel and its neighbours along the axes."""
    total = fetch(first, second, mask, numbers, at, mask_at, inside, KIND, MASKED)
    for beside_it in tl.static_range(1, 7):
        there, step = beside(z, row, column, planes, height, width, beside_it)
        total += fetch(first, second, mask, numbers, at + step, mask_at + step, inside & there, KIND, MASKED)
    return divided(total, tl.full(total.shape, TERMS, total.dtype))


@triton.jit
def where_to(lines, width, LINES: tl.constexpr, COLUMNS: tl.constexpr):
    """The place of each part of a row among all, and whether there is one."""
    across = tl.cdiv(width, COLUMNS)
    line = tl.program_id(0) // across * LINES + tl.arange(0, LINES)
    return line.to(tl.int64) * across + tl.program_id(0) % across, line < lines


@triton.jit(do_not_specialize=VARYING)
def erode(
    first, second, mask, numbers, factor, means, parts, total, start, lines, shared, planes, height, width,
    KIND: tl.constexpr, LAST: tl.constexpr, SUMMED: tl.constexpr, ADDED: tl.constexpr, TERMS: tl.constexpr,
    MASKED: tl.constexpr, LINES: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """The next means, their extremes in each part of a row, and the erosion before added to the total."""
    volume, z, row, column, inside = place(0, planes, lines, height, width, LINES, COLUMNS)
    inner = (z.to(tl.int64) * height + row) * width + column
    here, at = volume * planes * height * width + inner, (volume + start) * planes * height * width + inner
    mask_at = (volume + start) // shared * planes * height * width + inner
    numbers += (volume + start) * NUMBERS
    source = at if KIND == ERRORS else here
    if SUMMED:
        eroded = fetch(first, second, mask, numbers, here, mask_at, inside, MEANS, MASKED)
        eroded = number(factor, 0, eroded.dtype) * eroded
        if ADDED:
            eroded = tl.load(total + at, mask=inside, other=0) + eroded
        tl.store(total + at, eroded, mask=inside)
    if LAST == 0:
        mean = cross_mean(
            first, second, mask, numbers, source, mask_at, z, row, column, inside, planes, height, width,
            KIND, TERMS, MASKED,
        )  # fmt: skip
        counts = inside
        if MASKED:
            counts = inside & (tl.load(mask + mask_at, mask=inside, other=0).to(mean.dtype) > 0)
        tl.store(means + here, tl.where(counts, mean, -1), mask=inside)
        above = tl.where(mean < 0.5, 0, mean - 0.5)
        to, there = where_to(lines, width, LINES, COLUMNS)
        void = tl.max((counts & (above != above)).to(tl.int32), 1) > 0
        low = tl.min(tl.where(counts, above, float("inf")), 1)
        tl.store(parts + 2 * to, tl.where(void, float("nan"), low), mask=there)
        tl.store(parts + 2 * to + 1, tl.max(tl.where(counts, above, -float("inf")), 1), mask=there)


@triton.jit(do_not_specialize=VARYING)
def settle(parts, numbers, start, entries, BLOCK: tl.constexpr):
    """The extremes of a volume; where all is one value, or there is a NaN, nothing is stretched."""
    volume = tl.program_id(0).to(tl.int64)
    parts += volume * entries * 2
    real: tl.constexpr = numbers.dtype.element_ty
    low, high = tl.full((BLOCK,), float("inf"), real), tl.full((BLOCK,), -float("inf"), real)
    void = tl.zeros((BLOCK,), tl.int32)
    for block in range(0, entries, BLOCK):
        entry = block + tl.arange(0, BLOCK)
        least = tl.load(parts + 2 * entry, mask=entry < entries, other=float("inf"))
        most = tl.load(parts + 2 * entry + 1, mask=entry < entries, other=-float("inf"))
        void = void | (least != least).to(tl.int32)
        low, high = tl.where(least < low, least, low), tl.where(most > high, most, high)
    least, most = tl.min(low), tl.max(high)
    varies = (tl.max(void) == 0) & (most > least)
    numbers += (volume + start) * NUMBERS
    tl.store(numbers + LOW, tl.where(varies, least, 0))
    tl.store(numbers + SPAN, tl.where(varies, most - least, 1))
    tl.store(numbers + HIGH, tl.where(varies, most, float("nan")))


@triton.jit(do_not_specialize=VARYING)
def cotangents(
    behind, after, after_numbers, means, numbers, mask, factor, upstream, result, parts, start, lines, shared,
    planes, height, width,
    FIRST: tl.constexpr, TERMS: tl.constexpr, MASKED: tl.constexpr, LINES: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """The cotangent of an erosion: its own, and what comes back from the next one's means (``after``); and the sums
    that its extremes need, in each part of a row."""
    volume, z, row, column, inside = place(0, planes, lines, height, width, LINES, COLUMNS)
    inner = (z.to(tl.int64) * height + row) * width + column
    here, at = volume * planes * height * width + inner, (volume + start) * planes * height * width + inner
    numbers += (volume + start) * NUMBERS
    mean = tl.load(means + here, mask=inside, other=-1)
    counts = (mean < 0) == 0
    g = number(factor, 0, parts.dtype.element_ty) * tl.load(upstream + at, mask=counts & inside, other=0)
    if FIRST == 0:
        g += cross_mean(
            behind, after, mask, after_numbers + (volume + start) * NUMBERS, here, here, z, row, column, inside,
            planes, height, width, SLOPES, TERMS, MASKED,
        )  # fmt: skip
    g = tl.where(counts, g, 0)
    tl.store(result + here, g, mask=inside)
    above = tl.where(mean < 0.5, 0, mean - 0.5)
    to, there = where_to(lines, width, LINES, COLUMNS)
    g = tl.where(inside, g, 0)
    tl.store(parts + 4 * to, tl.sum(g, 1), mask=there)
    tl.store(parts + 4 * to + 1, tl.sum(g * stretched(mean, numbers), 1), mask=there)
    lowest, highest = (above == tl.load(numbers + LOW)), (above == tl.load(numbers + HIGH))
    tl.store(parts + 4 * to + 2, tl.sum((counts & lowest).to(g.dtype), 1), mask=there)
    tl.store(parts + 4 * to + 3, tl.sum((counts & highest).to(g.dtype), 1), mask=there)


@triton.jit(do_not_specialize=VARYING)
def share_out(parts, numbers, start, entries, BLOCK: tl.constexpr):
    """What each voxel of an extreme gets: all that have it share its gradient."""
    volume = tl.program_id(0).to(tl.int64)
    parts += volume * entries * 4
    numbers += (volume + start) * NUMBERS
    whole, product = tl.zeros((BLOCK,), tl.float64), tl.zeros((BLOCK,), tl.float64)
    lowest, highest = tl.zeros((BLOCK,), tl.float64), tl.zeros((BLOCK,), tl.float64)
    for block in range(0, entries, BLOCK):
        entry = block + tl.arange(0, BLOCK)
        seen = entry < entries
        whole += tl.load(parts + 4 * entry, mask=seen, other=0).to(tl.float64)
        product += tl.load(parts + 4 * entry + 1, mask=seen, other=0).to(tl.float64)
        lowest += tl.load(parts + 4 * entry + 2, mask=seen, other=0).to(tl.float64)
        highest += tl.load(parts + 4 * entry + 3, mask=seen, other=0).to(tl.float64)
    span, inner = tl.load(numbers + SPAN).to(tl.float64), tl.sum(product)
    to_low = (inner - tl.sum(whole)) / span / tl.maximum(tl.sum(lowest), 1.0)
    to_high = -inner / span / tl.maximum(tl.sum(highest), 1.0)
    tl.store(numbers + TO_LOW, to_low.to(numbers.dtype.element_ty))
    tl.store(numbers + TO_HIGH, to_high.to(numbers.dtype.element_ty))


@triton.jit(do_not_specialize=VARYING)
def finish(
    behind, means, numbers, input, target, mask, result, start, lines, shared, planes, height, width,
    SIGN: tl.constexpr, TERMS: tl.constexpr, MASKED: tl.constexpr, LINES: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """From the first means back to the error, and from there to the prediction or the target."""
    volume, z, row, column, inside = place(0, planes, lines, height, width, LINES, COLUMNS)
    inner = (z.to(tl.int64) * height + row) * width + column
    here, at = volume * planes * height * width + inner, (volume + start) * planes * height * width + inner
    g = cross_mean(
        behind, means, mask, numbers + (volume + start) * NUMBERS, here, here, z, row, column, inside,
        planes, height, width, SLOPES, TERMS, MASKED,
    )  # fmt: skip
    counts = inside & ((tl.load(means + here, mask=inside, other=-1) < 0) == 0)
    p, t = tl.load(input + at, mask=counts, other=0), tl.load(target + at, mask=counts, other=0)
    error = p.to(g.dtype) - t.to(g.dtype)
    tl.store(result + at, tl.where(counts, SIGN * 2 * error * g, 0), mask=inside)
