/* A block of points between the voxels: where they lie, what they read, and what they give back. Included by
 * cpu_kernel.c once per precision.
 */
#define INLINE static inline __attribute__((always_inline))

/* Of each point: the entry of the voxel below it, how far it lies above that along each axis, and whether it
 * lies within the volume there. */
typedef struct {
    int64_t first, count;
    int32_t base[POINTS], plane[POINTS];
    REAL part[3][POINTS];
    int32_t inside[3][POINTS];
    uint8_t below[POINTS], above[POINTS]; /* whether the voxels below and above lie in a slab */
} BLOCK;

#ifndef MEDLOSS_BY_AXES
#define MEDLOSS_BY_AXES(rank, function, ...)                                                     \
    {                                                                                            \
        if (rank == 3) NAME(function)(3, __VA_ARGS__);                                           \
        else if (rank == 2) NAME(function)(2, __VA_ARGS__);                                      \
        else NAME(function)(1, __VA_ARGS__);                                                     \
    }
#endif

/* Places a block. NaN stays a part, and reads some voxel. */
static void NAME(place)(const Shape *s, const REAL *points, int64_t number, BLOCK *k) {
    const int64_t across = (s->row + POINTS - 1) / POINTS, line = number / across;
    const int64_t column = number % across * POINTS;
    const REAL origin[3] = {(REAL)(line / s->height), (REAL)(line % s->height), (REAL)column};
    k->first = line * s->row + column;
    const int64_t n = k->count = least(POINTS, s->row - column);
    for (int64_t i = 0; i < n; ++i) k->base[i] = 0;
    for (int64_t axis = 0; axis < s->rank; ++axis) {
        const REAL *restrict from = points + axis * s->points + k->first;
        const REAL spacing = (REAL)s->spacing[axis], top = (REAL)(s->size[axis] - 1);
        const int last = axis == s->rank - 1;
        const REAL start = !s->grid ? 0 : last ? origin[2] : origin[axis], along = s->grid && last ? 1 : 0;
        const int32_t highest = (int32_t)most(s->size[axis] - 2, 0), step = (int32_t)s->step[axis];
        REAL *restrict part = k->part[axis];
        int32_t *restrict base = k->base, *restrict plane = k->plane, *restrict inside = k->inside[axis];
        for (int64_t i = 0; i < n; ++i) {
            const REAL at = start + along * (REAL)(int32_t)i + from[i] / spacing;
            REAL within = at < 0 ? 0 : at;
            within = within > top ? top : within;
            int32_t below = (int32_t)(within > 0 ? within : 0);
            below = below < highest ? below : highest;
            inside[i] = at >= 0 && at <= top;
            part[i] = within - (REAL)below;
            base[i] += below * step;
            if (axis == 0) plane[i] = below;
        }
    }
}

/* The values about each point: of each corner in all axes but the last the two along that one. They are
 * fetched by themselves, so that what follows is done for many points at once. */
INLINE void NAME(fetch)(const int rank, const Shape *s, const REAL *values, const BLOCK *k,
                        REAL pairs[4][2 * POINTS]) {
    const int single = s->step[rank - 1] == 0;
    int64_t away[4] = {0};
    for (int corner = 0; corner < 1 << (rank - 1); ++corner)
        for (int axis = 0; axis < rank - 1; ++axis)
            if (corner >> (rank - 2 - axis) & 1) away[corner] += s->step[axis];
    for (int64_t i = 0; i < k->count; ++i)
#pragma GCC unroll 4
        for (int corner = 0; corner < 1 << (rank - 1); ++corner) {
            const REAL *at = values + k->base[i] + away[corner];
            REAL *to = pairs[corner] + 2 * i;
            if (single) to[0] = to[1] = at[0];
            else memcpy(to, at, 2 * sizeof(REAL));
        }
}

/* Between two values, as the sum of both by their weights: an infinite one stays. */
INLINE REAL NAME(between)(REAL low, REAL high, REAL part) { return (1 - part) * low + part * high; }

/* Between the pair of a corner. */
INLINE REAL NAME(along)(const REAL *pairs, int64_t i, REAL part) {
    return NAME(between)(pairs[2 * i], pairs[2 * i + 1], part);
}

INLINE void NAME(read)(const int rank, const Shape *s, const REAL *values, const BLOCK *k,
                       REAL *restrict out) {
    REAL p[4][2 * POINTS];
    NAME(fetch)(rank, s, values, k, p);
    for (int64_t i = 0; i < k->count; ++i) {
        const REAL x = k->part[rank - 1][i], y = rank > 1 ? k->part[rank - 2][i] : 0, z = k->part[0][i];
        REAL value = NAME(along)(p[0], i, x);
        if (rank > 1) value = NAME(between)(value, NAME(along)(p[1], i, x), y);
        if (rank > 2) {
            const REAL behind = NAME(between)(NAME(along)(p[2], i, x), NAME(along)(p[3], i, x), y);
            value = NAME(between)(value, behind, z);
        }
        out[i] = value;
    }
}

/* The slope along each axis, times what comes from above, on top of the other channels'. */
INLINE void NAME(slopes)(const int rank, const Shape *s, const REAL *values, const BLOCK *k,
                         const REAL *restrict grad, REAL slope[restrict 3][POINTS]) {
    REAL p[4][2 * POINTS];
    NAME(fetch)(rank, s, values, k, p);
    for (int64_t i = 0; i < k->count; ++i) {
        const REAL x = k->part[rank - 1][i], y = rank > 1 ? k->part[rank - 2][i] : 0, z = k->part[0][i];
        REAL here[4], rise[4];
        for (int corner = 0; corner < 1 << (rank - 1); ++corner) {
            here[corner] = NAME(along)(p[corner], i, x);
            rise[corner] = p[corner][2 * i + 1] - p[corner][2 * i];
        }
        if (rank == 1) slope[0][i] += grad[i] * rise[0];
        if (rank == 2) {
            slope[0][i] += grad[i] * (here[1] - here[0]);
            slope[1][i] += grad[i] * NAME(between)(rise[0], rise[1], y);
        }
        if (rank == 3) {
            const REAL low = NAME(between)(here[0], here[1], y), high = NAME(between)(here[2], here[3], y);
            slope[0][i] += grad[i] * (high - low);
            slope[1][i] += grad[i] * NAME(between)(here[1] - here[0], here[3] - here[2], z);
            const REAL front = NAME(between)(rise[0], rise[1], y), back = NAME(between)(rise[2], rise[3], y);
            slope[2][i] += grad[i] * NAME(between)(front, back, z);
        }
    }
}

/* Which points of a block have voxels in planes low to high: all of them (1), none (0), or some (-1). */
static int NAME(sides)(const Shape *s, BLOCK *k, int32_t low, int32_t high) {
    const int32_t next = s->size[0] > 1;
    int64_t found = 0;
    for (int64_t i = 0; i < k->count; ++i) {
        const int32_t plane = k->plane[i];
        k->below[i] = plane >= low && plane < high;
        k->above[i] = plane + next >= low && plane + next < high;
        found += k->below[i] + k->above[i];
    }
    return found == 2 * k->count ? 1 : found ? -1 : 0;
}

/* Adds what comes from above to the corners about each point; with `slab` to those in it alone. */
INLINE void NAME(add)(const int rank, const Shape *s, const BLOCK *k, const REAL *grad, const int slab,
                      REAL *out) {
    const int64_t *step = s->step;
    for (int64_t i = 0; i < k->count; ++i)
        for (int side = 0; side < 2; ++side) {
            if (slab && !(side ? k->above[i] : k->below[i])) continue;
            const REAL z = k->part[0][i], first = grad[i] * (side ? z : 1 - z);
            REAL *to = out + k->base[i] + (side ? step[0] : 0);
            for (int corner = 0; corner < 1 << (rank - 1); ++corner) {
                REAL weight = first;
                int64_t away = 0;
                for (int axis = 1; axis < rank; ++axis) {
                    const int up = corner >> (rank - 1 - axis) & 1;
                    weight *= up ? k->part[axis][i] : 1 - k->part[axis][i];
                    away += up ? step[axis] : 0;
                }
                to[away] += weight;
            }
        }
}
