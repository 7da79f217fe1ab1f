/* jacobian on the CPU: what a deformation does to volumes (and, for hyperelasticity, to lengths and
 * areas), what that costs, and the gradient in the field.
 *
 * A row of stencils at a time: the growth of each simplex (simplices.h), what it costs (penalties.h), and
 * on the way back what each of the stencil's points is given, which is added to the points' rows. The
 * stencils of a voxel come in the order of their planes and rows, however the planes are shared among
 * threads: a thread computes the stencils at its border again, and keeps of them what falls on its side.
 */
#ifndef REAL

#include "../native.h"

enum { DETERMINANT = 0, FOLDING = 1, LOGARITHM = 2, VOLUME = 3, SDLOG = 4, HYPERELASTIC = 5, HINGE = 6 };
enum { MOST_ENDS = 24, MOST_SIMPLICES = 10, LEAST_PLANES = 8 };

/* Where a stencil reads: a low and a high end along each axis, or all corners of a cell. */
typedef struct {
    int64_t rank, points, simplices;
    const int64_t *offset; /* depth, height and width of each point from the centre */
    int64_t before[3], behind[3], replicate;
} Scheme;

static inline int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
static inline int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }

/* The share of a cell's volume that a simplex stands for. */
static double share_of(const Scheme *s, int64_t simplex) {
    if (s->simplices == 1) return 1;
    return s->rank == 3 ? (simplex < 8 ? 1.0 / 12 : 1.0 / 6) : 1.0 / (double)s->simplices;
}

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
#define WORK NAME(Work)

#include "simplices.h"

#include "rows.h"

#include "penalties.h"

/* `options`: rank, points, simplices, voxels before and behind along each axis, replicate.
 * `numbers`: the factor of component k along axis i at 3 i + k; floor; prices of length, area, volume. */
static FIELD NAME(field)(const REAL *u, const REAL *mask, const int64_t *size, const int64_t *options,
                         const int64_t *offset, const double *numbers, int64_t mode, Scheme *s) {
    *s = (Scheme){options[0], options[1], options[2], offset, {options[3], options[4], options[5]},
                  {options[6], options[7], options[8]}, options[9]};
    FIELD f = {.u = u, .mask = mask, .s = s, .mode = mode};
    for (int axis = 0; axis < 3; ++axis) {
        f.size[axis] = size[axis];
        f.inner[axis] = size[axis] - (s->replicate ? 0 : s->before[axis] + s->behind[axis]);
    }
    for (int i = 0; i < 9; ++i) f.scale[i] = (REAL)numbers[i];
    f.floor = (REAL)numbers[9];
    f.log_floor = (REAL)log((double)f.floor);
    for (int i = 0; i < 3; ++i) f.price[i] = (REAL)numbers[10 + i];
    const double floor = numbers[9];
    f.fall = (REAL)(2 * (floor - 1) * (floor - 1) * (floor - 1) * (floor + 1) / (floor * floor * floor));
    return f;
}

/* The same field, of one volume of the batch. */
static FIELD NAME(volume)(const FIELD *first, int64_t volume) {
    FIELD f = *first;
    const int64_t voxels = f.size[0] * f.size[1] * f.size[2];
    f.u += volume * f.s->rank * voxels;
    if (f.mask) f.mask += volume * voxels;
    return f;
}

/* The costs of a row of stencils, from its growths, times their weights. */
static void NAME(weighed_costs)(WORK *w, const REAL *weight, int64_t n) {
    if (w->f->mode != HYPERELASTIC) NAME(costs)(w, n);
    if (weight)
        for (int64_t x = 0; x < n; ++x) w->cost[x] = w->keep[x] ? w->cost[x] * weight[x] : 0;
}

/* A plane of stencils into the map, and what it adds up to: a sum, or mass, mean and squared deviations. */
static void NAME(plane)(WORK *w, int64_t z, REAL *map, double *found) {
    const FIELD *f = w->f;
    const int64_t n = f->inner[2], inner = f->inner[0] * f->inner[1] * n;
    found[0] = found[1] = found[2] = 0;
    for (int64_t y = 0; y < f->inner[1]; ++y) {
        NAME(point_rows)(w, z, y);
        const REAL *weight = NAME(row_weight)(w, z, y);
        REAL *to = map ? map + (z * f->inner[1] + y) * n : NULL;
        if (f->mode == HYPERELASTIC) NAME(energies)(w, n);
        else NAME(growths)(w, n);
        if (f->mode == DETERMINANT) {
            for (int64_t s = 0; s < f->s->simplices; ++s) {
                const REAL *growth = w->growth + s * w->pitch;
                for (int64_t x = 0; x < n; ++x) to[s * inner + x] = !weight || w->keep[x] ? growth[x] : 1;
            }
        } else if (f->mode == SDLOG) {
            NAME(add_moments)(w, weight, n, found);
        } else {
            NAME(weighed_costs)(w, weight, n);
            if (to) memcpy(to, w->cost, (size_t)n * sizeof(REAL));
            else found[0] += NAME(row_sum)(w->cost, n);
        }
    }
}

/* Gives the map, or of each volume three numbers: its sum; for SDLOG weight, mean and variance. */
MEDLOSS_EXPORT int NAME(jacobian_forward)(const REAL *u, const REAL *mask, int64_t volumes,
                                          const int64_t *size, const int64_t *options, const int64_t *offset,
                                          const double *numbers, int64_t mode, REAL *map, double *found,
                                          int threads) {
    Scheme s;
    const FIELD any = NAME(field)(u, mask, size, options, offset, numbers, mode, &s);
    const int64_t depth = any.inner[0], maps = mode == DETERMINANT ? s.simplices : 1;
    const int64_t entries = maps * depth * any.inner[1] * any.inner[2];
    double *parts = malloc((size_t)(volumes * depth) * 3 * sizeof(double));
    int failed = !parts;
    if (failed) return 1;
    if (map) prefer_huge_pages(map, (size_t)(volumes * entries) * sizeof(REAL));
#pragma omp parallel num_threads(threads) reduction(| : failed)
    {
        WORK w;
        failed |= NAME(work_alloc)(&w, &any, 0);
#pragma omp for schedule(dynamic)
        for (int64_t i = 0; i < volumes * depth; ++i) {
            const FIELD f = NAME(volume)(&any, i / depth);
            w.f = &f;
            if (!failed) NAME(plane)(&w, i % depth, map ? map + i / depth * entries : NULL, parts + 3 * i);
        }
        NAME(work_free)(&w);
    }
    for (int64_t v = 0; found && !failed && v < volumes; ++v) {
        double *total = found + 3 * v;
        total[0] = total[1] = total[2] = 0;
        for (int64_t z = 0; z < depth; ++z) {
            const double *part = parts + 3 * (v * depth + z);
            if (mode == SDLOG) join_moments(total, part[0], part[1], part[2]);
            else total[0] += part[0];
        }
        if (mode == SDLOG && total[0] > 0) total[2] /= total[0];
    }
    free(parts);
    return failed;
}

/* The gradient of planes low to high, from an upstream map or, without one, one number for the volume; and
 * into `costs`, where there are any, what each of their planes of stencils costs. */
static void NAME(slab)(WORK *w, int64_t low, int64_t high, const REAL *grad, REAL all, double centre,
                       double *costs, REAL *out) {
    const FIELD *f = w->f;
    const Scheme *s = f->s;
    const int64_t n = f->inner[2], plane = f->size[1] * f->size[2], inner = f->inner[0] * f->inner[1] * n;
    const int64_t behind = s->replicate ? s->behind[0] : s->before[0] + s->behind[0];
    const int64_t last = least(high + (s->replicate ? s->before[0] : 0), f->inner[0]);
    const int64_t shift = s->replicate ? 0 : s->before[0];
    int64_t ready = low;
    for (int64_t z = most(low - behind, 0); z < last || ready < high; ++z) {
        for (; ready < least(z + behind + 1, high); ++ready)
            for (int64_t c = 0; c < s->rank; ++c)
                memset(out + (c * f->size[0] + ready) * plane, 0, (size_t)plane * sizeof(REAL));
        for (int64_t y = 0; z < last && y < f->inner[1]; ++y) {
            NAME(point_rows)(w, z, y);
            const REAL *weight = NAME(row_weight)(w, z, y);
            const REAL *above = grad ? grad + (z * f->inner[1] + y) * n : NULL;
            if (f->mode == HYPERELASTIC) {
                NAME(upstream)(weight, above, all, n, w->cost);
                NAME(energies_back)(w, n);
            } else {
                if (f->mode != DETERMINANT) {
                    NAME(growths)(w, n);
                    if (costs && low <= z + shift && z + shift < high) {
                        NAME(weighed_costs)(w, weight, n);
                        costs[z] += NAME(row_sum)(w->cost, n);
                    }
                    NAME(upstream)(weight, above, all, n, w->cost);
                }
                NAME(rates)(w, above, inner, n, centre);
                if (NAME(idle)(w, n)) continue; /* as most rows of a field that hardly folds */
                NAME(growths_back)(w, n);
            }
            NAME(give_points)(w, z, y, low, high, weight != NULL, out);
        }
    }
}

/* The gradient of the field. `grad`: of the map; `all`: of each volume's sum; `centre`: for SDLOG, the
 * mean of each volume. `costs`: for each volume and plane of stencils zero, to which its cost is added, or NULL. */
MEDLOSS_EXPORT int NAME(jacobian_backward)(const REAL *u, const REAL *mask, int64_t volumes,
                                           const int64_t *size, const int64_t *options,
                                           const int64_t *offset, const double *numbers, int64_t mode,
                                           const REAL *grad, const REAL *all, const double *centre,
                                           double *costs, REAL *out, int threads) {
    Scheme s;
    const FIELD any = NAME(field)(u, mask, size, options, offset, numbers, mode, &s);
    const int64_t depth = size[0], voxels = s.rank * depth * size[1] * size[2];
    const int64_t maps = mode == DETERMINANT ? s.simplices : 1;
    const int64_t entries = maps * any.inner[0] * any.inner[1] * any.inner[2];
    const int64_t slabs = most(1, least((2 * threads + volumes - 1) / volumes, depth / LEAST_PLANES));
    int failed = 0;
    prefer_huge_pages(out, (size_t)(volumes * voxels) * sizeof(REAL));
#pragma omp parallel num_threads(threads) reduction(| : failed)
    {
        WORK w;
        failed |= NAME(work_alloc)(&w, &any, 1);
#pragma omp for schedule(dynamic)
        for (int64_t i = 0; i < volumes * slabs; ++i) {
            const int64_t v = i / slabs, slab = i % slabs;
            const FIELD f = NAME(volume)(&any, v);
            w.f = &f;
            if (!failed)
                NAME(slab)(&w, depth * slab / slabs, depth * (slab + 1) / slabs,
                           grad ? grad + v * entries : NULL, all ? all[v] : 1, centre ? centre[v] : 0,
                           costs ? costs + v * any.inner[0] : NULL, out + v * voxels);
        }
        NAME(work_free)(&w);
    }
    return failed;
}

#undef FIELD
#undef INLINE
#undef VECTOR
#undef WHOLE
#undef WORK
#undef NAME
#endif
