/* The products of two images whose window sums a statistic is made of, summed along z as they are formed.
 *
 * For SSIM the second is the difference and the last its square: neither an offset nor two images that are
 * nearly equal cost digits. With weights every product is weighted, and their sum is the window's mass. */
#include "filter.hpp"

namespace {

/* Two volumes and what weighs them; a constant is taken off each. */
template <typename Real>
struct Pair {
    const Real *x, *y, *weight;
    Real mean_x, mean_y;
};

/* Row y of the planes that a group of windows looks at, without the constant; nothing where the weight is
 * zero. */
template <typename Real>
inline void stage(const Plan<Real> &plan, const Pair<Real> &p, int64_t first, Span there, int64_t y, Real *staged) {
    const Axis &depth = plan.axes[0];
    const int64_t width = plan.axes[2].size;
    const Real mean_x = p.mean_x, mean_y = p.mean_y;
    for (int64_t j = there.low; j < there.high; ++j) {
        const int64_t at = plan.at(depth.place(first - depth.reach + j), y);
        const Real *x_row = p.x + at, *y_row = p.y + at, *weight = p.weight ? p.weight + at : nullptr;
        fetch(x_row + width, width);
        fetch(y_row + width, width);
        Real *u = staged + j * 3 * plan.pitch, *v = u + plan.pitch, *w = v + plan.pitch;
        if (!weight)
            each_entry(width, [=](int64_t i) MEDLOSS_INLINED { u[i] = x_row[i] - mean_x, v[i] = y_row[i] - mean_y; });
        else
            each_entry(width, [=](int64_t i) MEDLOSS_INLINED {
                const Real one = x_row[i] - mean_x, other = y_row[i] - mean_y; /* the choice needs no branch */
                w[i] = weight[i];
                u[i] = weight[i] > 0 ? one : 0;
                v[i] = weight[i] > 0 ? other : 0;
            });
    }
}

/* The products of one vector of a staged row. */
template <int ssim, int masked, typename Real>
MEDLOSS_INLINE void products(const Real *row, int64_t pitch, int64_t x, Vector<Real> *product) {
    const Vector<Real> u = load(row + x), v = load(row + x + pitch);
    Vector<Real> wu = u, wv = v, second = v;
    if (ssim) second = u - v;
    Vector<Real> ws = second;
    if constexpr (masked != 0) {
        const Vector<Real> w = load(row + x + 2 * pitch);
        wu *= w, wv *= w, ws *= w;
        product[MASS] = w;
    }
    product[X] = wu, product[Y] = ws, product[XX] = wu * u, product[YY] = wv * v;
    product[XY] = wu * v;
    if (ssim) product[XY] = ws * second;
}

/* Their sums over four windows of equal weights along z: `out` holds the maps of the first window, then the
 * next's. */
template <int ssim, int masked, typename Real>
MEDLOSS_INLINE void product_boxes(const Real *__restrict staged, int64_t length, Span there, int64_t pitch,
                                  Real *__restrict out) {
    constexpr int maps = masked ? MAPS : MASS;
    const Span shared = common(there, {GROUP - 1, length});
    for (int64_t x = 0; x < pitch; x += LANES<Real>) {
        Vector<Real> sum[maps] = {};
        const auto add = [&](int64_t j) MEDLOSS_INLINED {
            Vector<Real> one[maps];
            products<ssim, masked>(staged + j * 3 * pitch, pitch, x, one);
            for (int m = 0; m < maps; ++m) sum[m] += one[m];
        };
        for (int64_t j = shared.low; j < shared.high; ++j) add(j);
        for (int64_t j = GROUP - 1; j >= 0; --j) {
            if (j < GROUP - 1 && there.low <= j && j < there.high) add(j);
            for (int m = 0; m < maps; ++m) store(out + (j * maps + m) * pitch + x, sum[m]);
        }
        for (int m = 0; m < maps; ++m) sum[m] = Vector<Real>{};
        for (int64_t j = 1; j < GROUP; ++j) {
            const int64_t behind = length + j - 1;
            if (there.low <= behind && behind < there.high) add(behind);
            for (int m = 0; m < maps; ++m) {
                Real *to = out + (j * maps + m) * pitch + x;
                store(to, load(to) + sum[m]);
            }
        }
    }
}

/* The same for any weights, the maps from `low` to `high` alone: more sums than these do not fit the
 * registers. */
template <int ssim, int masked, int low, int high, typename Real>
MEDLOSS_INLINE void product_sums(const Real *__restrict staged, const Real *taps, int64_t length, Span there,
                                 int64_t pitch, Real *__restrict out) {
    constexpr int maps = masked ? MAPS : MASS;
    for (int64_t x = 0; x < pitch; x += LANES<Real>) {
        Vector<Real> sum[GROUP][3] = {}, one[maps];
        for (int64_t j = there.low; j < there.high; ++j) {
            products<ssim, masked>(staged + j * 3 * pitch, pitch, x, one);
#pragma GCC unroll 4
            for (int64_t g = 0; g < GROUP; ++g)
                if (g <= j && j - g < length)
                    for (int m = low; m < high; ++m) sum[g][m - low] += taps[j - g] * one[m];
        }
#pragma GCC unroll 4
        for (int64_t g = 0; g < GROUP; ++g)
            for (int m = low; m < high; ++m) store(out + (g * maps + m) * pitch + x, sum[g][m - low]);
    }
}

template <int ssim, int masked, typename Real>
MEDLOSS_APART void product_group(const Plan<Real> &plan, const Real *staged, Span there, Real *out) {
    const int64_t length = plan.axes[0].length, pitch = plan.pitch;
    const Real *taps = plan.taps[0];
    if (plan.axes[0].box) {
        product_boxes<ssim, masked>(staged, length, there, pitch, out);
        return;
    }
    product_sums<ssim, masked, X, XX>(staged, taps, length, there, pitch, out);
    product_sums<ssim, masked, XX, MASS>(staged, taps, length, there, pitch, out);
    if (masked) product_sums<ssim, masked, MASS, MAPS>(staged, taps, length, there, pitch, out);
}

/* Row y of the absolute differences of the planes that a group of windows looks at, and of the weights, summed
 * along z. */
template <typename Real>
void errors_row(const Plan<Real> &plan, const Pair<Real> &p, Real *staged, Span there, Real *out) {
    const int64_t pitch = plan.pitch, width = plan.axes[2].size;
    const Real *rows[LONGEST + GROUP];
    Real *to[GROUP];
    for (int64_t j = there.low; j < there.high; ++j) {
        Real *u = staged + j * 3 * pitch, *v = u + pitch, *w = v + pitch;
        each_entry(width, [=](int64_t i) MEDLOSS_INLINED { u[i] = u[i] < v[i] ? v[i] - u[i] : u[i] - v[i]; });
        if (p.weight) each_entry(width, [=](int64_t i) MEDLOSS_INLINED { u[i] *= w[i]; });
    }
    for (int64_t m = 0; m < plan.maps; ++m) {
        for (int64_t j = there.low; j < there.high; ++j) rows[j] = staged + (3 * j + (m ? 2 : 0)) * pitch;
        for (int64_t g = 0; g < GROUP; ++g) to[g] = out + (g * plan.maps + m) * pitch;
        filter_group(plan.axes[0], plan.taps[0], rows, there, pitch, to);
    }
}

/* `body(a, b)` with two truths that are known when it is compiled. */
template <typename Body>
MEDLOSS_INLINE void with_truths(int a, int b, Body body) {
    if (a && b) body(Number<1>{}, Number<1>{});
    else if (a) body(Number<1>{}, Number<0>{});
    else if (b) body(Number<0>{}, Number<1>{});
    else body(Number<0>{}, Number<0>{});
}

/* Row y of the products, summed along z for the windows of a group of planes. */
template <typename Real>
void moments_row(const Plan<Real> &plan, const Pair<Real> &p, Real *staged, int64_t first, int64_t y, Real *out) {
    const Span there = plan.axes[0].seen(first, plan.axes[0].all);
    stage(plan, p, first, there, y, staged);
    if (plan.statistic == ERROR)
        errors_row(plan, p, staged, there, out);
    else
        with_truths(plan.is_ssim(), p.weight != nullptr, [&](auto ssim, auto masked) {
            product_group<ssim, masked>(plan, staged, there, out);
        });
}

} // namespace
