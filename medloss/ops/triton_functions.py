"""Device functions that the Triton kernels share: of labelled volumes in tiles, and of images in lines."""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def log1p_unit(e):
    """log(1 + e) for e in [0, 1], twice the area tangent of e / (2 + e): keeps the digits of a tiny e."""
    u = e / (2 + e)
    s = u * u
    if e.dtype == tl.float64:
        return tl.where(e < 1e-4, u * (2 + s * (2.0 / 3 + s * 0.4)), tl.log(1 + e))
    q = 1.0 / 13 + s * (1.0 / 15)
    q = 1.0 / 11 + s * q
    q = 1.0 / 9 + s * q
    q = 1.0 / 7 + s * q
    q = 1.0 / 5 + s * q
    q = 1.0 / 3 + s * q
    return 2 * u * (1 + s * q)


@triton.jit
def activate(z, ACTIVATION: tl.constexpr, SURPRISE: tl.constexpr):
    """p, 1 - p, -log p and -log(1 - p) of logits C V; the logarithms only where asked for.

    Of a class above a half they are made of the sum of the others: as differences they would have no digits.
    """
    positive, negative = z, z
    if ACTIVATION == "softmax":
        top = tl.max(z, 0)[None, :]
        p = tl.exp(z - top)
        total = tl.sum(p, 0)[None, :]
        p = p * (1 / total)
        above = p > 0.5
        others = tl.sum(tl.where(above, 0.0, p), 0)[None, :]
        q = tl.where(above, others, 1 - p)
        if SURPRISE:
            odds = others * total  # the largest exponential is 1
            positive = tl.where(above, log1p_unit(tl.minimum(odds, 1.0)), (top + tl.log(total)) - z)
    elif ACTIVATION == "sigmoid":
        e = tl.exp(-tl.abs(z))
        large = 1 / (1 + e)
        small = e * large
        p, q = tl.where(z < 0, small, large), tl.where(z < 0, large, small)
        if SURPRISE:
            both = log1p_unit(e)
            positive, negative = both + tl.maximum(-z, 0.0), both + tl.maximum(z, 0.0)
    else:
        p, q = z, 1 - z
    return p, q, positive, negative


@triton.jit
def error_of(p, q, t):
    """p - t, which for a hard t is p or minus its complement."""
    return tl.where(t == 0, p, tl.where(t == 1, -q, p - t))


@triton.jit
def settle(p, g):
    """The gradient of a softmax, in which that of a class above a half is minus the sum of the others'."""
    above = p > 0.5
    return tl.where(above, -tl.sum(tl.where(above, 0.0, g), 0)[None, :], g)


@triton.jit
def within(v, voxels, EVEN: tl.constexpr):
    """Which voxels there are. All of them, where tiles are EVEN: known at compile time, this costs nothing later on."""
    if EVEN:
        inside = tl.full(v.shape, 1, tl.int1)
    else:
        inside = v < voxels
    return inside


@triton.jit
def class_of(label, CLASSES: tl.constexpr):
    """Labels of any type as int32; -1 where they are not one of the classes."""
    inside = (label >= 0) & (label < CLASSES)
    whole = tl.where(inside, label, 0).to(tl.int32)
    return tl.where(inside & (whole.to(label.dtype) == label), whole, -1)


@triton.jit
def at(pointer, steps, b, c, v):
    """Addresses C V of one sample, by 64-bit offsets: a class alone may lie 2**31 entries off."""
    return pointer + b * steps[0] + (c.to(tl.int64) * steps[1])[:, None] + (v.to(tl.int64) * steps[2])[None, :]


@triton.jit
def load_weight(
    target, mask, ignore, target_steps, mask_steps, b, c, v, inside,
    CLASSES: tl.constexpr, IGNORE: tl.constexpr, MASK: tl.constexpr, ACC: tl.constexpr,
):  # fmt: skip
    """Weights (1 or C) V of the voxels v; zero where there is none, or where its label is ignored."""
    if MASK == "class":
        weight = tl.load(at(mask, mask_steps, b, c, v), inside[None, :] & (c < CLASSES)[:, None], 0).to(ACC)
    elif MASK == "voxel":
        weight = tl.load(mask + b * mask_steps[0] + v.to(tl.int64) * mask_steps[2], inside, 0).to(ACC)[None, :]
    else:
        weight = inside.to(ACC)[None, :]
    if IGNORE:
        label = tl.load(target + b * target_steps[0] + v.to(tl.int64) * target_steps[2], inside, 0)
        if label.dtype.is_floating():
            kept = label != ignore.to(label.dtype)
        else:
            kept = label.to(tl.int64) != ignore.to(tl.int64)
        weight = tl.where(kept[None, :], weight, 0.0)
    return weight


@triton.jit
def load_class(target, steps, b, v, inside, CLASSES: tl.constexpr):
    """The classes of the voxels v; -1 where there is no voxel, or its label is no class."""
    return class_of(tl.load(target + b * steps[0] + v.to(tl.int64) * steps[2], inside, -1), CLASSES)


@triton.jit
def load_members(target, steps, b, c, v, inside, CLASSES: tl.constexpr, INDEXED: tl.constexpr, ACC: tl.constexpr):
    """How much the voxels v belong to the classes c."""
    if INDEXED:
        member = (load_class(target, steps, b, v, inside, CLASSES)[None, :] == c[:, None]).to(ACC)
    else:
        member = tl.load(at(target, steps, b, c, v), inside[None, :] & (c < CLASSES)[:, None], 0).to(ACC)
    return member


@triton.jit
def load_tile(
    input, target, mask, ignore, input_steps, target_steps, mask_steps, b, c, v, inside,
    CLASSES: tl.constexpr, INDEXED: tl.constexpr, IGNORE: tl.constexpr, MASK: tl.constexpr, ACC: tl.constexpr,
):  # fmt: skip
    """Logits C V (-inf for the classes that fill the tile up), memberships C V and weights (1 or C) V.

    Logits and memberships are zero where the weight is: nothing there may be looked at.
    """
    w = load_weight(target, mask, ignore, target_steps, mask_steps, b, c, v, inside, CLASSES, IGNORE, MASK, ACC)
    t = load_members(target, target_steps, b, c, v, inside, CLASSES, INDEXED, ACC)
    z = tl.load(at(input, input_steps, b, c, v), inside[None, :] & (c < CLASSES)[:, None], 0).to(ACC)
    z = tl.where(z == -float("inf"), -1e4, z)  # a forbidden class, as in probabilities.py
    z = tl.where((c < CLASSES)[:, None], tl.where(w > 0, z, 0.0), -float("inf"))
    return z, tl.where(w > 0, t, 0.0), w


@triton.jit
def before_activation(p, q, slope, ACTIVATION: tl.constexpr):
    """dL/dz C V from the probabilities, their complements and dL/dp."""
    if ACTIVATION == "softmax":  # measured from the slope of the class above a half, which others may equal
        slope = slope - tl.sum(tl.where(p > 0.5, slope, 0.0), 0)[None, :]
        slope = settle(p, p * (slope - tl.sum(p * slope, 0)[None, :]))
    elif ACTIVATION == "sigmoid":
        slope = p * q * slope
    return slope


@triton.jit
def store_gradient(gradient, steps, b, c, v, g, w, inside, CLASSES: tl.constexpr):
    """Writes a tile of the gradient; zero where the weight is, whatever was computed there."""
    g = tl.where(w > 0, g, 0.0).to(gradient.dtype.element_ty)
    tl.store(at(gradient, steps, b, c, v), g, inside[None, :] & (c < CLASSES)[:, None])


@triton.jit
def add_rows(
    partials, sums, programs, width,
    COLUMNS: tl.constexpr, WRITTEN: tl.constexpr, ROWS: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    """Adds the rows of each sample in their order, in double. WRITTEN has a bit per column; the others become zero."""
    b = tl.program_id(1).to(tl.int64)
    entry = tl.program_id(0) * WIDTH + tl.arange(0, WIDTH)
    written = (entry < width) & (((WRITTEN >> (entry % COLUMNS)) & 1) == 1)
    total = tl.zeros((ROWS, WIDTH), tl.float64)
    for first in range(0, programs, ROWS):
        row = first + tl.arange(0, ROWS)
        offset = (b * programs + row)[:, None] * width + entry[None, :]
        total += tl.load(partials + offset, (row < programs)[:, None] & written[None, :], 0).to(tl.float64)
    tl.store(sums + b * width + entry, tl.sum(total, 0).to(sums.dtype.element_ty), entry < width)


@triton.jit
def number(numbers, N: tl.constexpr, real: tl.constexpr):
    """A number of a tuple of ``triton_numbers.packed``: a float, or one word for int32, two for float64."""
    if real == tl.float32:
        found = tl.full((), numbers[N], tl.float32)
    elif real == tl.float64:
        low, high = word(numbers[2 * N]), word(numbers[2 * N + 1])
        found = (high << 32 | low).to(tl.float64, bitcast=True)
    else:
        found = word(numbers[N]).to(tl.int32)
    return found


@triton.jit
def word(packed):
    """The 32 bits that a word carries."""
    return packed.to(tl.int64) >> 1 & 0xFFFFFFFF


@triton.jit(do_not_specialize=["start", "count"])
def write_numbers(result, words, palette, start, count, WORDS: tl.constexpr):
    """Writes a table: each digit of a word tells which number of the palette is the next."""
    real: tl.constexpr = result.dtype.element_ty
    which, digit = tl.arange(0, 16), tl.arange(0, 16)
    known = tl.zeros((16,), real)
    for n in tl.static_range(16):
        known = tl.where(which == n, number(palette, n, real), known)
    for at in tl.static_range(WORDS):
        code = words[at].to(tl.int64) >> (4 * digit + 1) & 15
        chosen = tl.where(code[:, None] == which[None, :], known[None, :], tl.zeros((16, 16), real))
        entry = at * 15 + digit
        tl.store(result + start + entry, tl.sum(chosen, 1), mask=(digit < 15) & (entry < count))


@triton.jit
def place(first, planes, lines, height, width, LINES: tl.constexpr, COLUMNS: tl.constexpr):
    """Volume, plane, row and column of a program's voxels, and whether there are such; volumes count in 64 bits."""
    across = tl.cdiv(width, COLUMNS)
    line = tl.program_id(0) // across * LINES + tl.arange(0, LINES)[:, None]
    column = tl.program_id(0) % across * COLUMNS + tl.arange(0, COLUMNS)[None, :]
    inside = (line < lines) & (column < width)
    line = tl.minimum(line, lines - 1)
    plane = line // height
    return (plane // planes).to(tl.int64), first + plane % planes, line % height, column, inside


@triton.jit
def part(parts, numbers, lines, width, LINES: tl.constexpr, COLUMNS: tl.constexpr):
    """Where a program of :func:`place` leaves the sums of its parts of rows, so many numbers each, and which it has."""
    across = tl.cdiv(width, COLUMNS)
    line = tl.program_id(0) // across * LINES + tl.arange(0, LINES)
    return parts + (line.to(tl.int64) * across + tl.program_id(0) % across) * numbers, line < lines


@triton.jit
def divided(a, b):
    """Rounded as torch does: in single precision Triton's own division is not."""
    if a.dtype == tl.float32:
        result = tl.div_rn(a, b)
    else:
        result = a / b
    return result
