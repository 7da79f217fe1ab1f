"""The Triton kernels of the soft skeleton: one launch for each erosion, on the way there and on the way back.

``advance`` looks at the 27 voxels of erosion j + 1 around its own: their largest opens erosion j, and the least of the
seven on the axes is erosion j + 2, which takes the place of erosion j. For a gradient a byte says who won both, ranked
as the reference ranks equals; with it each voxel finds, among its neighbours, whose winner it was. A voxel that does
not count is infinite, which wins in no erosion, and the dilation takes it for minus infinity. An infinity of the map
itself becomes NaN, and NaN stays one.
"""

from __future__ import annotations

import triton
import triton.language as tl

from medloss.ops.triton_functions import place

JOINED, MAP, SUMS, RIDGE = tl.constexpr(0), tl.constexpr(1), tl.constexpr(2), tl.constexpr(3)
"""What ``advance`` keeps: the skeleton so far, all of it as a map or as sums, or the ridge for the way back."""
NOBODY = tl.constexpr(255)
"""The byte of a voxel that is not there."""
ON_AXES = tl.constexpr(
    ((1, 0, 0, 0), (0, 1, 0, 3), (0, 0, 1, 5), (0, 0, 0, 1), (0, 0, -1, 6), (0, -1, 0, 4), (-1, 0, 0, 2))
)
"""A voxel and its neighbours along x, y and z, and their ranks in an erosion."""
VARYING = ["start", "first", "lines", "planes", "low", "high"]


@triton.jit
def counted(map, mask, at, mask_at, seen, ACC: tl.constexpr, MASKED: tl.constexpr):
    """The map as an erosion sees it: infinite where there is no voxel, or where it does not count."""
    infinite = float("inf")
    value = tl.load(map + at, mask=seen, other=0).to(ACC)
    value = tl.where(tl.abs(value) == infinite, float("nan"), value)
    if MASKED:
        seen = seen & (tl.load(mask + mask_at, mask=seen, other=0).to(ACC) > 0)
    return tl.where(seen, value, infinite)


@triton.jit
def beside(z, row, column, planes, height, width, N: tl.constexpr):
    """Of the seven on the axes, in the order of their numbers among the 27: whether there is one, and how far off."""
    dx, dy, dz = ON_AXES[N][0], ON_AXES[N][1], ON_AXES[N][2]
    there = (z + dz >= 0) & (z + dz < planes) & (row + dy >= 0) & (row + dy < height)
    return there & (column + dx >= 0) & (column + dx < width), (dz * height + dy) * width + dx


@triton.jit
def three(z, row, column, inside, planes, height, width, group, SIGN: tl.constexpr):
    """Of three neighbours that differ by their planes, numbers 3 group to 3 group + 2: of each whether it is there, and
    how far off the middle one lies. SIGN -1: those opposite. The next first: x, y, then z.

    The group is none that the compiler knows: 27 copies of a loop's body take it a minute.
    """
    dx, dy = SIGN * (1 - group // 3), SIGN * (1 - group % 3)
    there = inside & (row + dy >= 0) & (row + dy < height) & (column + dx >= 0) & (column + dx < width)
    first, last = there & (z + SIGN >= 0) & (z + SIGN < planes), there & (z - SIGN >= 0) & (z - SIGN < planes)
    return (first, there, last), dy * width + dx


@triton.jit
def lesser(least, winner, value, rank):
    """The less of two, and its rank: of equals the lower."""
    better = (value < least) | (value != value) | ((value == least) & (winner > rank))
    return tl.where(better, value, least), tl.where(better, rank, winner)


@triton.jit(do_not_specialize=VARYING)
def begin(
    map, mask, older, newer, codes, start, first, lines, shared, planes, depth, height, width,
    MASKED: tl.constexpr, CODED: tl.constexpr, LINES: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """The map of the planes from ``first`` on, and its erosion."""
    volume, z, row, column, inside = place(0, planes, lines, height, width, LINES, COLUMNS)
    real: tl.constexpr = older.dtype.element_ty
    inner = (z.to(tl.int64) * height + row) * width + column
    at = ((volume + start) * depth + first) * height * width + inner
    mask_at = ((volume + start) // shared * depth + first) * height * width + inner
    own = counted(map, mask, at, mask_at, inside, real, MASKED)
    least, winner = own, tl.full((LINES, COLUMNS), 1, tl.int32)
    for n in tl.static_range(7):
        there, step = beside(z, row, column, planes, height, width, n)
        value = counted(map, mask, at + step, mask_at + step, inside & there, real, MASKED)
        least, winner = lesser(least, winner, value, ON_AXES[n][3])
    here = volume * planes * height * width + inner
    tl.store(older + here, own, mask=inside)
    tl.store(newer + here, tl.where(own == float("inf"), own, least), mask=inside)
    if CODED:
        tl.store(codes + here, winner.to(tl.uint8), mask=inside)


@triton.jit
def pooled(newer, here, z, row, column, inside, planes, height, width, ERODED: tl.constexpr):
    """The largest of the 27 voxels around each and the least of the seven on the axes, and who they are."""
    infinite = float("inf")
    opened = tl.full(here.shape, -infinite, newer.dtype.element_ty)
    least = tl.full(here.shape, infinite, newer.dtype.element_ty)
    largest_code, least_code = tl.zeros(here.shape, tl.int32), tl.full(here.shape, 7, tl.int32)
    for group in range(9):
        seen, step = three(z, row, column, inside, planes, height, width, group, 1)
        middle = newer + here + step
        for n in tl.static_range(3):
            value = tl.load(middle + (1 - n) * height * width, mask=seen[n], other=infinite)
            better = ((value > opened) & (value < infinite)) | (value != value)
            opened = tl.where(better, value, opened)
            largest_code = tl.where(better, 3 * group + n, largest_code)
    if ERODED:
        for n in tl.static_range(7):
            there, step = beside(z, row, column, planes, height, width, n)
            value = tl.load(newer + here + step, mask=inside & there, other=infinite)
            least, least_code = lesser(least, least_code, value, ON_AXES[n][3])
    return opened, least, largest_code * 8 + least_code


@triton.jit(do_not_specialize=VARYING)
def advance(
    older, newer, joined, codes, other, mask, result, start, first, lines, shared, low, high,
    planes, depth, height, width,
    FIRST: tl.constexpr, LAST: tl.constexpr, WANTED: tl.constexpr, MASKED: tl.constexpr,
    LINES: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """What opening takes off erosion j, joined to the skeleton; erosion j + 2 takes the place of erosion j.

    Results are of the planes from ``low`` to before ``high``, counted from ``first``.
    """
    volume, z, row, column, inside = place(0, planes, lines, height, width, LINES, COLUMNS)
    inner = (z.to(tl.int64) * height + row) * width + column
    here = volume * planes * height * width + inner
    level = tl.load(older + here, mask=inside, other=float("inf"))
    counts = level != float("inf")
    opened, least, code = pooled(newer, here, z, row, column, inside, planes, height, width, LAST == 0)
    ridge = level - opened
    ridge = tl.where(counts & ((ridge > 0) | (ridge != ridge)), ridge, 0)
    if LAST == 0:
        tl.store(older + here, tl.where(counts, least, float("inf")), mask=inside)
    if WANTED == RIDGE:
        tl.store(codes + here, code.to(tl.uint8), mask=inside)
        tl.store(joined + here, ridge, mask=inside)
    else:
        skeleton = ridge if FIRST else join(tl.load(joined + here, mask=inside, other=0), ridge)
        source, seen = volume + start, inside & (z >= low) & (z < high)
        if WANTED == JOINED:
            tl.store(joined + here, skeleton, mask=inside)
        if WANTED == MAP:
            tl.store(result + (source * depth + first) * height * width + inner, skeleton, mask=seen)
        if WANTED == SUMS:
            real: tl.constexpr = older.dtype.element_ty
            weight, seen = weights(mask, source, first, depth, height, width, inner, seen, shared, real, MASKED)
            at = other + (source * depth + first) * height * width + inner
            add_up(result, tl.where(seen, skeleton * weight, 0), tl.load(at, mask=seen, other=0), lines, width)


@triton.jit
def join(joined, ridge):
    """One more ridge joined to the skeleton, as probabilities are."""
    more = ridge - joined * ridge
    return joined + tl.where(more <= 0, 0, more)


@triton.jit
def add_up(result, skeleton, other, lines, width):
    """Two sums of each part of a row: of the skeleton within the other map, and of all of it."""
    across = tl.cdiv(width, skeleton.shape[1])
    line = tl.program_id(0) // across * skeleton.shape[0] + tl.arange(0, skeleton.shape[0])
    to = result + 2 * (line.to(tl.int64) * across + tl.program_id(0) % across)
    product = tl.where(skeleton == 0, 0, skeleton * other.to(skeleton.dtype))
    tl.store(to, tl.sum(product, 1), mask=line < lines)
    tl.store(to + 1, tl.sum(skeleton, 1), mask=line < lines)


@triton.jit
def weights(mask, volume, first, depth, height, width, inner, seen, shared, ACC: tl.constexpr, MASKED: tl.constexpr):
    """Weights of voxels, and which of them count."""
    weight = seen.to(ACC)
    if MASKED:
        at = (volume // shared * depth + first) * height * width + inner
        weight = tl.load(mask + at, mask=seen, other=0).to(ACC)
        seen = seen & (weight > 0)
    return weight, seen


@triton.jit
def rejoined(ridges, stride, count, seen):
    """The first ``count`` ridges joined again."""
    joined = tl.load(ridges, mask=seen, other=0)
    for _ in range(1, count):
        ridges += stride
        joined = join(joined, tl.load(ridges, mask=seen, other=0))
    return joined


@triton.jit(do_not_specialize=VARYING)
def part(
    ridges, last, upstream, other, mask, stride, count, start, first, lines, shared, low, high,
    planes, depth, height, width,
    SUMMED: tl.constexpr, MASKED: tl.constexpr, LINES: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """All ridges of a voxel, the ``last`` one first, become their cotangents."""
    volume, z, row, column, inside = place(0, planes, lines, height, width, LINES, COLUMNS)
    real: tl.constexpr = ridges.dtype.element_ty
    inner = (z.to(tl.int64) * height + row) * width + column
    source, wanted = volume + start, inside & (z >= low) & (z < high)
    at = (source * depth + first) * height * width + inner
    if SUMMED:
        weight, wanted = weights(mask, source, first, depth, height, width, inner, wanted, shared, real, MASKED)
        there = tl.load(other + at, mask=wanted, other=0).to(real)
        rates = upstream + 4 * source
        up = weight * (tl.load(rates, mask=wanted, other=0) * there + tl.load(rates + 1, mask=wanted, other=0))
    else:
        up = tl.load(upstream + at, mask=wanted, other=0)
    ridges += volume * planes * height * width + inner
    last += volume * planes * height * width + inner
    for step in range(0, count):
        ridge, joined = tl.load(last, mask=inside, other=0), rejoined(ridges, stride, count - step, inside)
        flat = ridge - joined * ridge <= 0
        tl.store(last, tl.where(wanted & (flat == 0) & ((ridge <= 0) == 0), up - up * joined, 0), mask=inside)
        up = tl.where(flat, up, up - up * ridge)
        last -= stride
    ridge = tl.load(ridges, mask=inside, other=0)
    tl.store(ridges, tl.where(wanted & ((ridge <= 0) == 0), up, 0), mask=inside)


@triton.jit
def won(
    codes, before, behind, here, z, row, column, inside, planes, height, width, OPENS: tl.constexpr, OWN: tl.constexpr
):
    """What a voxel has won of the cotangents around it, by the ranks that it has there."""
    total = tl.zeros(here.shape, before.dtype.element_ty)
    # whose neighbour of a number one is lies where one's own of the opposite number does
    if OPENS:
        for group in range(9):
            seen, step = three(z, row, column, inside, planes, height, width, group, -1)
            for n in tl.static_range(3):
                away = step - (1 - n) * height * width
                code = tl.load(codes + here + away, mask=seen[n], other=NOBODY).to(tl.int32)
                total -= tl.load(before + here + away, mask=code // 8 == 3 * group + n, other=0)
    if OWN:
        for n in tl.static_range(7):
            there, step = beside(z, row, column, planes, height, width, 6 - n)
            code = tl.load(codes + here + step, mask=inside & there, other=NOBODY).to(tl.int32)
            total += tl.load(behind + here + step, mask=code % 8 == ON_AXES[n][3], other=0)
    return total


@triton.jit(do_not_specialize=VARYING)
def gather(
    codes, before, own, behind, result, skeleton, upstream, mask, start, first, lines, shared, low, high,
    planes, depth, height, width,
    OPENS: tl.constexpr, OWN: tl.constexpr, WHOLE: tl.constexpr, SUMMED: tl.constexpr, MASKED: tl.constexpr,
    LINES: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """The gradient of erosion i: its ridge's, less those of the ridge before it (if it OPENS one) that it has won, and
    what it has won of the gradient of erosion i + 1. OWN: whether there are the first and the last of these."""
    volume, z, row, column, inside = place(0, planes, lines, height, width, LINES, COLUMNS)
    inner = (z.to(tl.int64) * height + row) * width + column
    here = volume * planes * height * width + inner
    if WHOLE:
        inside = inside & (z >= low) & (z < high)
    total = won(codes, before, behind, here, z, row, column, inside, planes, height, width, OPENS, OWN)
    if OWN:
        total += tl.load(own + here, mask=inside, other=0)
    if WHOLE:
        source = volume + start
        real: tl.constexpr = before.dtype.element_ty
        if SUMMED:
            weight, seen = weights(mask, source, first, depth, height, width, inner, inside, shared, real, MASKED)
            rate = tl.load(upstream + 4 * source + 2, mask=seen, other=0)
            total += tl.where(seen, weight * (rate * tl.load(skeleton + here, mask=seen, other=0)), 0)
        tl.store(result + (source * depth + first) * height * width + inner, total, mask=inside)
    else:
        tl.store(result + here, total, mask=inside)
