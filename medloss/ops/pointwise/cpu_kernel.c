/* pointwise on the CPU: penalties of the difference of two images, a sweep for their map or sums and one
 * for the gradient, a tile of voxels at a time. Those of logits are in likelihood.h.
 *
 * Sums are taken of blocks of fixed size and added in order: the result does not depend on the number of
 * threads.
 */
#ifndef REAL

#include "../native.h"

enum { TILE = 256, LANES = 16, BLOCK = 1 << 15 };

/* Codes of the penalties, as in cpu.py. */
enum { SQUARED = 0, ABSOLUTE = 1, HUBER = 2, CHARBONNIER = 3, CAUCHY = 4, GEMAN_MCCLURE = 5, WELSCH = 6, GENERAL = 7 };

/* exp(y), to its ends. */
static inline float whole_exp_f32(float y) { return y > 88.0f ? INFINITY : y < -87.0f ? 0.0f : exp_f32(y); }
static inline double whole_exp_f64(double y) { return exp(y); }

/* exp(y) - 1; the series where the difference would cancel. NaN and what overflows stay. */
static inline float expm1_f32(float y) {
    float q = 1.0f / 40320.0f;
    q = q * y + 1.0f / 5040.0f;
    q = q * y + 1.0f / 720.0f;
    q = q * y + 1.0f / 120.0f;
    q = q * y + 1.0f / 24.0f;
    q = q * y + 1.0f / 6.0f;
    q = q * y + 0.5f;
    q = q * y + 1.0f;
    const float far = whole_exp_f32(y) - 1.0f;
    return y > -0.5f && y < 0.5f ? q * y : far;
}

static inline double expm1_f64(double y) { return expm1(y); }

/* log(1 + z) of a z of at least 0. */
static inline float log1p_f32(float z) {
    const float near = log1p_unit_f32(z < 1.0f ? z : 1.0f), far = log_from_one_f32(z > 0.0f ? 1.0f + z : 1.0f);
    return z <= 1.0f ? near : z > 1.0f ? far : z;
}

static inline double log1p_f64(double z) { return log1p(z); }

static inline float root_f32(float x) { return sqrtf(x); }
static inline double root_f64(double x) { return sqrt(x); }

#define REAL float
#define SUFFIX f32
#define HUGE_REAL 1e9f
#include "cpu_kernel.c"
#undef REAL
#undef SUFFIX
#undef HUGE_REAL
#define REAL double
#define SUFFIX f64
#define HUGE_REAL 1e100
#include "cpu_kernel.c"
#undef REAL
#undef SUFFIX
#undef HUGE_REAL

#include "likelihood.h"

#else

#define NAME(stem) MEDLOSS_PASTE(stem, SUFFIX, MEDLOSS_LEVEL)
#define JOIN2(a, b) a##_##b
#define JOIN(a, b) JOIN2(a, b)
#define OWN(stem) JOIN(stem, SUFFIX)

/* One call's images and penalty. */
typedef struct {
    const REAL *x, *t, *mask;
    int64_t voxels, shared; /* of a volume; volumes that share a mask */
    int penalty;
    REAL gamma, scale, width; /* width: |gamma - 2| */
} NAME(Call);

static inline REAL NAME(clamped)(REAL u, REAL delta) { /* NaN passes */
    u = u < -delta ? -delta : u;
    return u > delta ? delta : u;
}

/* sqrt(u^2 + 1), of which a square that would overflow is no part. */
static inline REAL NAME(length)(REAL u) {
    const REAL a = u < 0 ? -u : u;
    const REAL root = OWN(root)(u * u + 1);
    return a > HUGE_REAL ? a : root;
}

#define EACH(value)                                   \
    for (int i = 0; i < TILE; ++i) {                  \
        const REAL u = r[i];                          \
        out[i] = (value);                             \
    }                                                 \
    break

static void NAME(penalise)(const NAME(Call) * c, const REAL *restrict r, REAL *restrict out) {
    const REAL gamma = c->gamma, width = c->width, half = gamma / 2;
    switch (c->penalty) {
    case SQUARED: EACH(u * u);
    case ABSOLUTE: EACH(u < 0 ? -u : u);
    case HUBER: EACH(NAME(clamped)(u, gamma) * (u - NAME(clamped)(u, gamma) / 2));
    case CHARBONNIER: EACH(u * (u / (NAME(length)(u) + 1)));
    case CAUCHY: EACH(OWN(log1p)(u * u / 2));
    case GEMAN_MCCLURE: EACH(2 * u * u / (u * u + 4));
    case WELSCH: EACH(-OWN(expm1)(-u * u / 2));
    default: EACH(width / gamma * OWN(expm1)(half * OWN(log1p)(u * u / width)));
    }
}

/* A residual times what is left of its slope, of which an infinite one has nothing. */
static inline REAL NAME(kept)(REAL u, REAL share) { return share != 0 ? u * share : 0; }

static void NAME(slope)(const NAME(Call) * c, const REAL *restrict r, REAL *restrict out) {
    const REAL gamma = c->gamma, width = c->width, less = gamma / 2 - 1;
    switch (c->penalty) {
    case SQUARED: EACH(2 * u);
    case ABSOLUTE: EACH(u > 0 ? 1 : u < 0 ? -1 : u);
    case HUBER: EACH(NAME(clamped)(u, gamma));
    case CHARBONNIER: EACH(u / NAME(length)(u));
    case CAUCHY: EACH(u / (u * u / 2 + 1));
    case GEMAN_MCCLURE: EACH(16 * u / ((u * u + 4) * (u * u + 4)));
    case WELSCH: EACH(NAME(kept)(u, OWN(whole_exp)(-u * u / 2)));
    default: EACH(NAME(kept)(u, OWN(whole_exp)(less * OWN(log1p)(u * u / width))));
    }
}

/* The residuals of some voxels, zero where the mask is and behind the last one; and their weights. */
static void NAME(residuals)(const NAME(Call) * c, int64_t at, const REAL *mask, int64_t n, REAL *restrict r,
                            REAL *restrict weight) {
    const REAL *x = c->x + at, *t = c->t + at;
    if (mask)
        for (int64_t i = 0; i < n; ++i) {
            weight[i] = mask[i];
            r[i] = mask[i] > 0 ? x[i] - t[i] : 0;
        }
    else
        for (int64_t i = 0; i < n; ++i) r[i] = x[i] - t[i];
    for (int64_t i = n; i < TILE; ++i) r[i] = weight[i] = 0;
    if (c->scale != 1)
        for (int i = 0; i < TILE; ++i) r[i] /= c->scale;
}

/* Of voxels start to end of a volume: the penalties into `map` (where there is one); returns their sum. */
static double NAME(forward_block)(const NAME(Call) * c, int64_t volume, int64_t start, int64_t end, REAL *map) {
    REAL r[TILE], weight[TILE], value[TILE];
    const REAL *mask = c->mask ? c->mask + volume / c->shared * c->voxels : NULL;
    double total = 0;
    for (int64_t first = start; first < end; first += TILE) {
        const int64_t n = end - first < TILE ? end - first : TILE, at = volume * c->voxels + first;
        REAL part[LANES] = {0};
        NAME(residuals)(c, at, mask ? mask + first : NULL, n, r, weight);
        NAME(penalise)(c, r, value);
        if (mask)
            for (int i = 0; i < TILE; ++i) value[i] *= weight[i];
        for (int i = 0; i < TILE; i += LANES)
            for (int lane = 0; lane < LANES; ++lane) part[lane] += value[i + lane];
        for (int lane = 0; lane < LANES; ++lane) total += (double)part[lane];
        if (map) memcpy(map + at, value, (size_t)n * sizeof(REAL));
    }
    return total;
}

/* The gradient of voxels start to end of a volume, from a map above or one number. */
static void NAME(backward_block)(const NAME(Call) * c, int64_t volume, int64_t start, int64_t end, const REAL *grad,
                                 REAL all, REAL *out) {
    REAL r[TILE], weight[TILE], value[TILE];
    const REAL *mask = c->mask ? c->mask + volume / c->shared * c->voxels : NULL;
    for (int64_t first = start; first < end; first += TILE) {
        const int64_t n = end - first < TILE ? end - first : TILE, at = volume * c->voxels + first;
        NAME(residuals)(c, at, mask ? mask + first : NULL, n, r, weight);
        NAME(slope)(c, r, value);
        if (mask)
            for (int i = 0; i < TILE; ++i) value[i] *= weight[i];
        for (int64_t i = 0; i < n; ++i) out[at + i] = value[i] * ((grad ? grad[at + i] : all) / c->scale);
        if (mask)
            for (int64_t i = 0; i < n; ++i) out[at + i] = weight[i] > 0 ? out[at + i] : 0;
    }
}

static NAME(Call) NAME(call)(const REAL *x, const REAL *t, const REAL *mask, int64_t shared, int64_t voxels,
                             int64_t penalty, double gamma, double scale) {
    return (NAME(Call)){x, t, mask, voxels, shared, (int)penalty, (REAL)gamma, (REAL)scale, (REAL)fabs(gamma - 2)};
}

/* The map, or the sums of the volumes. */
MEDLOSS_EXPORT int NAME(pointwise_forward)(const REAL *x, const REAL *t, const REAL *mask, int64_t shared,
                                           int64_t volumes, int64_t voxels, int64_t penalty, double gamma, double scale,
                                           REAL *map, double *sums, int threads) {
    const NAME(Call) c = NAME(call)(x, t, mask, shared, voxels, penalty, gamma, scale);
    const int64_t blocks = (voxels + BLOCK - 1) / BLOCK;
    double *parts = malloc((size_t)(volumes * blocks) * sizeof(double));
    if (!parts) return 1;
    if (map) prefer_huge_pages(map, (size_t)(volumes * voxels) * sizeof(REAL));
#pragma omp parallel for collapse(2) schedule(static) num_threads(threads)
    for (int64_t v = 0; v < volumes; ++v)
        for (int64_t b = 0; b < blocks; ++b) {
            const int64_t end = (b + 1) * BLOCK < voxels ? (b + 1) * BLOCK : voxels;
            parts[v * blocks + b] = NAME(forward_block)(&c, v, b * BLOCK, end, map);
        }
    for (int64_t v = 0; sums && v < volumes; ++v) {
        sums[v] = 0;
        for (int64_t b = 0; b < blocks; ++b) sums[v] += parts[v * blocks + b];
    }
    free(parts);
    return 0;
}

/* The gradient of x, from an upstream map `grad` or, without one, from one number `all` for each volume. */
MEDLOSS_EXPORT int NAME(pointwise_backward)(const REAL *x, const REAL *t, const REAL *mask, int64_t shared,
                                            int64_t volumes, int64_t voxels, int64_t penalty, double gamma,
                                            double scale, const REAL *grad, const REAL *all, REAL *out, int threads) {
    const NAME(Call) c = NAME(call)(x, t, mask, shared, voxels, penalty, gamma, scale);
    const int64_t blocks = (voxels + BLOCK - 1) / BLOCK;
    prefer_huge_pages(out, (size_t)(volumes * voxels) * sizeof(REAL));
#pragma omp parallel for collapse(2) schedule(static) num_threads(threads)
    for (int64_t v = 0; v < volumes; ++v)
        for (int64_t b = 0; b < blocks; ++b) {
            const int64_t end = (b + 1) * BLOCK < voxels ? (b + 1) * BLOCK : voxels;
            NAME(backward_block)(&c, v, b * BLOCK, end, grad, grad ? 0 : all[v], out);
        }
    return 0;
}

#undef EACH
#undef JOIN
#undef JOIN2
#undef OWN
#undef NAME
#endif
