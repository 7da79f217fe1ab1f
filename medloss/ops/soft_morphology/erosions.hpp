/* Erosions of the squared error: means over crosses, less one half, stretched to run from 0 to 1.
 *
 * A stretch needs the extremes of the whole volume, so that erosions follow each other volume by volume. The way back
 * makes all of them again and keeps them, one volume at a time. The order of every mean's terms is the reference's:
 * what is just one half must be so here too. The gradient of an extreme is shared by all the voxels that have it. */
#include "rows.hpp"

namespace {

/* What the stretch of one erosion did: subtracted `low` and divided by `span`, where the map was not constant. */
template <typename Real>
struct Stretch {
    Real low, span;
    int varies;
};

template <typename T>
void exchange(T **a, T **b) {
    T *kept = *a;
    *a = *b;
    *b = kept;
}

/* Scratch of a thread, and the volume that it is at. */
template <typename Real>
struct Erosions {
    Volumes<Real> v;
    int64_t k, back; /* erosions; whether the way back keeps them */
    double alpha;
    Real terms; /* of a mean */
    const Real *weight;
    Stretch<Real> *stretches = nullptr;
    Real *memory = nullptr, *zeros, *centre; /* erosions; a row of zeros; a row with a margin of zeros */

    Erosions(const Volumes<Real> &volumes, int64_t axes, double power, int64_t number, int64_t kept)
        : v(volumes), k(number), back(kept), alpha(power), terms((Real)(2 * axes + 1)) {}

    int take() {
        const int64_t maps = (back ? k + 3 : 2) * v.voxels(), rows = 2 * v.width + 2;
        stretches = room<Stretch<Real>>(k + 1);
        memory = room<Real>(maps + rows);
        if (!stretches || !memory) return 1;
        prefer_huge_pages(memory, sizeof(Real) * (size_t)(maps + rows));
        zeros = memory + maps;
        memset(zeros, 0, sizeof(Real) * (size_t)rows);
        centre = zeros + v.width + 1;
        return 0;
    }

    void give() {
        free(stretches);
        free(memory);
    }

    /* One row of the means over crosses. */
    void mean_row(const Real *map, int64_t z, int64_t y, Real *out) const {
        const int64_t n = v.width, plane = v.plane();
        const Real *own = map + z * plane + y * n;
        memcpy(centre, own, sizeof(Real) * (size_t)n);
        mean_of(own, z ? own - plane : zeros, z + 1 < v.depth ? own + plane : zeros, y ? own - n : zeros,
                y + 1 < v.height ? own + n : zeros, centre, terms, n, out);
    }

    static MEDLOSS_APART void mean_of(const Real *own, const Real *front, const Real *back, const Real *above,
                                      const Real *below, const Real *centre, Real terms, int64_t n,
                                      Real *__restrict out) {
        for (int64_t x = 0; x < n; ++x) {
            const Real across = (((own[x] + front[x]) + back[x]) + above[x]) + below[x];
            out[x] = ((across + centre[x - 1]) + centre[x + 1]) / terms;
        }
    }

    /* `use(start, row)` for each row of the means of a map: where it lies in the volume, and the row, in `to`. */
    template <typename Use>
    void means(const Real *map, Real *to, Use use) const {
        for (int64_t z = 0; z < v.depth; ++z)
            for (int64_t y = 0; y < v.height; ++y) {
                const int64_t start = (z * v.height + y) * v.width;
                mean_row(map, z, y, to + start);
                use(start, to + start);
            }
    }

    /* Squared errors; whether one is not finite. */
    int squared_errors(const Real *p, const Real *t, Real *out) const {
        return fill_counted(weight, v.voxels(), (Real)0, out,
                            [=](int64_t i) MEDLOSS_INLINED { return (p[i] - t[i]) * (p[i] - t[i]); });
    }

    /* A row of means less one half, and -1 where nothing counts; and the extremes of what counts. */
    static MEDLOSS_APART void lower(const Real *weight, int64_t n, Real *__restrict row, Real *extremes) {
        Real low = extremes[0], high = extremes[1];
        for (int64_t x = 0; x < n; ++x) row[x] = row[x] < (Real)0.5 ? 0 : row[x] - (Real)0.5;
        if (weight)
            for (int64_t x = 0; x < n; ++x) row[x] = weight[x] > 0 ? row[x] : -1;
#pragma omp simd reduction(min : low) reduction(max : high)
        for (int64_t x = 0; x < n; ++x) {
            low = lesser(row[x] < 0 ? INF<Real> : row[x], low);
            high = larger(row[x], high);
        }
        extremes[0] = low;
        extremes[1] = high;
    }

    /* One erosion of `from` into `to`; adds `factor` times it to `total` where there is one. False where nothing is
     * left: from then on all erosions are zero. */
    bool erode(const Real *from, Real *to, Stretch<Real> *stretch, Real factor, Real *total) const {
        Real extremes[2] = {INF<Real>, -INF<Real>};
        means(from, to,
              [&](int64_t start, Real *row) { lower(at_or_null(weight, start), v.width, row, extremes); });
        const bool varies = extremes[1] > extremes[0];
        *stretch = {varies ? extremes[0] : 0, varies ? extremes[1] - extremes[0] : 1, varies};
        stretch_out(*stretch, v.voxels(), factor, to, total);
        return extremes[1] > 0;
    }

    static MEDLOSS_APART void stretch_out(Stretch<Real> by, int64_t n, Real factor, Real *__restrict map,
                                          Real *__restrict total) {
        for (int64_t i = 0; i < n; ++i) {
            map[i] = map[i] < 0 ? 0 : (map[i] - by.low) / by.span;
            if (total) total[i] += factor * map[i];
        }
    }

    /* The sum of the erosions of one volume into `out`; whether a value is not finite. */
    int sum(const Real *p, const Real *t, Real *out) const {
        Real *from = memory, *to = memory + v.voxels();
        memset(out, 0, v.bytes());
        if (squared_errors(p, t, from)) return 1;
        for (int64_t j = 1; j <= k && erode(from, to, stretches, (Real)pow((double)j, alpha), out); ++j)
            exchange(&from, &to);
        return 0;
    }

    static MEDLOSS_APART void multiply(const Real *a, const Real *b, int64_t n, Real *__restrict out) {
        for (int64_t i = 0; i < n; ++i) out[i] = a[i] * b[i];
    }

    static MEDLOSS_APART void count(const Real *stretched, const Real *weight, int64_t n, double *lowest,
                                    double *highest) {
        int zeros = 0, ones = 0;
        for (int64_t i = 0; i < n; ++i) {
            const int counts = !weight || weight[i] > 0;
            zeros += counts & (stretched[i] == 0);
            ones += counts & (stretched[i] == 1);
        }
        *lowest += zeros;
        *highest += ones;
    }

    /* What the cotangent `g` of a stretched map is for the map itself, in place, but for the mean's own slope. */
    void unstretch(const Real *stretched, const Stretch<Real> &by, Real *__restrict g) const {
        if (!by.varies) return;
        Sum whole, product;
        double lowest = 0, highest = 0; /* how many voxels have the extremes */
        const int64_t n = v.voxels();
        for (int64_t at = 0; at < n; at += v.width) {
            whole.add(g + at, v.width);
            multiply(g + at, stretched + at, v.width, centre);
            product.add(centre, v.width);
            count(stretched + at, at_or_null(weight, at), v.width, &lowest, &highest);
        }
        const double span = (double)by.span, inner = product.total();
        const Real to_low = (Real)((inner - whole.total()) / span / lowest);
        const Real to_high = (Real)(-inner / span / highest);
        const Real divisor = by.span;
        keep_counted(weight, n, g, [=](int64_t i) MEDLOSS_INLINED {
            return g[i] / divisor + (stretched[i] == 0 ? to_low : stretched[i] == 1 ? to_high : 0);
        });
    }

    /* The gradient of p, times `sign`; whether a value is not finite. */
    int gradient(const Real *p, const Real *t, const Real *grad, Real sign, Real *out) const {
        const int64_t n = v.voxels();
        Real *g = memory + (k + 1) * n, *mean = g + n;
        int64_t last = k;
        if (squared_errors(p, t, memory)) return 1;
        for (int64_t j = 1; j <= last; ++j)
            if (!erode(memory + (j - 1) * n, memory + j * n, stretches + j, 0, nullptr)) last = j;
        memset(g, 0, v.bytes());
        for (int64_t j = last; j > 0; --j) {
            const Real factor = (Real)pow((double)j, alpha);
            keep_counted(weight, n, g, [=](int64_t i) MEDLOSS_INLINED { return g[i] + factor * grad[i]; });
            unstretch(memory + j * n, stretches[j], g);
            means(memory + (j - 1) * n, mean, [=, width = v.width](int64_t start, const Real *row) {
                Real *to = g + start;
                for (int64_t x = 0; x < width; ++x) to[x] = row[x] < (Real)0.5 ? 0 : to[x]; /* 1 at one half */
            });
            means(g, mean, [](int64_t, const Real *) {});
            exchange(&g, &mean);
        }
        keep_counted(weight, n, out, [=](int64_t i) MEDLOSS_INLINED { return sign * 2 * (p[i] - t[i]) * g[i]; });
        return 0;
    }
};

} // namespace
