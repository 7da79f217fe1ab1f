/* What a window's sums say, and the three maps its gradient is made of.
 *
 * A window whose variance is no more than the rounding of its sums is constant. `value` is the statistic
 * times the weight; with `upstream` the maps a, b, c are those of the gradient y K*a + x K*b - K*c. */
#include "products.hpp"

namespace {

constexpr int ROUNDING = 32; /* as in reference.py */

/* A row of windows. */
template <typename Real>
struct Result {
    const Real *sums;     /* a row of each map, at a pitch */
    const Real *inverse;  /* one over the mass of each window; not where there are weights */
    const Real *weight;   /* of each voxel, or null */
    const Real *upstream; /* or null */
    Real *value, *a = nullptr, *b = nullptr, *c = nullptr;
};

/* The squared correlation, or the correlation itself. */
template <int masked, int gradient, int root, typename Real>
MEDLOSS_APART void correlate(const Plan<Real> &plan, const Result<Real> &row) {
    const int64_t pitch = plan.pitch;
    const Real *sx = row.sums, *sy = sx + Y * pitch, *sxx = sx + XX * pitch, *syy = sx + YY * pitch;
    const Real *sxy = sx + XY * pitch, *mass = sx + MASS * pitch;
    const Real *inverse = row.inverse, *weight = row.weight, *upstream = row.upstream;
    Real *value = row.value, *to_a = row.a, *to_b = row.b, *to_c = row.c;
    const Real flat = ROUNDING * epsilon<Real>(), nr = plan.nr, dr = plan.dr;
    each_entry(plan.axes[2].size, [=](int64_t i) MEDLOSS_INLINED {
        const Real over_mass = masked ? 1 / (mass[i] > 0 ? mass[i] : 1) : inverse[i];
        const Real mean_x = sx[i] * over_mass, mean_y = sy[i] * over_mass;
        const Real found_x = sxx[i] - sx[i] * mean_x, found_y = syy[i] - sy[i] * mean_y;
        const Real limit_x = flat * sxx[i], limit_y = flat * syy[i];
        const Real var_x = found_x <= limit_x ? 0 : found_x, var_y = found_y <= limit_y ? 0 : found_y;
        Real cross = sxy[i] - sx[i] * mean_y;
        cross = found_x <= limit_x ? 0 : cross;
        cross = found_y <= limit_y ? 0 : cross;
        const Real b = var_x < dr ? dr : var_x, c = var_y < dr ? dr : var_y;
        const Real over = root ? root_of(1 / (b * c)) : 1 / (b * c), w = masked ? weight[i] : 1;
        const Real result = root ? cross * over : (cross * cross + nr) * over;
        value[i] = result * w;
        if (gradient) {
            const Real g = upstream[i] * w;
            Real slope = root ? g * over : 2 * g * cross * over, curve = (root ? -g : -2 * g) * result / b;
            slope = found_x <= limit_x ? 0 : slope;
            slope = found_y <= limit_y ? 0 : slope;
            curve = found_x <= limit_x ? 0 : curve;
            curve = var_x < dr ? 0 : curve;
            to_a[i] = slope;
            to_b[i] = curve;
            to_c[i] = slope * mean_y + curve * mean_x;
        }
    });
}

/* One minus SSIM, with its luminance or without; its constants c1 and c2 lie in nr and dr. */
template <int masked, int gradient, int lit, typename Real>
MEDLOSS_APART void dissimilate(const Plan<Real> &plan, const Pair<Real> &p, const Result<Real> &row) {
    const int64_t pitch = plan.pitch;
    const Real *sum_x = row.sums, *sum_d = sum_x + Y * pitch, *sxx = sum_x + XX * pitch, *syy = sum_x + YY * pitch;
    const Real *sdd = sum_x + XY * pitch, *mass = sum_x + MASS * pitch;
    const Real *inverse = row.inverse, *weight = row.weight, *upstream = row.upstream;
    Real *value = row.value, *to_a = row.a, *to_b = row.b, *to_c = row.c;
    const Real flat = ROUNDING * epsilon<Real>(), c1 = plan.nr, c2 = plan.dr;
    const Real level_x = p.mean_x, level_d = p.mean_x - p.mean_y;
    const int plain = plan.plain;
    each_entry(plan.axes[2].size, [=](int64_t i) MEDLOSS_INLINED {
        const Real over = masked ? 1 / (mass[i] > 0 ? mass[i] : 1) : inverse[i];
        const Real sx = sum_x[i], sd = sum_d[i], sy = sx - sd, xx = sxx[i], yy = syy[i], dd = sdd[i];
        const Real found_x = xx - sx * sx * over, found_y = yy - sy * sy * over, found_d = dd - sd * sd * over;
        const Real var_x = found_x <= flat * xx ? 0 : found_x * over;
        const Real var_d = found_d <= flat * dd ? 0 : found_d * over;
        const Real var_y = found_y <= flat * yy ? 0 : found_y * over;
        const Real spread = var_x + var_y + c2, part = 1 / (spread != 0 ? spread : 1);
        const Real structure = spread != 0 ? var_d * part : 0;
        const Real mean_x = sx * over + level_x, mean_d = sd * over + level_d, mean_y = mean_x - mean_d;
        const Real energy = mean_x * mean_x + mean_y * mean_y + c1, share = 1 / (energy != 0 ? energy : 1);
        const Real luminance = lit && energy != 0 ? mean_d * mean_d * share : 0;
        const Real result = structure + luminance - structure * luminance;
        const Real w = masked && !plain ? weight[i] : 1;
        Real held = result < 0 ? 0 : result;
        held = held > 2 ? 2 : held;
        value[i] = w * held;
        if (gradient) {
            Real g = upstream[i] * w * over * 2;
            g = result != held && result == result ? 0 : g;
            Real a = g * (1 - luminance) * part, b = -a * structure;
            a = found_d <= flat * dd ? 0 : a;
            a = spread != 0 ? a : 0;
            b = found_x <= flat * xx ? 0 : b;
            b = spread != 0 ? b : 0;
            Real m = g * (1 - structure) * (mean_d - luminance * mean_x) * share;
            m = lit && energy != 0 ? m : 0;
            to_a[i] = a;
            to_b[i] = b;
            to_c[i] = a * sd * over + b * sx * over - m;
        }
    });
}

/* The mean absolute difference. */
template <typename Real>
void mean_errors(const Plan<Real> &plan, const Result<Real> &row) {
    const Real *sum = row.sums, *mass = sum + ERROR_MASS * plan.pitch;
    const Real *inverse = row.inverse, *weight = row.weight, *upstream = row.upstream;
    Real *value = row.value, *slope = row.a;
    each_entry(plan.axes[2].size, [=](int64_t i) MEDLOSS_INLINED {
        const Real over = weight ? weight[i] / (mass[i] > 0 ? mass[i] : 1) : inverse[i];
        value[i] = sum[i] * over;
        if (upstream) slope[i] = upstream[i] * over;
    });
}

template <typename Real>
void evaluate(const Plan<Real> &plan, const Pair<Real> &p, const Result<Real> &row) {
    with_truths(row.weight != nullptr, row.upstream != nullptr, [&](auto masked, auto gradient) {
        switch (plan.statistic) {
        case ERROR: mean_errors(plan, row); break;
        case SIGNED: correlate<masked, gradient, 1>(plan, row); break;
        case SSIM: dissimilate<masked, gradient, 1>(plan, p, row); break;
        case STRUCTURE: dissimilate<masked, gradient, 0>(plan, p, row); break;
        default: correlate<masked, gradient, 0>(plan, row);
        }
    });
}

} // namespace
