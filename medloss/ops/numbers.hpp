/* exp and log that the compiler can vectorise and that keep NaN, and what else both types of numbers need. */
#ifndef MEDLOSS_NUMBERS_HPP
#define MEDLOSS_NUMBERS_HPP

#include <float.h>
#include <math.h>
#include <stdint.h>

namespace {

/* exp in float: 2^n times a polynomial on [-ln2/2, ln2/2] (minimax of the relative error, 1e-7, and 1 at 0). Below -87
 * it gives 0, above 88 something beyond 1e38, and NaN stays: it fails the comparison and passes the polynomial. */
inline float exp_of(float x) {
    const float magic = 12583039.0f; /* 1.5 * 2^23 + 127: adding it rounds to n, and the last bits hold n + 127 */
    union { float f; int32_t i; uint32_t u; } power = {.f = x * 1.44269504f + magic};
    power.i = power.i < 0x4b4000fe ? power.i : 0x4b4000fe; /* n at most 127; a large x meets a large polynomial */
    float n = power.f - magic;
    float r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
    float q = 8.290284047e-3f;
    q = q * r + 4.189815940e-2f;
    q = q * r + 1.666763796e-1f;
    q = q * r + 4.999914785e-1f;
    q = q * r + 9.999997063e-1f;
    q = q * r + 1.0f;
    power.u <<= 23;
    return x < -87.0f ? 0.0f : q * power.f;
}

/* log(1 + e) for e in [0, 1]: twice the area tangent of e / (2 + e), which keeps tiny e. */
inline float log1p_unit(float e) {
    float u = e / (2.0f + e), s = u * u;
    float q = 1.0f / 15.0f;
    q = q * s + 1.0f / 13.0f;
    q = q * s + 1.0f / 11.0f;
    q = q * s + 1.0f / 9.0f;
    q = q * s + 1.0f / 7.0f;
    q = q * s + 1.0f / 5.0f;
    q = q * s + 1.0f / 3.0f;
    q = q * s + 1.0f;
    return 2.0f * u * q;
}

/* log of a number of at least one: exponent plus log1p of the mantissa's rest. */
inline float log_from_one(float x) {
    union { float f; uint32_t i; } bits = {.f = x};
    float exponent = (float)((int32_t)(bits.i >> 23) - 127);
    bits.i = (bits.i & 0x007fffffu) | 0x3f800000u;
    float value = exponent * 0.693147181f + log1p_unit(bits.f - 1.0f);
    return x < 3.0e38f ? value : x; /* NaN and Inf stay */
}

inline double exp_of(double x) { return exp(x); }
inline double log1p_unit(double e) { return log1p(e); }
inline double log_from_one(double x) { return log(x); }
inline float root_of(float x) { return sqrtf(x); }
inline double root_of(double x) { return sqrt(x); }

/* The smallest number with all its digits, and the step from one to the next number. */
template <typename Real>
inline Real smallest() {
    return sizeof(Real) == 4 ? (Real)FLT_MIN : (Real)DBL_MIN;
}
template <typename Real>
inline Real epsilon() {
    return sizeof(Real) == 4 ? (Real)FLT_EPSILON : (Real)DBL_EPSILON;
}

/* A sigmoid of a logit z: p and q = 1 - p, each with its digits, and exp(-|z|), of which their logarithms are made. */
template <typename Real>
struct Sigmoid {
    Real p, q, small;
};
template <typename Real>
inline __attribute__((always_inline)) Sigmoid<Real> sigmoid_of(Real z) {
    const Real e = exp_of(z > 0 ? -z : z), near = 1 / (1 + e), far = e * near;
    return {z > 0 ? near : far, z > 0 ? far : near, e};
}

} // namespace

#endif
