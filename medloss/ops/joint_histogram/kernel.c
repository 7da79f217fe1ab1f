/* joint_histogram on the CPU: a voxel adds the outer product of its two windows to the few bins that they reach, and its
 * gradient is read from a table of the bins' cotangents.
 *
 * Voxels are grouped into blocks, each with its own histogram in double, added in order at the end: the result depends
 * neither on the number of threads nor on their timing. A histogram has a margin around the bins, so that a window at
 * the border of the range needs no test; what would lie there weighs nothing.
 */
#ifndef REAL

#include "../native.h"

enum { LANES = 8, MOST_REACH = 32, WIDTH = 72 }; /* 2 * MOST_REACH + 1, in whole lanes */
enum { LEAST_BLOCK = 16384 };

#define REAL float
#define SUFFIX f32
#define EXP exp_f32
#include "kernel.c"
#undef REAL
#undef SUFFIX
#undef EXP
#define REAL double
#define SUFFIX f64
#define EXP exp_f64
#include "kernel.c"

#else

#define NAME(stem) MEDLOSS_PASTE(stem, SUFFIX, MEDLOSS_LEVEL)
#define CALL NAME(Call)
#define SCALE NAME(Scale)

/* One call's operands and what follows from its options. */
typedef struct {
    const REAL *x, *y, *mask;
    int64_t voxels;
    int spline, bins, reach;
    int rows, columns; /* bins that a window of x and of y reaches, the latter in whole lanes */
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
    c.rows = spline ? 4 : 2 * c.reach + 1;
    c.columns = spline ? LANES : (c.rows + LANES - 1) / LANES * LANES;
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

/* The weights of a Gaussian window that sum to one, and its first bin, counted from the margin. With the distance d to
 * the nearest centre, exp(-s (d - k)^2) is up to a common factor q^k exp(-s k^2), where q = exp(2 s d): one exponential
 * for all bins. For the slope every weight is multiplied by 2 s (k - mean of k). */
static inline int NAME(gaussian)(const CALL *c, const SCALE *s, REAL value, int columns, double *w, double *slope) {
    const REAL place = (NAME(clamp)(value, s->low, s->high) - s->low) * s->factor;
    int nearest = place >= 0 ? (int)(place + (REAL)0.5) : 0; /* NaN: any bin, its weights are NaN */
    if (nearest > c->bins - 1) nearest = c->bins - 1;
    const int h = c->reach;
    const double q = (double)EXP((REAL)(2 * c->sharpness) * (place - (REAL)nearest)), r = 1 / q;
    double up = 1, down = 1, sum, mean = 0;
    w[h] = 1;
    for (int k = 1; k <= h; ++k) {
        up *= q;
        down *= r;
        w[h + k] = c->fall[k] * up;
        w[h - k] = c->fall[k] * down;
    }
    for (int k = 0; k < h - nearest; ++k) w[k] = 0;
    for (int k = 2 * h; k > h + c->bins - 1 - nearest; --k) w[k] = 0;
    sum = q - q; /* zero, or NaN */
    for (int k = 0; k <= 2 * h; ++k) sum += w[k];
    const double one = 1 / sum;
    for (int k = 0; k <= 2 * h; ++k) w[k] *= one;
    for (int k = 2 * h + 1; k < columns; ++k) w[k] = 0;
    if (slope) {
        for (int k = 0; k <= 2 * h; ++k) mean += w[k] * k;
        for (int k = 0; k <= 2 * h; ++k) slope[k] = 2 * c->sharpness * w[k] * (k - mean);
    }
    return nearest;
}

/* The position of an intensity on the bins of the splines, two of which are padding on either side. */
static inline REAL NAME(position)(const CALL *c, const SCALE *s, REAL value) {
    const REAL place = (NAME(clamp)(value, s->low, s->high) - s->low) * s->factor;
    return NAME(clamp)(place + 2, 2, (REAL)(c->bins - 3));
}

/* The weights of a cubic B-spline, and its first bin. */
static inline int NAME(cubic)(const CALL *c, const SCALE *s, REAL value, double *w, double *slope) {
    const REAL position = NAME(position)(c, s, value);
    const int below = position >= 2 ? (int)position : 2;
    const double f = (double)position - below, g = 1 - f;
    w[0] = g * g * g / 6;
    w[1] = (4 - 6 * f * f + 3 * f * f * f) / 6;
    w[2] = (4 - 6 * g * g + 3 * g * g * g) / 6;
    w[3] = f * f * f / 6;
    if (slope) {
        slope[0] = -g * g / 2;
        slope[1] = (-4 * f + 3 * f * f) / 2;
        slope[2] = (4 * g - 3 * g * g) / 2;
        slope[3] = f * f / 2;
    }
    return below - 1;
}

/* The weights of the box around a bin; halfway between two bins it is half in each. */
static inline int NAME(box)(const CALL *c, const SCALE *s, REAL value, double *w) {
    const REAL position = NAME(position)(c, s, value);
    const int below = position >= 2 ? (int)position : 2;
    const REAL f = position - (REAL)below;
    for (int k = 2; k < LANES; ++k) w[k] = 0;
    w[0] = f < (REAL)0.5 ? 1 : f == (REAL)0.5 ? 0.5 : 0;
    w[1] = 1 - w[0];
    if (!(f >= 0)) w[0] = w[1] = (double)f; /* NaN */
    return below;
}

/* The corner of a voxel's windows in a histogram, and their weights. */
static inline int64_t NAME(windows)(const CALL *c, const SCALE *sx, const SCALE *sy, REAL x, REAL y, double *wx,
                                    double *wy, double *slope) {
    if (c->spline) {
        const int64_t row = NAME(cubic)(c, sx, x, wx, slope);
        return row * c->side + NAME(box)(c, sy, y, wy);
    }
    const int64_t row = NAME(gaussian)(c, sx, x, c->rows, wx, slope);
    return row * c->side + NAME(gaussian)(c, sy, y, c->columns, wy, NULL);
}

static void NAME(count_block)(const CALL *c, const SCALE *sx, const SCALE *sy, int64_t start, int64_t end,
                              double *counts) {
    double wx[WIDTH], wy[WIDTH];
    for (int64_t i = start; i < end; ++i) {
        const REAL weight = c->mask ? c->mask[i] : 1;
        if (!(weight > 0)) continue;
        double *corner = counts + NAME(windows)(c, sx, sy, c->x[i], c->y[i], wx, wy, NULL);
        for (int a = 0; a < c->rows; ++a, corner += c->side) {
            const double wa = (double)weight * wx[a];
            for (int k = 0; k < c->columns; k += LANES)
                for (int lane = 0; lane < LANES; ++lane) corner[k + lane] += wa * wy[k + lane];
        }
    }
}

static void NAME(slope_block)(const CALL *c, const SCALE *sx, const SCALE *sy, int64_t start, int64_t end,
                              const double *table, REAL *out) {
    double wx[WIDTH], wy[WIDTH], slope[WIDTH];
    const REAL first = 2, last = (REAL)(c->bins - 3);
    for (int64_t i = start; i < end; ++i) {
        const REAL weight = c->mask ? c->mask[i] : 1, x = c->x[i];
        int moves = weight > 0 && !(x < sx->low) && !(x > sx->high);
        if (moves && c->spline) {
            const REAL position = (x - sx->low) * sx->factor + 2;
            moves = !(position < first) && !(position > last);
        }
        out[i] = 0;
        if (!moves) continue;
        const double *corner = table + NAME(windows)(c, sx, sy, x, c->y[i], wx, wy, slope);
        double total = 0;
        for (int k = 0; k < c->columns; k += LANES) {
            double sum[LANES] = {0};
            for (int a = 0; a < c->rows; ++a)
                for (int lane = 0; lane < LANES; ++lane) sum[lane] += slope[a] * corner[a * c->side + k + lane];
            for (int lane = 0; lane < LANES; ++lane) sum[lane] *= wy[k + lane];
            total += ((sum[0] + sum[1]) + (sum[2] + sum[3])) + ((sum[4] + sum[5]) + (sum[6] + sum[7]));
        }
        out[i] = (REAL)((double)weight * (double)sx->factor * total);
    }
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
            const SCALE sx = NAME(scale)(&call, ranges + 4 * b), sy = NAME(scale)(&call, ranges + 4 * b + 2);
            NAME(count_block)(&call, &sx, &sy, shift + block * size, shift + end,
                              partials + (b * blocks + block) * area);
        }
    memset(counts, 0, (size_t)(batch * bins * bins) * sizeof(double));
    for (int64_t b = 0; b < batch; ++b)
        for (int64_t block = 0; block < blocks; ++block)
            for (int64_t row = 0; row < bins; ++row) {
                const double *from =
                    partials + (b * blocks + block) * area + (row + call.reach) * call.side + call.reach;
                for (int64_t column = 0; column < bins; ++column) counts[(b * bins + row) * bins + column] += from[column];
            }
    free(partials);
    return 0;
}

MEDLOSS_EXPORT int NAME(joint_histogram_backward)(const REAL *x, const REAL *y, const REAL *mask, int64_t batch,
                                                  int64_t voxels, const double *ranges, int64_t spline, int64_t bins,
                                                  int64_t reach, double sigma_ratio, const double *cotangent, REAL *out,
                                                  int threads) {
    const CALL call = NAME(call)(x, y, mask, voxels, spline, bins, reach, sigma_ratio);
    const int64_t blocks = (voxels + LEAST_BLOCK - 1) / LEAST_BLOCK, area = call.side * call.side;
    double *tables = calloc((size_t)(batch * area), sizeof(double));
    if (!tables) return 1;
    prefer_huge_pages(out, (size_t)(batch * voxels) * sizeof(REAL));
    for (int64_t b = 0; b < batch; ++b)
        for (int64_t row = 0; row < bins; ++row)
            memcpy(tables + b * area + (row + call.reach) * call.side + call.reach, cotangent + (b * bins + row) * bins,
                   (size_t)bins * sizeof(double));
#pragma omp parallel for collapse(2) schedule(static) num_threads(threads)
    for (int64_t b = 0; b < batch; ++b)
        for (int64_t block = 0; block < blocks; ++block) {
            const int64_t shift = b * voxels, next = (block + 1) * LEAST_BLOCK, end = next < voxels ? next : voxels;
            const SCALE sx = NAME(scale)(&call, ranges + 4 * b), sy = NAME(scale)(&call, ranges + 4 * b + 2);
            NAME(slope_block)(&call, &sx, &sy, shift + block * LEAST_BLOCK, shift + end, tables + b * area, out);
        }
    free(tables);
    return 0;
}

#undef NAME
#undef CALL
#undef SCALE
#endif
