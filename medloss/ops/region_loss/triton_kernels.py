"""The Triton kernel of ``region_loss``: one program, as there are but B N columns of numbers; all in double.

It looks at ROWS samples and all classes at a time. Coefficients are arguments, so that a schedule of a weight compiles
nothing and waits for nothing: the entries of the quotient, then those of the share. Which of them are not zero is known
at compile time: a column that no form looks at is never loaded.
"""

from __future__ import annotations

import triton
import triton.language as tl

from medloss.ops.triton_functions import number

COLUMNS = tl.constexpr(18)
TARGET = tl.constexpr(2)
VOXELS = tl.constexpr(3)
BEFORE_SHARE = tl.constexpr(40)
"""Entries of a quotient, which precede those of the share."""


@triton.jit
def column(columns, b, c, k, batch, CLASSES: tl.constexpr):
    """One column of the samples b and the classes c; 0 beyond them."""
    there = (b < batch)[:, None] & (c < CLASSES)[None, :]
    return tl.load(columns + (b[:, None] * CLASSES + c[None, :]) * COLUMNS + k, there, 0).to(tl.float64)


@triton.jit
def linear(columns, numbers, b, c, batch, CLASSES: tl.constexpr, QUOTIENT: tl.constexpr, START: tl.constexpr):
    """A linear form of the columns."""
    total = tl.zeros((b.shape[0], c.shape[0]), tl.float64)
    for k in tl.static_range(COLUMNS):
        if QUOTIENT[START + k]:
            total += number(numbers, START + k, tl.float64) * column(columns, b, c, k, batch, CLASSES)
    return total


@triton.jit
def regions(
    columns, numbers, b, batch, c,
    CLASSES: tl.constexpr, QUOTIENT: tl.constexpr, FIRST: tl.constexpr, SKIP: tl.constexpr, JOINED: tl.constexpr,
):  # fmt: skip
    """What stands above and below in the quotients of samples b, or of all joined, and which regions count."""
    above = linear(columns, numbers, b, c, batch, CLASSES, QUOTIENT, 4)
    below = linear(columns, numbers, b, c, batch, CLASSES, QUOTIENT, 4 + COLUMNS)
    voxels = column(columns, b, c, VOXELS, batch, CLASSES)
    members = column(columns, b, c, TARGET, batch, CLASSES)
    if JOINED:
        for first in range(b.shape[0], batch, b.shape[0]):
            above += linear(columns, numbers, first + b, c, batch, CLASSES, QUOTIENT, 4)
            below += linear(columns, numbers, first + b, c, batch, CLASSES, QUOTIENT, 4 + COLUMNS)
            voxels += column(columns, first + b, c, VOXELS, batch, CLASSES)
            members += column(columns, first + b, c, TARGET, batch, CLASSES)
        above, below = tl.sum(above, 0)[None, :], tl.sum(below, 0)[None, :]
        voxels, members = tl.sum(voxels, 0)[None, :], tl.sum(members, 0)[None, :]
    valid = ~(voxels <= 0) & (c >= FIRST)[None, :]  # NaN counts, so that it shows
    if SKIP:
        valid = valid & ~(members <= 0)
    above += number(numbers, 2, tl.float64)
    return above, tl.where(valid, below + number(numbers, 3, tl.float64), 1.0), valid


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
def shares(
    columns, numbers, batch, c, up, down,
    CLASSES: tl.constexpr, SHARE: tl.constexpr, FIRST: tl.constexpr, ROWS: tl.constexpr,
):  # fmt: skip
    """What stands above and below in the share."""
    above = tl.zeros((ROWS, c.shape[0]), tl.float64)
    below = tl.zeros((ROWS, c.shape[0]), tl.float64)
    for first in range(0, batch, ROWS):
        b = first + tl.arange(0, ROWS)
        for k in tl.static_range(COLUMNS):
            if SHARE[1 + k]:
                weight = number(numbers, BEFORE_SHARE + 1 + k, tl.float64) * scaled(k, up, down)[None, :]
                above += weight * column(columns, b, c, k, batch, CLASSES)
            if SHARE[1 + COLUMNS + k]:
                weight = number(numbers, BEFORE_SHARE + 1 + COLUMNS + k, tl.float64) * scaled(k, up, down)[None, :]
                below += weight * column(columns, b, c, k, batch, CLASSES)
    counts = (c >= FIRST)[None, :]
    return tl.sum(tl.where(counts, above, 0.0)), tl.sum(tl.where(counts, below, 0.0))


@triton.jit
def share_slope(numbers, k: tl.constexpr, ratio, c, up, down, SHARE: tl.constexpr, FIRST: tl.constexpr):
    """The slope of the share along column k, but for its factor."""
    slope = tl.zeros(c.shape, tl.float64)
    if SHARE[1 + k]:
        slope += number(numbers, BEFORE_SHARE + 1 + k, tl.float64)
    if SHARE[1 + COLUMNS + k]:
        slope -= ratio * number(numbers, BEFORE_SHARE + 1 + COLUMNS + k, tl.float64)
    return tl.where(c >= FIRST, slope * scaled(k, up, down), 0.0)


@triton.jit
def quotient_slope(numbers, k: tl.constexpr, f, q, QUOTIENT: tl.constexpr):
    """The slope of the quotients along column k; f is 0 where a region does not count."""
    slope = tl.zeros(f.shape, tl.float64)
    if QUOTIENT[4 + k]:
        slope += f * number(numbers, 4 + k, tl.float64)
    if QUOTIENT[4 + COLUMNS + k]:
        slope -= tl.where(f != 0, f * q * number(numbers, 4 + COLUMNS + k, tl.float64), 0.0)
    return slope


@triton.jit
def share_factor(amount, mass, numbers, MEAN: tl.constexpr):
    """What the numerator is multiplied by, 0 without any mass, and the ratio that comes off a slope."""
    whole = number(numbers, BEFORE_SHARE, tl.float64)
    if MEAN:
        some = ~(mass <= 0)
        mass = tl.where(some, mass, 1.0)
        factor = tl.where(some, whole / mass, 0.0)
        ratio = amount / mass
    else:
        factor = tl.zeros_like(amount) + whole
        ratio = tl.zeros_like(amount)
    return factor, ratio


@triton.jit
def counted(
    columns, numbers, batch, c, CLASSES: tl.constexpr, QUOTIENT: tl.constexpr, FIRST: tl.constexpr,
    SKIP: tl.constexpr, JOINED: tl.constexpr, ROWS: tl.constexpr,
):  # fmt: skip
    """How many regions the mean is of; 1 where there is none."""
    counts = tl.sum(tl.zeros(c.shape, tl.float64))
    for first in range(0, 1 if JOINED else batch, ROWS):
        b = first + tl.arange(0, ROWS)
        _, _, valid = regions(columns, numbers, b, batch, c, CLASSES, QUOTIENT, FIRST, SKIP, JOINED)
        counts += tl.sum(valid.to(tl.float64))
    return tl.maximum(counts, 1.0)


@triton.jit
def region_loss(
    columns, numbers, factors, positive, negative, value, slopes, batch,
    QUOTIENT: tl.constexpr, SHARE: tl.constexpr, CLASSES: tl.constexpr, C: tl.constexpr, FIRST: tl.constexpr,
    JOINED: tl.constexpr, SKIP: tl.constexpr, SHARE_FIRST: tl.constexpr, MEAN: tl.constexpr,
    FACTORS: tl.constexpr, POSITIVE: tl.constexpr, NEGATIVE: tl.constexpr, ROWS: tl.constexpr,
):  # fmt: skip
    """The value, and its slope along every column."""
    c = tl.arange(0, C)
    weight = scale(factors, c, CLASSES, FACTORS)
    up = scale(positive, c, CLASSES, POSITIVE)
    down = scale(negative, c, CLASSES, NEGATIVE)
    total = tl.sum(tl.zeros((C,), tl.float64))
    ratio, factor = total, total
    if len(SHARE) > 0:
        amount, mass = shares(columns, numbers, batch, c, up, down, CLASSES, SHARE, SHARE_FIRST, ROWS)
        factor, ratio = share_factor(amount, mass, numbers, MEAN)
        total += tl.where(factor == 0, 0.0, factor * amount)
    if len(QUOTIENT) > 0:
        weight = weight * number(numbers, 0, tl.float64)
        if MEAN:
            weight = weight / counted(columns, numbers, batch, c, CLASSES, QUOTIENT, FIRST, SKIP, JOINED, ROWS)
    for first in range(0, 1 if JOINED else batch, ROWS):
        b = first + tl.arange(0, ROWS)
        q = tl.zeros((1 if JOINED else ROWS, C), tl.float64)
        f = tl.zeros((1 if JOINED else ROWS, C), tl.float64)
        if len(QUOTIENT) > 0:
            above, below, valid = regions(columns, numbers, b, batch, c, CLASSES, QUOTIENT, FIRST, SKIP, JOINED)
            q = above / below
            f = tl.where(valid, weight[None, :] / below, 0.0)
            total += tl.sum(tl.where(valid, weight[None, :] * (number(numbers, 1, tl.float64) + q), 0.0))
        for start in range(first, batch if JOINED else first + 1, ROWS):
            at = start + tl.arange(0, ROWS)
            store_slopes(
                slopes, numbers, at, batch, c, f, q, factor, ratio, up, down, QUOTIENT, SHARE, SHARE_FIRST, CLASSES
            )  # fmt: skip
    tl.store(value, total.to(value.dtype.element_ty))


@triton.jit
def store_slopes(
    slopes, numbers, b, batch, c, f, q, factor, ratio, up, down,
    QUOTIENT: tl.constexpr, SHARE: tl.constexpr, SHARE_FIRST: tl.constexpr, CLASSES: tl.constexpr,
):  # fmt: skip
    """The slopes of samples b along every column."""
    there = (b < batch)[:, None] & (c < CLASSES)[None, :]
    for k in tl.static_range(COLUMNS):
        slope = tl.zeros((b.shape[0], c.shape[0]), tl.float64)
        if len(QUOTIENT) > 0:
            slope += quotient_slope(numbers, k, f, q, QUOTIENT)
        if len(SHARE) > 0:
            slope += factor * share_slope(numbers, k, ratio, c, up, down, SHARE, SHARE_FIRST)[None, :]
        to = slopes + (b[:, None] * CLASSES + c[None, :]) * COLUMNS + k
        tl.store(to, slope.to(slopes.dtype.element_ty), there)
