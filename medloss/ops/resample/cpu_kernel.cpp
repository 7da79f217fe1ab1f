/* resample on the CPU: the values of a volume between its voxels, and the gradients in both.
 *
 * A block of points at a time: the voxel below each point and how far it lies above it (block.hpp), once for
 * all channels. The gradient in the values is added voxel by voxel in the order of the points, whatever the
 * number of threads: each thread goes through all points, and keeps what falls on its planes. */
#include "block.hpp"

namespace {

template <typename Body>
int with_rank(int64_t rank, Body body) {
    if (rank == 3) body(Number<3>{});
    else if (rank == 2) body(Number<2>{});
    else body(Number<1>{});
    return 0;
}

/* `body(b, block)` for each block of points of each sample b. */
template <typename Real, typename Body>
MEDLOSS_INLINE void each_block(const Shape &s, const Real *points, int threads, Body body) {
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t i = 0; i < s.batch * s.blocks; ++i) {
        const int64_t b = i / s.blocks;
        body(b, Block<Real>(s, points + b * s.rank * s.points, i % s.blocks));
    }
}

/* Values B C [spatial] at points B d [any], B C [any]. */
template <int rank, typename Real>
void values_at(const Shape &s, const Real *values, const Real *points, Real *out, int threads) {
    prefer_huge_pages(out, (size_t)(s.batch * s.channels * s.points) * sizeof(Real));
    each_block(s, points, threads, [=](int64_t b, const Block<Real> &block) MEDLOSS_INLINED {
        for (int64_t c = b * s.channels; c < (b + 1) * s.channels; ++c)
            read<rank>(s, values + c * s.voxels, block, out + c * s.points + block.first);
    });
}

/* The gradient in the points, in the unit in which they are given. */
template <int rank, typename Real>
void points_gradient(const Shape &s, const Real *values, const Real *points, const Real *grad, Real *out,
                     int threads) {
    prefer_huge_pages(out, (size_t)(s.batch * s.rank * s.points) * sizeof(Real));
    each_block(s, points, threads, [=](int64_t b, const Block<Real> &block) MEDLOSS_INLINED {
        Real slope[3][POINTS] = {{0}};
        for (int64_t c = b * s.channels; c < (b + 1) * s.channels; ++c)
            add_slopes<rank>(s, values + c * s.voxels, block, grad + c * s.points + block.first, slope);
        for (int axis = 0; axis < rank; ++axis) {
            Real *__restrict to = out + (b * rank + axis) * s.points + block.first;
            const Real spacing = (Real)s.spacing[axis];
            for (int64_t p = 0; p < block.count; ++p) {
                const Real each = slope[axis][p] / spacing;
                to[p] = block.inside[axis][p] ? each : 0; /* none beyond the border */
            }
        }
    });
}

/* The gradient in the values. */
template <int rank, typename Real>
void values_gradient(const Shape &s, const Real *points, const Real *grad, Real *out, int threads) {
    const int64_t planes = s.size[0], plane = s.voxels / planes;
    const int64_t slabs = least(planes, (threads + s.batch - 1) / s.batch);
    prefer_huge_pages(out, (size_t)(s.batch * s.channels * s.voxels) * sizeof(Real));
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t i = 0; i < s.batch * slabs; ++i) {
        const int64_t b = i / slabs, slab = i % slabs;
        const int64_t low = planes * slab / slabs, high = planes * (slab + 1) / slabs;
        for (int64_t c = b * s.channels; c < (b + 1) * s.channels; ++c)
            memset(out + c * s.voxels + low * plane, 0, (size_t)((high - low) * plane) * sizeof(Real));
        for (int64_t at = 0; at < s.blocks; ++at) {
            Block<Real> block(s, points + b * s.rank * s.points, at);
            const int all = slabs > 1 ? block.sides(s, (int32_t)low, (int32_t)high) : 1;
            if (!all) continue;
            for (int64_t c = b * s.channels; c < (b + 1) * s.channels; ++c) {
                const Real *from = grad + c * s.points + block.first;
                if (all > 0) add<rank, 0>(s, block, from, out + c * s.voxels);
                else add<rank, 1>(s, block, from, out + c * s.voxels);
            }
        }
    }
}

} // namespace

MEDLOSS_ENTRY(resample_forward,
              (const Real *values, const Real *points, const int64_t *told, const double *spacing, Real *out,
               int threads),
              const Shape s(told, spacing); return with_rank(
                  s.rank, [&](auto rank) { values_at<rank>(s, values, points, out, threads); });)

MEDLOSS_ENTRY(resample_points,
              (const Real *values, const Real *points, const int64_t *told, const double *spacing, const Real *grad,
               Real *out, int threads),
              const Shape s(told, spacing); return with_rank(
                  s.rank, [&](auto rank) { points_gradient<rank>(s, values, points, grad, out, threads); });)

MEDLOSS_ENTRY(resample_values,
              (const Real *points, const int64_t *told, const double *spacing, const Real *grad, Real *out,
               int threads),
              const Shape s(told, spacing); return with_rank(
                  s.rank, [&](auto rank) { values_gradient<rank>(s, points, grad, out, threads); });)
