/* pointwise on the CPU: penalties that compare two images (see penalties.h), a sweep for their map or sums and one
 * for the gradient, a tile of voxels at a time. Those of logits are in likelihood.h.
 *
 * Sums are taken of blocks of fixed size and added in order: the result does not depend on the number of
 * threads.
 */
#ifndef REAL

#include "../native.h"
#include "penalties.h"

enum { TILE = 256, LANES = 16, BLOCK = 1 << 15 };

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

/* log(x) of any x: the exponent, and the area tangent of a mantissa between the roots of 1/2 and 2. NaN and infinity
 * stay, 0 gives minus infinity, and what is below gives NaN. */
static inline float log_f32(float x) {
    const float scaled = x < 1.17549435e-38f ? x * 8388608.0f : x; /* 2^23: a denormal has no exponent of its own */
    union { float f; int32_t i; } bits = {.f = scaled};
    const int32_t above = bits.i - 0x3f3504f3;
    const float exponent = (float)(above >> 23) - (x < 1.17549435e-38f ? 23.0f : 0.0f);
    bits.i = (above & 0x007fffff) + 0x3f3504f3;
    const float u = (bits.f - 1.0f) / (bits.f + 1.0f), s = u * u;
    float q = 1.0f / 9.0f;
    q = q * s + 1.0f / 7.0f;
    q = q * s + 1.0f / 5.0f;
    q = q * s + 1.0f / 3.0f;
    q = q * s + 1.0f;
    const float value = exponent * 0.693147181f + 2.0f * u * q;
    return x > 0.0f ? (x < 3.0e38f ? value : x) : x == 0.0f ? -INFINITY : NAN;
}

static inline double log_f64(double x) { return log(x); }

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
    int penalty, of_target; /* of_target: the gradient is that of t */
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

/* A residual times what is left of its slope, of which an infinite one has nothing. */
static inline REAL NAME(kept)(REAL u, REAL share) { return share != 0 ? u * share : 0; }

/* (1 - (1 - u^2)^3) / 6 up to 1, and what is left of the residual in its slope. */
static inline REAL NAME(biweight)(REAL u) {
    const REAL s = u * u > 1 ? 1 : u * u;
    return s * (3 - s * (3 - s)) / 6;
}

static inline REAL NAME(biweight_left)(REAL u) {
    const REAL left = (1 - u) * (1 + u); /* with the digits of a residual close to 1 */
    return u * u > 1 ? 0 : left * left;
}

/* a log((a + eps) / (b + eps)), and 0 where a is 0; and its slopes in a and b. */
static inline REAL NAME(entropy)(REAL a, REAL b, REAL eps) {
    const REAL value = a * (OWN(log)(a + eps) - OWN(log)(b + eps));
    return a != 0 ? value : 0;
}

static inline REAL NAME(entropy_first)(REAL a, REAL b, REAL eps) {
    const REAL slope = OWN(log)(a + eps) - OWN(log)(b + eps) + a / (a + eps);
    return a != 0 ? slope : 0;
}

static inline REAL NAME(entropy_second)(REAL a, REAL b, REAL eps) { return a != 0 ? -a / (b + eps) : 0; }

static inline REAL NAME(shannon)(REAL a, REAL b, REAL eps) {
    const REAL middle = (a + b) / 2;
    return (NAME(entropy)(a, middle, eps) + NAME(entropy)(b, middle, eps)) / 2;
}

static inline REAL NAME(shannon_slope)(REAL a, REAL b, REAL eps) { /* in a */
    const REAL middle = (a + b) / 2;
    const REAL shared = NAME(entropy_second)(a, middle, eps) + NAME(entropy_second)(b, middle, eps);
    return (NAME(entropy_first)(a, middle, eps) + shared / 2) / 2;
}

#define EACH(value)                                   \
    for (int i = 0; i < TILE; ++i) {                  \
        const REAL u = first[i], v = second[i];       \
        (void)v;                                      \
        out[i] = (value);                             \
    }                                                 \
    break
#define VALUE(name, value, ...) \
    case name: EACH(value);
#define SLOPE(name, value, slope, ...) \
    case name: EACH(slope);
#define TARGET_SLOPE(name, value, slope, target_slope) \
    case name: EACH(target_slope);

static void NAME(penalise)(const NAME(Call) * c, const REAL *restrict first, const REAL *restrict second,
                           REAL *restrict out) {
    const REAL gamma = c->gamma, width = c->width;
    switch (c->penalty) { MEDLOSS_RESIDUALS(VALUE) MEDLOSS_DIVERGENCES(VALUE) }
}

/* The slopes in the residual, or in x. */
static void NAME(slope)(const NAME(Call) * c, const REAL *restrict first, const REAL *restrict second,
                        REAL *restrict out) {
    const REAL gamma = c->gamma, width = c->width;
    switch (c->penalty) { MEDLOSS_RESIDUALS(SLOPE) MEDLOSS_DIVERGENCES(SLOPE) }
}

/* The slopes of a divergence in t. */
static void NAME(slope_of_target)(const NAME(Call) * c, const REAL *restrict first, const REAL *restrict second,
                                  REAL *restrict out) {
    const REAL gamma = c->gamma;
    switch (c->penalty) { MEDLOSS_DIVERGENCES(TARGET_SLOPE) }
}

/* Of some voxels the residuals, or both images of a divergence: zero where the mask is and behind the last one; and the
 * weights. */
static void NAME(read)(const NAME(Call) * c, int64_t at, const REAL *mask, int64_t n, REAL *restrict first,
                       REAL *restrict second, REAL *restrict weight) {
    const REAL *x = c->x + at, *t = c->t + at;
    for (int64_t i = n; i < TILE; ++i) first[i] = second[i] = weight[i] = 0;
    if (mask) memcpy(weight, mask, (size_t)n * sizeof(REAL));
    if (c->penalty >= FIRST_DIVERGENCE) {
        for (int64_t i = 0; i < n; ++i) {
            first[i] = !mask || mask[i] > 0 ? x[i] : 0;
            second[i] = !mask || mask[i] > 0 ? t[i] : 0;
        }
        return;
    }
    if (mask)
        for (int64_t i = 0; i < n; ++i) first[i] = mask[i] > 0 ? x[i] - t[i] : 0;
    else
        for (int64_t i = 0; i < n; ++i) first[i] = x[i] - t[i];
    if (c->scale != 1)
        for (int i = 0; i < TILE; ++i) first[i] /= c->scale;
}

/* Of voxels start to end of a volume: the penalties into `map` (where there is one); returns their sum. */
static double NAME(forward_block)(const NAME(Call) * c, int64_t volume, int64_t start, int64_t end, REAL *map) {
    REAL first_of[TILE], second_of[TILE] = {0}, weight[TILE], value[TILE];
    const REAL *mask = c->mask ? c->mask + volume / c->shared * c->voxels : NULL;
    double total = 0;
    for (int64_t first = start; first < end; first += TILE) {
        const int64_t n = end - first < TILE ? end - first : TILE, at = volume * c->voxels + first;
        REAL part[LANES] = {0};
        NAME(read)(c, at, mask ? mask + first : NULL, n, first_of, second_of, weight);
        NAME(penalise)(c, first_of, second_of, value);
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
    REAL first_of[TILE], second_of[TILE] = {0}, weight[TILE], value[TILE];
    const REAL *mask = c->mask ? c->mask + volume / c->shared * c->voxels : NULL;
    const REAL unit = c->of_target && c->penalty < FIRST_DIVERGENCE ? -c->scale : c->scale;
    for (int64_t first = start; first < end; first += TILE) {
        const int64_t n = end - first < TILE ? end - first : TILE, at = volume * c->voxels + first;
        NAME(read)(c, at, mask ? mask + first : NULL, n, first_of, second_of, weight);
        if (c->of_target && c->penalty >= FIRST_DIVERGENCE)
            NAME(slope_of_target)(c, first_of, second_of, value);
        else
            NAME(slope)(c, first_of, second_of, value);
        if (mask)
            for (int i = 0; i < TILE; ++i) value[i] *= weight[i];
        for (int64_t i = 0; i < n; ++i) out[at + i] = value[i] * ((grad ? grad[at + i] : all) / unit);
        if (mask)
            for (int64_t i = 0; i < n; ++i) out[at + i] = weight[i] > 0 ? out[at + i] : 0;
    }
}

static NAME(Call) NAME(call)(const REAL *x, const REAL *t, const REAL *mask, int64_t shared, int64_t voxels,
                             int64_t penalty, double gamma, double scale, int of_target) {
    return (NAME(Call)){x, t, mask, voxels, shared, (int)penalty, of_target, (REAL)gamma, (REAL)scale,
                        (REAL)fabs(gamma - 2)};
}

/* The map, or the sums of the volumes. */
MEDLOSS_EXPORT int NAME(pointwise_forward)(const REAL *x, const REAL *t, const REAL *mask, int64_t shared,
                                           int64_t volumes, int64_t voxels, int64_t penalty, double gamma, double scale,
                                           REAL *map, double *sums, int threads) {
    const NAME(Call) c = NAME(call)(x, t, mask, shared, voxels, penalty, gamma, scale, 0);
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

/* The gradient of x or, with `of_target`, of t, from an upstream map `grad` or, without one, from one number `all` for each volume. */
MEDLOSS_EXPORT int NAME(pointwise_backward)(const REAL *x, const REAL *t, const REAL *mask, int64_t shared,
                                            int64_t volumes, int64_t voxels, int64_t penalty, double gamma,
                                            double scale, int64_t of_target, const REAL *grad, const REAL *all,
                                            REAL *out, int threads) {
    const NAME(Call) c = NAME(call)(x, t, mask, shared, voxels, penalty, gamma, scale, (int)of_target);
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
#undef VALUE
#undef SLOPE
#undef TARGET_SLOPE
#undef JOIN
#undef JOIN2
#undef OWN
#undef NAME
#endif
