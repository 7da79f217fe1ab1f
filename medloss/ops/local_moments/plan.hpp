/* What holds for all volumes of a call, and a thread's rows on their way through the windows. */
#include "axis.hpp"

namespace {

enum { ZERO, RENORMALISE, MASKED, REFLECT }; /* what lies beyond the border */
/* for SSIM, Y is the difference and XY its square, and YY is of y still */
enum { X, Y, XX, YY, XY, MASS, MAPS };
/* the square; SSIM without luminance; the correlation itself; the mean difference */
enum { CORRELATION, SSIM, STRUCTURE, SIGNED, ERROR };
enum { ERROR_MASS = 1 }; /* behind the differences, which are its only map */

template <typename Real>
struct Plan {
    Axis axes[3]; /* depth, height, width */
    int border, statistic, maps, slopes; /* maps that windows sum up, and those of the gradient */
    int plain;                           /* values are not weighted: they enter a product first */
    Real nr, dr;
    int64_t pitch, margin; /* entries of a row, in whole lines of the cache, and of the zeros around it */
    Real taps[3][LONGEST], *inverse = nullptr; /* inverse: one over the weight within the volume along a row */
    Real scale, volume; /* what the axes of equal weights owe, which are summed as ones; the weight of a window */

    Plan(const Axis &depth, const Axis &height, const Axis &width, int beyond, int asked, int masked, int unweighted,
         double numerator, double denominator)
        : axes{depth, height, width}, border(beyond), statistic(asked),
          maps(asked == ERROR ? 1 + masked : masked ? MAPS : MASS), slopes(asked == ERROR ? 1 : 3), plain(unweighted),
          nr((Real)numerator), dr((Real)denominator) {
        const int64_t step = 2 * LANES<Real>;
        pitch = (width.size + step - 1) / step * step;
        margin = (width.reach + step - 1) / step * step;
        double owed = 1, weight = 1;
        for (int a = 0; a < 3; ++a) {
            double sum = 0;
            for (int64_t j = 0; j < axes[a].length; ++j) {
                sum += axes[a].window[j];
                taps[a][j] = (Real)axes[a].window[j];
            }
            weight *= sum;
            if (axes[a].box) owed *= axes[a].window[0];
        }
        for (int64_t j = 0; j < width.length && !width.box; ++j) taps[2][j] = (Real)(width.window[j] * owed);
        scale = (Real)owed;
        volume = (Real)weight;
    }

    int take() {
        int failed = 0;
        for (Axis &axis : axes) failed |= axis.take();
        inverse = room<Real>(axes[2].size);
        if (failed || !inverse) return 1;
        for (int64_t i = 0; i < axes[2].size; ++i) inverse[i] = (Real)(1 / axes[2].inside[i]);
        return 0;
    }
    void give() {
        for (Axis &axis : axes) axis.give();
        free(inverse);
    }

    int64_t voxels() const { return axes[0].size * axes[1].size * axes[2].size; }
    int64_t at(int64_t z, int64_t y) const { return (z * axes[1].size + y) * axes[2].size; }
    int is_ssim() const { return statistic == SSIM || statistic == STRUCTURE; }
};

/* Some maps of four planes, as their rows pass through the window: summed along z they enter a ring, those
 * are summed along y into rows with a margin, and these along x. */
template <typename Real>
struct Stage {
    int64_t maps, slot, row; /* entries of a row of all maps of the four planes, and of one with its margin */
    Real *ring = nullptr, *padded, *sums;

    int take(const Plan<Real> &plan, int64_t count) {
        maps = count;
        slot = GROUP * maps * plan.pitch + 2 * LANES<Real>; /* off a power of two: rows share no cache set */
        row = plan.pitch + 2 * plan.margin;
        const int64_t rows = (plan.axes[1].length + GROUP - 1) * slot, wide = GROUP * maps * row;
        ring = blank_lines<Real>(rows + wide + maps * plan.pitch);
        padded = ring + rows;
        sums = padded + wide;
        return !ring;
    }
    void give() { free(ring); }
};

} // namespace
