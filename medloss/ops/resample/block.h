/* A block of points between the voxels: where they lie, what they read, and what they give back. Included by
 * kernel.c once per precision.
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

/* Between two values, as the sum of both by their weights: an infinite one stays. */
INLINE REAL NAME(between)(REAL low, REAL high, REAL part) { return (1 - part) * low + part * high; }

/* The values about a point, the first axis in the highest bit. */
INLINE void NAME(corners)(const int rank, const Shape *s, const REAL *at, REAL *v) {
    const int64_t *step = s->step;
    for (int corner = 0; corner < 1 << rank; ++corner) {
        int64_t away = 0;
        for (int axis = 0; axis < rank; ++axis) away += corner >> (rank - 1 - axis) & 1 ? step[axis] : 0;
        v[corner] = at[away];
    }
}

INLINE void NAME(read)(const int rank, const Shape *s, const REAL *values, const BLOCK *k, REAL *restrict out) {
    for (int64_t i = 0; i < k->count; ++i) {
        REAL v[8];
        NAME(corners)(rank, s, values + k->base[i], v);
        for (int axis = rank - 1, left = 1 << (rank - 1); axis >= 0; --axis, left /= 2)
            for (int pair = 0; pair < left; ++pair)
                v[pair] = NAME(between)(v[2 * pair], v[2 * pair + 1], k->part[axis][i]);
        out[i] = v[0];
    }
}

/* The slope along each axis, times what comes from above, on top of the other channels'. */
INLINE void NAME(slopes)(const int rank, const Shape *s, const REAL *values, const BLOCK *k, const REAL *grad,
                         REAL slope[3][POINTS]) {
    for (int64_t i = 0; i < k->count; ++i) {
        REAL v[8], d[3];
        NAME(corners)(rank, s, values + k->base[i], v);
        const REAL x = k->part[rank - 1][i], y = rank > 1 ? k->part[rank - 2][i] : 0, z = k->part[0][i];
        if (rank == 1) d[0] = v[1] - v[0];
        if (rank == 2) {
            d[0] = NAME(between)(v[2], v[3], x) - NAME(between)(v[0], v[1], x);
            d[1] = NAME(between)(v[1] - v[0], v[3] - v[2], y);
        }
        if (rank == 3) {
            const REAL low = NAME(between)(v[0], v[1], x), high = NAME(between)(v[4], v[5], x);
            const REAL low_y = NAME(between)(v[2], v[3], x), high_y = NAME(between)(v[6], v[7], x);
            d[0] = NAME(between)(high, high_y, y) - NAME(between)(low, low_y, y);
            d[1] = NAME(between)(low_y - low, high_y - high, z);
            d[2] = NAME(between)(NAME(between)(v[1] - v[0], v[3] - v[2], y),
                                 NAME(between)(v[5] - v[4], v[7] - v[6], y), z);
        }
        for (int axis = 0; axis < rank; ++axis) slope[axis][i] += grad[i] * d[axis];
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
INLINE void NAME(add)(const int rank, const Shape *s, const BLOCK *k, const REAL *grad, const int slab, REAL *out) {
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
