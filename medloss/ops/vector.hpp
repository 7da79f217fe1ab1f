/* Vectors of 32 bytes, and rows that are taken by them. */
#ifndef MEDLOSS_VECTOR_HPP
#define MEDLOSS_VECTOR_HPP

#include "native.hpp"

namespace {

inline int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
inline int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }

/* A number among a function's arguments that is known when the function is compiled. */
template <int number>
struct Number {
    constexpr operator int() const { return number; }
};

/* 32 bytes that may lie anywhere, and as many as integers of their size, for masks. */
template <typename Real>
struct Lanes;
template <>
struct Lanes<float> {
    using Integer = int32_t;
    typedef float Vector __attribute__((vector_size(32), aligned(4), may_alias));
    typedef Integer Whole __attribute__((vector_size(32), aligned(4), may_alias));
};
template <>
struct Lanes<double> {
    using Integer = int64_t;
    typedef double Vector __attribute__((vector_size(32), aligned(8), may_alias));
    typedef Integer Whole __attribute__((vector_size(32), aligned(8), may_alias));
};
template <typename Real>
using Vector = typename Lanes<Real>::Vector;
template <typename Real>
using Whole = typename Lanes<Real>::Whole;
template <typename Real>
constexpr int64_t LANES = 32 / sizeof(Real);

template <typename Real>
MEDLOSS_INLINE Vector<Real> load(const Real *from) {
    return *(const Vector<Real> *)from;
}

template <typename Real>
MEDLOSS_INLINE void store(Real *to, Vector<Real> x) {
    *(Vector<Real> *)to = x;
}

/* The sign; NaN stays. */
template <typename Real>
MEDLOSS_INLINE Vector<Real> sign(Vector<Real> x) {
    const Vector<Real> one = Vector<Real>{} + 1;
    const Vector<Real> up = (Vector<Real>)((Whole<Real>)one & (x > 0));
    const Vector<Real> down = (Vector<Real>)((Whole<Real>)one & (x < 0));
    return (Vector<Real>)((Whole<Real>)(up - down) | (x != x));
}

/* Where a number is above zero, or is none. */
template <typename Real>
MEDLOSS_INLINE Vector<Real> positive(Vector<Real> x) {
    return (Vector<Real>)((Whole<Real>)x & ~(Whole<Real>)(x <= 0));
}

/* At least the floor; NaN stays. */
template <typename Real>
MEDLOSS_INLINE Vector<Real> at_least(Vector<Real> x, Real floor) {
    const Whole<Real> below = (Whole<Real>)(x < floor);
    return (Vector<Real>)(((Whole<Real>)(Vector<Real>{} + floor) & below) | ((Whole<Real>)x & ~below));
}

/* Room that begins at a line of the cache, of zeros. */
template <typename Real>
Real *blank_lines(int64_t count) {
    Real *first = lines<Real>(count);
    if (first) memset(first, 0, sizeof(Real) * (size_t)count);
    return first;
}

/* `body(i)` for n entries of rows that do not overlap, which no compiler sees. */
template <typename Body>
MEDLOSS_INLINE void each_entry(int64_t n, Body body) {
#pragma GCC ivdep
    for (int64_t i = 0; i < n; ++i) body(i);
}

/* A row of n entries by single vectors: `body(x)` for each. The last one overlaps the one before it; of a row shorter
 * than a vector there is room behind. */
template <typename Real, typename Body>
MEDLOSS_INLINE void by_vectors(int64_t n, Body body) {
    for (int64_t block = 0; block < n; block += LANES<Real>) body(most(0, least(block, n - LANES<Real>)));
}

/* A row by four vectors at a time: `body(x, count)` for `count` vectors from x on; the last block overlaps the one
 * before it. A row shorter than four is taken by single vectors, one shorter than these by `one(x)`. */
template <typename Real, typename Body, typename One>
MEDLOSS_INLINE void by_blocks(int64_t n, Body body, One one) {
    constexpr int64_t lanes = LANES<Real>, block = 4 * lanes;
    int64_t x = 0;
    for (; x < n && n >= block; x += block) body(least(x, n - block), Number<4>{});
    for (; x < n && n >= lanes; x += lanes) body(least(x, n - lanes), Number<1>{});
    for (; x < n; ++x) one(x);
}

} // namespace

#endif
