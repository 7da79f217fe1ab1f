/* What growths cost, and at which rate: rows of one number for each stencil. */
#include "../ordered_sums.hpp"
#include "rows.hpp"

namespace {

/* log of a normal number above zero: the exponent of what lies nearest to it, and the area tangent of the rest, which
 * is exact where the number is near one. */
inline float log_positive(float x) {
    union { float f; uint32_t i; } bits = {.f = x};
    bits.i += 0x3f800000u - 0x3f3504f3u;
    const float exponent = (float)((int32_t)(bits.i >> 23) - 127);
    bits.i = (bits.i & 0x007fffffu) + 0x3f3504f3u;
    const float rest = bits.f - 1.0f, u = rest / (2.0f + rest), s = u * u;
    float q = 1.0f / 9.0f;
    q = q * s + 1.0f / 7.0f;
    q = q * s + 1.0f / 5.0f;
    q = q * s + 1.0f / 3.0f;
    const float value = exponent * 0.693147181f + (2.0f * u + 2.0f * u * s * q);
    return x < 3.0e38f ? value : x; /* NaN and Inf stay */
}
inline double log_positive(double x) { return log(x); }

/* As log, and below the floor as its tangent there. */
template <typename Real>
inline Real logarithm(Real growth, Real floor, Real log_floor) {
    const Real value = log_positive(growth > floor ? growth : floor);
    return growth >= floor ? value : log_floor + (growth - floor) / floor;
}

/* The costs of a row, from its growths. */
template <typename Real>
void costs(Work<Real> *w) {
    const Real floor = w->f.floor, log_floor = w->f.log_floor;
    const auto add = [=](auto cost_of) {
        Real *__restrict cost = w->cost;
        const int64_t n = w->n;
        for (int64_t x = 0; x < n; ++x) cost[x] = 0;
        for (int64_t s = 0; s < w->f.simplices; ++s) {
            const Real *__restrict growth = w->growth + s * w->pitch, share = (Real)w->f.share_of(s);
            for (int64_t x = 0; x < n; ++x) cost[x] += cost_of(growth[x], share);
        }
    };
    switch (w->f.mode) {
    case FOLDING: add([](Real growth, Real share) { return growth >= 0 ? 0 : -growth * share; }); break;
    case VOLUME: add([](Real growth, Real share) { return share * (growth < 1 ? 1 - growth : growth - 1); }); break;
    case HINGE:
        add([=](Real growth, Real share) {
            const Real below = growth >= floor ? 0 : floor - growth; /* NaN stays */
            return share * below * below;
        });
        break;
    default:
        add([=](Real growth, Real share) {
            const Real value = logarithm(growth, floor, log_floor);
            return share * value * value;
        });
    }
}

/* The costs of a row of stencils, from its growths unless they are energies already, times their weights. */
template <typename Real>
void weighed_costs(Work<Real> *w, const Real *weight) {
    Real *__restrict cost = w->cost;
    const int64_t n = w->n;
    if (w->f.mode != HYPERELASTIC) costs(w);
    if (weight)
        for (int64_t x = 0; x < n; ++x) cost[x] = weight[x] > 0 ? cost[x] * weight[x] : 0;
}

/* Weight, mean and squared deviations of two sets as those of one. */
inline void join_moments(double *total, double weight, double mean, double squares) {
    const double sum = total[0] + weight, apart = mean - total[1];
    if (weight == 0) return;
    total[2] += squares + apart * apart * total[0] / sum * weight;
    total[1] += apart * weight / sum;
    total[0] = sum;
}

/* Weight, mean and squared deviations of the logarithms of a row, on top of those of the rows before. */
template <typename Real>
void add_moments(Work<Real> *w, const Real *weight, double *total) {
    const Field<Real> &f = w->f;
    const int64_t n = w->n;
    double mass = weight ? row_sum(weight, n) : (double)n, mean = 0, squares = 0;
    if (mass == 0) return;
    for (int64_t s = 0; s < f.simplices; ++s) {
        Real *__restrict growth = w->growth + s * w->pitch, *__restrict cost = w->cost;
        const Real floor = f.floor, log_floor = f.log_floor;
        for (int64_t x = 0; x < n; ++x) growth[x] = logarithm(growth[x], floor, log_floor);
        for (int64_t x = 0; x < n; ++x) cost[x] = !weight ? growth[x] : weight[x] > 0 ? growth[x] * weight[x] : 0;
        mean += f.share_of(s) * row_sum(cost, n) / mass;
    }
    for (int64_t s = 0; s < f.simplices; ++s) {
        const Real *__restrict growth = w->growth + s * w->pitch;
        Real *__restrict cost = w->cost;
        for (int64_t x = 0; x < n; ++x) {
            const Real apart = growth[x] - (Real)mean;
            cost[x] = !weight ? apart * apart : weight[x] > 0 ? apart * apart * weight[x] : 0;
        }
        squares += f.share_of(s) * row_sum(cost, n);
    }
    join_moments(total, mass, mean, squares);
}

/* What comes from above for each stencil of a row, times its weight, in place of its cost. */
template <typename Real>
MEDLOSS_APART void upstream(Work<Real> *w, const Real *weight, const Real *above, Real all) {
    Real *__restrict to = w->cost;
    const int64_t n = w->n;
    for (int64_t x = 0; x < n; ++x) to[x] = (above ? above[x] : all) * (weight ? weight[x] : 1);
}

/* The rate of each simplex in place of its growth: the slope of the penalty, times what comes from above. Without a
 * penalty that is all there is. */
template <typename Real>
MEDLOSS_APART void rates(Work<Real> *w, const Real *above, double centre) {
    const Field<Real> &f = w->f;
    const Real floor = f.floor, log_floor = f.log_floor;
    const auto turn = [=](auto rate_of) {
        const int64_t n = w->n;
        for (int64_t s = 0; s < w->f.simplices; ++s) {
            Real *__restrict rate = w->growth + s * w->pitch;
            const Real *__restrict factor = w->cost, share = (Real)w->f.share_of(s);
            for (int64_t x = 0; x < n; ++x) rate[x] = rate_of(rate[x], share * factor[x]);
        }
    };
    switch (f.mode) {
    case DETERMINANT:
        for (int64_t s = 0; s < f.simplices; ++s)
            memcpy(w->growth + s * w->pitch, above + s * f.frame.stencils(), (size_t)w->n * sizeof(Real));
        break;
    case FOLDING: turn([](Real growth, Real factor) { return growth >= 0 ? 0 : -factor; }); break;
    case VOLUME:
        turn([](Real growth, Real factor) {
            return factor * (growth > 1 ? 1 : growth < 1 ? -1 : growth - 1); /* NaN stays */
        });
        break;
    case HINGE:
        turn([=](Real growth, Real factor) { return growth >= floor ? 0 : -2 * factor * (floor - growth); });
        break;
    default: {
        const Real mean = (Real)centre, twice = f.mode == SDLOG ? 1 : 2; /* mean: 0 but of SDLOG */
        turn([=](Real growth, Real factor) {
            const Real value = logarithm(growth, floor, log_floor);
            return factor * (twice * (value - mean)) / (growth > floor ? growth : floor);
        });
    }
    }
}

/* Whether a row of stencils passes nothing on: every rate is zero, and none is NaN. */
template <typename Real>
int idle(const Work<Real> *w) {
    typename Lanes<Real>::Integer any = 0;
    for (int64_t s = 0; s < w->f.simplices; ++s) {
        const Real *rate = w->growth + s * w->pitch;
        const int64_t n = w->n;
        for (int64_t x = 0; x < n; ++x) any |= !(rate[x] == 0);
    }
    return !any;
}

} // namespace
