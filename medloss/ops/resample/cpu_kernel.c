/* resample on the CPU: the values of a volume between its voxels, and the gradients in both.
 *
 * A block of points at a time: the voxel below each point and how far it lies above it (block.h), once for
 * all channels. The gradient in the values is added voxel by voxel in the order of the points, whatever the
 * number of threads: each thread goes through all points, and keeps what falls on its planes.
 */
#ifndef REAL

#include "../native.h"

enum { POINTS = 128 };

static inline int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
static inline int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }

/* A position is what is given over `spacing`, after the coordinates of a grid where there is one. */
typedef struct {
    int64_t batch, channels, rank, voxels, points, blocks;
    int64_t size[3], step[3];        /* of the values: voxels along each axis, entries to the next one */
    int64_t row, height, grid;       /* points of a row, rows of a plane; whether they lie on a grid */
    double spacing[3];
} Shape;

/* `told`: batch, channels, rank, points, on a grid; the sizes of the values, and those of the points. */
static Shape shape_of(const int64_t *told, const double *spacing) {
    Shape s = {.batch = told[0], .channels = told[1], .rank = told[2], .points = told[3], .grid = told[4]};
    s.voxels = 1;
    for (int64_t axis = s.rank - 1; axis >= 0; --axis) {
        s.size[axis] = told[5 + axis];
        s.step[axis] = s.size[axis] > 1 ? s.voxels : 0; /* of a single voxel the next one is itself */
        s.voxels *= s.size[axis];
        s.spacing[axis] = spacing[axis];
    }
    s.row = s.grid ? told[8 + s.rank - 1] : s.points;
    s.height = s.grid && s.rank == 3 ? told[9] : 1;
    s.blocks = (s.row + POINTS - 1) / POINTS * (s.points / s.row); /* none goes beyond its row */
    return s;
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
#define BLOCK NAME(Block)

#include "block.h"

/* Values B C [spatial] at points B d [any], B C [any]. */
MEDLOSS_EXPORT int NAME(resample_forward)(const REAL *values, const REAL *points, const int64_t *told,
                                          const double *spacing, REAL *out, int threads) {
    const Shape s = shape_of(told, spacing);
    prefer_huge_pages(out, (size_t)(s.batch * s.channels * s.points) * sizeof(REAL));
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t i = 0; i < s.batch * s.blocks; ++i) {
        const int64_t b = i / s.blocks;
        BLOCK block;
        NAME(place)(&s, points + b * s.rank * s.points, i % s.blocks, &block);
        for (int64_t c = b * s.channels; c < (b + 1) * s.channels; ++c)
            MEDLOSS_BY_AXES(s.rank, read, &s, values + c * s.voxels, &block, out + c * s.points + block.first)
    }
    return 0;
}

/* The gradient in the points, in the unit in which they are given. */
MEDLOSS_EXPORT int NAME(resample_points)(const REAL *values, const REAL *points, const int64_t *told,
                                         const double *spacing, const REAL *grad, REAL *out, int threads) {
    const Shape s = shape_of(told, spacing);
    prefer_huge_pages(out, (size_t)(s.batch * s.rank * s.points) * sizeof(REAL));
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t i = 0; i < s.batch * s.blocks; ++i) {
        const int64_t b = i / s.blocks;
        BLOCK block;
        REAL slope[3][POINTS] = {{0}};
        NAME(place)(&s, points + b * s.rank * s.points, i % s.blocks, &block);
        for (int64_t c = b * s.channels; c < (b + 1) * s.channels; ++c)
            MEDLOSS_BY_AXES(s.rank, slopes, &s, values + c * s.voxels, &block,
                            grad + c * s.points + block.first, slope)
        for (int64_t axis = 0; axis < s.rank; ++axis) {
            REAL *restrict to = out + (b * s.rank + axis) * s.points + block.first;
            const REAL spacing = (REAL)s.spacing[axis];
            for (int64_t p = 0; p < block.count; ++p) {
                const REAL each = slope[axis][p] / spacing;
                to[p] = block.inside[axis][p] ? each : 0; /* none beyond the border */
            }
        }
    }
    return 0;
}

/* The gradient in the values. */
MEDLOSS_EXPORT int NAME(resample_values)(const REAL *points, const int64_t *told, const double *spacing,
                                         const REAL *grad, REAL *out, int threads) {
    const Shape s = shape_of(told, spacing);
    const int64_t planes = s.size[0], plane = s.voxels / planes;
    const int64_t slabs = least(planes, (threads + s.batch - 1) / s.batch);
    prefer_huge_pages(out, (size_t)(s.batch * s.channels * s.voxels) * sizeof(REAL));
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t i = 0; i < s.batch * slabs; ++i) {
        const int64_t b = i / slabs, slab = i % slabs;
        const int64_t low = planes * slab / slabs, high = planes * (slab + 1) / slabs;
        for (int64_t c = b * s.channels; c < (b + 1) * s.channels; ++c)
            memset(out + c * s.voxels + low * plane, 0, (size_t)((high - low) * plane) * sizeof(REAL));
        for (int64_t at = 0; at < s.blocks; ++at) {
            BLOCK block;
            NAME(place)(&s, points + b * s.rank * s.points, at, &block);
            const int all = slabs > 1 ? NAME(sides)(&s, &block, (int32_t)low, (int32_t)high) : 1;
            if (!all) continue;
            for (int64_t c = b * s.channels; c < (b + 1) * s.channels; ++c)
                if (all > 0)
                    MEDLOSS_BY_AXES(s.rank, add, &s, &block, grad + c * s.points + block.first, 0,
                                    out + c * s.voxels)
                else
                    MEDLOSS_BY_AXES(s.rank, add, &s, &block, grad + c * s.points + block.first, 1,
                                    out + c * s.voxels)
        }
    }
    return 0;
}

#undef BLOCK
#undef INLINE
#undef NAME
#endif
