/* squared_errors on the CPU: sums of c (p - t)^2, and their gradient. A volume is cut into blocks of fixed size, each
 * with a sum of its own, added in order: the result does not depend on the number of threads.
 */
#ifndef REAL

#include "../native.h"

enum { BLOCK = 16384, LANES = 8 };

#define REAL float
#define SUFFIX f32
#include "kernel.c"
#undef REAL
#undef SUFFIX
#define REAL double
#define SUFFIX f64
#include "kernel.c"

#else

#define NAME(stem) MEDLOSS_PASTE(stem, SUFFIX, MEDLOSS_LEVEL)

static double NAME(sum_of_block)(const REAL *p, const REAL *t, const REAL *cost, int64_t n) {
    double lanes[LANES] = {0}, sum = 0;
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int l = 0; l < LANES; ++l) {
            const REAL error = p[i + l] - t[i + l];
            lanes[l] += (double)(cost[i + l] * (error * error));
        }
    for (; i < n; ++i) sum += (double)(cost[i] * ((p[i] - t[i]) * (p[i] - t[i])));
    for (int l = 0; l < LANES; ++l) sum += lanes[l];
    return sum;
}

MEDLOSS_EXPORT int NAME(squared_errors_forward)(const REAL *p, const REAL *t, const REAL *cost, int64_t volumes,
                                                int64_t voxels, double *sums, int threads) {
    const int64_t blocks = (voxels + BLOCK - 1) / BLOCK;
    double *partial = malloc(sizeof(double) * (size_t)(volumes * blocks));
    if (!partial) return 1;
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t k = 0; k < volumes * blocks; ++k) {
        const int64_t first = k % blocks * BLOCK, at = k / blocks * voxels + first;
        partial[k] = NAME(sum_of_block)(p + at, t + at, cost + at, voxels - first < BLOCK ? voxels - first : BLOCK);
    }
    for (int64_t v = 0; v < volumes; ++v) {
        sums[v] = 0;
        for (int64_t k = 0; k < blocks; ++k) sums[v] += partial[v * blocks + k];
    }
    free(partial);
    return 0;
}

/* `slope`: of each volume, the factor of c (p - t) in the gradient. */
MEDLOSS_EXPORT int NAME(squared_errors_backward)(const REAL *p, const REAL *t, const REAL *cost, int64_t volumes,
                                                 int64_t voxels, const double *slope, REAL *out, int threads) {
    const int64_t blocks = (voxels + BLOCK - 1) / BLOCK;
    prefer_huge_pages(out, sizeof(REAL) * (size_t)(volumes * voxels));
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t k = 0; k < volumes * blocks; ++k) {
        const int64_t first = k % blocks * BLOCK, at = k / blocks * voxels + first;
        const int64_t n = voxels - first < BLOCK ? voxels - first : BLOCK;
        const REAL factor = (REAL)slope[k / blocks];
        REAL *restrict to = out + at;
        for (int64_t i = 0; i < n; ++i) to[i] = factor * (cost[at + i] * (p[at + i] - t[at + i]));
    }
    return 0;
}

#undef NAME
#endif
