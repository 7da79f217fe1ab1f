/* Numbers of 16 bits: bfloat16 and IEEE half. */
#ifndef MEDLOSS_HALF_PRECISION_HPP
#define MEDLOSS_HALF_PRECISION_HPP

#include <stdint.h>

namespace {

/* A tile is widened on loading and rounded to nearest even on storing; NaN and Inf stay. */
enum { REAL_OWN = 0, REAL_BF16 = 1, REAL_F16 = 2 };

inline float from_bf16(uint16_t h) {
    union { uint32_t u; float f; } bits = {.u = (uint32_t)h << 16};
    return bits.f;
}

inline uint16_t to_bf16(float x) {
    union { float f; uint32_t u; } bits = {.f = x};
    uint32_t rounded = (bits.u + 0x7fffu + ((bits.u >> 16) & 1u)) >> 16;
    return (uint16_t)(x == x ? rounded : 0x7fc0u);
}

inline float from_f16(uint16_t h) {
    union { uint32_t u; float f; } bits = {.u = (uint32_t)(h & 0x7fffu) << 13};
    bits.f *= 5.192296858534828e33f; /* 2^112: the difference of the exponents' biases, right for denormals too */
    bits.u |= (h & 0x7c00u) == 0x7c00u ? 0x7f800000u : 0;
    bits.u |= (uint32_t)(h & 0x8000u) << 16;
    return bits.f;
}

inline uint16_t to_f16(float x) {
    union { float f; uint32_t u; } bits = {.f = x}, small;
    uint32_t sign = bits.u & 0x80000000u;
    bits.u ^= sign;
    small.f = bits.f + 0.5f; /* aligns a denormal's digits with the end of the mantissa */
    uint32_t normal = (bits.u + 0xc8000fffu + ((bits.u >> 13) & 1u)) >> 13;
    uint32_t special = bits.u > 0x7f800000u ? 0x7e00u : 0x7c00u;
    uint32_t found = bits.u >= 0x47800000u ? special : bits.u < 0x38800000u ? small.u - 0x3f000000u : normal;
    return (uint16_t)(found | (sign >> 16));
}

} // namespace

#endif
