/* A block of points between the voxels: where they lie, what they read, and what they give back. */
#include "../vector.hpp"

namespace {

enum { POINTS = 128 };

/* A position is what is given over `spacing`, after the coordinates of a grid where there is one. */
struct Shape {
    int64_t batch, channels, rank, points, grid, voxels = 1, row, height, blocks;
    int64_t size[3], step[3]; /* of the values: voxels along each axis, entries to the next one */
    double spacing[3];

    /* `told`: batch, channels, rank, points, on a grid; the sizes of the values, and those of the points. */
    Shape(const int64_t *told, const double *units)
        : batch(told[0]), channels(told[1]), rank(told[2]), points(told[3]), grid(told[4]) {
        for (int64_t axis = rank - 1; axis >= 0; --axis) {
            size[axis] = told[5 + axis];
            step[axis] = size[axis] > 1 ? voxels : 0; /* of a single voxel the next one is itself */
            voxels *= size[axis];
            spacing[axis] = units[axis];
        }
        row = grid ? told[8 + rank - 1] : points; /* points of a row, and rows of a plane */
        height = grid && rank == 3 ? told[9] : 1;
        blocks = (row + POINTS - 1) / POINTS * (points / row); /* none goes beyond its row */
    }
};

/* Of each point: the entry of the voxel below it, how far it lies above that along each axis, and whether it
 * lies within the volume there. */
template <typename Real>
struct Block {
    int64_t first, count;
    int32_t base[POINTS], plane[POINTS];
    Real part[3][POINTS];
    int32_t inside[3][POINTS];
    uint8_t below[POINTS], above[POINTS]; /* whether the voxels below and above lie in a slab */

    /* Places a block. NaN stays a part, and reads some voxel. */
    MEDLOSS_APART Block(const Shape &s, const Real *positions, int64_t number) {
        const int64_t across = (s.row + POINTS - 1) / POINTS, line = number / across;
        const int64_t column = number % across * POINTS;
        const Real origin[3] = {(Real)(line / s.height), (Real)(line % s.height), (Real)column};
        first = line * s.row + column;
        const int64_t n = count = least(POINTS, s.row - column);
        for (int64_t i = 0; i < n; ++i) base[i] = 0;
        for (int64_t axis = 0; axis < s.rank; ++axis) {
            const int last = axis == s.rank - 1;
            const Real start = !s.grid ? 0 : last ? origin[2] : origin[axis], along = s.grid && last ? 1 : 0;
            place(n, positions + axis * s.points + first, start, along, (Real)s.spacing[axis], s.size[axis],
                  (int32_t)s.step[axis], part[axis], base, inside[axis], axis == 0 ? plane : nullptr);
        }
    }

    static MEDLOSS_INLINE void place(int64_t n, const Real *__restrict from, Real start, Real along, Real spacing,
                                     int64_t size, int32_t step, Real *__restrict part, int32_t *__restrict base,
                                     int32_t *__restrict inside, int32_t *__restrict plane) {
        const Real top = (Real)(size - 1);
        const int32_t highest = (int32_t)most(size - 2, 0);
        for (int64_t i = 0; i < n; ++i) {
            const Real at = start + along * (Real)(int32_t)i + from[i] / spacing;
            Real within = at < 0 ? 0 : at;
            within = within > top ? top : within;
            int32_t below = (int32_t)(within > 0 ? within : 0);
            below = below < highest ? below : highest;
            inside[i] = at >= 0 && at <= top;
            part[i] = within - (Real)below;
            base[i] += below * step;
            if (plane) plane[i] = below;
        }
    }

    /* Which points have voxels in planes low to high: all of them (1), none (0), or some (-1). */
    int sides(const Shape &s, int32_t low, int32_t high) {
        const int32_t next = s.size[0] > 1;
        int64_t found = 0;
        for (int64_t i = 0; i < count; ++i) {
            below[i] = plane[i] >= low && plane[i] < high;
            above[i] = plane[i] + next >= low && plane[i] + next < high;
            found += below[i] + above[i];
        }
        return found == 2 * count ? 1 : found ? -1 : 0;
    }
};

/* How far a corner lies from the lowest one; its bits are those of some axes. */
template <int axes>
MEDLOSS_INLINE int64_t away(const int64_t *step, int corner) {
    int64_t far = 0;
    for (int axis = 0; axis < axes; ++axis) far += corner >> (axes - 1 - axis) & 1 ? step[axis] : 0;
    return far;
}

/* Between two values, as the sum of both by their weights: an infinite one stays. */
template <typename Real>
MEDLOSS_INLINE Real between(Real low, Real high, Real part) {
    return (1 - part) * low + part * high;
}

/* The values about each point: of each corner in all axes but the last the two along that one. They are
 * fetched by themselves, so that what follows is done for many points at once. */
template <int rank, typename Real>
struct Pairs {
    enum { CORNERS = 1 << (rank - 1) };
    Real pair[CORNERS][2 * POINTS];

    MEDLOSS_INLINE Pairs(const Shape &s, const Real *values, const Block<Real> &k) {
        const int single = s.step[rank - 1] == 0;
        int64_t far[CORNERS];
        for (int corner = 0; corner < CORNERS; ++corner) far[corner] = away<rank - 1>(s.step, corner);
        for (int64_t i = 0; i < k.count; ++i)
#pragma GCC unroll 4
            for (int corner = 0; corner < CORNERS; ++corner) {
                const Real *at = values + k.base[i] + far[corner];
                Real *to = pair[corner] + 2 * i;
                if (single) to[0] = to[1] = at[0];
                else memcpy(to, at, 2 * sizeof(Real));
            }
    }

    MEDLOSS_INLINE Real along(int corner, int64_t i, Real part) const {
        return between(pair[corner][2 * i], pair[corner][2 * i + 1], part);
    }

    MEDLOSS_INLINE Real rise(int corner, int64_t i) const { return pair[corner][2 * i + 1] - pair[corner][2 * i]; }
};

template <int rank, typename Real>
MEDLOSS_INLINE void read(const Shape &s, const Real *values, const Block<Real> &k, Real *__restrict out) {
    const Pairs<rank, Real> p(s, values, k);
    for (int64_t i = 0; i < k.count; ++i) {
        const Real x = k.part[rank - 1][i], y = rank > 1 ? k.part[rank - 2][i] : 0, z = k.part[0][i];
        Real value = p.along(0, i, x);
        if constexpr (rank > 1) value = between(value, p.along(1, i, x), y);
        if constexpr (rank > 2) value = between(value, between(p.along(2, i, x), p.along(3, i, x), y), z);
        out[i] = value;
    }
}

/* The slope along each axis, times what comes from above, on top of the other channels'. */
template <int rank, typename Real>
MEDLOSS_INLINE void add_slopes(const Shape &s, const Real *values, const Block<Real> &k, const Real *__restrict grad,
                               Real (*__restrict slope)[POINTS]) {
    const Pairs<rank, Real> p(s, values, k);
    for (int64_t i = 0; i < k.count; ++i) {
        const Real x = k.part[rank - 1][i], y = rank > 1 ? k.part[rank - 2][i] : 0, z = k.part[0][i];
        Real here[4], rise[4];
        for (int corner = 0; corner < p.CORNERS; ++corner) {
            here[corner] = p.along(corner, i, x);
            rise[corner] = p.rise(corner, i);
        }
        if (rank == 1) slope[0][i] += grad[i] * rise[0];
        if (rank == 2) {
            slope[0][i] += grad[i] * (here[1] - here[0]);
            slope[1][i] += grad[i] * between(rise[0], rise[1], y);
        }
        if (rank == 3) {
            const Real low = between(here[0], here[1], y), high = between(here[2], here[3], y);
            slope[0][i] += grad[i] * (high - low);
            slope[1][i] += grad[i] * between(here[1] - here[0], here[3] - here[2], z);
            const Real front = between(rise[0], rise[1], y), back = between(rise[2], rise[3], y);
            slope[2][i] += grad[i] * between(front, back, z);
        }
    }
}

/* Adds what comes from above to the corners about each point; with `slab` to those in it alone. */
template <int rank, int slab, typename Real>
MEDLOSS_INLINE void add(const Shape &s, const Block<Real> &k, const Real *grad, Real *out) {
    for (int64_t i = 0; i < k.count; ++i)
        for (int side = 0; side < 2; ++side) {
            if (slab && !(side ? k.above[i] : k.below[i])) continue;
            const Real z = k.part[0][i], first = grad[i] * (side ? z : 1 - z);
            Real *to = out + k.base[i] + (side ? s.step[0] : 0);
            for (int corner = 0; corner < 1 << (rank - 1); ++corner) {
                Real weight = first;
                for (int axis = 1; axis < rank; ++axis)
                    weight *= corner >> (rank - 1 - axis) & 1 ? k.part[axis][i] : 1 - k.part[axis][i];
                to[away<rank - 1>(s.step + 1, corner)] += weight;
            }
        }
}

} // namespace
