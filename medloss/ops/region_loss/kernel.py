"""The Triton kernel of ``region_loss``: one program, as there are but B N columns of numbers; all in double.

Coefficients are read from a table, so that a schedule of a weight compiles nothing: the entries of the quotient, then
those of the share. Which of them are not zero is known at compile time: a column that no form looks at is never loaded.
"""

from __future__ import annotations

import triton
import triton.language as tl

COLUMNS = tl.constexpr(12)
TARGET = tl.constexpr(2)
VOXELS = tl.constexpr(3)
BEFORE_SHARE = tl.constexpr(28)
"""Entries of a quotient, which precede those of the share."""


@triton.jit
def column(columns, b, c, k, CLASSES: tl.constexpr):
    """One column of sample b, for the classes c; 0 beyond them."""
    return tl.load(columns + (b * CLASSES + c) * COLUMNS + k, c < CLASSES, 0).to(tl.float64)


@triton.jit
def linear(columns, numbers, b, c, CLASSES: tl.constexpr, QUOTIENT: tl.constexpr, START: tl.constexpr):
    """A linear form of the columns."""
    total = tl.zeros(c.shape, tl.float64)
    for k in tl.static_range(COLUMNS):
        if QUOTIENT[START + k]:
            total += tl.load(numbers + START + k) * column(columns, b, c, k, CLASSES)
    return total


@triton.jit
def regions(
    columns, numbers, b, end, c, CLASSES: tl.constexpr, QUOTIENT: tl.constexpr, FIRST: tl.constexpr, SKIP: tl.constexpr
):  # fmt: skip
    """What stands above and below in the quotients of samples b to end, and which regions count."""
    above = tl.zeros(c.shape, tl.float64)
    below = tl.zeros(c.shape, tl.float64)
    voxels = tl.zeros(c.shape, tl.float64)
    members = tl.zeros(c.shape, tl.float64)
    for at in range(b, end):
        above += linear(columns, numbers, at, c, CLASSES, QUOTIENT, 4)
        below += linear(columns, numbers, at, c, CLASSES, QUOTIENT, 4 + COLUMNS)
        voxels += column(columns, at, c, VOXELS, CLASSES)
        members += column(columns, at, c, TARGET, CLASSES)
    valid = (voxels > 0) & (c >= FIRST)
    if SKIP:
        valid = valid & (members > 0)
    return above + tl.load(numbers + 2), tl.where(valid, below + tl.load(numbers + 3), 1.0), valid


@triton.jit
def scale(pointer, c, CLASSES: tl.constexpr, GIVEN: tl.constexpr):
    """A factor of each class; 1 where none is given."""
    if GIVEN:
        factor = tl.load(pointer + c, c < CLASSES, 0).to(tl.float64)
    else:
        factor = tl.full(c.shape, 1.0, tl.float64)
    return factor


@triton.jit
def scaled(k, up, down):
    """The factor of a class on column k of a share."""
    if k == 2 or k == 7 or k == 9 or k == 10:
        factor = up
    elif k == 8 or k == 11:
        factor = down
    else:
        factor = tl.full(up.shape, 1.0, tl.float64)
    return factor


@triton.jit
def shares(columns, numbers, batch, c, up, down, CLASSES: tl.constexpr, SHARE: tl.constexpr, FIRST: tl.constexpr):
    """What stands above and below in the share."""
    above = tl.zeros(c.shape, tl.float64)
    below = tl.zeros(c.shape, tl.float64)
    for b in range(batch):
        for k in tl.static_range(COLUMNS):
            at = numbers + BEFORE_SHARE + 1 + k
            if SHARE[1 + k]:
                above += tl.load(at) * scaled(k, up, down) * column(columns, b, c, k, CLASSES)
            if SHARE[1 + COLUMNS + k]:
                below += tl.load(at + COLUMNS) * scaled(k, up, down) * column(columns, b, c, k, CLASSES)
    return tl.sum(tl.where(c >= FIRST, above, 0.0)), tl.sum(tl.where(c >= FIRST, below, 0.0))


@triton.jit
def share_slope(numbers, k, ratio, c, up, down, SHARE: tl.constexpr, FIRST: tl.constexpr):
    """The slope of the share along column k, but for its factor."""
    slope = tl.zeros(c.shape, tl.float64)
    at = numbers + BEFORE_SHARE + 1 + k
    if SHARE[1 + k]:
        slope += tl.load(at)
    if SHARE[1 + COLUMNS + k]:
        slope -= ratio * tl.load(at + COLUMNS)
    return tl.where(c >= FIRST, slope * scaled(k, up, down), 0.0)


@triton.jit
def quotient_slope(numbers, k, f, q, QUOTIENT: tl.constexpr):
    """The slope of the quotients along column k; f is 0 where a region does not count."""
    slope = tl.zeros(f.shape, tl.float64)
    if QUOTIENT[4 + k]:
        slope += f * tl.load(numbers + 4 + k)
    if QUOTIENT[4 + COLUMNS + k]:
        slope -= tl.where(f != 0, f * q * tl.load(numbers + 4 + COLUMNS + k), 0.0)
    return slope


@triton.jit
def share_factor(amount, mass, numbers, MEAN: tl.constexpr):
    """What the numerator is multiplied by, 0 without any mass, and the ratio that comes off a slope."""
    whole = tl.load(numbers + BEFORE_SHARE)
    if MEAN:
        some = mass > 0
        mass = tl.where(some, mass, 1.0)
        factor = tl.where(some, whole / mass, 0.0)
        ratio = amount / mass
    else:
        factor = tl.zeros_like(amount) + whole
        ratio = tl.zeros_like(amount)
    return factor, ratio


@triton.jit
def counted(
    columns, numbers, groups, batch, c,
    CLASSES: tl.constexpr, QUOTIENT: tl.constexpr, FIRST: tl.constexpr, SKIP: tl.constexpr, JOINED: tl.constexpr,
):  # fmt: skip
    """How many regions the mean is of; 1 where there is none."""
    counts = tl.zeros(c.shape, tl.float64)
    for g in range(groups):
        _, _, valid = regions(columns, numbers, g, batch if JOINED else g + 1, c, CLASSES, QUOTIENT, FIRST, SKIP)
        counts += valid.to(tl.float64)
    return tl.maximum(tl.sum(counts), 1.0)


@triton.jit
def region_loss(
    columns, numbers, factors, positive, negative, value, slopes, batch,
    QUOTIENT: tl.constexpr, SHARE: tl.constexpr, CLASSES: tl.constexpr, C: tl.constexpr, FIRST: tl.constexpr,
    JOINED: tl.constexpr, SKIP: tl.constexpr, SHARE_FIRST: tl.constexpr, MEAN: tl.constexpr,
    FACTORS: tl.constexpr, POSITIVE: tl.constexpr, NEGATIVE: tl.constexpr,
):  # fmt: skip
    """The value, and its slope along every column."""
    c = tl.arange(0, C)
    weight = scale(factors, c, CLASSES, FACTORS)
    up = scale(positive, c, CLASSES, POSITIVE)
    down = scale(negative, c, CLASSES, NEGATIVE)
    total = tl.sum(tl.zeros((C,), tl.float64))
    ratio, factor = total, total
    if len(SHARE) > 0:
        amount, mass = shares(columns, numbers, batch, c, up, down, CLASSES, SHARE, SHARE_FIRST)
        factor, ratio = share_factor(amount, mass, numbers, MEAN)
        total += tl.where(factor == 0, 0.0, factor * amount)
    groups = 1 if JOINED else batch
    if len(QUOTIENT) > 0:
        weight = weight * tl.load(numbers)
        if MEAN:
            weight = weight / counted(columns, numbers, groups, batch, c, CLASSES, QUOTIENT, FIRST, SKIP, JOINED)
    for g in range(groups):
        end = batch if JOINED else g + 1
        q = tl.zeros((C,), tl.float64)
        f = tl.zeros((C,), tl.float64)
        if len(QUOTIENT) > 0:
            above, below, valid = regions(columns, numbers, g, end, c, CLASSES, QUOTIENT, FIRST, SKIP)
            q = above / below
            f = tl.where(valid, weight / below, 0.0)
            total += tl.sum(tl.where(valid, weight * (tl.load(numbers + 1) + q), 0.0))
        for b in range(g, end):
            store_slopes(slopes, numbers, b, c, f, q, factor, ratio, up, down, QUOTIENT, SHARE, SHARE_FIRST, CLASSES)
    tl.store(value, total.to(value.dtype.element_ty))


@triton.jit
def store_slopes(
    slopes, numbers, b, c, f, q, factor, ratio, up, down,
    QUOTIENT: tl.constexpr, SHARE: tl.constexpr, SHARE_FIRST: tl.constexpr, CLASSES: tl.constexpr,
):  # fmt: skip
    """The slopes of sample b along every column."""
    for k in tl.static_range(COLUMNS):
        slope = tl.zeros(c.shape, tl.float64)
        if len(QUOTIENT) > 0:
            slope += quotient_slope(numbers, k, f, q, QUOTIENT)
        if len(SHARE) > 0:
            slope += factor * share_slope(numbers, k, ratio, c, up, down, SHARE, SHARE_FIRST)
        tl.store(slopes + (b * CLASSES + c) * COLUMNS + k, slope.to(slopes.dtype.element_ty), c < CLASSES)
