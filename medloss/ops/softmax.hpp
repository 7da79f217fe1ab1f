/* Rows of logits into rows of exponentials and their sum. Calls whose constant arguments are null or 0 become loops
 * without them.
 *
 * A softmax need not take off the largest logit where the sum of the exponentials stays far from overflow and
 * underflow: the sum is looked at afterwards, and the tile computed again with care where it does not (NaN too). */
#ifndef MEDLOSS_SOFTMAX_HPP
#define MEDLOSS_SOFTMAX_HPP

#include "native.hpp"

namespace {

/* A logit of minus infinity, a forbidden class, is taken for -10000, as in probabilities.py. */
template <typename Real>
inline Real made_finite(Real z) {
    return z == -(Real)INFINITY ? (Real)-10000 : z;
}

/* One class of a voxel is certain where it leaves the others less than this, 2^-10. Its complement and its gradient,
 * as differences, would lose the digits that they need; they are sums over the other classes. */
template <typename Real>
constexpr Real unsure = (Real)0.0009765625;

/* What is to be done with `n` voxels. Rows of one pointer lie `..._step` apart; `p` may be `z`. */
template <typename Real>
struct SoftmaxRows {
    const Real *z;
    Real *p, *norm; /* exponentials, or null where their sum is enough */
    int64_t z_step, p_step, classes, n;
    int64_t ahead;      /* voxels of a tile, whose logits are asked for before their use; 0 where they are near */
    const Real *weight; /* what weighs nothing is not looked at; null where all do */
    const Real *top;    /* taken off first, or null */
    const Real *base;   /* a factor of each class, `base_step` apart ... */
    Real *pull;         /* ... for the sum of the factors times the exponentials, where `pulls` */
    int64_t base_step;
};

/* Asks for the row that comes four rows after that of class c, of this tile or of a later one: rows of different
 * classes lie too far apart for the processor to foresee. Beyond the tensor's end nothing happens. */
template <typename Real>
inline void ask_ahead(const SoftmaxRows<Real> *s, int64_t c) {
    const int64_t next = c + 4, later = next / s->classes;
    const char *row = (const char *)(s->z + (next - later * s->classes) * s->z_step + later * s->ahead);
    for (int64_t at = 0; at < s->n * (int64_t)sizeof(Real); at += 64) __builtin_prefetch(row + at);
}

/* Two classes at once, so that the sums are loaded and stored half as often. `careful`: 1 where the largest logit is
 * taken off, 2 where logits of minus infinity are made finite, too. */
template <typename Real>
MEDLOSS_INLINE void exp_rows(const SoftmaxRows<Real> *s, int weighted, int careful, int stored,
                             int pulls) {
    const int64_t n = s->n;
    const Real *__restrict w = s->weight, *__restrict top = s->top;
    Real *__restrict norm = s->norm, *__restrict pull = s->pull;
#define SEEN(row) (weighted && !(w[i] > 0) ? 0 : careful > 1 ? made_finite((row)[i]) : (row)[i])
#define LOGIT(row) (SEEN(row) - (careful ? top[i] : 0))
    int64_t c = s->classes % 2;
    if (c) {
        const Real *z = s->z, base = pulls ? s->base[0] : 0;
        Real *p = s->p;
        if (s->ahead) ask_ahead(s, 0);
#pragma omp simd
        for (int64_t i = 0; i < n; ++i) {
            const Real e = exp_of(LOGIT(z));
            if (stored) p[i] = e;
            norm[i] = e;
            if (pulls) pull[i] = base * e;
        }
    } else {
        memset(norm, 0, sizeof(Real) * (size_t)n);
        if (pulls) memset(pull, 0, sizeof(Real) * (size_t)n);
    }
    for (; c < s->classes; c += 2) {
        const Real *z0 = s->z + c * s->z_step, *z1 = z0 + s->z_step;
        const Real base0 = pulls ? s->base[c * s->base_step] : 0, base1 = pulls ? s->base[(c + 1) * s->base_step] : 0;
        Real *p0 = stored ? s->p + c * s->p_step : nullptr, *p1 = stored ? p0 + s->p_step : nullptr;
        if (s->ahead) {
            ask_ahead(s, c);
            ask_ahead(s, c + 1);
        }
#pragma omp simd
        for (int64_t i = 0; i < n; ++i) {
            const Real e0 = exp_of(LOGIT(z0)), e1 = exp_of(LOGIT(z1));
            if (stored) p0[i] = e0;
            if (stored) p1[i] = e1;
            norm[i] += e0 + e1;
            if (pulls) pull[i] += base0 * e0 + base1 * e1;
        }
    }
#undef LOGIT
#undef SEEN
}

/* The largest logit of each voxel; a NaN is kept. */
template <typename Real>
void top_rows(const SoftmaxRows<Real> *s, Real *__restrict top) {
    const int64_t n = s->n;
    const Real *__restrict w = s->weight, *__restrict z = s->z;
#pragma omp simd
    for (int64_t i = 0; i < n; ++i) top[i] = w && !(w[i] > 0) ? 0 : z[i];
    for (int64_t c = 1; c < s->classes; ++c) {
        z = s->z + c * s->z_step;
        if (w)
#pragma omp simd
            for (int64_t i = 0; i < n; ++i) {
                const Real x = w[i] > 0 ? z[i] : 0;
                top[i] = x > top[i] ? x : top[i];
            }
        else
#pragma omp simd
            for (int64_t i = 0; i < n; ++i) top[i] = z[i] > top[i] ? z[i] : top[i];
    }
}

template <typename Real>
int out_of_range(const Real *__restrict norm, int64_t n) {
    const Real least = sizeof(Real) == 4 ? (Real)1e-20 : (Real)1e-200;
    const Real most = sizeof(Real) == 4 ? (Real)1e30 : (Real)1e250;
    int found = 0;
#pragma omp simd reduction(| : found)
    for (int64_t i = 0; i < n; ++i) found |= !(norm[i] > least && norm[i] < most);
    return found;
}

/* Exponentials, their sum and, with `pulls`, the sum of their products with `base`; returns whether it must be done
 * again with care, for which the logits must stand in `z`. */
template <bool pulls, typename Real>
int softmax_rows(const SoftmaxRows<Real> *s) {
    s->weight ? exp_rows(s, 1, 0, 1, pulls) : exp_rows(s, 0, 0, 1, pulls);
    return out_of_range(s->norm, s->n);
}

/* Makes the largest logit finite where a voxel's classes are all forbidden; returns whether one's are. */
template <typename Real>
int all_forbidden(int64_t n, Real *__restrict top) {
    int found = 0;
#pragma omp simd reduction(| : found)
    for (int64_t i = 0; i < n; ++i) found |= top[i] == -(Real)INFINITY;
    for (int64_t i = 0; found && i < n; ++i) top[i] = made_finite(top[i]);
    return found;
}

/* The same with the largest logit in `top` and taken off; `p` may be null where nothing is weighed or pulled. */
template <bool pulls, typename Real>
void careful_softmax_rows(SoftmaxRows<Real> *s, Real *top) {
    const int weighted = s->weight != nullptr, stored = s->p != nullptr;
    top_rows(s, top);
    s->top = top;
    if (all_forbidden(s->n, top))
        exp_rows(s, weighted, 2, stored, pulls);
    else if (weighted)
        exp_rows(s, 1, 1, 1, pulls);
    else
        pulls || stored ? exp_rows(s, 0, 1, 1, pulls) : exp_rows(s, 0, 1, 0, 0);
}

/* Sums over the classes but each voxel's certain one: of `rows`, `step` apart. */
template <typename Real>
inline void sum_of_others(const Real *rows, int64_t step, int64_t classes, int64_t n,
                          const int32_t *__restrict certain, Real *__restrict sum) {
    memset(sum, 0, sizeof(Real) * (size_t)n);
    for (int64_t c = 0; c < classes; ++c) {
        const Real *__restrict row = rows + c * step;
        const int32_t own_class = (int32_t)c;
#pragma omp simd
        for (int64_t i = 0; i < n; ++i) sum[i] += certain[i] == own_class ? 0 : row[i];
    }
}

/* Finds each voxel's certain class, -1 where there is none, from shares `p` times `unit` (1 where it is null);
 * returns whether there is one. */
template <typename Real>
inline int find_certain(const Real *p, int64_t step, int64_t classes, int64_t n, const Itself<Real> *__restrict unit,
                        int32_t *__restrict certain) {
    int found = 0;
    for (int64_t i = 0; i < n; ++i) certain[i] = -1;
    for (int64_t c = 0; c < classes; ++c) {
        const Real *__restrict row = p + c * step;
        const int32_t own_class = (int32_t)c;
#pragma omp simd reduction(| : found)
        for (int64_t i = 0; i < n; ++i) {
            const int sure = row[i] * (unit ? unit[i] : 1) > 1 - unsure<Real>;
            certain[i] = sure ? own_class : certain[i];
            found |= sure;
        }
    }
    return found;
}

} // namespace

#endif
