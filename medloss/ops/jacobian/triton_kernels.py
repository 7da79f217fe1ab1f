"""The Triton kernels of the Jacobian and of hyperelasticity: growths and their prices, and the gradient, gathered.

A table holds the simplices: where each edge ends, and what it was before the deformation. Fewer than three axes are
three, of which the last ones are not deformed. For the gradient it holds one entry for each end of each edge, and each
voxel computes anew the simplices that it is an end of: loads from the cache in place of maps of derivatives.
"""

from __future__ import annotations

import triton
import triton.language as tl

from medloss.ops.triton_functions import place

DETERMINANT, FOLDING, LOGARITHM, VOLUME, HYPERELASTIC, MEAN, SPREAD, HINGE = (tl.constexpr(mode) for mode in range(8))
"""What becomes of the determinants; MEAN is the logarithm itself, SPREAD the square of its distance from a centre."""
EDGE, WHOLES, REALS = tl.constexpr(10), tl.constexpr(34), tl.constexpr(12)
"""Numbers of an edge: two ends, what it was, and whether it is deformed; whole ones and others of an entry."""
VARYING = ["lines", "depth", "height", "from_z", "from_y", "from_x", "inner_z", "inner_y"]
"""Of a new shape: none of them is worth a kernel of its own, as the width is."""


@triton.jit
def slope(low, high, scale, number: tl.constexpr, stride, drawn, RANK: tl.constexpr):
    """The derivative of a component along an edge; none of a component that there is not."""
    if number < RANK:
        there = tl.load(high + number * stride, mask=drawn, other=0).to(scale.dtype.element_ty)
        here = tl.load(low + number * stride, mask=drawn, other=0).to(scale.dtype.element_ty)
        result = tl.load(scale + number) * (there - here)
    else:
        result = tl.zeros(drawn.shape, scale.dtype.element_ty)
    return result


@triton.jit
def slopes(voxel, edge, scale, seen, depth, height, width, RANK: tl.constexpr):
    """The derivatives of all components along an edge of the simplices at the voxels given."""
    low = voxel + (tl.load(edge) * height + tl.load(edge + 1)) * width + tl.load(edge + 2)
    high = voxel + (tl.load(edge + 3) * height + tl.load(edge + 4)) * width + tl.load(edge + 5)
    stride, drawn = depth * height * width, seen & (tl.load(edge + 9) != 0)
    x = slope(low, high, scale, 0, stride, drawn, RANK)
    y = slope(low, high, scale, 1, stride, drawn, RANK)
    w = slope(low, high, scale, 2, stride, drawn, RANK)
    return x, y, w


@triton.jit
def edges(voxel, edge, scale, seen, depth, height, width, RANK: tl.constexpr):
    """The derivatives along the first edge, the squares of all of them, and the edges after the deformation."""
    g0, g1, g2 = slopes(voxel, edge, scale, seen, depth, height, width, RANK)
    h0, h1, h2 = slopes(voxel, edge + EDGE, scale + 3, seen, depth, height, width, RANK)
    l0, l1, l2 = slopes(voxel, edge + 2 * EDGE, scale + 6, seen, depth, height, width, RANK)
    lengths = g0 * g0 + g1 * g1 + g2 * g2 + h0 * h0 + h1 * h1 + h2 * h2 + l0 * l0 + l1 * l1 + l2 * l2
    a, b, c = edge + 6, edge + EDGE + 6, edge + 2 * EDGE + 6
    a0, a1, a2 = g0 + tl.load(a), g1 + tl.load(a + 1), g2 + tl.load(a + 2)
    b0, b1, b2 = h0 + tl.load(b), h1 + tl.load(b + 1), h2 + tl.load(b + 2)
    c0, c1, c2 = l0 + tl.load(c), l1 + tl.load(c + 1), l2 + tl.load(c + 2)
    return g0, g1, g2, lengths, a0, a1, a2, b0, b1, b2, c0, c1, c2


@triton.jit
def cross(a0, a1, a2, b0, b1, b2):
    """The cross product."""
    return a1 * b2 - a2 * b1, a2 * b0 - a0 * b2, a0 * b1 - a1 * b0


@triton.jit
def positive(x):
    """At least 0; NaN stays."""
    return tl.where(x <= 0, 0.0, x)


@triton.jit
def logarithm(growth, floor):
    """The logarithm, and below the floor its tangent there."""
    return tl.where(growth >= floor, tl.log(tl.where(growth >= floor, growth, floor)),
                    tl.log(floor) + (growth - floor) / floor)  # fmt: skip


@triton.jit
def more(x, y, w):
    """How much more than its area a face has, squared; NaN stays."""
    return positive(x * x + y * y + w * w - 1)


@triton.jit
def areas(a0, a1, a2, b0, b1, b2, c0, c1, c2):
    """What the three faces cost."""
    n0, n1, n2 = cross(b0, b1, b2, c0, c1, c2)
    p0, p1, p2 = cross(c0, c1, c2, a0, a1, a2)
    q0, q1, q2 = cross(a0, a1, a2, b0, b1, b2)
    one, two, three = more(n0, n1, n2), more(p0, p1, p2), more(q0, q1, q2)
    return one * one + two * two + three * three


@triton.jit
def swelling(growth, floor):
    """What a volume costs; below the floor the tangent there."""
    held = tl.where(growth < floor, floor, growth)
    root = (held - 1) * (held - 1) / held
    fall = 2 * (floor - 1) * (floor - 1) * (floor - 1) * (floor + 1) / (floor * floor * floor)
    return root * root + fall * (growth - held)


@triton.jit
def slope_of(growth, numbers, centre, scale, MODE: tl.constexpr):
    """The slope of a simplex's price, by its share, in its determinant; a determinant has neither price nor share."""
    floor, factor = tl.load(numbers), tl.load(scale + 9)
    if MODE != DETERMINANT:
        factor = factor * tl.load(scale + 10)
    if MODE == DETERMINANT:
        rate = tl.full(growth.shape, 1.0, growth.dtype)
    elif MODE == FOLDING:
        rate = tl.where(growth >= 0, 0.0, -1.0)
    elif MODE == HINGE:
        rate = tl.where(growth >= floor, 0.0, 2 * (growth - floor))
    elif MODE == VOLUME:
        rate = tl.where(growth > 1, 1.0, tl.where(growth < 1, -1.0, growth - 1))  # 0 at 1, and NaN stays
    elif MODE != HYPERELASTIC:
        rate = 2 * (logarithm(growth, floor) - centre) / tl.where(growth >= floor, growth, floor)
    else:
        held = tl.where(growth < floor, floor, growth)
        change = (held - 1) / held
        rate = tl.load(numbers + 3) * 2 * change * change * change * (held + 1)
    return rate * factor


@triton.jit
def stretched(
    g0, g1, g2, a0, a1, a2, b0, b1, b2, c0, c1, c2, rate, numbers, MODE: tl.constexpr, RANK: tl.constexpr
):  # fmt: skip
    """What the first edge is given by the volume, by its length, and by the areas of the two faces that it is in."""
    n0, n1, n2 = cross(b0, b1, b2, c0, c1, c2)
    x, y, w = rate * n0, rate * n1, rate * n2
    if MODE == HYPERELASTIC:
        length = tl.load(numbers + 1)
        x, y, w = x + length * g0, y + length * g1, w + length * g2
    if MODE == HYPERELASTIC and RANK == 3:
        area = 4 * tl.load(numbers + 2)
        s0, s1, s2 = cross(c0, c1, c2, a0, a1, a2)
        t0, t1, t2 = cross(a0, a1, a2, b0, b1, b2)
        second, third = area * more(s0, s1, s2), area * more(t0, t1, t2)
        u0, u1, u2 = cross(b0, b1, b2, third * t0, third * t1, third * t2)
        v0, v1, v2 = cross(second * s0, second * s1, second * s2, c0, c1, c2)
        x, y, w = x + u0 + v0, y + u1 + v1, w + u2 + v2
    return x, y, w


@triton.jit
def price_of(
    growth, lengths, a0, a1, a2, b0, b1, b2, c0, c1, c2, numbers, centre, MODE: tl.constexpr, RANK: tl.constexpr
):  # fmt: skip
    """What a simplex costs."""
    floor = tl.load(numbers)
    if MODE == FOLDING:
        price = positive(-growth)
    elif MODE == HINGE:
        price = positive(floor - growth) * positive(floor - growth)
    elif MODE == VOLUME:
        price = tl.abs(growth - 1)
    elif MODE == MEAN:
        price = logarithm(growth, floor)
    elif MODE != HYPERELASTIC:
        value = logarithm(growth, floor) - centre
        price = value * value
    else:
        price = tl.load(numbers + 1) / 2 * lengths + tl.load(numbers + 3) * swelling(growth, floor)
        if RANK == 3:
            price += tl.load(numbers + 2) * areas(a0, a1, a2, b0, b1, b2, c0, c1, c2)
    return price


@triton.jit
def keep(
    result, total, at, inside, lines, width, REDUCED: tl.constexpr, LINES: tl.constexpr, COLUMNS: tl.constexpr
):  # fmt: skip
    """Stores a tile, or the sums of its rows."""
    if REDUCED:
        across = tl.cdiv(width, COLUMNS)
        line = tl.program_id(0) // across * LINES + tl.arange(0, LINES)
        tl.store(result + line * across + tl.program_id(0) % across, tl.sum(total, 1), mask=line < lines)
    else:
        tl.store(result + at, total, mask=inside)


@triton.jit(do_not_specialize=VARYING)
def prices(
    field, weights, entries, reals, numbers, centres, result, lines, depth, height, width,
    from_z, from_y, from_x, inner_z, inner_y, inner_x,
    MODE: tl.constexpr, MASKED: tl.constexpr, REDUCED: tl.constexpr, SIMPLICES: tl.constexpr, RANK: tl.constexpr,
    LINES: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """The growth of each simplex, or what all of them cost at each voxel, or the sums of that over parts of rows."""
    sample, z, row, column, inside = place(0, inner_z, lines, inner_y, inner_x, LINES, COLUMNS)
    at = ((sample * inner_z + z) * inner_y + row) * inner_x + column
    volume = field + sample * RANK * depth * height * width
    voxel = volume + ((z + from_z) * height + row + from_y) * width + column + from_x
    total = tl.zeros((LINES, COLUMNS), reals.dtype.element_ty)
    centre = tl.load(centres + sample) if MODE == SPREAD else 0.0
    if MASKED:
        weight = tl.load(weights + at, mask=inside, other=0)
    for simplex in range(SIMPLICES):
        edge, scale = entries + simplex * WHOLES + 4, reals + simplex * REALS
        _g0, _g1, _g2, lengths, a0, a1, a2, b0, b1, b2, c0, c1, c2 = edges(
            voxel, edge, scale, inside, depth, height, width, RANK
        )
        n0, n1, n2 = cross(b0, b1, b2, c0, c1, c2)
        growth = tl.load(scale + 9) * (a0 * n0 + a1 * n1 + a2 * n2)
        if MODE == DETERMINANT:
            if MASKED:
                growth = tl.where(weight > 0, growth, 1.0)
            there = (((sample * SIMPLICES + simplex) * inner_z + z) * inner_y + row) * inner_x + column
            tl.store(result + there, growth, mask=inside)
        else:
            total += tl.load(scale + 10) * price_of(
                growth, lengths, a0, a1, a2, b0, b1, b2, c0, c1, c2, numbers, centre, MODE, RANK
            )
    if MODE != DETERMINANT:
        total = tl.where(inside, total, 0)
        if MASKED:
            total = tl.where(weight > 0, total * weight, 0)
        keep(result, total, at, inside, lines, inner_x, REDUCED, LINES, COLUMNS)


@triton.jit
def store_vector(to, x, y, w, stride, inside, RANK: tl.constexpr):
    """Stores the components that there are."""
    tl.store(to, x, mask=inside)
    if RANK > 1:
        tl.store(to + stride, y, mask=inside)
    if RANK > 2:
        tl.store(to + 2 * stride, w, mask=inside)


@triton.jit(do_not_specialize=VARYING)
def gradient(
    field, weights, entries, reals, numbers, centres, upstream, result, lines, depth, height, width,
    from_z, from_y, from_x, inner_z, inner_y, inner_x,
    MODE: tl.constexpr, MASKED: tl.constexpr, REDUCED: tl.constexpr, SIMPLICES: tl.constexpr, ENDS: tl.constexpr,
    RANK: tl.constexpr, LINES: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """What every voxel is given by the edges that it ends; each entry has that edge first, and the others in turn."""
    sample, z, row, column, inside = place(0, depth, lines, height, width, LINES, COLUMNS)
    start = sample * RANK * depth * height * width
    x = tl.zeros((LINES, COLUMNS), reals.dtype.element_ty)
    y, w = x, x
    centre = tl.load(centres + sample) if MODE == SPREAD else 0.0
    for number in range(ENDS):
        own, scale = entries + number * WHOLES, reals + number * REALS
        i, j, k = z - tl.load(own), row - tl.load(own + 1), column - tl.load(own + 2)
        p, q, r = i - from_z, j - from_y, k - from_x  # the centre of the stencil, in the interior
        seen = inside & (p >= 0) & (p < inner_z) & (q >= 0) & (q < inner_y) & (r >= 0) & (r < inner_x)
        at = ((sample * inner_z + p) * inner_y + q) * inner_x + r
        if MASKED:
            weight = tl.load(weights + at, mask=seen, other=0)
            seen = seen & (weight > 0)
        edge, voxel = own + 4, field + start + (i * height + j) * width + k
        g0, g1, g2, _lengths, a0, a1, a2, b0, b1, b2, c0, c1, c2 = edges(
            voxel, edge, scale, seen, depth, height, width, RANK
        )
        n0, n1, n2 = cross(b0, b1, b2, c0, c1, c2)
        growth = tl.load(scale + 9) * (a0 * n0 + a1 * n1 + a2 * n2)
        if MODE == DETERMINANT:
            there = (((sample * SIMPLICES + tl.load(own + 3)) * inner_z + p) * inner_y + q) * inner_x + r
            above = tl.load(upstream + there, mask=seen, other=0)
        else:
            above = tl.load(upstream + sample) if REDUCED else tl.load(upstream + at, mask=seen, other=0)
            if MASKED:
                above = above * weight
        above = tl.load(scale + 11) * above
        rate = slope_of(growth, numbers, centre, scale, MODE)
        d0, d1, d2 = stretched(g0, g1, g2, a0, a1, a2, b0, b1, b2, c0, c1, c2, rate, numbers, MODE, RANK)
        x += tl.where(seen, above * d0 * tl.load(scale), 0)
        y += tl.where(seen, above * d1 * tl.load(scale + 1), 0)
        w += tl.where(seen, above * d2 * tl.load(scale + 2), 0)
    store_vector(result + start + (z * height + row) * width + column, x, y, w, depth * height * width, inside, RANK)
