/* differences on the CPU: energies that are sums of squares, or of absolute values, of linear stencils,
 * and their gradient.
 *
 * A stencil is a list of taps (offset in component, depth, height and width, and weight); all energies
 * differ in their lists alone. Forward, each row reads its neighbours and keeps nothing. Backward, what
 * each stencil L passes on, 2 g L u, is kept in a ring of planes of a few rows, from which the adjoint
 * gathers: every voxel of the gradient is written once, by one thread, and the result does not depend on
 * their number. The rings are small enough for the second cache.
 *
 * Positions count in the frame: the volume, or where the border is replicated the volume and what lies
 * around it. Stencil (z, y, x) reads the frame from there on, `before + behind` further along each axis.
 */
#ifndef REAL

#include "../native.h"

enum { RING_BYTES = 1 << 18, LEAST_ROWS = 8 };

/* One call's stencils: those of term k are taps start[k] to start[k + 1]. */
typedef struct {
    int64_t terms, components;
    const int64_t *start;
    const int64_t *offset; /* four for each tap */
    int64_t before[3], span[3]; /* voxels before the centre; voxels in all */
    int64_t absolute, replicate;
} Stencils;

static inline int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
static inline int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }

#define REAL float
#define INTEGER int32_t
#define SUFFIX f32
#include "cpu_kernel.c"
#undef REAL
#undef INTEGER
#undef SUFFIX
#define REAL double
#define INTEGER int64_t
#define SUFFIX f64
#include "cpu_kernel.c"

#else

#define NAME(stem) MEDLOSS_PASTE(stem, SUFFIX, MEDLOSS_LEVEL)
#define FIELD NAME(Field)
#define PLANE_ITERATOR NAME(PlaneIterator)

#include "sums.h"
#include "plane_iterator.h"

static Stencils NAME(stencils)(int64_t terms, const int64_t *start, const int64_t *offset, const double *weight,
                               const double *factor, const int64_t *options, REAL *reals) {
    const int64_t *o = options; /* before and behind along each axis, components, absolute, replicate */
    Stencils s = {terms, o[6], start, offset, {o[0], o[1], o[2]}, {0}, o[7], o[8]};
    for (int axis = 0; axis < 3; ++axis) s.span[axis] = o[axis] + o[3 + axis] + 1;
    for (int64_t t = 0; t < start[terms]; ++t) reals[t] = (REAL)weight[t];
    for (int64_t k = 0; k < terms; ++k) reals[start[terms] + k] = (REAL)factor[k];
    return s;
}

/* Rows that a tile takes, so that the rings stay in the cache: a matter of sizes alone. */
static int64_t NAME(tile_rows)(const FIELD *f) {
    const Stencils *s = f->s;
    const int64_t row = s->span[0] * (s->terms + s->components) * f->frame[2] * (int64_t)sizeof(REAL);
    return most(RING_BYTES / row - s->span[1], LEAST_ROWS);
}

/* Runs of planes that a tile is cut into for more threads; what a run computes twice stays small. */
static int64_t NAME(runs)(int64_t planes, int64_t span, int64_t tiles, int64_t threads) {
    return most(1, least((2 * threads + tiles - 1) / tiles, planes / (4 * span)));
}

static void NAME(energy_planes)(PLANE_ITERATOR *w, int64_t low, int64_t high, int64_t first, int64_t last, REAL *map,
                                double *sums) {
    const FIELD *f = w->f;
    const int64_t height = f->inner[1], width = f->inner[2];
    w->ready = low;
    for (int64_t z = low; z < high; ++z) {
        NAME(prepare_until)(w, z + f->s->span[0]);
        NAME(plane_pointers)(w, z);
        double sum = 0;
        for (int64_t y = first; y < last; ++y) {
            NAME(row_pointers)(w, y);
            const REAL *weight = NAME(row_weight)(w, z, y);
            REAL *to = map ? map + (z * height + y) * width : NULL;
            sum += f->s->absolute ? NAME(energy_row)(f, 1, w->from, weight, width, to)
                                  : NAME(energy_row)(f, 0, w->from, weight, width, to);
        }
        sums[z] = sum;
    }
}

/* `mask`: one volume for `shared` volumes of the field; `scale`: one factor for each volume. Gives the
 * map, or the sums of the volumes. */
MEDLOSS_EXPORT int NAME(differences_forward)(const REAL *u, const REAL *mask, int64_t shared, int64_t volumes,
                                             const int64_t *size, int64_t terms, const int64_t *start,
                                             const int64_t *offset, const double *weight, const double *factor,
                                             const int64_t *options, const double *scale, REAL *map, double *sums,
                                             int threads) {
    REAL reals[start[terms] + terms];
    const Stencils s = NAME(stencils)(terms, start, offset, weight, factor, options, reals);
    const FIELD any = NAME(field)(u, mask, shared, 0, size, &s, reals, scale);
    const int64_t depth = any.inner[0], height = any.inner[1], inner = depth * height * any.inner[2];
    const int64_t rows = NAME(tile_rows)(&any), tiles = (height + rows - 1) / rows;
    const int64_t runs = NAME(runs)(depth, s.span[0], volumes * tiles, threads);
    double *parts = malloc((size_t)(volumes * tiles * depth) * sizeof(double));
    int failed = !parts;
    if (failed) return 1;
    if (map) prefer_huge_pages(map, (size_t)(volumes * inner) * sizeof(REAL));
#pragma omp parallel for collapse(3) num_threads(threads) schedule(dynamic) reduction(| : failed)
    for (int64_t v = 0; v < volumes; ++v)
        for (int64_t tile = 0; tile < tiles; ++tile)
            for (int64_t run = 0; run < runs; ++run) {
                const FIELD f = NAME(field)(u, mask, shared, v, size, &s, reals, scale);
                const int64_t first = height * tile / tiles, last = height * (tile + 1) / tiles;
                PLANE_ITERATOR w;
                if (NAME(plane_iterator_alloc)(&w, &f, first, last, 0)) failed = 1;
                else
                    NAME(energy_planes)(&w, depth * run / runs, depth * (run + 1) / runs, first, last,
                                        map ? map + v * inner : NULL, parts + (v * tiles + tile) * depth);
                NAME(plane_iterator_free)(&w);
            }
    for (int64_t v = 0; sums && v < volumes; ++v) {
        sums[v] = 0;
        for (int64_t i = 0; i < tiles * depth; ++i) sums[v] += parts[v * tiles * depth + i];
    }
    free(parts);
    return failed;
}

/* The gradient of output planes low to high and rows first to last. */
static void NAME(gradient_planes)(PLANE_ITERATOR *w, int64_t low, int64_t high, int64_t first, int64_t last, const REAL *grad,
                                  REAL all, REAL *out) {
    const FIELD *f = w->f;
    const Stencils *s = f->s;
    int64_t next = -1;
    for (int64_t z = low; z < high; ++z) {
        const int64_t p = z == 0 ? 0 : z + f->pad[0];
        const int64_t end = z == f->size[0] - 1 ? f->frame[0] : z + f->pad[0] + 1;
        if (next < 0) w->ready = next = most(p - s->span[0] + 1, 0);
        if (s->replicate)
            for (int64_t c = 0; c < s->components; ++c)
                memset(out + ((c * f->size[0] + z) * f->size[1] + first) * f->size[2], 0,
                       (size_t)((last - first) * f->size[2]) * sizeof(REAL));
        for (int64_t plane = p; plane < end; ++plane) {
            for (; next <= plane && next < f->inner[0]; ++next) {
                NAME(prepare_until)(w, next + s->span[0]);
                NAME(slopes_of_plane)(w, next, grad, all);
            }
            NAME(gradient_plane)(w, plane, z, first, last, out);
        }
        if (f->mask) NAME(blank_rows)(f, z, first, last, out);
    }
}

/* The gradient of the field, from an upstream map `grad` or, without one, from one number `all` for each
 * volume. */
MEDLOSS_EXPORT int NAME(differences_backward)(const REAL *u, const REAL *mask, int64_t shared, int64_t volumes,
                                              const int64_t *size, int64_t terms, const int64_t *start,
                                              const int64_t *offset, const double *weight, const double *factor,
                                              const int64_t *options, const double *scale, const REAL *grad,
                                              const REAL *all, REAL *out, int threads) {
    REAL reals[start[terms] + terms];
    const Stencils s = NAME(stencils)(terms, start, offset, weight, factor, options, reals);
    const FIELD any = NAME(field)(u, mask, shared, 0, size, &s, reals, scale);
    const int64_t depth = size[0], height = size[1], voxels = s.components * depth * height * size[2];
    const int64_t inner = any.inner[0] * any.inner[1] * any.inner[2];
    const int64_t rows = NAME(tile_rows)(&any), tiles = (height + rows - 1) / rows;
    const int64_t runs = NAME(runs)(depth, s.span[0], volumes * tiles, threads);
    int failed = 0;
    prefer_huge_pages(out, (size_t)(volumes * voxels) * sizeof(REAL));
#pragma omp parallel for collapse(3) num_threads(threads) schedule(dynamic) reduction(| : failed)
    for (int64_t v = 0; v < volumes; ++v)
        for (int64_t tile = 0; tile < tiles; ++tile)
            for (int64_t run = 0; run < runs; ++run) {
                const FIELD f = NAME(field)(u, mask, shared, v, size, &s, reals, scale);
                const int64_t first = height * tile / tiles, last = height * (tile + 1) / tiles;
                const int64_t begin = first ? first + f.pad[1] : 0;
                const int64_t end = last < height ? last + f.pad[1] : f.frame[1];
                PLANE_ITERATOR w;
                if (NAME(plane_iterator_alloc)(&w, &f, begin - s.span[1] + 1, end, 1)) failed = 1;
                else
                    NAME(gradient_planes)(&w, depth * run / runs, depth * (run + 1) / runs, first, last,
                                          grad ? grad + v * inner : NULL, grad ? 0 : all[v], out + v * voxels);
                NAME(plane_iterator_free)(&w);
            }
    return failed;
}

#undef FIELD
#undef INLINE
#undef MEDLOSS_BY_TAPS
#undef PLANE_ITERATOR
#undef NAME
#endif
