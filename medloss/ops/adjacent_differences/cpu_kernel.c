/* adjacent_differences on the CPU: penalties of the steps between neighbouring voxels, row by row, without
 * a map.
 *
 * Planes are summed apart and added in order, and every voxel of the gradient is written once: the result
 * does not depend on the number of threads.
 */
#ifndef REAL

#include "../native.h"

enum { LANES = 16 };

/* Codes of the penalties, as in cpu.py. SQUARED is MAGNITUDE with the exponent 2. */
enum { ABSOLUTE = 0, MAGNITUDE = 1, SQUARED = 2, ISOTROPIC = 3 };

#define REAL float
#define SUFFIX f32
#define ROOT sqrtf
#include "cpu_kernel.c"
#undef REAL
#undef SUFFIX
#undef ROOT
#define REAL double
#define SUFFIX f64
#define ROOT sqrt
#include "cpu_kernel.c"

#else

#define NAME(stem) MEDLOSS_PASTE(stem, SUFFIX, MEDLOSS_LEVEL)
#define IMAGE NAME(Image)

/* One volume. */
typedef struct {
    const REAL *x, *t, *mask;
    int64_t size[3], stride[3];
    int penalty;
    REAL scale[3], factor[3]; /* of the steps along an axis; of its penalties (isotropic: of all, the first) */
} IMAGE;

static IMAGE NAME(image)(const REAL *x, const REAL *t, const REAL *mask, int64_t shared, int64_t volume,
                         const int64_t *size, const double *scale, int64_t penalty) {
    const int64_t voxels = size[0] * size[1] * size[2];
    IMAGE m = {.x = x + volume * voxels, .stride = {size[1] * size[2], size[2], 1}, .penalty = (int)penalty};
    m.t = t ? t + volume * voxels : NULL;
    m.mask = mask ? mask + volume / shared * voxels : NULL;
    for (int axis = 0; axis < 3; ++axis) {
        m.size[axis] = size[axis];
        m.scale[axis] = (REAL)scale[axis];
        m.factor[axis] = 1;
    }
    return m;
}

static double NAME(total)(const REAL *values, int64_t n) {
    REAL part[LANES] = {0};
    double sum = 0;
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int lane = 0; lane < LANES; ++lane) part[lane] += values[i + lane];
    for (; i < n; ++i) sum += (double)values[i];
    for (int lane = 0; lane < LANES; ++lane) sum += (double)part[lane];
    return sum;
}

static inline REAL NAME(size)(REAL d) { return d < 0 ? -d : d; }
static inline REAL NAME(sign)(REAL d) { return d > 0 ? 1 : d < 0 ? -1 : d; } /* NaN stays */

/* Of the pairs of voxel i and the next one along an axis, n of them from `at` on: `value` of the step d
 * (and, of the target, e), times the lesser weight of both voxels. A pair of no weight is not looked at. */
#define PAIRS(value)                                                                         \
    for (int64_t i = 0; i < n; ++i) {                                                        \
        const REAL d = scale * (x[i + next] - x[i]), e = t ? scale * (t[i + next] - t[i]) : 0; \
        (void)e;                                                                             \
        out[i] = value;                                                                      \
    }                                                                                        \
    if (mask)                                                                                \
        for (int64_t i = 0; i < n; ++i) {                                                    \
            const REAL weight = mask[i] < mask[i + next] ? mask[i] : mask[i + next];         \
            out[i] = weight > 0 ? weight * out[i] : 0;                                       \
        }                                                                                    \
    break

static void NAME(penalties)(const IMAGE *m, int axis, int64_t at, int64_t n, REAL *restrict out) {
    const REAL *x = m->x + at, *t = m->t ? m->t + at : NULL, *mask = m->mask ? m->mask + at : NULL;
    const REAL scale = m->scale[axis];
    const int64_t next = m->stride[axis];
    switch (m->penalty) {
    case ABSOLUTE: PAIRS(NAME(size)(d));
    case MAGNITUDE: PAIRS(NAME(size)(NAME(size)(d) - NAME(size)(e)));
    default: PAIRS((NAME(size)(d) - NAME(size)(e)) * (NAME(size)(d) - NAME(size)(e)));
    }
}

static void NAME(slopes)(const IMAGE *m, int axis, int64_t at, int64_t n, REAL *restrict out) {
    const REAL *x = m->x + at, *t = m->t ? m->t + at : NULL, *mask = m->mask ? m->mask + at : NULL;
    const REAL scale = m->scale[axis];
    const int64_t next = m->stride[axis];
    switch (m->penalty) {
    case ABSOLUTE: PAIRS(NAME(sign)(d));
    case MAGNITUDE: PAIRS(NAME(sign)(NAME(size)(d) - NAME(size)(e)) * NAME(sign)(d));
    default: PAIRS(2 * (NAME(size)(d) - NAME(size)(e)) * NAME(sign)(d));
    }
}

/* The squared steps of a row's voxels to their next ones along an axis, on top of `energy`. */
static void NAME(add_squares)(const IMAGE *m, int axis, int64_t at, int64_t n, REAL *restrict energy) {
    const REAL *x = m->x + at, *mask = m->mask ? m->mask + at : NULL, scale = m->scale[axis];
    const int64_t next = m->stride[axis];
    for (int64_t i = 0; i < n; ++i) {
        const REAL d = scale * (x[i + next] - x[i]);
        const int counts = !mask || (mask[i] > 0 && mask[i + next] > 0);
        energy[i] = counts ? energy[i] + d * d : energy[i];
    }
}

/* Of a row's voxels: the lengths of their steps, times their weights; or, for the gradient, the weights
 * over the lengths, 0 where there is no step. */
static void NAME(lengths)(const IMAGE *m, int64_t z, int64_t y, int inverse, REAL *restrict out) {
    const int64_t at = z * m->stride[0] + y * m->stride[1], width = m->size[2];
    memset(out, 0, (size_t)width * sizeof(REAL));
    if (z + 1 < m->size[0]) NAME(add_squares)(m, 0, at, width, out);
    if (y + 1 < m->size[1]) NAME(add_squares)(m, 1, at, width, out);
    NAME(add_squares)(m, 2, at, width - 1, out);
    if (inverse)
        for (int64_t i = 0; i < width; ++i) out[i] = out[i] != 0 ? 1 / ROOT(out[i]) : 0;
    else
        for (int64_t i = 0; i < width; ++i) out[i] = ROOT(out[i]);
    for (int64_t i = 0; m->mask && i < width; ++i) out[i] = m->mask[at + i] > 0 ? m->mask[at + i] * out[i] : 0;
}

/* The penalties of a plane, and the weights that they have, along each axis. */
static void NAME(plane_sums)(const IMAGE *m, int64_t z, REAL *row, double *sums) {
    for (int axis = 0; axis < 3; ++axis) sums[axis] = 0;
    for (int64_t y = 0; y < m->size[1]; ++y) {
        const int64_t at = z * m->stride[0] + y * m->stride[1];
        if (m->penalty == ISOTROPIC) {
            NAME(lengths)(m, z, y, 0, row);
            sums[0] += NAME(total)(row, m->size[2]);
            continue;
        }
        for (int axis = 0; axis < 3; ++axis) {
            const int64_t n = m->size[2] - (axis == 2);
            if ((axis == 0 && z + 1 == m->size[0]) || (axis == 1 && y + 1 == m->size[1])) continue;
            NAME(penalties)(m, axis, at, n, row);
            sums[axis] += NAME(total)(row, n);
        }
    }
}

static void NAME(plane_weights)(const IMAGE *m, int64_t z, REAL *row, double *sums) {
    for (int axis = 0; axis < 3; ++axis) sums[axis] = 0;
    for (int64_t y = 0; y < m->size[1]; ++y)
        for (int axis = 0; axis < (m->penalty == ISOTROPIC ? 1 : 3); ++axis) {
            const REAL *mask = m->mask + z * m->stride[0] + y * m->stride[1];
            const int64_t n = m->size[2] - (axis == 2), next = m->penalty == ISOTROPIC ? 0 : m->stride[axis];
            if (next && ((axis == 0 && z + 1 == m->size[0]) || (axis == 1 && y + 1 == m->size[1]))) continue;
            for (int64_t i = 0; i < n; ++i) row[i] = mask[i] < mask[i + next] ? mask[i] : mask[i + next];
            sums[axis] += NAME(total)(row, n);
        }
}

/* The gradient of a row, from the pairs before and behind each voxel. `row`: four rows of scratch. */
static void NAME(gradient_row)(const IMAGE *m, int64_t z, int64_t y, REAL *row, REAL *restrict out) {
    const int64_t width = m->size[2], at = z * m->stride[0] + y * m->stride[1], place[3] = {z, y, 0};
    REAL *own = row + width, *before = row + 2 * width;
    memset(out, 0, (size_t)width * sizeof(REAL));
    if (m->penalty == ISOTROPIC) NAME(lengths)(m, z, y, 1, own);
    for (int axis = 0; axis < 3; ++axis) {
        const int64_t next = m->stride[axis], n = width - (axis == 2);
        const REAL factor = m->factor[axis] * m->scale[axis];
        for (int behind = 0; behind < 2; ++behind) { /* the pair with the voxel before, then with the one behind */
            const int64_t from = axis == 2 || behind ? at : at - next;
            if (axis < 2 && (behind ? place[axis] + 1 == m->size[axis] : place[axis] == 0)) continue;
            if (m->penalty == ISOTROPIC) {
                const REAL *length = own, *x = m->x + from, *mask = m->mask ? m->mask + from : NULL;
                if (axis < 2 && !behind) NAME(lengths)(m, z - (axis == 0), y - (axis == 1), 1, before), length = before;
                for (int64_t i = 0; i < n; ++i) {
                    const int counts = !mask || (mask[i] > 0 && mask[i + next] > 0);
                    row[i] = counts ? m->scale[axis] * (x[i + next] - x[i]) * length[i] : 0;
                }
            } else {
                NAME(slopes)(m, axis, from, n, row);
            }
            REAL *to = out + (axis == 2 && !behind);
            const REAL signed_factor = behind ? -factor : factor;
            for (int64_t i = 0; i < n; ++i) to[i] += signed_factor * row[i];
        }
    }
}

/* Sums of the penalties, or of the weights where `weights`, three for each volume. */
static int NAME(volume_sums)(const REAL *x, const REAL *t, const REAL *mask, int64_t shared, int64_t volumes,
                             const int64_t *size, const double *scale, int64_t penalty, int weights, double *sums,
                             int threads) {
    double *parts = malloc((size_t)(volumes * size[0] * 3) * sizeof(double));
    int failed = !parts;
    if (failed) return 1;
#pragma omp parallel num_threads(threads) reduction(| : failed)
    {
        REAL *row = malloc((size_t)size[2] * sizeof(REAL));
        failed = !row;
#pragma omp for collapse(2) schedule(static)
        for (int64_t v = 0; v < volumes; ++v)
            for (int64_t z = 0; z < size[0]; ++z) {
                const IMAGE m = NAME(image)(x, t, mask, shared, v, size, scale, penalty);
                if (row && weights) NAME(plane_weights)(&m, z, row, parts + (v * size[0] + z) * 3);
                else if (row) NAME(plane_sums)(&m, z, row, parts + (v * size[0] + z) * 3);
            }
        free(row);
    }
    for (int64_t i = 0; i < 3 * volumes; ++i) sums[i] = 0;
    for (int64_t v = 0; v < volumes; ++v)
        for (int64_t z = 0; z < size[0]; ++z)
            for (int axis = 0; axis < 3; ++axis) sums[3 * v + axis] += parts[(v * size[0] + z) * 3 + axis];
    free(parts);
    return failed;
}

/* One over the weight along each axis, 0 where there is none. */
static int NAME(shares)(const REAL *mask, int64_t shared, int64_t volumes, const int64_t *size, int64_t penalty,
                        int64_t average, double *shares, int threads) {
    const double none[3] = {0}, voxels = (double)(size[0] * size[1] * size[2]);
    if (mask && average) {
        if (NAME(volume_sums)(mask, NULL, mask, shared, volumes, size, none, penalty, 1, shares, threads)) return 1;
    } else {
        for (int64_t i = 0; i < 3 * volumes; ++i)
            shares[i] = penalty == ISOTROPIC ? voxels : voxels / (double)size[i % 3] * (double)(size[i % 3] - 1);
    }
    for (int64_t i = 0; i < 3 * volumes; ++i) shares[i] = !average ? 1 : shares[i] > 0 ? 1 / shares[i] : 1;
    return 0;
}

MEDLOSS_EXPORT int NAME(adjacent_differences_forward)(const REAL *x, const REAL *t, const REAL *mask, int64_t shared,
                                                      int64_t volumes, const int64_t *size, const double *scale,
                                                      int64_t penalty, int64_t average, double *values, int threads) {
    double *shares = malloc((size_t)(6 * volumes) * sizeof(double)), *sums = shares + 3 * volumes;
    int failed = !shares || NAME(shares)(mask, shared, volumes, size, penalty, average, shares, threads) ||
                 NAME(volume_sums)(x, t, mask, shared, volumes, size, scale, penalty, 0, sums, threads);
    for (int64_t v = 0; !failed && v < volumes; ++v) {
        values[v] = 0;
        for (int64_t i = 3 * v; i < 3 * v + 3; ++i) values[v] += shares[i] * sums[i];
    }
    free(shares);
    return failed;
}

MEDLOSS_EXPORT int NAME(adjacent_differences_backward)(const REAL *x, const REAL *t, const REAL *mask, int64_t shared,
                                                       int64_t volumes, const int64_t *size, const double *scale,
                                                       int64_t penalty, int64_t average, const double *grad, REAL *out,
                                                       int threads) {
    const int64_t plane = size[1] * size[2], voxels = size[0] * plane;
    double *shares = malloc((size_t)(3 * volumes) * sizeof(double));
    int failed = !shares || NAME(shares)(mask, shared, volumes, size, penalty, average, shares, threads);
    prefer_huge_pages(out, (size_t)(volumes * voxels) * sizeof(REAL));
#pragma omp parallel num_threads(threads) reduction(| : failed)
    {
        REAL *row = malloc((size_t)(3 * size[2]) * sizeof(REAL));
        failed |= !row;
#pragma omp for collapse(2) schedule(static)
        for (int64_t v = 0; v < volumes; ++v)
            for (int64_t z = 0; z < size[0]; ++z) {
                if (failed) continue;
                IMAGE m = NAME(image)(x, t, mask, shared, v, size, scale, penalty);
                for (int axis = 0; axis < 3; ++axis)
                    m.factor[axis] = (REAL)(grad[v] * shares[3 * v + (penalty == ISOTROPIC ? 0 : axis)]);
                for (int64_t y = 0; y < size[1]; ++y)
                    NAME(gradient_row)(&m, z, y, row, out + v * voxels + z * plane + y * size[2]);
            }
        free(row);
    }
    free(shares);
    return failed;
}

#undef PAIRS
#undef IMAGE
#undef NAME
#endif
