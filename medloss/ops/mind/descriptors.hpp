/* The descriptors of a few voxels of a row, so few that all is at hand: from the distances of their pairs to
 * the noise, the entries, and back. A distance below zero is of a pair that is not there. */
#include "patches.hpp"

namespace {

/* least and largest noise of a voxel over the mean, as in reference.py */
constexpr double LEAST_NOISE = 1e-3, MOST_NOISE = 1e3;

template <typename Real>
struct Descriptor {
    int64_t pairs, size;              /* size: voxels */
    const Real *distance[MOST_PAIRS]; /* rows, by pair */
    Real *above, *entry;              /* rows by pair: what a distance has above the least, and the entries */
    Real *lowest, *noise, *over;      /* rows; lowest: distance; over: one over the noise within its range */
    Real *count;                      /* pairs that are there */

    /* Least distance, and the mean above it; and the pairs. */
    void measure() {
        Real *found = lowest, *mean = noise, *there = count;
        each_entry(size, [=](int64_t i) MEDLOSS_INLINED { found[i] = (Real)INFINITY, mean[i] = 0, there[i] = 0; });
        for (int64_t k = 0; k < pairs; ++k) {
            const Real *own = distance[k];
            each_entry(size, [=](int64_t i) MEDLOSS_INLINED {
                const Real here = own[i] < 0 ? found[i] : own[i];
                found[i] = here < found[i] ? here : found[i];
                there[i] += own[i] < 0 ? 0 : 1;
            });
        }
        for (int64_t k = 0; k < pairs; ++k) {
            const Real *own = distance[k];
            Real *more = above + k * size;
            each_entry(size, [=](int64_t i) MEDLOSS_INLINED {
                const Real difference = own[i] - found[i];
                more[i] = own[i] < 0 ? 0 : difference;
                mean[i] += more[i];
            });
        }
        each_entry(size, [=](int64_t i) MEDLOSS_INLINED { mean[i] /= there[i] > 1 ? there[i] : 1; });
    }

    /* The entries, for a noise within a range around its mean. */
    void describe(Real mean) {
        const Real low = mean * (Real)LEAST_NOISE, high = mean * (Real)MOST_NOISE, tiny = smallest<Real>();
        const Real *own = noise;
        Real *inverse = over;
        each_entry(size, [=](int64_t i) MEDLOSS_INLINED {
            Real held = own[i];
            held = held < low ? low : held;
            held = held > high ? high : held;
            held = held < tiny ? tiny : held;
            inverse[i] = 1 / (mean == mean ? held : mean);
        });
        for (int64_t k = 0; k < pairs; ++k) {
            const Real *more = above + k * size;
            Real *to = entry + k * size;
            each_entry(size, [=](int64_t i) MEDLOSS_INLINED { to[i] = exp_of(-more[i] * inverse[i]); });
        }
    }
};

/* The mean penalty of the differences of the entries of two images. */
template <typename Real>
void penalties(const Descriptor<Real> &x, const Descriptor<Real> &y, int absolute, Real *value) {
    const Real *count = x.count;
    each_entry(x.size, [=](int64_t i) MEDLOSS_INLINED { value[i] = 0; });
    for (int64_t k = 0; k < x.pairs; ++k) {
        const Real *one = x.entry + k * x.size, *two = y.entry + k * x.size;
        each_entry(x.size, [=](int64_t i) MEDLOSS_INLINED {
            const Real difference = one[i] - two[i];
            value[i] += absolute ? (Real)fabs((double)difference) : difference * difference;
        });
    }
    each_entry(x.size, [=](int64_t i) MEDLOSS_INLINED { value[i] /= count[i] > 1 ? count[i] : 1; });
}

/* The slopes of the values in the distances of x, by pair over its `above`, for upstream gradients. A least
 * distance that several pairs have shares its slope among them. `shared`: two spare rows. */
template <typename Real>
void distance_slopes(const Descriptor<Real> &x, const Descriptor<Real> &y, int absolute, Real mean,
                     const Real *upstream, Real *shared) {
    const Real low = mean * (Real)LEAST_NOISE, high = mean * (Real)MOST_NOISE, tiny = smallest<Real>();
    const int64_t size = x.size;
    const Real *over = x.over, *count = x.count, *noise = x.noise;
    Real *ties = shared + size, *total = x.lowest;
    each_entry(size, [=](int64_t i) MEDLOSS_INLINED { shared[i] = ties[i] = total[i] = 0; });
    for (int64_t k = 0; k < x.pairs; ++k) {
        const Real *above = x.above + k * size, *two = y.entry + k * size, *distance = x.distance[k];
        Real *entry = x.entry + k * size;
        each_entry(size, [=](int64_t i) MEDLOSS_INLINED {
            const Real difference = entry[i] - two[i];
            const Real sign = difference > 0 ? 1 : difference < 0 ? -1 : difference;
            const Real g = upstream[i] / (count[i] > 1 ? count[i] : 1) * (absolute ? sign : 2 * difference);
            const Real steep = g * entry[i] * over[i];
            const Real slope = over[i] >= 1 / tiny ? 0 : steep; /* nothing varies */
            entry[i] = -slope; /* in what is above the least, at a fixed noise */
            shared[i] += slope * above[i] * over[i];
            const Real there = distance[i] < 0 ? 0 : 1;
            ties[i] += above[i] > 0 ? 0 : there;
        });
    }
    each_entry(size, [=](int64_t i) MEDLOSS_INLINED { /* the noise is the mean of what is above, where it is free */
        Real free = shared[i] / (count[i] > 1 ? count[i] : 1);
        free = noise[i] < low ? 0 : free;
        free = noise[i] > high ? 0 : free;
        shared[i] = noise[i] < tiny ? 0 : free;
        ties[i] = ties[i] > 1 ? ties[i] : 1;
    });
    for (int64_t k = 0; k < x.pairs; ++k) {
        const Real *entry = x.entry + k * size, *distance = x.distance[k];
        each_entry(size, [=](int64_t i) MEDLOSS_INLINED { total[i] += distance[i] < 0 ? 0 : entry[i] + shared[i]; });
    }
    for (int64_t k = 0; k < x.pairs; ++k) {
        const Real *entry = x.entry + k * size, *distance = x.distance[k];
        Real *above = x.above + k * size;
        each_entry(size, [=](int64_t i) MEDLOSS_INLINED {
            const Real lost = above[i] > 0 ? 0 : total[i] / ties[i], slope = entry[i] + shared[i] - lost;
            above[i] = distance[i] < 0 ? 0 : slope;
        });
    }
}

} // namespace
