/* Rows of real numbers of any type, half precision among them. */
#ifndef MEDLOSS_REAL_ROWS_HPP
#define MEDLOSS_REAL_ROWS_HPP

#include "native.hpp"

namespace {

/* A row of a type, from entry `at` on and `stride` apart, widened. */
template <typename Real>
MEDLOSS_INLINE void load_row(const void *input, int64_t type, int64_t at, int64_t stride,
                             int64_t n, Real *__restrict out) {
    const uint16_t *__restrict half = (const uint16_t *)input + at;
    const Real *__restrict own = (const Real *)input + at;
    if (type == REAL_BF16)
        for (int64_t i = 0; i < n; ++i) out[i] = from_bf16(half[i * stride]);
    else if (type == REAL_F16)
        for (int64_t i = 0; i < n; ++i) out[i] = from_f16(half[i * stride]);
    else
        for (int64_t i = 0; i < n; ++i) out[i] = own[i * stride];
}

/* The same, rounded to a type. */
template <typename Real>
MEDLOSS_INLINE void round_row(const Real *__restrict row, int64_t n, int64_t type, int64_t at,
                              int64_t stride, void *__restrict out) {
    uint16_t *__restrict half = (uint16_t *)out + at;
    Real *__restrict own = (Real *)out + at;
    if (type == REAL_BF16)
        for (int64_t i = 0; i < n; ++i) half[i * stride] = to_bf16((float)row[i]);
    else if (type == REAL_F16)
        for (int64_t i = 0; i < n; ++i) half[i * stride] = to_f16((float)row[i]);
    else
        for (int64_t i = 0; i < n; ++i) own[i * stride] = row[i];
}

} // namespace

#endif
