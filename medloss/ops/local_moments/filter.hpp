/* Weighted sums of rows, for four neighbouring windows at a time.
 *
 * Windows of equal weights share the rows that all four hold: with k rows each, k + 3 are read and k + 6
 * added for four sums. Nothing is ever taken off again, as from running sums: a sum has the digits of its own
 * window. Written with vectors, as compilers fuse the loops of the plain form into scalar ones. */
#include "plan.hpp"

namespace {

/* Four windows of equal weights over the rows of a list of which `there` exist. */
template <typename Real>
inline void boxes(const Real *const *rows, int64_t length, Span there, int64_t pitch, Real *const *out) {
    constexpr int64_t lanes = LANES<Real>;
    const Span shared = common(there, {GROUP - 1, length});
    for (int64_t x = 0; x < pitch; x += 2 * lanes) {
        Vector<Real> a = {}, b = {}, sum[GROUP][2];
        for (int64_t j = shared.low; j < shared.high; ++j) a += load(rows[j] + x), b += load(rows[j] + x + lanes);
#pragma GCC unroll 4
        for (int64_t j = GROUP - 1; j >= 0; --j) { /* and what lies before, for the earlier ones */
            if (j < GROUP - 1 && there.low <= j && j < there.high)
                a += load(rows[j] + x), b += load(rows[j] + x + lanes);
            sum[j][0] = a, sum[j][1] = b;
        }
        Vector<Real> c = {}, d = {};
#pragma GCC unroll 4
        for (int64_t j = 0; j < GROUP; ++j) { /* and behind, for the later ones */
            const int64_t behind = length + j - 1;
            if (j > 0 && there.low <= behind && behind < there.high)
                c += load(rows[behind] + x), d += load(rows[behind] + x + lanes);
            store(out[j] + x, sum[j][0] + c);
            store(out[j] + x + lanes, sum[j][1] + d);
        }
    }
}

/* Four windows of any weights. */
template <typename Real>
MEDLOSS_APART void weighted(const Real *const *rows, const Real *taps, int64_t length, Span there, int64_t pitch,
                            Real *const *out) {
    constexpr int64_t lanes = LANES<Real>;
    for (int64_t x = 0; x < pitch; x += 2 * lanes) {
        Vector<Real> sum[GROUP][2] = {};
        for (int64_t j = there.low; j < there.high; ++j) {
            const Vector<Real> a = load(rows[j] + x), b = load(rows[j] + x + lanes);
#pragma GCC unroll 4
            for (int64_t g = 0; g < GROUP; ++g)
                if (g <= j && j - g < length) { /* no weight of zero instead: it would spread a NaN */
                    sum[g][0] += taps[j - g] * a;
                    sum[g][1] += taps[j - g] * b;
                }
        }
#pragma GCC unroll 4
        for (int64_t g = 0; g < GROUP; ++g) store(out[g] + x, sum[g][0]), store(out[g] + x + lanes, sum[g][1]);
    }
}

template <typename Real>
inline void filter_group(const Axis &axis, const Real *taps, const Real *const *rows, Span there, int64_t pitch,
                         Real *const *out) {
    if (axis.box) boxes(rows, axis.length, there, pitch, out);
    else weighted(rows, taps, axis.length, there, pitch, out);
}

/* `count` vectors of a row along itself; by twos a processor would wait for each addition. */
template <int count, typename Real>
MEDLOSS_INLINE void filter_vectors(const Axis &axis, const Real *taps, Real scale, const Real *padded, Real *out) {
    constexpr int64_t lanes = LANES<Real>;
    Vector<Real> sum[count] = {};
    if (axis.box) {
        for (int64_t j = 0; j < axis.length; ++j)
            for (int i = 0; i < count; ++i) sum[i] += load(padded + j + i * lanes);
        for (int i = 0; i < count; ++i) sum[i] *= scale;
    } else {
        for (int64_t j = 0; j < axis.length; ++j)
            for (int i = 0; i < count; ++i) sum[i] += taps[j] * load(padded + j + i * lanes);
    }
    for (int i = 0; i < count; ++i) store(out + i * lanes, sum[i]);
}

/* A row along itself: `padded` starts with what the first window looks at. `scale` is what boxes owe. */
template <typename Real>
inline void filter_row(const Axis &axis, const Real *taps, Real scale, const Real *padded, int64_t pitch, Real *out) {
    constexpr int64_t four = 4 * LANES<Real>;
    int64_t x = 0;
    for (; x + four <= pitch; x += four) filter_vectors<4>(axis, taps, scale, padded + x, out + x);
    if (x < pitch) filter_vectors<2>(axis, taps, scale, padded + x, out + x);
}

} // namespace
