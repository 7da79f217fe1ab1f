/* Penalties that compare two images: the map or the sums of a piece, and its gradient. */
#include "../focal.hpp"
#include "functions.hpp"
#include "penalties.hpp"

namespace {

constexpr int PIECE = 256, RESIDUAL_LANES = 16, RESIDUAL_BLOCK = 1 << 15;

/* One call's images and penalty. */
template <typename Real>
struct Residuals {
    const Real *x, *t, *mask;
    int64_t voxels, shared;   /* of a volume; volumes that share a mask */
    int penalty, of_target;   /* of_target: the gradient is that of t */
    Real gamma, scale, width; /* width: |gamma - 2| */
};

template <typename Real>
inline Real clamped(Real u, Real delta) { /* NaN passes */
    u = u < -delta ? -delta : u;
    return u > delta ? delta : u;
}

/* sqrt(u^2 + 1), of which a square that would overflow is no part. */
template <typename Real>
inline Real length(Real u) {
    const Real a = u < 0 ? -u : u;
    const Real root = root_of(u * u + 1);
    return a > (sizeof(Real) == 4 ? (Real)1e9 : (Real)1e100) ? a : root;
}

/* A residual times what is left of its slope, of which an infinite one has nothing. */
template <typename Real>
inline Real kept(Real u, Real share) {
    return share != 0 ? u * share : 0;
}

/* (1 - (1 - u^2)^3) / 6 up to 1, and what is left of the residual in its slope. */
template <typename Real>
inline Real biweight(Real u) {
    const Real s = u * u > 1 ? 1 : u * u;
    return s * (3 - s * (3 - s)) / 6;
}

template <typename Real>
inline Real biweight_left(Real u) {
    const Real left = (1 - u) * (1 + u); /* with the digits of a residual close to 1 */
    return u * u > 1 ? 0 : left * left;
}

/* a log((a + eps) / (b + eps)), and 0 where a is 0; and its slopes in a and b. */
template <typename Real>
inline Real entropy(Real a, Real b, Real eps) {
    const Real value = a * (log_of(a + eps) - log_of(b + eps));
    return a != 0 ? value : 0;
}

template <typename Real>
inline Real entropy_first(Real a, Real b, Real eps) {
    const Real slope = log_of(a + eps) - log_of(b + eps) + a / (a + eps);
    return a != 0 ? slope : 0;
}

template <typename Real>
inline Real entropy_second(Real a, Real b, Real eps) {
    return a != 0 ? -a / (b + eps) : 0;
}

template <typename Real>
inline Real shannon(Real a, Real b, Real eps) {
    const Real middle = (a + b) / 2;
    return (entropy(a, middle, eps) + entropy(b, middle, eps)) / 2;
}

template <typename Real>
inline Real shannon_slope(Real a, Real b, Real eps) { /* in a */
    const Real middle = (a + b) / 2;
    const Real shared = entropy_second(a, middle, eps) + entropy_second(b, middle, eps);
    return (entropy_first(a, middle, eps) + shared / 2) / 2;
}

#define EACH(value)                             \
    for (int i = 0; i < PIECE; ++i) {           \
        const Real u = first[i], v = second[i]; \
        (void)v;                                \
        out[i] = (value);                       \
    }                                           \
    break
#define VALUE(name, value, ...) \
    case name: EACH(value);
#define SLOPE(name, value, slope, ...) \
    case name: EACH(slope);
#define TARGET_SLOPE(name, value, slope, target_slope) \
    case name: EACH(target_slope);

template <typename Real>
void penalise(const Residuals<Real> *c, const Real *__restrict first, const Real *__restrict second,
              Real *__restrict out) {
    const Real gamma = c->gamma, width = c->width;
    switch (c->penalty) { MEDLOSS_RESIDUALS(VALUE) MEDLOSS_DIVERGENCES(VALUE) }
}

/* The slopes in the residual, or in x. */
template <typename Real>
void slope(const Residuals<Real> *c, const Real *__restrict first, const Real *__restrict second,
           Real *__restrict out) {
    const Real gamma = c->gamma, width = c->width;
    switch (c->penalty) { MEDLOSS_RESIDUALS(SLOPE) MEDLOSS_DIVERGENCES(SLOPE) }
}

/* The slopes of a divergence in t. */
template <typename Real>
void slope_of_target(const Residuals<Real> *c, const Real *__restrict first, const Real *__restrict second,
                     Real *__restrict out) {
    const Real gamma = c->gamma;
    switch (c->penalty) { MEDLOSS_DIVERGENCES(TARGET_SLOPE) }
}

/* Of some voxels the residuals, or both images of a divergence: zero where the mask is and behind the last one; and
 * the weights. */
template <typename Real>
void read_piece(const Residuals<Real> *c, int64_t at, const Real *mask, int64_t n, Real *__restrict first,
                Real *__restrict second, Real *__restrict weight) {
    const Real *x = c->x + at, *t = c->t + at;
    for (int64_t i = n; i < PIECE; ++i) first[i] = second[i] = weight[i] = 0;
    if (mask) memcpy(weight, mask, (size_t)n * sizeof(Real));
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
        for (int i = 0; i < PIECE; ++i) first[i] /= c->scale;
}

/* Of voxels start to end of a volume: the penalties into `map` (where there is one); returns their sum. */
template <typename Real>
double forward_block(const Residuals<Real> *c, int64_t volume, int64_t start, int64_t end, Real *map) {
    Real first_of[PIECE], second_of[PIECE] = {0}, weight[PIECE], value[PIECE];
    const Real *mask = c->mask ? c->mask + volume / c->shared * c->voxels : nullptr;
    double total = 0;
    for (int64_t first = start; first < end; first += PIECE) {
        const int64_t n = end - first < PIECE ? end - first : PIECE, at = volume * c->voxels + first;
        Real part[RESIDUAL_LANES] = {0};
        read_piece(c, at, mask ? mask + first : nullptr, n, first_of, second_of, weight);
        penalise(c, first_of, second_of, value);
        if (mask)
            for (int i = 0; i < PIECE; ++i) value[i] *= weight[i];
        for (int i = 0; i < PIECE; i += RESIDUAL_LANES)
            for (int lane = 0; lane < RESIDUAL_LANES; ++lane) part[lane] += value[i + lane];
        for (int lane = 0; lane < RESIDUAL_LANES; ++lane) total += (double)part[lane];
        if (map) memcpy(map + at, value, (size_t)n * sizeof(Real));
    }
    return total;
}

/* The gradient of voxels start to end of a volume, from a map above or one number. */
template <typename Real>
void backward_block(const Residuals<Real> *c, int64_t volume, int64_t start, int64_t end, const Real *grad, Real all,
                    Real *out) {
    Real first_of[PIECE], second_of[PIECE] = {0}, weight[PIECE], value[PIECE];
    const Real *mask = c->mask ? c->mask + volume / c->shared * c->voxels : nullptr;
    const Real unit = c->of_target && c->penalty < FIRST_DIVERGENCE ? -c->scale : c->scale;
    for (int64_t first = start; first < end; first += PIECE) {
        const int64_t n = end - first < PIECE ? end - first : PIECE, at = volume * c->voxels + first;
        read_piece(c, at, mask ? mask + first : nullptr, n, first_of, second_of, weight);
        if (c->of_target && c->penalty >= FIRST_DIVERGENCE)
            slope_of_target(c, first_of, second_of, value);
        else
            slope(c, first_of, second_of, value);
        if (mask)
            for (int i = 0; i < PIECE; ++i) value[i] *= weight[i];
        for (int64_t i = 0; i < n; ++i) out[at + i] = value[i] * ((grad ? grad[at + i] : all) / unit);
        if (mask)
            for (int64_t i = 0; i < n; ++i) out[at + i] = weight[i] > 0 ? out[at + i] : 0;
    }
}

/* The map, or the sums of the volumes. */
template <typename Real>
int residuals_forward(const Residuals<Real> &c, int64_t volumes, Real *map, double *sums, int threads) {
    const int64_t blocks = (c.voxels + RESIDUAL_BLOCK - 1) / RESIDUAL_BLOCK;
    double *parts = room<double>(volumes * blocks);
    if (!parts) return 1;
    if (map) prefer_huge_pages(map, (size_t)(volumes * c.voxels) * sizeof(Real));
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t at = 0; at < volumes * blocks; ++at) {
        const int64_t start = at % blocks * RESIDUAL_BLOCK, end = start + RESIDUAL_BLOCK;
        parts[at] = forward_block(&c, at / blocks, start, end < c.voxels ? end : c.voxels, map);
    }
    for (int64_t v = 0; sums && v < volumes; ++v) {
        sums[v] = 0;
        for (int64_t b = 0; b < blocks; ++b) sums[v] += parts[v * blocks + b];
    }
    free(parts);
    return 0;
}

/* The gradient of x or, with `of_target`, of t, from an upstream map `grad` or, without one, from one number `all`
 * for each volume. */
template <typename Real>
int residuals_backward(const Residuals<Real> &c, int64_t volumes, const Real *grad, const Real *all, Real *out,
                       int threads) {
    const int64_t blocks = (c.voxels + RESIDUAL_BLOCK - 1) / RESIDUAL_BLOCK;
    prefer_huge_pages(out, (size_t)(volumes * c.voxels) * sizeof(Real));
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t at = 0; at < volumes * blocks; ++at) {
        const int64_t v = at / blocks, start = at % blocks * RESIDUAL_BLOCK, end = start + RESIDUAL_BLOCK;
        backward_block(&c, v, start, end < c.voxels ? end : c.voxels, grad, grad ? 0 : all[v], out);
    }
    return 0;
}

#undef EACH
#undef VALUE
#undef SLOPE
#undef TARGET_SLOPE

} // namespace
