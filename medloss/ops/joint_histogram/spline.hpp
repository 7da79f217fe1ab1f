/* Cubic B-splines for the input, boxes for the target, voxel by voxel. */
#include "gaussian.hpp"

namespace {

/* `mattes` is a constant where these are called, and compiled away. */

/* The position of an intensity on the bins of the splines, two of which are padding on either side. */
template <typename Real>
MEDLOSS_INLINE Real position_of(const Call<Real> &c, const Scale<Real> &s, int mattes, Real value) {
    return clamp(s.place(value) + 2, (Real)2, (Real)(c.bins - (mattes ? 2 : 3)));
}

/* The whole part of a position, for which there are two more bins above; 2 for NaN. */
template <typename Real>
MEDLOSS_INLINE int below_of(const Call<Real> &c, int mattes, Real position) {
    const int below = position >= 2 ? (int)position : 2;
    return mattes && below > c.bins - 3 ? c.bins - 3 : below;
}

/* The weights of a cubic B-spline, and its first bin. */
template <typename Real>
MEDLOSS_INLINE int cubic(const Call<Real> &c, const Scale<Real> &s, int mattes, Real value, double *w, double *slope) {
    const Real position = position_of(c, s, mattes, value);
    const int below = below_of(c, mattes, position);
    const double f = (double)position - below, g = 1 - f;
    w[0] = g * g * g / 6;
    w[1] = (4 - 6 * f * f + 3 * f * f * f) / 6;
    w[2] = (4 - 6 * g * g + 3 * g * g * g) / 6;
    w[3] = f * f * f / 6;
    if (slope) {
        slope[0] = -g * g / 2;
        slope[1] = (-4 * f + 3 * f * f) / 2;
        slope[2] = (4 * g - 3 * g * g) / 2;
        slope[3] = f * f / 2;
    }
    return below - 1;
}

/* The weights of the box around a bin; halfway between two bins it is half in each. Mattes' box goes from its
 * bin to the next one. */
template <typename Real>
MEDLOSS_INLINE int box(const Call<Real> &c, const Scale<Real> &s, int mattes, Real value, double *w) {
    const Real position = position_of(c, s, mattes, value);
    const int below = below_of(c, mattes, position);
    const Real f = position - (Real)below;
    w[0] = mattes || f < (Real)0.5 ? 1 : f == (Real)0.5 ? 0.5 : 0;
    w[1] = 1 - w[0];
    if (!(f >= 0)) w[0] = w[1] = (double)f; /* NaN */
    return below;
}

template <typename Real>
MEDLOSS_INLINE void count_spline(const Call<Real> &c, int mattes, const Scale<Real> &sx, const Scale<Real> &sy,
                                 int64_t start, int64_t end, double *counts) {
    double wx[4], wy[2];
    for (int64_t i = start; i < end; ++i) {
        const Real weight = c.mask ? c.mask[i] : 1;
        if (!(weight > 0)) continue;
        double *corner = counts + cubic(c, sx, mattes, c.x[i], wx, nullptr) * c.side;
        corner += box(c, sy, mattes, c.y[i], wy);
        for (int a = 0; a < 4; ++a, corner += c.side) {
            const double wa = (double)weight * wx[a];
            corner[0] += wa * wy[0];
            corner[1] += wa * wy[1];
        }
    }
}

/* `table`: each bin's cotangent. */
template <typename Real>
MEDLOSS_INLINE void slope_spline(const Call<Real> &c, int mattes, const Scale<Real> &sx, const Scale<Real> &sy,
                                 int64_t start, int64_t end, const double *table, Real *out) {
    double wx[4], wy[2], slope[4];
    const Real first = 2, last = (Real)(c.bins - (mattes ? 0 : 3)); /* Mattes' range ends at its end */
    for (int64_t i = start; i < end; ++i) {
        const Real weight = c.mask ? c.mask[i] : 1, x = c.x[i], place = (x - sx.low) * sx.factor + 2;
        out[i] = 0;
        if (!(weight > 0) || x < sx.low || x > sx.high || place < first || place > last) continue;
        const double *corner = table + cubic(c, sx, mattes, x, wx, slope) * c.side;
        corner += box(c, sy, mattes, c.y[i], wy);
        double total = 0;
        for (int a = 0; a < 4; ++a, corner += c.side) total += slope[a] * (corner[0] * wy[0] + corner[1] * wy[1]);
        out[i] = (Real)((double)weight * (double)sx.factor * total);
    }
}

} // namespace
