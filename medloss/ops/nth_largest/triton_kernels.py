"""``nth_largest`` on the GPU: the digits of the n-th largest value of each row, the leading ones first.

The bits of numbers are in the order of the numbers, once the negative ones are turned round. A launch counts each row's
values by their next digit, among those that share the digits found so far, and what it counted tells the next launch
the digit. All of this is in whole numbers, and comes out the same in any order.
"""

from __future__ import annotations

import triton
import triton.language as tl

DIGIT = tl.constexpr(8)
BINS = tl.constexpr(256)
"""Of a digit: more of them would cost registers, fewer another sweep."""


@triton.jit
def key_of(bits, WIDTH: tl.constexpr, INFINITY: tl.constexpr):
    """A number's place in the order, by its bits: both zeros at 0, and NaN above all."""
    most: tl.constexpr = (1 << (WIDTH - 1)) - 1
    bits = bits.to(tl.int64 if WIDTH == 64 else tl.int32)
    size = bits & most
    return tl.where(size > INFINITY, most, tl.where(bits < 0, -size, size))


@triton.jit
def known(counts, states, n, row, rows, round, FIRST: tl.constexpr):
    """The digits found before a round, as one number, and which place is left among those that share them.

    No place is left where fewer than n count: 0.
    """
    if FIRST:
        found, left = tl.full((), 0, tl.int64), tl.maximum(tl.load(n + row), 1)
    else:
        before = (round - 1) * rows + row
        found, left = tl.load(states + before * 2), tl.load(states + before * 2 + 1)
        count = tl.load(counts + before * BINS + tl.arange(0, BINS))
        above = tl.sum(count) - tl.cumsum(count)  # how many have a larger digit
        digit = tl.sum((above + count >= left).to(tl.int32)) - 1
        left = tl.where(digit < 0, 0, left - tl.sum(tl.where(tl.arange(0, BINS) == digit, above, 0)))
        digit = tl.maximum(digit, 0) - tl.where(round == 1, BINS // 2, 0)  # the leading one has the sign
        found = found * BINS + digit
    return found, left


@triton.jit(do_not_specialize=["rows", "programs", "round"])
def count_digits(
    values, counted, n, counts, states, length, rows, programs, round,
    FIRST: tl.constexpr, WIDTH: tl.constexpr, INFINITY: tl.constexpr, TILE: tl.constexpr,
):  # fmt: skip
    """How many values of a row have each digit of this round, and every digit found before."""
    row, program = (tl.program_id(0) // programs).to(tl.int64), tl.program_id(0) % programs
    found, left = known(counts, states, n, row, rows, round, FIRST)
    here = round * rows + row
    if program == 0:
        tl.store(states + here * 2, found)
        tl.store(states + here * 2 + 1, left)
    shift = WIDTH - DIGIT * (round + 1)
    count = tl.zeros((BINS,), tl.int32)
    for start in range(program * TILE, length, programs * TILE):
        place = start + tl.arange(0, TILE)
        seen = tl.load(counted + row * length + place, place < length, 0) != 0
        key = key_of(tl.load(values + row * length + place, place < length, 0), WIDTH, INFINITY)
        if FIRST:
            digit = (key >> (WIDTH - DIGIT)) + BINS // 2
        else:
            seen = seen & ((key >> (shift + DIGIT)) == found.to(key.dtype))
            digit = (key >> shift) & (BINS - 1)
        if tl.max(seen.to(tl.int32), 0) > 0:  # to count costs more than to look, and few share many digits
            count += tl.histogram(digit.to(tl.int32), BINS, seen)
    bin = tl.arange(0, BINS)
    tl.atomic_add(counts + here * BINS + bin, count.to(tl.int64), count > 0, sem="relaxed")


@triton.jit(do_not_specialize=["rows", "rounds"])
def write_values(counts, states, n, result, rows, rounds, WIDTH: tl.constexpr, INFINITY: tl.constexpr):
    """The number whose digits were found; minus infinity where no place was."""
    row = tl.program_id(0).to(tl.int64)
    found, left = known(counts, states, n, row, rows, rounds, False)
    least: tl.constexpr = -(1 << (WIDTH - 1))
    key = tl.where(left > 0, found, -INFINITY)
    tl.store(result + row, tl.where(key < 0, least - key, key).to(result.dtype.element_ty))
