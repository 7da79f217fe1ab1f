/* One call of joint_histogram: its operands, and where intensities go. */
#include "../vector.hpp"

namespace {

enum { GROUP = 8, MOST_REACH = 32 }; /* bins that are added to at once; bins on either side of a window's own */
enum { GAUSSIAN, SPLINE, MATTES };   /* `kernel` of the calls */

template <typename Real>
MEDLOSS_INLINE Real clamp(Real value, Real low, Real high) { /* NaN passes */
    value = value < low ? low : value;
    return value > high ? high : value;
}

/* Where an image's intensities go: from its range to the bins. */
template <typename Real>
struct Scale {
    Real low, high, factor;

    Real place(Real value) const { return (clamp(value, low, high) - low) * factor; }
};

/* The operands, and what follows from the options. */
template <typename Real>
struct Call {
    const Real *x, *y, *mask;
    int64_t batch, voxels;
    const double *ranges;
    int kernel, bins, reach;
    int64_t side;                /* bins of a histogram along an axis, with its margin */
    double sharpness;            /* 1 / (2 sigma^2) */
    double fall[MOST_REACH + 1]; /* exp(-sharpness k^2) */

    Call(const Real *input, const Real *target, const Real *weight, int64_t samples, int64_t size, const double *ends,
         int64_t windows, int64_t number, int64_t far, double sigma_ratio)
        : x(input), y(target), mask(weight), batch(samples), voxels(size), ranges(ends), kernel((int)windows),
          bins((int)number), reach(windows == GAUSSIAN ? (int)far : 0), side(bins + 2 * reach + GROUP),
          sharpness(1 / (2 * sigma_ratio * sigma_ratio)) {
        for (int k = 0; k <= reach; ++k) fall[k] = exp(-sharpness * k * k);
    }

    int64_t area() const { return side * side; }
    int64_t corner(int64_t row) const { return (row + reach) * side + reach; } /* of the bins, behind the margin */

    Scale<Real> scale(const double *range) const {
        const double width = range[1] > range[0] ? range[1] - range[0] : 1;
        return {(Real)range[0], (Real)range[1], (Real)((kernel == GAUSSIAN ? bins - 1 : bins - 4) / width)};
    }
};

} // namespace
