/* global_moments on the CPU: mass, covariance and variances of two images in one sweep, the gradient of one in another.
 *
 * A volume is cut into blocks: each has a level of its own taken off before it is squared, and the blocks are joined by
 * their means, in their order (Chan, Golub and LeVeque, Updating formulae and a pairwise algorithm for computing sample
 * variances, 1979). All sums are in double: the result does not depend on the number of threads, and an offset of the
 * intensities costs no digits.
 */
#ifndef REAL

#include "../native.h"

enum { BLOCK = 2048, STRIP = 256, LEVELS = 5 };

/* Of a block, or of a volume: means, and sums of products of what is left without them. */
typedef struct {
    double mass, x, y, xx, xy, yy;
} Moments;

/* Relative to the first block that counts: where an image is constant, nothing is left to be rounded. */
static Moments joined(const Moments *blocks, int64_t count) {
    Moments all = {0};
    double first_x = 0, first_y = 0;
    for (int64_t at = count - 1; at >= 0; --at)
        if (blocks[at].mass > 0) first_x = blocks[at].x, first_y = blocks[at].y;
    for (int64_t at = 0; at < count; ++at) {
        if (!(blocks[at].mass > 0)) continue;
        all.mass += blocks[at].mass;
        all.x += blocks[at].mass * (blocks[at].x - first_x);
        all.y += blocks[at].mass * (blocks[at].y - first_y);
    }
    const double some = all.mass > 0 ? all.mass : 1;
    all.x = first_x + all.x / some;
    all.y = first_y + all.y / some;
    for (int64_t at = 0; at < count; ++at) {
        const Moments *b = blocks + at;
        if (!(b->mass > 0)) continue;
        all.xx += b->xx + b->mass * (b->x - all.x) * (b->x - all.x);
        all.xy += b->xy + b->mass * (b->x - all.x) * (b->y - all.y);
        all.yy += b->yy + b->mass * (b->y - all.y) * (b->y - all.y);
    }
    return all;
}

#define REAL float
#define SUFFIX f32
#define EPSILON 1.1920929e-7
#include "cpu_kernel.c"
#undef REAL
#undef SUFFIX
#undef EPSILON
#define REAL double
#define SUFFIX f64
#define EPSILON 2.220446049250313e-16
#include "cpu_kernel.c"

#else

#define NAME(stem) MEDLOSS_PASTE(stem, SUFFIX, MEDLOSS_LEVEL)

/* Both images with the types of their entries, and the weights that `shared` volumes have in common. */
typedef struct {
    const void *x, *y;
    int64_t x_type, y_type;
    const REAL *weight;
    int64_t shared, voxels;
} NAME(Pair);

/* Entries of an image as they lie, or widened in `spare`. */
static const REAL *NAME(entries)(const void *image, int64_t type, int64_t from, int64_t n, REAL *restrict spare) {
    if (type == REAL_OWN) return (const REAL *)image + from;
    const uint16_t *half = (const uint16_t *)image + from;
    if (type == REAL_BF16)
        for (int64_t i = 0; i < n; ++i) spare[i] = (REAL)from_bf16(half[i]);
    else
        for (int64_t i = 0; i < n; ++i) spare[i] = (REAL)from_f16(half[i]);
    return spare;
}

/* A voxel of no less than half the block's greatest weight; `n` where nothing counts. */
static int64_t NAME(heaviest)(const REAL *restrict w, int64_t n) {
    REAL most = 0;
#pragma omp simd reduction(max : most)
    for (int64_t i = 0; i < n; ++i) most = w[i] > most ? w[i] : most;
    int64_t at = 0;
    while (at < n && !(w[at] > 0 && w[at] >= most / 2)) ++at;
    return at;
}

/* Asks for a strip that is soon to be loaded: strips are too short for the processor to see what comes. Beyond the
 * tensor's end nothing happens. */
static inline void NAME(fetch)(const REAL *from) {
    for (int64_t i = 0; i < STRIP; i += 64 / (int64_t)sizeof(REAL)) __builtin_prefetch(from + i);
}

/* A block's moments, of what is left when a voxel is taken off. As that voxel counts itself, the variance is no less
 * than its square over twice the entries of a block: few digits are lost by it, and nothing is left of a constant. */
static void NAME(block)(const NAME(Pair) * p, int64_t volume, int64_t from, int64_t n, REAL *spare, Moments *m) {
    const REAL *restrict x = NAME(entries)(p->x, p->x_type, volume * p->voxels + from, n, spare);
    const REAL *restrict y = NAME(entries)(p->y, p->y_type, volume * p->voxels + from, n, spare + BLOCK);
    const REAL *restrict w = p->weight ? p->weight + volume / p->shared * p->voxels + from : NULL;
    const int64_t at = w ? NAME(heaviest)(w, n) : 0;
    *m = (Moments){0};
    if (at == n) return;
    const REAL level_x = x[at], level_y = y[at];
    double mass = 0, sum_x = 0, sum_y = 0, xx = 0, xy = 0, yy = 0;
    if (w) {
        double weight[STRIP], u[STRIP], v[STRIP]; /* which leaves a register to each of six sums */
        for (int64_t start = 0; start < n; start += STRIP) {
            const int64_t count = n - start < STRIP ? n - start : STRIP;
            NAME(fetch)(x + start + 2 * STRIP);
            NAME(fetch)(y + start + 2 * STRIP);
            NAME(fetch)(w + start + BLOCK);
            for (int64_t i = 0; i < count; ++i) {
                const REAL own = w[start + i], a = x[start + i], b = y[start + i];
                const REAL kept = own > 0 ? own : 0; /* under none, nothing is looked at */
                weight[i] = (double)kept;
                u[i] = (double)(own > 0 ? a : level_x) - (double)level_x;
                v[i] = (double)(own > 0 ? b : level_y) - (double)level_y;
            }
#pragma omp simd reduction(+ : mass, sum_x, sum_y, xx, xy, yy)
            for (int64_t i = 0; i < count; ++i) {
                const double wu = weight[i] * u[i], wv = weight[i] * v[i];
                mass += weight[i];
                sum_x += wu;
                sum_y += wv;
                xx += wu * u[i];
                xy += wu * v[i];
                yy += wv * v[i];
            }
        }
    } else {
        mass = (double)n;
#pragma omp simd reduction(+ : sum_x, sum_y, xx, xy, yy)
        for (int64_t i = 0; i < n; ++i) {
            const double u = (double)x[i] - (double)level_x, v = (double)y[i] - (double)level_y;
            sum_x += u;
            sum_y += v;
            xx += u * u;
            xy += u * v;
            yy += v * v;
        }
    }
    *m = (Moments){mass, (double)level_x + sum_x / mass, (double)level_y + sum_y / mass, xx - sum_x * sum_x / mass,
                   xy - sum_x * sum_y / mass, yy - sum_y * sum_y / mass};
}

/* Whether squares are no more than the rounding of an image whose mean is off by the digits that it lacks. */
static int NAME(flat)(double squares, double mass, double mean) {
    const double off = mean - (double)(REAL)mean;
    return squares <= 32 * EPSILON * (squares + mass * off * off);
}

#define OPERANDS                                                                                                    \
    const void *x, int64_t x_type, const void *y, int64_t y_type, const REAL *weight, int64_t shared,               \
        int64_t volumes, int64_t voxels
#define GIVEN {x, y, x_type, y_type, weight, shared, voxels}

/* `sums`: mass, covariance and variances of each volume. `levels`: both means, and by what each deviation counts in
 * the slope of either variance and of the covariance, 0 where a constant has none. */
MEDLOSS_EXPORT int NAME(global_moments_forward)(OPERANDS, double *sums, double *levels, int threads) {
    const NAME(Pair) pair = GIVEN;
    const int64_t blocks = (voxels + BLOCK - 1) / BLOCK;
    Moments *parts = malloc(sizeof(Moments) * (size_t)(volumes * blocks));
    if (!parts) return 1;
#pragma omp parallel num_threads(threads)
    {
        REAL spare[2 * BLOCK];
#pragma omp for schedule(static)
        for (int64_t at = 0; at < volumes * blocks; ++at) {
            const int64_t from = at % blocks * BLOCK, left = voxels - from;
            NAME(block)(&pair, at / blocks, from, left < BLOCK ? left : BLOCK, spare, parts + at);
        }
    }
    for (int64_t v = 0; v < volumes; ++v) {
        const Moments m = joined(parts + v * blocks, blocks);
        const double some = m.mass > 0 ? m.mass : 1;
        const int flat_x = NAME(flat)(m.xx, some, m.x), flat_y = NAME(flat)(m.yy, some, m.y);
        double *sum = sums + 4 * v, *level = levels + LEVELS * v;
        sum[0] = m.mass;
        sum[1] = flat_x || flat_y ? 0 : m.xy / some;
        sum[2] = flat_x ? 0 : m.xx / some;
        sum[3] = flat_y ? 0 : m.yy / some;
        level[0] = m.x;
        level[1] = m.y;
        level[2] = flat_x ? 0 : 2 / some;
        level[3] = flat_y ? 0 : 2 / some;
        level[4] = flat_x || flat_y ? 0 : 1 / some;
    }
    free(parts);
    return 0;
}

/* w (of_x (x - mean) + of_y (y - mean)) for a block. A mean is taken off in two parts, as one lacks digits. */
static void NAME(slopes)(const REAL *restrict x, const REAL *restrict y, const REAL *restrict w, int64_t n,
                         const double *mean, const double *rate, REAL *restrict out) {
    const REAL high_x = (REAL)mean[0], low_x = (REAL)(mean[0] - (double)high_x);
    const REAL high_y = (REAL)mean[1], low_y = (REAL)(mean[1] - (double)high_y);
    const REAL of_x = (REAL)rate[0], of_y = (REAL)rate[1];
    if (w)
        for (int64_t i = 0; i < n; ++i) {
            const REAL slope = of_x * ((x[i] - high_x) - low_x) + of_y * ((y[i] - high_y) - low_y);
            out[i] = w[i] > 0 ? w[i] * slope : 0;
        }
    else
        for (int64_t i = 0; i < n; ++i)
            out[i] = of_x * ((x[i] - high_x) - low_x) + of_y * ((y[i] - high_y) - low_y);
}

static void NAME(store)(REAL *restrict slopes, int64_t n, int64_t type, int streams, int64_t at, void *out) {
    if (type == REAL_BF16)
        for (int64_t i = 0; i < n; ++i) ((uint16_t *)out)[at + i] = to_bf16((float)slopes[i]);
    else if (type == REAL_F16)
        for (int64_t i = 0; i < n; ++i) ((uint16_t *)out)[at + i] = to_f16((float)slopes[i]);
    else if (streams)
        stream_copy((REAL *)out + at, slopes, sizeof(REAL) * (size_t)n);
    else
        memcpy((REAL *)out + at, slopes, sizeof(REAL) * (size_t)n);
}

/* The gradient of x, of x's type, from that of the four moments; x is input (`own` 0) or target (1). */
MEDLOSS_EXPORT int NAME(global_moments_backward)(OPERANDS, const double *levels, const double *grad, int64_t own,
                                                 void *out, int threads) {
    const NAME(Pair) pair = GIVEN;
    const int64_t blocks = (voxels + BLOCK - 1) / BLOCK;
    const size_t bytes = (x_type == REAL_OWN ? sizeof(REAL) : 2) * (size_t)(volumes * voxels);
    prefer_huge_pages(out, bytes);
#pragma omp parallel num_threads(threads)
    {
        REAL spare[3 * BLOCK];
#pragma omp for schedule(static)
        for (int64_t at = 0; at < volumes * blocks; ++at) {
            const int64_t volume = at / blocks, from = at % blocks * BLOCK, start = volume * voxels + from;
            const int64_t n = voxels - from < BLOCK ? voxels - from : BLOCK;
            const double *level = levels + LEVELS * volume, *g = grad + 4 * volume;
            const double mean[2] = {level[own], level[1 - own]};
            const double rate[2] = {level[2 + own] > 0 ? g[2 + own] * level[2 + own] : 0,
                                    level[4] > 0 ? g[1] * level[4] : 0};
            NAME(slopes)(NAME(entries)(x, x_type, start, n, spare),
                         NAME(entries)(y, y_type, start, n, spare + BLOCK),
                         weight ? weight + volume / shared * voxels + from : NULL, n, mean, rate, spare + 2 * BLOCK);
            NAME(store)(spare + 2 * BLOCK, n, x_type, bytes >= STREAMED, start, out);
        }
        streamed();
    }
    return 0;
}

#undef OPERANDS
#undef GIVEN
#undef NAME
#endif
