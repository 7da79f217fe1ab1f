/* Powers of a base of at least 0, as the focal factor is one.
 *
 * The base is kept off zero, as in the references: there the slope is zero, and neither NaN nor infinite for an
 * exponent below one. The exponents that losses are mostly given cost neither exp nor log. */
#ifndef MEDLOSS_FOCAL_HPP
#define MEDLOSS_FOCAL_HPP

#include "native.hpp"

namespace {

/* `value` of each d, which is the base kept off zero. */
#define EACH_BASE(value)                                  \
    for (int64_t i = 0; i < n; ++i) {                     \
        const Real d = base[i] < least ? least : base[i]; \
        to[i] = (value);                                  \
    }
/* The same, but zero where the base is below the smallest number. */
#define EACH_SLOPE(value)                                                  \
    for (int64_t i = 0; i < n; ++i) {                                      \
        const Real d = base[i] < least ? least : base[i], found = (value); \
        to[i] = base[i] < least ? 0 : found;                               \
    }

/* gamma base^(gamma - 1). */
template <typename Real>
inline void power_slopes(Itself<Real> gamma, int64_t n, const Real *__restrict base, Real *__restrict to) {
    const Real least = smallest<Real>(), less = gamma - 1;
    if (gamma == 2)
        for (int64_t i = 0; i < n; ++i) to[i] = 2 * base[i];
    else if (gamma == 0)
        for (int64_t i = 0; i < n; ++i) to[i] = base[i] != base[i] ? base[i] : 0;
    else if (gamma == 1)
        EACH_SLOPE(d != d ? d : 1)
    else if (gamma == (Real)0.5)
        EACH_SLOPE((Real)0.5 / root_of(d))
    else if (gamma == (Real)1.5)
        EACH_SLOPE((Real)1.5 * root_of(d))
    else if (gamma == 3)
        EACH_SLOPE(3 * (d * d))
    else
        EACH_SLOPE(gamma * exp_of(less * log_from_one(d)))
}

/* base^gamma in place, and its slope beside it where asked for. */
template <typename Real>
inline void powers(Itself<Real> gamma, int64_t n, Real *__restrict base, Itself<Real> *__restrict slope) {
    const Real least = smallest<Real>();
    Real *to = base;
    if (slope) power_slopes(gamma, n, base, slope);
    if (gamma == 2)
        for (int64_t i = 0; i < n; ++i) to[i] = base[i] * base[i];
    else if (gamma == 0)
        for (int64_t i = 0; i < n; ++i) to[i] = base[i] != base[i] ? base[i] : 1;
    else if (gamma == 1)
        EACH_BASE(d)
    else if (gamma == (Real)0.5)
        EACH_BASE(root_of(d))
    else if (gamma == (Real)1.5)
        EACH_BASE(d * root_of(d))
    else if (gamma == 3)
        EACH_BASE(d * d * d)
    else
        EACH_BASE(exp_of(gamma * log_from_one(d)))
}
#undef EACH_BASE
#undef EACH_SLOPE

} // namespace

#endif
