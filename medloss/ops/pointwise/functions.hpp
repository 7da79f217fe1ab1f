/* Functions of any number, which the compiler can vectorise for float. */
#ifndef MEDLOSS_POINTWISE_FUNCTIONS_HPP
#define MEDLOSS_POINTWISE_FUNCTIONS_HPP

#include "../native.hpp"

namespace {

/* exp(y), to its ends. */
inline float whole_exp(float y) { return y > 88.0f ? INFINITY : y < -87.0f ? 0.0f : exp_of(y); }
inline double whole_exp(double y) { return exp(y); }

/* exp(y) - 1; the series where the difference would cancel. NaN and what overflows stay. */
inline float expm1_of(float y) {
    float q = 1.0f / 40320.0f;
    q = q * y + 1.0f / 5040.0f;
    q = q * y + 1.0f / 720.0f;
    q = q * y + 1.0f / 120.0f;
    q = q * y + 1.0f / 24.0f;
    q = q * y + 1.0f / 6.0f;
    q = q * y + 0.5f;
    q = q * y + 1.0f;
    const float far = whole_exp(y) - 1.0f;
    return y > -0.5f && y < 0.5f ? q * y : far;
}

inline double expm1_of(double y) { return expm1(y); }

/* log(1 + z) of a z of at least 0. */
inline float log1p_of(float z) {
    const float near = log1p_unit(z < 1.0f ? z : 1.0f), far = log_from_one(z > 0.0f ? 1.0f + z : 1.0f);
    return z <= 1.0f ? near : z > 1.0f ? far : z;
}

inline double log1p_of(double z) { return log1p(z); }

/* log(x) of any x: the exponent, and the area tangent of a mantissa between the roots of 1/2 and 2. NaN and infinity
 * stay, 0 gives minus infinity, and what is below gives NaN. */
inline float log_of(float x) {
    const float scaled = x < 1.17549435e-38f ? x * 8388608.0f : x; /* 2^23: a denormal has no exponent of its own */
    union {
        float f;
        int32_t i;
    } bits = {.f = scaled};
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

inline double log_of(double x) { return log(x); }

} // namespace

#endif
