/* soft_morphology on the CPU: skeletons, erosions of errors, boxes and boundaries, with their gradients.
 *
 * The skeleton streams: planes of the map go in and planes of the result come out, and between them lie a few
 * planes for each erosion (skeleton.h, adjoint.h). The erosions of the error, each of which needs the extremes of
 * the one before, and boundaries go volume by volume (erosions.h, boxes.h). A voxel that does not count is infinite for an erosion and
 * minus infinite for a dilation. Values that are NaN or infinite themselves are told to the caller, who leaves them
 * to the reference.
 */
#ifndef REAL

#include "../native.h"

/* How many runs of planes a volume is cut into: one where there are volumes enough for the threads. */
static int64_t runs_of(int64_t volumes, int64_t depth, int64_t overlap, int threads) {
    const int64_t wanted = (threads + volumes - 1) / volumes, most = depth / (2 * overlap);
    return wanted < most ? wanted : most > 1 ? most : 1;
}

#define REAL float
#define SUFFIX f32
#include "cpu_kernel.c"
#undef REAL
#undef SUFFIX
#define REAL double
#define SUFFIX f64
#include "cpu_kernel.c"

#else

#define NAME(stem) MEDLOSS_PASTE(stem, SUFFIX, MEDLOSS_LEVEL)

#include "rows.h"
#include "skeleton.h"
#include "adjoint.h"
#include "erosions.h"
#include "boxes.h"

/* One call's volumes. `shared`: how many volumes one volume of weights is for. */
#define GRID NAME(Grid)
typedef struct {
    const REAL *weight;
    int64_t volumes, shared, depth, height, width, count;
} GRID;

static STREAM NAME(stream)(const GRID *g, const REAL *map, int64_t volume, int64_t low, int64_t high) {
    const int64_t voxels = g->depth * g->height * g->width;
    STREAM s = {.depth = g->depth, .height = g->height, .width = g->width, .count = g->count};
    s.low = low;
    s.high = high;
    s.map = map + volume * voxels;
    s.weight = g->weight ? g->weight + volume / g->shared * voxels : NULL;
    return s;
}

/* The skeleton of planes low to high: as a map into `out`; with `other` as two sums of each plane; with `scale` added
 * to `out`, weighted. `odd` is set where a value is not finite. */
static int NAME(skeleton_planes)(const GRID *g, const REAL *map, int64_t volume, int64_t low, int64_t high, REAL *out,
                                 const REAL *other, double *sums, REAL scale, int64_t *odd) {
    STREAM s = NAME(stream)(g, map, volume, low, high);
    int failed = NAME(stream_alloc)(&s, 0);
    const int64_t first = volume * g->depth, n = g->width;
    for (int64_t t = NAME(first_step)(&s); !failed && t < high + s.count + 2; ++t) {
        NAME(advance)(&s, t);
        const int64_t z = t - s.count - 2;
        double hit[NAME(SUM_LANES)] = {0}, thin[NAME(SUM_LANES)] = {0};
        if (z < low) continue;
        NAME(look_at)(&s, z);
        for (int64_t y = 0; y < s.height; ++y) {
            const int64_t row = (z * s.height + y) * n, at = (first * s.height) * n + row;
            REAL *restrict joined = NAME(scratch)(&s, 5);
            const REAL *weight = s.weight ? s.weight + row : NULL;
            NAME(join_row)(&s, y, joined);
            if (other)
                NAME(sum_row)(joined, other + at, weight, n, NAME(scratch)(&s, 6), hit, thin);
            else if (scale != 0)
                for (int64_t x = 0; x < n; ++x)
                    out[at + x] = scale * (weight ? (weight[x] > 0 ? joined[x] * weight[x] : 0) : joined[x]);
            else
                memcpy(out + at, joined, sizeof(REAL) * (size_t)n);
        }
        if (!other) continue;
        sums[2 * (first + z)] = NAME(total)(hit);
        sums[2 * (first + z) + 1] = NAME(total)(thin);
    }
    if (s.odd) {
#pragma omp atomic write
        *odd = 1;
    }
    NAME(stream_free)(&s);
    return failed;
}

/* `out`: the skeleton of each volume. */
MEDLOSS_EXPORT int NAME(soft_skeleton_forward)(const REAL *map, const REAL *weight, int64_t volumes, int64_t shared,
                                               int64_t depth, int64_t height, int64_t width, int64_t count, REAL *out,
                                               int64_t *odd, int threads) {
    const GRID g = {weight, volumes, shared, depth, height, width, count};
    const int64_t runs = runs_of(volumes, depth, count + 2, threads);
    int failed = 0;
#pragma omp parallel for collapse(2) num_threads(threads) schedule(dynamic) reduction(| : failed)
    for (int64_t v = 0; v < volumes; ++v)
        for (int64_t run = 0; run < runs; ++run)
            failed |= NAME(skeleton_planes)(&g, map, v, depth * run / runs, depth * (run + 1) / runs, out, NULL, NULL, 0,
                                            odd);
    return failed;
}

/* The gradient of the map is added to `out`. */
MEDLOSS_EXPORT int NAME(soft_skeleton_backward)(const REAL *map, const REAL *weight, int64_t volumes, int64_t shared,
                                                int64_t depth, int64_t height, int64_t width, int64_t count,
                                                const REAL *grad, REAL *out, int64_t *odd, int threads) {
    const GRID g = {weight, volumes, shared, depth, height, width, count};
    const int64_t runs = runs_of(volumes, depth, count + 2, threads), voxels = depth * height * width;
    int failed = 0;
#pragma omp parallel for collapse(2) num_threads(threads) schedule(dynamic) reduction(| : failed)
    for (int64_t v = 0; v < volumes; ++v)
        for (int64_t run = 0; run < runs; ++run) {
            ADJOINT a = {.s = NAME(stream)(&g, map, v, 0, 0), .grad = grad + v * voxels, .out = out + v * voxels};
            a.low = depth * run / runs;
            a.high = depth * (run + 1) / runs;
            failed |= NAME(skeleton_adjoint)(&a);
            if (a.s.odd) {
#pragma omp atomic write
                *odd = 1;
            }
        }
    return failed;
}

/* Four sums of each volume: of the skeleton of `input` within `target`, of all of it, and the other way round. */
MEDLOSS_EXPORT int NAME(skeleton_sums_forward)(const REAL *input, const REAL *target, const REAL *weight,
                                               int64_t volumes, int64_t shared, int64_t depth, int64_t height,
                                               int64_t width, int64_t count, double *sums, int64_t *odd, int threads) {
    const GRID g = {weight, volumes, shared, depth, height, width, count};
    const int64_t runs = runs_of(2 * volumes, depth, count + 2, threads);
    double *planes = malloc(sizeof(double) * (size_t)(4 * volumes * depth));
    int failed = !planes;
    if (failed) return 1;
#pragma omp parallel for collapse(3) num_threads(threads) schedule(dynamic) reduction(| : failed)
    for (int64_t v = 0; v < volumes; ++v)
        for (int side = 0; side < 2; ++side)
            for (int64_t run = 0; run < runs; ++run)
                failed |= NAME(skeleton_planes)(&g, side ? target : input, v, depth * run / runs,
                                                depth * (run + 1) / runs, NULL, side ? input : target,
                                                planes + 2 * side * volumes * depth, 0, odd);
    for (int64_t v = 0; v < volumes; ++v)
        for (int k = 0; k < 4; ++k) {
            sums[4 * v + k] = 0;
            for (int64_t z = 0; z < depth; ++z)
                sums[4 * v + k] += planes[2 * (k / 2 * volumes * depth + v * depth + z) + k % 2];
        }
    free(planes);
    return failed;
}

/* The gradient of `input` from the cotangents of the four sums, into `out`, which holds zeros. */
MEDLOSS_EXPORT int NAME(skeleton_sums_backward)(const REAL *input, const REAL *target, const REAL *weight,
                                                int64_t volumes, int64_t shared, int64_t depth, int64_t height,
                                                int64_t width, int64_t count, const double *grad, REAL *out,
                                                int64_t *odd, int threads) {
    const GRID g = {weight, volumes, shared, depth, height, width, count};
    const int64_t runs = runs_of(volumes, depth, count + 2, threads), voxels = depth * height * width;
    int failed = 0;
    prefer_huge_pages(out, (size_t)(volumes * voxels) * sizeof(REAL));
#pragma omp parallel for collapse(2) num_threads(threads) schedule(dynamic) reduction(| : failed)
    for (int64_t v = 0; v < volumes; ++v)
        for (int64_t run = 0; run < runs; ++run) {
            const int64_t low = depth * run / runs, high = depth * (run + 1) / runs;
            if (grad[4 * v + 2] != 0) /* the prediction within the target's skeleton */
                failed |= NAME(skeleton_planes)(&g, target, v, low, high, out, NULL, NULL, (REAL)grad[4 * v + 2], odd);
            ADJOINT a = {.s = NAME(stream)(&g, input, v, 0, 0), .low = low, .high = high, .out = out + v * voxels};
            a.other = target + v * voxels;
            a.hit = (REAL)grad[4 * v];
            a.thin = (REAL)grad[4 * v + 1];
            failed |= NAME(skeleton_adjoint)(&a);
            if (a.s.odd) {
#pragma omp atomic write
                *odd = 1;
            }
        }
    return failed;
}

/* Erosions of the error, or with `grad` the gradient of `input` times `sign`, into `out`. */
MEDLOSS_EXPORT int NAME(erosion_hausdorff)(const REAL *input, const REAL *target, const REAL *weight, int64_t volumes,
                                           int64_t shared, int64_t depth, int64_t height, int64_t width, int64_t axes,
                                           double alpha, int64_t k, const REAL *grad, double sign, REAL *out,
                                           int64_t *odd, int threads) {
    const int64_t voxels = depth * height * width;
    const size_t scratch = (size_t)((grad ? k + 3 : 2) * voxels + 2 * width + 2);
    int failed = 0;
    prefer_huge_pages(out, (size_t)(volumes * voxels) * sizeof(REAL));
#pragma omp parallel for num_threads(threads) schedule(dynamic) reduction(| : failed)
    for (int64_t v = 0; v < volumes; ++v) {
        VOLUME volume = {depth, height, width, voxels, NULL, (REAL)(2 * axes + 1), NULL};
        NAME(Stretch) *stretches = malloc(sizeof(NAME(Stretch)) * (size_t)(k + 1));
        REAL *memory = malloc(sizeof(REAL) * scratch);
        const int64_t at = v * voxels;
        if (weight) volume.weight = weight + v / shared * voxels;
        int finite = 1;
        failed |= !memory || !stretches;
        if (memory && stretches) {
            prefer_huge_pages(memory, sizeof(REAL) * scratch);
            volume.row = memory + scratch - 2 * width - 2;
            memset(volume.row, 0, sizeof(REAL) * (size_t)(2 * width + 2));
            if (grad)
                finite = NAME(eroded_errors_back)(&volume, input + at, target + at, alpha, k, stretches, memory,
                                                  grad + at, (REAL)sign, out + at);
            else
                finite = NAME(eroded_errors)(&volume, input + at, target + at, alpha, k, memory, out + at);
        }
        if (!finite) {
#pragma omp atomic write
            *odd = 1;
        }
        free(stretches);
        free(memory);
    }
    return failed;
}

/* The largest value of the box around each voxel, or with `grad` the gradient of the map, into `out`. */
MEDLOSS_EXPORT int NAME(max_pool)(const REAL *map, const REAL *weight, int64_t volumes, int64_t shared, int64_t depth,
                                  int64_t height, int64_t width, int64_t size, const REAL *grad, REAL *out,
                                  int64_t *odd, int threads) {
    const int64_t plane = height * width, voxels = depth * plane;
    int failed = 0;
    prefer_huge_pages(out, (size_t)(volumes * voxels) * sizeof(REAL));
#pragma omp parallel for num_threads(threads) schedule(dynamic) reduction(| : failed)
    for (int64_t v = 0; v < volumes; ++v) {
        BOX box;
        REAL *seen = malloc(sizeof(REAL) * (size_t)voxels), *to = out + v * voxels;
        const REAL *own = weight ? weight + v / shared * voxels : NULL;
        if (NAME(box_alloc)(&box, depth, height, width, size) || !seen) failed |= 1;
        else if (!NAME(counted)(map + v * voxels, own, 1, voxels, seen)) {
#pragma omp atomic write
            *odd = 1;
        } else {
            if (grad) memset(to, 0, sizeof(REAL) * (size_t)voxels);
            for (int64_t at = 0; at < voxels; at += plane) {
                NAME(box_plane)(&box, seen, at / plane);
                REAL *restrict found = grad ? box.left : to + at;
                const REAL *from = grad ? grad + v * voxels + at : box.wide;
                for (int64_t i = 0; i < plane; ++i) found[i] = !own || own[at + i] > 0 ? from[i] : 0;
                if (grad) NAME(box_adjoint)(&box, seen, at / plane, to);
            }
        }
        free(box.memory);
        free(seen);
    }
    return failed;
}

/* Four sums of each volume: of the boundary of `input` near that of `target`, of all of it, and the other way round; or
 * with `grad`, the cotangents of these, the gradient of `input` into `out`. */
MEDLOSS_EXPORT int NAME(boundary_sums)(const REAL *input, const REAL *target, const REAL *weight, int64_t volumes,
                                       int64_t shared, int64_t depth, int64_t height, int64_t width, int64_t inner,
                                       int64_t outer, double *sums, const double *grad, REAL *out, int64_t *odd,
                                       int threads) {
    const int64_t voxels = depth * height * width;
    const size_t scratch = sizeof(REAL) * (size_t)((grad ? 4 : 3) * voxels);
    int failed = 0;
    if (grad) prefer_huge_pages(out, (size_t)(volumes * voxels) * sizeof(REAL));
#pragma omp parallel for num_threads(threads) schedule(dynamic) reduction(| : failed)
    for (int64_t v = 0; v < volumes; ++v) {
        BOX thin, wide;
        REAL *negated = malloc(scratch), *true_edge = negated + voxels, *edge = true_edge + voxels;
        const REAL *own = weight ? weight + v / shared * voxels : NULL;
        const int none = NAME(box_alloc)(&thin, depth, height, width, inner);
        if (NAME(box_alloc)(&wide, depth, height, width, outer) || none || !negated) failed |= 1;
        else {
            prefer_huge_pages(negated, scratch);
            int finite = NAME(boundary)(&thin, target + v * voxels, own, negated, true_edge);
            finite &= NAME(boundary)(&thin, input + v * voxels, own, negated, edge);
            if (!finite) {
#pragma omp atomic write
                *odd = 1;
            } else if (grad)
                NAME(boundary_back)(&thin, &wide, negated, edge, true_edge, own, grad + 4 * v, edge + voxels,
                                    out + v * voxels);
            else {
                NAME(boundary_within)(&wide, edge, true_edge, own, sums + 4 * v);
                NAME(boundary_within)(&wide, true_edge, edge, own, sums + 4 * v + 2);
            }
        }
        free(thin.memory);
        free(wide.memory);
        free(negated);
    }
    return failed;
}

#undef BOX
#undef VOLUME
#undef GRID
#undef ADJOINT
#undef STREAM
#undef RING
#undef INF
#undef NAME
#endif
