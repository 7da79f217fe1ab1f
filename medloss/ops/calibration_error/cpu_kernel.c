/* calibration_error on the CPU: a sweep counts the voxels of each bin and adds up by how much their probabilities lie
 * above their memberships; the gradient looks up what its voxel's bin says.
 *
 * Blocks of fixed size have sums of their own, in double, added in order: the result does not depend on the number of
 * threads.
 */
#ifndef REAL

#include "../native.h"

enum { BLOCK = 1 << 16, STRIP = 512, LANES = 4 };

#define REAL float
#define SUFFIX f32
#define CEIL ceilf
#include "cpu_kernel.c"
#undef REAL
#undef SUFFIX
#undef CEIL
#define REAL double
#define SUFFIX f64
#define CEIL ceil
#include "cpu_kernel.c"

#else

#define NAME(stem) MEDLOSS_PASTE(stem, SUFFIX, MEDLOSS_LEVEL)

/* Bins of a strip; that of a NaN, and where nothing counts, is behind the last. */
static void NAME(find_bins)(const REAL *restrict p, const REAL *restrict w, int64_t bins, int64_t n,
                            int32_t *restrict bin) {
    const REAL last = (REAL)(bins - 1), none = (REAL)bins;
    for (int64_t i = 0; i < n; ++i) {
        REAL x = CEIL(p[i] * (REAL)bins) - 1;
        x = x < 0 ? 0 : x > last ? last : x;
        bin[i] = (int32_t)(x == x ? x : none);
    }
    for (int64_t i = 0; w && i < n; ++i) bin[i] = w[i] > 0 ? bin[i] : (int32_t)bins;
}

/* Voxels start to end of a row: mass and excess of each bin into `sums`, in lanes, so that neighbours of one bin do not
 * wait for each other. Returns whether a NaN counts. */
static int NAME(count)(const REAL *p, const REAL *t, const REAL *w, int64_t n, int64_t bins, double *lanes) {
    int32_t bin[STRIP];
    REAL excess[STRIP];
    int bad = 0;
    for (int64_t start = 0; start < n; start += STRIP) {
        const int64_t some = n - start < STRIP ? n - start : STRIP;
        const REAL *q = p + start, *s = t + start, *v = w ? w + start : NULL;
        NAME(find_bins)(q, v, bins, some, bin);
        if (v)
            for (int64_t i = 0; i < some; ++i) {
                excess[i] = v[i] > 0 ? v[i] * (q[i] - s[i]) : 0;
                bad |= excess[i] != excess[i];
            }
        else
            for (int64_t i = 0; i < some; ++i) {
                excess[i] = q[i] - s[i];
                bad |= excess[i] != excess[i];
            }
        for (int64_t i = 0; i < some; ++i) {
            double *to = lanes + (i % LANES * (bins + 1) + bin[i]) * 2;
            to[0] += v ? (double)v[i] : 1;
            to[1] += (double)excess[i];
        }
    }
    return bad;
}

/* The mean of the bins' errors, and the slope of each; `sums` are mass and excess of each bin. */
static double NAME(close)(const double *sums, int64_t bins, REAL *slope) {
    double error = 0, held = 0;
    for (int64_t k = 0; k < bins; ++k) held += sums[2 * k] > 0;
    for (int64_t k = 0; k < bins; ++k) {
        const double mass = sums[2 * k], gap = sums[2 * k + 1];
        const double side = gap > 0 ? 1 : gap < 0 ? -1 : gap;
        slope[k] = mass > 0 ? (REAL)(side / mass / held) : 0;
        error += mass > 0 ? gap * side / mass / held : 0;
    }
    slope[bins] = 0;
    return error;
}

/* The errors of the rows, and a slope for each bin and for what is in none. `shared`: rows that share a mask. */
MEDLOSS_EXPORT int NAME(calibration_error_forward)(const REAL *p, const REAL *t, const REAL *mask, int64_t shared,
                                                   int64_t rows, int64_t voxels, int64_t bins, REAL *errors,
                                                   REAL *slopes, int threads) {
    const int64_t blocks = (voxels + BLOCK - 1) / BLOCK, width = 2 * (bins + 1);
    double *partial = calloc((size_t)(rows * blocks * width), sizeof(double));
    int *bad = calloc((size_t)(rows * blocks), sizeof(int));
    int failed = !partial || !bad;
#pragma omp parallel num_threads(threads) reduction(| : failed)
    {
        double *lanes = malloc(sizeof(double) * (size_t)(LANES * width));
        failed |= !lanes;
#pragma omp for schedule(static)
        for (int64_t at = 0; at < rows * blocks; ++at) {
            if (failed) continue;
            const int64_t row = at / blocks, start = at % blocks * BLOCK;
            const int64_t n = voxels - start < BLOCK ? voxels - start : BLOCK, from = row * voxels + start;
            const REAL *w = mask ? mask + row / shared * voxels + start : NULL;
            memset(lanes, 0, sizeof(double) * (size_t)(LANES * width));
            bad[at] = NAME(count)(p + from, t + from, w, n, bins, lanes);
            for (int64_t k = 0; k < LANES * width; ++k) partial[at * width + k % width] += lanes[k];
        }
        free(lanes);
    }
    for (int64_t row = 0; row < rows && !failed; ++row) {
        double *first = partial + row * blocks * width;
        int nan = bad[row * blocks];
        for (int64_t block = 1; block < blocks; ++block) {
            nan |= bad[row * blocks + block];
            for (int64_t k = 0; k < width; ++k) first[k] += first[block * width + k];
        }
        const double error = NAME(close)(first, bins, slopes + row * (bins + 1));
        errors[row] = nan ? (REAL)NAN : (REAL)error;
        if (nan) memset(slopes + row * (bins + 1), 0, sizeof(REAL) * (size_t)(bins + 1)); /* it has no direction */
    }
    free(partial);
    free(bad);
    return failed;
}

/* The gradient of the probabilities, from the rows' cotangents. */
MEDLOSS_EXPORT int NAME(calibration_error_backward)(const REAL *p, const REAL *mask, int64_t shared, int64_t rows,
                                                    int64_t voxels, int64_t bins, const REAL *slopes,
                                                    const REAL *cotangent, REAL *out, int threads) {
    const int64_t blocks = (voxels + BLOCK - 1) / BLOCK;
    prefer_huge_pages(out, sizeof(REAL) * (size_t)(rows * voxels));
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t at = 0; at < rows * blocks; ++at) {
        const int64_t row = at / blocks, begin = at % blocks * BLOCK;
        const int64_t end = voxels - begin < BLOCK ? voxels : begin + BLOCK;
        const REAL *table = slopes + row * (bins + 1), up = cotangent[row];
        int32_t bin[STRIP];
        for (int64_t start = begin; start < end; start += STRIP) {
            const int64_t n = end - start < STRIP ? end - start : STRIP, from = row * voxels + start;
            const REAL *w = mask ? mask + row / shared * voxels + start : NULL;
            REAL *restrict g = out + from;
            NAME(find_bins)(p + from, w, bins, n, bin);
            for (int64_t i = 0; i < n; ++i) g[i] = table[bin[i]] * up;
            for (int64_t i = 0; w && i < n; ++i) g[i] = w[i] > 0 ? w[i] * g[i] : 0;
        }
    }
    return 0;
}

#undef NAME
#endif
