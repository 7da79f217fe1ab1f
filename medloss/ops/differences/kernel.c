/* differences on the CPU: energies that are sums of squares of linear stencils, and their gradient.
 *
 * A stencil is a list of taps (offset along depth, height, width, and weight); diffusion, bending and curvature differ
 * in their lists alone. Forward, each row reads its neighbours and keeps nothing. Backward, 2 g L u of each stencil L is
 * kept in a ring of planes, from which the adjoint gathers: every voxel of the gradient is written once, by one thread,
 * and the result does not depend on their number.
 */
#ifndef REAL

#include "../native.h"

/* One call's stencils: those of term k are taps start[k] to start[k + 1]. */
typedef struct {
    int64_t terms;
    const int64_t *start;
    const int64_t *offset; /* three for each tap */
    const double *weight;
    int64_t before[3], behind[3];
} Stencils;

#define REAL float
#define SUFFIX f32
#include "kernel.c"
#undef REAL
#undef SUFFIX
#define REAL double
#define SUFFIX f64
#include "kernel.c"

#else

#define NAME(stem) MEDLOSS_PASTE(stem, SUFFIX, MEDLOSS_LEVEL)
#define FIELD NAME(Field)
#define VECTOR NAME(Vector)

/* 32 bytes that may lie anywhere. */
typedef REAL VECTOR __attribute__((vector_size(32), aligned(sizeof(REAL)), may_alias));
enum { NAME(LANES) = 32 / sizeof(REAL) };

typedef struct {
    const REAL *u;
    int64_t size[3]; /* depth, height, width */
    const Stencils *s;
    REAL scale; /* of the component, squared */
} FIELD;

/* Voxels along an axis whose stencils lie inside. */
static inline int64_t NAME(inner)(const FIELD *f, int axis) {
    return f->size[axis] - f->s->before[axis] - f->s->behind[axis];
}

/* Where each tap reads for the first interior voxel of an interior row. */
static void NAME(row_pointers)(const FIELD *f, int64_t z, int64_t y, const REAL **from) {
    const Stencils *s = f->s;
    for (int64_t t = 0; t < s->start[s->terms]; ++t) {
        const int64_t *o = s->offset + 3 * t;
        const int64_t row = (z + s->before[0] + o[0]) * f->size[1] + y + s->before[1] + o[1];
        from[t] = f->u + row * f->size[2] + s->before[2] + o[2];
    }
}

static inline VECTOR NAME(gather)(const Stencils *s, int64_t term, const REAL *const *from, int64_t x) {
    VECTOR total = {0};
    for (int64_t t = s->start[term]; t < s->start[term + 1]; ++t)
        total += (REAL)s->weight[t] * *(const VECTOR *)(from[t] + x);
    return total;
}

static inline REAL NAME(gather_one)(const Stencils *s, int64_t term, const REAL *const *from, int64_t x) {
    REAL total = 0;
    for (int64_t t = s->start[term]; t < s->start[term + 1]; ++t) total += (REAL)s->weight[t] * from[t][x];
    return total;
}

/* The energies of a row into `out` (where there is one); returns their sum. */
static double NAME(energy_row)(const FIELD *f, const REAL *const *from, int64_t n, REAL *out) {
    const Stencils *s = f->s;
    VECTOR sum = {0};
    double rest = 0;
    int64_t x = 0;
    for (; x + NAME(LANES) <= n; x += NAME(LANES)) {
        VECTOR energy = {0};
        for (int64_t k = 0; k < s->terms; ++k) {
            const VECTOR slope = NAME(gather)(s, k, from, x);
            energy += slope * slope;
        }
        energy *= f->scale;
        sum += energy;
        if (out) *(VECTOR *)(out + x) = energy;
    }
    for (; x < n; ++x) {
        REAL energy = 0;
        for (int64_t k = 0; k < s->terms; ++k) {
            const REAL slope = NAME(gather_one)(s, k, from, x);
            energy += slope * slope;
        }
        energy *= f->scale;
        rest += (double)energy;
        if (out) out[x] = energy;
    }
    for (int i = 0; i < NAME(LANES); ++i) rest += (double)sum[i];
    return rest;
}

/* A ring of planes of 2 g L u, one plane for each term; a margin of zeros stands for stencils that are not there. */
typedef struct {
    int64_t span, pitch, rows, plane; /* planes in the ring; entries of a row; rows and entries of a plane */
    REAL *ring;
    const REAL **from;
} NAME(Ring);

static int NAME(ring_alloc)(NAME(Ring) * r, const FIELD *f) {
    const Stencils *s = f->s;
    r->span = s->before[0] + s->behind[0] + 1;
    r->pitch = f->size[2] + s->before[2] + s->behind[2] + NAME(LANES);
    r->rows = f->size[1] + s->before[1] + s->behind[1];
    r->plane = r->pitch * r->rows;
    r->ring = calloc((size_t)(r->span * s->terms * r->plane), sizeof(REAL));
    r->from = malloc(sizeof(REAL *) * (size_t)s->start[s->terms]);
    return !r->ring || !r->from;
}

/* 2 g L u of interior plane z into its place; the ring's rows and columns begin `before + behind` before its own. */
static void NAME(slopes_of_plane)(const FIELD *f, NAME(Ring) * r, int64_t z, const REAL *grad, REAL all) {
    const Stencils *s = f->s;
    const int64_t height = NAME(inner)(f, 1), width = NAME(inner)(f, 2);
    REAL *slot = r->ring + z % r->span * s->terms * r->plane;
    for (int64_t y = 0; y < height; ++y) {
        NAME(row_pointers)(f, z, y, r->from);
        const REAL *g = grad ? grad + (z * height + y) * width : NULL;
        for (int64_t k = 0; k < s->terms; ++k) {
            const int64_t row = y + s->before[1] + s->behind[1];
            REAL *out = slot + k * r->plane + row * r->pitch + s->before[2] + s->behind[2];
            int64_t x = 0;
            for (; x + NAME(LANES) <= width; x += NAME(LANES)) {
                VECTOR slope = NAME(gather)(s, k, r->from, x) * (2 * f->scale);
                *(VECTOR *)(out + x) = g ? slope * *(const VECTOR *)(g + x) : slope * all;
            }
            for (; x < width; ++x) out[x] = NAME(gather_one)(s, k, r->from, x) * (2 * f->scale) * (g ? g[x] : all);
        }
    }
}

/* The gradient of plane z (of the field), gathered from the ring: the weight of tap o times the slope at x - o. */
static void NAME(gradient_plane)(const FIELD *f, NAME(Ring) * r, int64_t z, REAL *out) {
    const Stencils *s = f->s;
    const int64_t depth = NAME(inner)(f, 0);
    for (int64_t y = 0; y < f->size[1]; ++y) {
        int64_t taps = 0;
        REAL weight[s->start[s->terms]];
        for (int64_t k = 0; k < s->terms; ++k)
            for (int64_t t = s->start[k]; t < s->start[k + 1]; ++t) {
                const int64_t *o = s->offset + 3 * t, at = z - o[0] - s->before[0];
                if (at < 0 || at >= depth) continue;
                const int64_t row = y - o[1] + s->behind[1];
                const REAL *plane = r->ring + (at % r->span * s->terms + k) * r->plane;
                weight[taps] = (REAL)s->weight[t];
                r->from[taps++] = plane + row * r->pitch + s->behind[2] - o[2];
            }
        REAL *to = out + y * f->size[2];
        int64_t x = 0;
        for (; x + NAME(LANES) <= f->size[2]; x += NAME(LANES)) {
            VECTOR total = {0};
            for (int64_t t = 0; t < taps; ++t) total += weight[t] * *(const VECTOR *)(r->from[t] + x);
            *(VECTOR *)(to + x) = total;
        }
        for (; x < f->size[2]; ++x) {
            to[x] = 0;
            for (int64_t t = 0; t < taps; ++t) to[x] += weight[t] * r->from[t][x];
        }
    }
}

static int NAME(gradient_planes)(const FIELD *f, int64_t low, int64_t high, const REAL *grad, REAL all, REAL *out) {
    const Stencils *s = f->s;
    const int64_t depth = NAME(inner)(f, 0);
    NAME(Ring) ring;
    int failed = NAME(ring_alloc)(&ring, f);
    int64_t next = low - s->before[0] - s->behind[0] < 0 ? 0 : low - s->before[0] - s->behind[0];
    for (int64_t z = low; z < high && !failed; ++z) {
        for (; next <= z && next < depth; ++next) NAME(slopes_of_plane)(f, &ring, next, grad, all);
        NAME(gradient_plane)(f, &ring, z, out + z * f->size[1] * f->size[2]);
    }
    free(ring.ring);
    free(ring.from);
    return failed;
}

static FIELD NAME(field)(const REAL *u, int64_t volume, const int64_t *size, const Stencils *s, const double *scale) {
    FIELD f = {u + volume * size[0] * size[1] * size[2], {size[0], size[1], size[2]}, s, (REAL)scale[volume]};
    return f;
}

/* `scale`: one factor for each volume. Gives the map, or the sums of the volumes. */
MEDLOSS_EXPORT int NAME(differences_forward)(const REAL *u, int64_t volumes, const int64_t *size, int64_t terms,
                                             const int64_t *start, const int64_t *offset, const double *weight,
                                             const int64_t *reach, const double *scale, REAL *map, double *sums,
                                             int threads) {
    const Stencils s = {terms, start, offset, weight, {reach[0], reach[1], reach[2]}, {reach[3], reach[4], reach[5]}};
    const FIELD any = NAME(field)(u, 0, size, &s, scale);
    const int64_t depth = NAME(inner)(&any, 0), height = NAME(inner)(&any, 1), width = NAME(inner)(&any, 2);
    double *planes = calloc((size_t)(volumes * depth), sizeof(double));
    int failed = !planes;
    if (failed) return 1;
#pragma omp parallel for collapse(2) num_threads(threads) schedule(static)
    for (int64_t v = 0; v < volumes; ++v)
        for (int64_t z = 0; z < depth; ++z) {
            const FIELD f = NAME(field)(u, v, size, &s, scale);
            const REAL *from[start[terms]];
            for (int64_t y = 0; y < height; ++y) {
                NAME(row_pointers)(&f, z, y, from);
                planes[v * depth + z] +=
                    NAME(energy_row)(&f, from, width, map ? map + ((v * depth + z) * height + y) * width : NULL);
            }
        }
    for (int64_t v = 0; sums && v < volumes; ++v) {
        sums[v] = 0;
        for (int64_t z = 0; z < depth; ++z) sums[v] += planes[v * depth + z];
    }
    free(planes);
    return 0;
}

/* The gradient of the field, from an upstream map `grad` or, without one, from one number `all` for each volume. */
MEDLOSS_EXPORT int NAME(differences_backward)(const REAL *u, int64_t volumes, const int64_t *size, int64_t terms,
                                              const int64_t *start, const int64_t *offset, const double *weight,
                                              const int64_t *reach, const double *scale, const REAL *grad,
                                              const REAL *all, REAL *out, int threads) {
    const Stencils s = {terms, start, offset, weight, {reach[0], reach[1], reach[2]}, {reach[3], reach[4], reach[5]}};
    const FIELD any = NAME(field)(u, 0, size, &s, scale);
    const int64_t voxels = size[0] * size[1] * size[2];
    const int64_t inner = NAME(inner)(&any, 0) * NAME(inner)(&any, 1) * NAME(inner)(&any, 2);
    const int64_t most = size[0] / (4 * (reach[0] + reach[3] + 1)); /* what a run computes twice stays small */
    const int64_t runs = threads < most ? threads : most > 1 ? most : 1;
    int failed = 0;
    prefer_huge_pages(out, (size_t)(volumes * voxels) * sizeof(REAL));
#pragma omp parallel for collapse(2) num_threads(threads) schedule(dynamic) reduction(| : failed)
    for (int64_t v = 0; v < volumes; ++v)
        for (int64_t run = 0; run < runs; ++run) {
            const FIELD f = NAME(field)(u, v, size, &s, scale);
            failed |= NAME(gradient_planes)(&f, size[0] * run / runs, size[0] * (run + 1) / runs,
                                            grad ? grad + v * inner : NULL, grad ? 0 : all[v], out + v * voxels);
        }
    return failed;
}

#undef FIELD
#undef VECTOR
#undef NAME
#endif
