"""The Triton kernels of the Jacobian and of hyperelasticity: growths and their prices, and the gradient, gathered.

A table holds the simplices: where each edge ends, and what it was before the deformation. Fewer than three axes are
three, of which the last ones are not deformed. For the gradient it holds one entry for each end of each edge, and each
voxel computes anew the simplices that it is an end of: loads from the cache in place of maps of derivatives.
"""

from __future__ import annotations

import triton
import triton.language as tl

from medloss.ops.kernel import place

DETERMINANT, FOLDING, LOGARITHM, VOLUME, HYPERELASTIC = (tl.constexpr(mode) for mode in range(5))
EDGE, WHOLES, REALS = tl.constexpr(10), tl.constexpr(34), tl.constexpr(12)
"""Numbers of an edge: two ends, what it was, and whether it is deformed; whole ones and others of an entry."""


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
def moved(edge, x, y, w):
    """The edge after the deformation, from its derivatives."""
    return x + tl.load(edge + 6), y + tl.load(edge + 7), w + tl.load(edge + 8)


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
def prices(
    field, weights, entries, reals, numbers, result, lines, depth, height, width, from_z, from_y, from_x,
    inner_z, inner_y, inner_x,
    MODE: tl.constexpr, MASKED: tl.constexpr, REDUCED: tl.constexpr, SIMPLICES: tl.constexpr, RANK: tl.constexpr,
    LINES: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """The growth of each simplex, or what all of them cost at each voxel, or the sums of that over parts of rows."""
    sample, z, row, column, inside = place(0, inner_z, lines, inner_y, inner_x, LINES, COLUMNS)
    at = ((sample * inner_z + z) * inner_y + row) * inner_x + column
    volume = field + sample * RANK * depth * height * width
    voxel = volume + ((z + from_z) * height + row + from_y) * width + column + from_x
    floor = tl.load(numbers)
    total = tl.zeros((LINES, COLUMNS), reals.dtype.element_ty)
    if MASKED:
        weight = tl.load(weights + at, mask=inside, other=0)
    for simplex in range(SIMPLICES):
        edge, scale = entries + simplex * WHOLES + 4, reals + simplex * REALS
        g0, g1, g2 = slopes(voxel, edge, scale, inside, depth, height, width, RANK)
        h0, h1, h2 = slopes(voxel, edge + EDGE, scale + 3, inside, depth, height, width, RANK)
        l0, l1, l2 = slopes(voxel, edge + 2 * EDGE, scale + 6, inside, depth, height, width, RANK)
        a0, a1, a2 = moved(edge, g0, g1, g2)
        b0, b1, b2 = moved(edge + EDGE, h0, h1, h2)
        c0, c1, c2 = moved(edge + 2 * EDGE, l0, l1, l2)
        n0, n1, n2 = cross(b0, b1, b2, c0, c1, c2)
        growth = tl.load(scale + 9) * (a0 * n0 + a1 * n1 + a2 * n2)
        if MODE == DETERMINANT:
            if MASKED:
                growth = tl.where(weight > 0, growth, 1.0)
            there = (((sample * SIMPLICES + simplex) * inner_z + z) * inner_y + row) * inner_x + column
            tl.store(result + there, growth, mask=inside)
        elif MODE == FOLDING:
            total += tl.load(scale + 10) * positive(-growth)
        elif MODE == VOLUME:
            total += tl.load(scale + 10) * tl.abs(growth - 1)
        elif MODE == LOGARITHM:
            value = logarithm(growth, floor)
            total += tl.load(scale + 10) * value * value
        else:
            squares = g0 * g0 + g1 * g1 + g2 * g2 + h0 * h0 + h1 * h1 + h2 * h2 + l0 * l0 + l1 * l1 + l2 * l2
            total += tl.load(numbers + 1) / 2 * squares
            if RANK == 3:
                p0, p1, p2 = cross(c0, c1, c2, a0, a1, a2)
                q0, q1, q2 = cross(a0, a1, a2, b0, b1, b2)
                one, two = positive(n0 * n0 + n1 * n1 + n2 * n2 - 1), positive(p0 * p0 + p1 * p1 + p2 * p2 - 1)
                three = positive(q0 * q0 + q1 * q1 + q2 * q2 - 1)
                total += tl.load(numbers + 2) * (one * one + two * two + three * three)
            held = tl.where(growth < floor, floor, growth)
            root = (held - 1) * (held - 1) / held
            fall = 2 * (floor - 1) * (floor - 1) * (floor - 1) * (floor + 1) / (floor * floor * floor)
            total += tl.load(numbers + 3) * (root * root + fall * (growth - held))
    if MODE != DETERMINANT:
        total = tl.where(inside, total, 0)
        if MASKED:
            total = tl.where(weight > 0, total * weight, 0)
        if REDUCED:
            across = tl.cdiv(inner_x, COLUMNS)
            line = tl.program_id(0) // across * LINES + tl.arange(0, LINES)
            tl.store(result + line * across + tl.program_id(0) % across, tl.sum(total, 1), mask=line < lines)
        else:
            tl.store(result + at, total, mask=inside)


@triton.jit
def gradient(
    field, weights, entries, reals, numbers, upstream, result, lines, depth, height, width, from_z, from_y, from_x,
    inner_z, inner_y, inner_x,
    MODE: tl.constexpr, MASKED: tl.constexpr, REDUCED: tl.constexpr, SIMPLICES: tl.constexpr, ENDS: tl.constexpr,
    RANK: tl.constexpr, LINES: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """What every voxel is given by the edges that it ends; each entry has that edge first, and the others in turn."""
    sample, z, row, column, inside = place(0, depth, lines, height, width, LINES, COLUMNS)
    volume = field + sample * RANK * depth * height * width
    floor = tl.load(numbers)
    x = tl.zeros((LINES, COLUMNS), reals.dtype.element_ty)
    y, w = x, x
    for number in range(ENDS):
        own, scale = entries + number * WHOLES, reals + number * REALS
        i, j, k = z - tl.load(own), row - tl.load(own + 1), column - tl.load(own + 2)
        p, q, r = i - from_z, j - from_y, k - from_x  # the centre of the stencil, in the interior
        seen = inside & (p >= 0) & (p < inner_z) & (q >= 0) & (q < inner_y) & (r >= 0) & (r < inner_x)
        at = ((sample * inner_z + p) * inner_y + q) * inner_x + r
        if MASKED:
            weight = tl.load(weights + at, mask=seen, other=0)
            seen = seen & (weight > 0)
        edge, voxel = own + 4, volume + (i * height + j) * width + k
        g0, g1, g2 = slopes(voxel, edge, scale, seen, depth, height, width, RANK)
        h0, h1, h2 = slopes(voxel, edge + EDGE, scale + 3, seen, depth, height, width, RANK)
        l0, l1, l2 = slopes(voxel, edge + 2 * EDGE, scale + 6, seen, depth, height, width, RANK)
        a0, a1, a2 = moved(edge, g0, g1, g2)
        b0, b1, b2 = moved(edge + EDGE, h0, h1, h2)
        c0, c1, c2 = moved(edge + 2 * EDGE, l0, l1, l2)
        n0, n1, n2 = cross(b0, b1, b2, c0, c1, c2)
        growth = tl.load(scale + 9) * (a0 * n0 + a1 * n1 + a2 * n2)
        if MODE == DETERMINANT:
            there = (((sample * SIMPLICES + tl.load(own + 3)) * inner_z + p) * inner_y + q) * inner_x + r
            above = tl.load(upstream + there, mask=seen, other=0)
            rate = tl.full((LINES, COLUMNS), 1.0, x.dtype) / tl.load(scale + 10)  # which have no share
        else:
            above = tl.load(upstream + sample) if REDUCED else tl.load(upstream + at, mask=seen, other=0)
            if MASKED:
                above = above * weight
            if MODE == FOLDING:
                rate = tl.where(growth >= 0, 0.0, -1.0)
            elif MODE == VOLUME:
                rate = tl.where(growth > 1, 1.0, tl.where(growth < 1, -1.0, growth - 1))  # 0 at 1, and NaN stays
            elif MODE == LOGARITHM:
                rate = 2 * logarithm(growth, floor) / tl.where(growth >= floor, growth, floor)
            else:
                held = tl.where(growth < floor, floor, growth)
                change = (held - 1) / held
                rate = tl.load(numbers + 3) * 2 * change * change * change * (held + 1)
        above = tl.load(scale + 11) * above
        rate = rate * tl.load(scale + 9) * tl.load(scale + 10)
        d0, d1, d2 = rate * n0, rate * n1, rate * n2
        if MODE == HYPERELASTIC:
            length = tl.load(numbers + 1)
            d0, d1, d2 = d0 + length * g0, d1 + length * g1, d2 + length * g2
            if RANK == 3:  # the edge is in the faces of the two others
                area = 4 * tl.load(numbers + 2)
                s0, s1, s2 = cross(c0, c1, c2, a0, a1, a2)
                t0, t1, t2 = cross(a0, a1, a2, b0, b1, b2)
                second = area * positive(s0 * s0 + s1 * s1 + s2 * s2 - 1)
                third = area * positive(t0 * t0 + t1 * t1 + t2 * t2 - 1)
                u0, u1, u2 = cross(b0, b1, b2, third * t0, third * t1, third * t2)
                v0, v1, v2 = cross(second * s0, second * s1, second * s2, c0, c1, c2)
                d0, d1, d2 = d0 + u0 + v0, d1 + u1 + v1, d2 + u2 + v2
        x += tl.where(seen, above * d0 * tl.load(scale), 0)
        y += tl.where(seen, above * d1 * tl.load(scale + 1), 0)
        w += tl.where(seen, above * d2 * tl.load(scale + 2), 0)
    at = ((sample * RANK * depth + z) * height + row) * width + column
    tl.store(result + at, x, mask=inside)
    if RANK > 1:
        tl.store(result + at + depth * height * width, y, mask=inside)
    if RANK > 2:
        tl.store(result + at + 2 * depth * height * width, w, mask=inside)
