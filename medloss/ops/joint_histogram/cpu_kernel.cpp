/* joint_histogram on the CPU: a voxel adds the outer product of its two windows to the few bins that they
 * reach, and its gradient is read from a table of the bins' cotangents.
 *
 * Voxels are grouped into blocks, each with its own histogram in double, added in order at the end: the
 * result depends neither on the number of threads nor on their timing. A histogram has a margin around the
 * bins, so that a window at the border of the range needs no test; what would lie there weighs nothing. */
#include "../ordered_sums.hpp"
#include "spline.hpp"

namespace {

enum { LEAST_BLOCK = 16384 };

/* `body(block, range, start, end)` for the voxels start to end of each block of `size` voxels, with the range of its
 * sample. */
template <typename Real, typename Body>
void each_block(const Call<Real> &c, int64_t size, int threads, Body body) {
    const int64_t blocks = (c.voxels + size - 1) / size;
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t block = 0; block < c.batch * blocks; ++block) {
        const int64_t sample = block / blocks, start = block % blocks * size;
        body(block, c.ranges + 4 * sample, sample * c.voxels + start,
             sample * c.voxels + least(start + size, c.voxels));
    }
}

/* The reaches of the usual windows, half a bin and a bin wide, are compiled for their own sake. */
template <typename Body>
MEDLOSS_INLINE void with_reach(int reach, Body body) {
    switch (reach) {
    case 3: body(Number<3>{}); break;
    case 5: body(Number<5>{}); break;
    default: body(reach);
    }
}

template <typename Real>
void count_block(const Call<Real> &c, const double *range, int64_t start, int64_t end, double *counts) {
    const Scale<Real> sx = c.scale(range), sy = c.scale(range + 2);
    if (c.kernel == SPLINE) count_spline(c, 0, sx, sy, start, end, counts);
    else if (c.kernel == MATTES) count_spline(c, 1, sx, sy, start, end, counts);
    else
        with_reach(c.reach, [&](auto reach) MEDLOSS_INLINED { count_gaussian(c, reach, sx, sy, start, end, counts); });
}

template <typename Real>
int histograms(const Call<Real> &c, double *counts, int threads) {
    /* so many voxels to a block that the histograms of all blocks together stay below the size of the images */
    const int64_t size = most(4 * c.area(), LEAST_BLOCK), blocks = (c.voxels + size - 1) / size;
    double *partials = cleared<double>(c.batch * blocks * c.area());
    if (!partials) return 1;
    each_block(c, size, threads, [&](int64_t block, const double *range, int64_t start, int64_t end) {
        count_block(c, range, start, end, partials + block * c.area());
    });
    memset(counts, 0, (size_t)(c.batch * c.bins * c.bins) * sizeof(double));
    for (int64_t block = 0; block < c.batch * blocks; ++block)
        for (int64_t row = 0; row < c.bins; ++row) {
            const double *from = partials + block * c.area() + c.corner(row);
            double *to = counts + (block / blocks * c.bins + row) * c.bins;
            for (int64_t column = 0; column < c.bins; ++column) to[column] += from[column];
        }
    free(partials);
    return 0;
}

/* What the voxels' slopes meet: the cotangents of the bins, or, for Gaussian windows, their differences
 * from row to row. Zero in the margin, where no weight is but for the rounding of what should add up to
 * none. */
template <typename T, typename Real>
T *tables(const Call<Real> &c, const double *cotangent) {
    T *table = cleared<T>(c.batch * c.area());
    const bool steps = c.kernel == GAUSSIAN;
    for (int64_t b = 0; table && b < c.batch; ++b)
        for (int64_t row = 0; row < c.bins - steps; ++row) {
            const double *from = cotangent + (b * c.bins + row) * c.bins;
            T *to = table + b * c.area() + c.corner(row);
            for (int64_t column = 0; column < c.bins; ++column)
                to[column] = (T)(steps ? from[column] - from[c.bins + column] : from[column]);
        }
    return table;
}

/* `slope(table, sx, sy, start, end)` for each block. */
template <typename T, typename Real, typename Slope>
int slopes(const Call<Real> &c, const double *cotangent, int threads, Slope slope) {
    T *table = tables<T>(c, cotangent);
    if (!table) return 1;
    each_block(c, LEAST_BLOCK, threads, [&](int64_t, const double *range, int64_t start, int64_t end) {
        slope(table + (range - c.ranges) / 4 * c.area(), c.scale(range), c.scale(range + 2), start, end);
    });
    free(table);
    return 0;
}

template <typename Real>
int gradients(const Call<Real> &c, const double *cotangent, Real *out, int threads) {
    prefer_huge_pages(out, (size_t)(c.batch * c.voxels) * sizeof(Real));
    if (c.kernel == GAUSSIAN)
        return slopes<Real>(c, cotangent, threads, [&](auto *table, auto sx, auto sy, int64_t start, int64_t end) {
            with_reach(c.reach, [&](auto reach) MEDLOSS_INLINED {
                slope_gaussian(c, reach, sx, sy, start, end, table, out);
            });
        });
    return slopes<double>(c, cotangent, threads, [&](auto *table, auto sx, auto sy, int64_t start, int64_t end) {
        if (c.kernel == MATTES) slope_spline(c, 1, sx, sy, start, end, table, out);
        else slope_spline(c, 0, sx, sy, start, end, table, out);
    });
}

} // namespace

#define OPERANDS                                                                                                     \
    const Real *x, const Real *y, const Real *mask, int64_t batch, int64_t voxels, const double *ranges,             \
        int64_t kernel, int64_t bins, int64_t reach, double sigma_ratio
#define CALL Call<Real>(x, y, mask, batch, voxels, ranges, kernel, bins, reach, sigma_ratio)

MEDLOSS_ENTRY(joint_histogram_forward, (OPERANDS, double *counts, int threads),
              return histograms(CALL, counts, threads);)

MEDLOSS_ENTRY(joint_histogram_backward, (OPERANDS, const double *cotangent, Real *out, int threads),
              return gradients(CALL, cotangent, out, threads);)
