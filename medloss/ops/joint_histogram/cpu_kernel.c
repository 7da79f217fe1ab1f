/* joint_histogram on the CPU: a voxel adds the outer product of its two windows to the few bins that they
 * reach, and its gradient is read from a table of the bins' cotangents.
 *
 * Voxels are grouped into blocks, each with its own histogram in double, added in order at the end: the
 * result depends neither on the number of threads nor on their timing. A histogram has a margin around the
 * bins, so that a window at the border of the range needs no test; what would lie there weighs nothing.
 */
#ifndef REAL

#include "../native.h"

enum { LANES = 8, MOST_REACH = 32, TILE = 64 };
enum { LEAST_BLOCK = 16384 };
enum { GAUSSIAN, SPLINE, MATTES }; /* `spline` of the calls */

#define REAL float
#define SUFFIX f32
#define EXP exp_f32
#define INTEGER int32_t
#include "cpu_kernel.c"
#undef REAL
#undef SUFFIX
#undef EXP
#undef INTEGER
#define REAL double
#define SUFFIX f64
#define EXP exp_f64
#define INTEGER int64_t
#include "cpu_kernel.c"

#else

#define NAME(stem) MEDLOSS_PASTE(stem, SUFFIX, MEDLOSS_LEVEL)
#define CALL NAME(Call)
#define SCALE NAME(Scale)

/* One call's operands and what follows from its options. */
typedef struct {
    const REAL *x, *y, *mask;
    int64_t voxels;
    int spline, bins, reach;
    int64_t side;      /* bins of a histogram along an axis, with its margin */
    double sharpness;  /* 1 / (2 sigma^2) */
    double fall[MOST_REACH + 1]; /* exp(-sharpness k^2) */
} CALL;

/* Where an image's intensities go: from its range to the bins. */
typedef struct {
    REAL low, high, factor;
} SCALE;

static CALL NAME(call)(const REAL *x, const REAL *y, const REAL *mask, int64_t voxels, int64_t spline, int64_t bins,
                       int64_t reach, double sigma_ratio) {
    CALL c = {.x = x, .y = y, .mask = mask, .voxels = voxels, .spline = (int)spline, .bins = (int)bins};
    c.reach = spline ? 0 : (int)reach;
    c.side = bins + 2 * c.reach + LANES;
    c.sharpness = 1 / (2 * sigma_ratio * sigma_ratio);
    for (int k = 0; k <= c.reach; ++k) c.fall[k] = exp(-c.sharpness * k * k);
    return c;
}

static SCALE NAME(scale)(const CALL *c, const double *range) {
    const double width = range[1] > range[0] ? range[1] - range[0] : 1;
    return (SCALE){(REAL)range[0], (REAL)range[1], (REAL)((c->spline ? c->bins - 4 : c->bins - 1) / width)};
}

static inline REAL NAME(clamp)(REAL value, REAL low, REAL high) { /* NaN passes */
    value = value < low ? low : value;
    return value > high ? high : value;
}

#include "gaussian.h"
#include "spline.h"

/* The reaches of the usual windows, half a bin and a bin wide, are compiled for their own sake. */
#define MEDLOSS_BY_REACH(function, ...)                  \
    switch (c->reach) {                                  \
    case 3: NAME(function)(c, 3, __VA_ARGS__); break;    \
    case 5: NAME(function)(c, 5, __VA_ARGS__); break;    \
    default: NAME(function)(c, c->reach, __VA_ARGS__);   \
    }

static void NAME(count_block)(const CALL *c, const double *ranges, int64_t start, int64_t end, double *counts) {
    const SCALE sx = NAME(scale)(c, ranges), sy = NAME(scale)(c, ranges + 2);
    if (c->spline == SPLINE) NAME(count_spline)(c, 0, &sx, &sy, start, end, counts);
    else if (c->spline == MATTES) NAME(count_spline)(c, 1, &sx, &sy, start, end, counts);
    else MEDLOSS_BY_REACH(count_gaussian, &sx, &sy, start, end, counts)
}

static void NAME(slope_block)(const CALL *c, const double *ranges, int64_t start, int64_t end, const void *table,
                              REAL *out) {
    const SCALE sx = NAME(scale)(c, ranges), sy = NAME(scale)(c, ranges + 2);
    if (c->spline == SPLINE) NAME(slope_spline)(c, 0, &sx, &sy, start, end, table, out);
    else if (c->spline == MATTES) NAME(slope_spline)(c, 1, &sx, &sy, start, end, table, out);
    else MEDLOSS_BY_REACH(slope_gaussian, &sx, &sy, start, end, table, out)
}

/* Voxels of a block: so many that the histograms of all blocks together stay below the size of the images. */
static inline int64_t NAME(block_size)(const CALL *c) {
    const int64_t least = 4 * c->side * c->side;
    return least > LEAST_BLOCK ? least : LEAST_BLOCK;
}

MEDLOSS_EXPORT int NAME(joint_histogram_forward)(const REAL *x, const REAL *y, const REAL *mask, int64_t batch,
                                                 int64_t voxels, const double *ranges, int64_t spline, int64_t bins,
                                                 int64_t reach, double sigma_ratio, double *counts, int threads) {
    const CALL call = NAME(call)(x, y, mask, voxels, spline, bins, reach, sigma_ratio);
    const int64_t size = NAME(block_size)(&call), blocks = (voxels + size - 1) / size, area = call.side * call.side;
    double *partials = calloc((size_t)(batch * blocks * area), sizeof(double));
    if (!partials) return 1;
#pragma omp parallel for collapse(2) schedule(static) num_threads(threads)
    for (int64_t b = 0; b < batch; ++b)
        for (int64_t block = 0; block < blocks; ++block) {
            const int64_t shift = b * voxels, end = (block + 1) * size < voxels ? (block + 1) * size : voxels;
            NAME(count_block)(&call, ranges + 4 * b, shift + block * size, shift + end,
                              partials + (b * blocks + block) * area);
        }
    memset(counts, 0, (size_t)(batch * bins * bins) * sizeof(double));
    for (int64_t b = 0; b < batch; ++b)
        for (int64_t block = 0; block < blocks; ++block)
            for (int64_t row = 0; row < bins; ++row) {
                const double *from =
                    partials + (b * blocks + block) * area + (row + call.reach) * call.side + call.reach;
                double *to = counts + (b * bins + row) * bins;
                for (int64_t column = 0; column < bins; ++column) to[column] += from[column];
            }
    free(partials);
    return 0;
}

/* What the voxels' slopes meet: the cotangents of the bins, or, for Gaussian windows, their differences
 * from row to row. Zero in the margin, where no weight is but for the rounding of what should add up to
 * none. */
static void *NAME(tables)(const CALL *c, int64_t batch, const double *cotangent) {
    const int64_t bins = c->bins, area = c->side * c->side;
    double *plain = c->spline ? calloc((size_t)(batch * area), sizeof(double)) : NULL;
    REAL *steps = c->spline ? NULL : calloc((size_t)(batch * area), sizeof(REAL));
    for (int64_t b = 0; (plain || steps) && b < batch; ++b)
        for (int64_t row = 0; row < bins; ++row) {
            const int64_t to = b * area + (row + c->reach) * c->side + c->reach;
            const double *from = cotangent + (b * bins + row) * bins;
            if (plain) memcpy(plain + to, from, (size_t)bins * sizeof(double));
            for (int64_t column = 0; steps && row + 1 < bins && column < bins; ++column)
                steps[to + column] = (REAL)(from[column] - from[bins + column]);
        }
    return c->spline ? (void *)plain : (void *)steps;
}

MEDLOSS_EXPORT int NAME(joint_histogram_backward)(const REAL *x, const REAL *y, const REAL *mask, int64_t batch,
                                                  int64_t voxels, const double *ranges, int64_t spline, int64_t bins,
                                                  int64_t reach, double sigma_ratio, const double *cotangent, REAL *out,
                                                  int threads) {
    const CALL call = NAME(call)(x, y, mask, voxels, spline, bins, reach, sigma_ratio);
    const int64_t blocks = (voxels + LEAST_BLOCK - 1) / LEAST_BLOCK, area = call.side * call.side;
    char *tables = NAME(tables)(&call, batch, cotangent);
    if (!tables) return 1;
    prefer_huge_pages(out, (size_t)(batch * voxels) * sizeof(REAL));
#pragma omp parallel for collapse(2) schedule(static) num_threads(threads)
    for (int64_t b = 0; b < batch; ++b)
        for (int64_t block = 0; block < blocks; ++block) {
            const int64_t shift = b * voxels, next = (block + 1) * LEAST_BLOCK, end = next < voxels ? next : voxels;
            NAME(slope_block)(&call, ranges + 4 * b, shift + block * LEAST_BLOCK, shift + end,
                              tables + b * area * (int64_t)(spline ? sizeof(double) : sizeof(REAL)), out);
        }
    free(tables);
    return 0;
}

#undef MEDLOSS_BY_REACH
#undef NAME
#undef CALL
#undef SCALE
#endif
