/* local_moments and local_ssim on the CPU: the squared local correlation or the dissimilarity of two images, and its
 * gradient in the first.
 *
 * Windows are separable. A plane's products are filtered along x and y and kept in a ring of as many planes as the
 * window is deep; the ring is combined along z, so that no map of the whole volume is ever made. The gradient has a
 * second ring: for either statistic it is y K*a + x K*b - K*c with three maps a, b, c of the windows.
 * Sums over the volume are added plane by plane in double: the result does not depend on the number of threads.
 */
#ifndef REAL

#include "../native.h"

enum { ZERO, RENORMALISE, MASKED }; /* what lies beyond the border */
enum { X, Y, XX, YY, XY, MASS, MAPS }; /* for SSIM, Y is the difference and XY its square, and YY is of y still */
enum { CORRELATION, SSIM };
enum { ROUNDING = 32 }; /* as in reference.py */

/* The weights of an axis, and the weight that lies inside the volume around each of its voxels. */
typedef struct {
    int64_t size, length;
    const double *window;
    double *inside;
} Axis;

static int axis_alloc(Axis *axis, int64_t size, int64_t length, const double *window) {
    axis->size = size;
    axis->length = length;
    axis->window = window;
    axis->inside = malloc(sizeof(double) * (size_t)size);
    if (!axis->inside) return 1;
    for (int64_t i = 0; i < size; ++i) {
        axis->inside[i] = 0;
        for (int64_t j = 0; j < length; ++j) {
            int64_t at = i + j - length / 2;
            if (at >= 0 && at < size) axis->inside[i] += window[j];
        }
    }
    return 0;
}

#define REAL float
#define SUFFIX f32
#define STEP 32
#define EPSILON 1.1920929e-7f
#include "kernel.c"
#undef REAL
#undef SUFFIX
#undef STEP
#undef EPSILON
#define REAL double
#define SUFFIX f64
#define STEP 16
#define EPSILON 2.220446049250313e-16
#include "kernel.c"

#else

#define NAME(stem) MEDLOSS_PASTE(stem, SUFFIX, MEDLOSS_LEVEL)
#define PAIR NAME(Pair)
#define RINGS NAME(Rings)
#define VECTOR NAME(Vector)

/* 32 bytes that may lie anywhere: four of them are a step. */
typedef REAL VECTOR __attribute__((vector_size(32), aligned(sizeof(REAL)), may_alias));

/* Two volumes, what weighs them, and the window. */
typedef struct {
    const REAL *x, *y, *weight;
    const Axis *axes; /* depth, height, width */
    int border, maps, statistic, valid; /* valid: windows that reach beyond the border do not count */
    REAL mean_x, mean_y, volume, nr, dr;
} PAIR;

/* One thread's scratch. A row is padded to whole steps, so that the filters have no remainder. */
typedef struct {
    int64_t pitch, plane; /* entries of a row and of a plane of one map */
    REAL *padded;         /* rows with a margin, one for each map */
    REAL *filtered;       /* planes filtered along x */
    REAL *moments;        /* ring of planes filtered along x and y, depth x maps */
    REAL *slopes;         /* three planes of gradient maps */
    REAL *adjoint;        /* their ring */
    REAL *sums;           /* rows of a window's sums and of the gradient maps */
} RINGS;

static int NAME(rings_alloc)(RINGS *r, const PAIR *p, int gradient) {
    const Axis *a = p->axes;
    memset(r, 0, sizeof *r);
    r->pitch = (a[2].size + STEP - 1) / STEP * STEP;
    r->plane = r->pitch * a[1].size + 64 / (int64_t)sizeof(REAL); /* off a power of two: planes share no cache set */
    size_t plane = (size_t)r->plane * sizeof(REAL), depth = (size_t)a[0].length;
    r->padded = calloc((size_t)(r->pitch + a[2].length) * MAPS, sizeof(REAL));
    r->filtered = malloc(plane * (size_t)p->maps);
    r->moments = malloc(plane * (size_t)p->maps * depth);
    r->sums = malloc(sizeof(REAL) * (size_t)r->pitch * (MAPS + 4));
    if (gradient) {
        r->slopes = malloc(plane * 3);
        r->adjoint = malloc(plane * 3 * depth);
    }
    return !r->padded || !r->filtered || !r->moments || !r->sums || (gradient && (!r->slopes || !r->adjoint));
}

static void NAME(rings_free)(RINGS *r) {
    free(r->padded);
    free(r->filtered);
    free(r->moments);
    free(r->slopes);
    free(r->adjoint);
    free(r->sums);
}

/* A row as the weighted sum of rows: those of a window along y or z, or one row at shifts along x. Written with
 * vectors, as compilers fuse the two loops of the plain form into a scalar one. */
static inline void NAME(combine)(const REAL *const *rows, const double *window, int64_t count, int64_t pitch,
                                 REAL *restrict out) {
    for (int64_t x = 0; x < pitch; x += STEP) {
        VECTOR a = {0}, b = {0}, c = {0}, d = {0};
        for (int64_t j = 0; j < count; ++j) {
            const VECTOR *row = (const VECTOR *)(rows[j] + x);
            const REAL k = (REAL)window[j];
            a += k * row[0];
            b += k * row[1];
            c += k * row[2];
            d += k * row[3];
        }
        VECTOR *to = (VECTOR *)(out + x);
        to[0] = a, to[1] = b, to[2] = c, to[3] = d;
    }
}

/* The rows of a window around `at` that exist; `first` is the offset of their first weight. */
static inline int64_t NAME(reach)(const Axis *axis, int64_t at, int64_t *first) {
    int64_t low = at - axis->length / 2, high = low + axis->length;
    *first = low < 0 ? -low : 0;
    if (high > axis->size) high = axis->size;
    return high - (low + *first);
}

/* Filter the rows of a plane along x (from their padded copies) or along y (from the plane filtered along x). */
static inline void NAME(filter_x)(const Axis *axis, const REAL *padded, int64_t pitch, REAL *restrict out) {
    const REAL *rows[axis->length];
    for (int64_t j = 0; j < axis->length; ++j) rows[j] = padded + j;
    NAME(combine)(rows, axis->window, axis->length, pitch, out);
}

static void NAME(filter_y)(const Axis *axis, const REAL *plane, int64_t pitch, REAL *restrict out) {
    const REAL *rows[axis->length];
    for (int64_t y = 0; y < axis->size; ++y) {
        int64_t first, count = NAME(reach)(axis, y, &first);
        for (int64_t j = 0; j < count; ++j) rows[j] = plane + (y - axis->length / 2 + first + j) * pitch;
        NAME(combine)(rows, axis->window + first, count, pitch, out + y * pitch);
    }
}

/* A row of map `map` of a ring, combined along z. */
static inline void NAME(filter_z)(const Axis *axis, const REAL *ring, int64_t slot, int64_t offset, int64_t pitch,
                                  int64_t z, REAL *restrict out) {
    const REAL *rows[axis->length];
    int64_t first, count = NAME(reach)(axis, z, &first);
    for (int64_t j = 0; j < count; ++j)
        rows[j] = ring + (z - axis->length / 2 + first + j) % axis->length * slot + offset;
    NAME(combine)(rows, axis->window + first, count, pitch, out);
}

/* A row's products, each into a row of its own. */
static inline void NAME(products)(const PAIR *p, const REAL *restrict x, const REAL *restrict y,
                                  const REAL *restrict weight, int64_t size, REAL *restrict sx, REAL *restrict sy,
                                  REAL *restrict sxx, REAL *restrict syy, REAL *restrict sxy, REAL *restrict mass) {
    const REAL mean_x = p->mean_x, mean_y = p->mean_y;
    if (p->statistic == SSIM) {
        for (int64_t i = 0; i < size; ++i) {
            const REAL w = weight ? weight[i] : 1, u = w > 0 ? x[i] - mean_x : 0, v = w > 0 ? y[i] - mean_y : 0;
            const REAL d = u - v;
            sx[i] = w * u, sy[i] = w * d, sxx[i] = w * u * u, syy[i] = w * v * v, sxy[i] = w * d * d;
            if (weight) mass[i] = w;
        }
        return;
    }
    if (!weight) {
        for (int64_t i = 0; i < size; ++i) {
            const REAL u = x[i] - mean_x, v = y[i] - mean_y;
            sx[i] = u, sy[i] = v, sxx[i] = u * u, syy[i] = v * v, sxy[i] = u * v;
        }
        return;
    }
    for (int64_t i = 0; i < size; ++i) {
        const REAL w = weight[i], u = w > 0 ? x[i] - mean_x : 0, v = w > 0 ? y[i] - mean_y : 0;
        sx[i] = w * u, sy[i] = w * v, sxx[i] = w * u * u, syy[i] = w * v * v, sxy[i] = w * u * v, mass[i] = w;
    }
}

/* The products of plane z, filtered along x and y, into its place in the ring. */
static void NAME(moments_of_plane)(const PAIR *p, RINGS *r, int64_t z) {
    const Axis *height = p->axes + 1, *width = p->axes + 2;
    const int64_t margin = width->length / 2, row = r->pitch + width->length;
    for (int64_t y = 0; y < height->size; ++y) {
        const int64_t at = (z * height->size + y) * width->size;
        NAME(products)(p, p->x + at, p->y + at, p->weight ? p->weight + at : NULL, width->size, r->padded + margin,
                       r->padded + margin + row, r->padded + margin + 2 * row, r->padded + margin + 3 * row,
                       r->padded + margin + 4 * row, r->padded + margin + 5 * row);
        for (int m = 0; m < p->maps; ++m)
            NAME(filter_x)(width, r->padded + m * row, r->pitch, r->filtered + m * r->plane + y * r->pitch);
    }
    REAL *slot = r->moments + z % p->axes[0].length * p->maps * r->plane;
    for (int m = 0; m < p->maps; ++m)
        NAME(filter_y)(height, r->filtered + m * r->plane, r->pitch, slot + m * r->plane);
}

/* The sums of every window of a row; under a constant border the mass is known without a map. */
static void NAME(sums_of_row)(const PAIR *p, RINGS *r, int64_t z, int64_t y) {
    const Axis *a = p->axes;
    for (int m = 0; m < p->maps; ++m)
        NAME(filter_z)(a, r->moments, p->maps * r->plane, m * r->plane + y * r->pitch, r->pitch, z,
                       r->sums + m * r->pitch);
    if (p->border == MASKED) return;
    REAL *restrict s = r->sums, *restrict mass = s + MASS * r->pitch;
    const double slice = a[0].inside[z] * a[1].inside[y];
    for (int64_t i = 0; i < a[2].size; ++i) mass[i] = (REAL)(slice * a[2].inside[i]);
    if (p->border == RENORMALISE) return;
    for (int64_t i = 0; i < a[2].size; ++i) { /* zeros beyond the border, shifted as the images are */
        REAL beyond = p->volume - mass[i];
        s[i] -= beyond * p->mean_x;
        s[i + Y * r->pitch] -= beyond * p->mean_y;
        s[i + XX * r->pitch] += beyond * p->mean_x * p->mean_x;
        s[i + YY * r->pitch] += beyond * p->mean_y * p->mean_y;
        s[i + XY * r->pitch] += beyond * p->mean_x * p->mean_y;
        mass[i] = p->volume;
    }
}

/* The correlation of each window of a row (times its weight) into `value`, and with `slope` the three gradient maps for
 * the upstream gradient in `slope`'s first row. */
static inline void NAME(correlate)(const PAIR *p, const RINGS *r, const REAL *restrict weight, REAL *restrict value,
                                   REAL *restrict gA, REAL *restrict gB, REAL *restrict gM, int gradient) {
    const REAL *restrict s = r->sums, flat = ROUNDING * EPSILON;
    const int64_t pitch = r->pitch;
    for (int64_t i = 0; i < p->axes[2].size; ++i) {
        const REAL mass = s[i + MASS * pitch], n = mass > 0 ? mass : 1, inverse = 1 / n;
        const REAL mean_x = s[i] * inverse, mean_y = s[i + Y * pitch] * inverse;
        const REAL xx = s[i + XX * pitch], yy = s[i + YY * pitch];
        const REAL found_x = xx - s[i] * mean_x, found_y = yy - s[i + Y * pitch] * mean_y;
        const int flat_x = found_x <= flat * xx, flat_y = found_y <= flat * yy;
        const REAL var_x = flat_x ? 0 : found_x, var_y = flat_y ? 0 : found_y;
        REAL cross = s[i + XY * pitch] - s[i] * mean_y;
        cross = (flat_x | flat_y) ? 0 : cross;
        const REAL b = var_x < p->dr ? p->dr : var_x, c = var_y < p->dr ? p->dr : var_y;
        const REAL over = 1 / (b * c), result = (cross * cross + p->nr) * over, w = weight ? weight[i] : 1;
        if (!gradient) {
            value[i] = result * w;
            continue;
        }
        const REAL g = value[i] * w, a = 2 * g * cross * over;
        const REAL v = (flat_x | (var_x < p->dr)) ? 0 : -g * result / b;
        gA[i] = a;
        gB[i] = 2 * v;
        gM[i] = a * mean_y + 2 * v * mean_x;
    }
}

/* One minus SSIM of each window of a row, as `correlate`; constants c1 and c2 lie in nr and dr. */
static inline void NAME(dissimilate)(const PAIR *p, const RINGS *r, const REAL *restrict weight, REAL *restrict value,
                                     REAL *restrict gA, REAL *restrict gB, REAL *restrict gM, int gradient) {
    const REAL *restrict s = r->sums, flat = ROUNDING * EPSILON, level_x = p->mean_x, level_d = p->mean_x - p->mean_y;
    const int64_t pitch = r->pitch;
    for (int64_t i = 0; i < p->axes[2].size; ++i) {
        const REAL mass = s[i + MASS * pitch], over = 1 / (mass > 0 ? mass : 1), w = weight ? weight[i] : 1;
        const REAL sx = s[i], sd = s[i + Y * pitch], sy = sx - sd;
        const REAL xx = s[i + XX * pitch], yy = s[i + YY * pitch], dd = s[i + XY * pitch];
        const REAL found_x = xx - sx * sx * over, found_y = yy - sy * sy * over, found_d = dd - sd * sd * over;
        const int flat_x = found_x <= flat * xx, flat_d = found_d <= flat * dd;
        const REAL var_x = flat_x ? 0 : found_x * over, var_d = flat_d ? 0 : found_d * over;
        const REAL var_y = found_y <= flat * yy ? 0 : found_y * over;
        const REAL spread = var_x + var_y + p->dr, per_spread = spread != 0 ? 1 / spread : 0;
        const REAL structure = spread != 0 ? var_d * per_spread : 0;
        const REAL mean_x = sx * over + level_x, mean_d = sd * over + level_d, mean_y = mean_x - mean_d;
        const REAL energy = mean_x * mean_x + mean_y * mean_y + p->nr, per_energy = energy != 0 ? 1 / energy : 0;
        const REAL luminance = energy != 0 ? mean_d * mean_d * per_energy : 0;
        const REAL result = structure + luminance - structure * luminance;
        if (!gradient) {
            value[i] = w * (result < 0 ? 0 : result > 2 ? 2 : result);
            continue;
        }
        const REAL g = (result < 0 || result > 2) ? 0 : value[i] * w * over * 2;
        const REAL a = flat_d ? 0 : g * (1 - luminance) * per_spread;
        const REAL b = flat_x ? 0 : -g * (1 - luminance) * structure * per_spread;
        const REAL m = g * (1 - structure) * (mean_d - luminance * mean_x) * per_energy;
        gA[i] = a;
        gB[i] = b;
        gM[i] = a * sd * over + b * sx * over - m;
    }
}

static inline void NAME(evaluate)(const PAIR *p, const RINGS *r, const REAL *weight, REAL *value, REAL *gA, REAL *gB,
                                  REAL *gM, int gradient) {
    if (p->statistic == SSIM)
        NAME(dissimilate)(p, r, weight, value, gA, gB, gM, gradient);
    else
        NAME(correlate)(p, r, weight, value, gA, gB, gM, gradient);
}

/* The windows of row (z, y) that count: from `first` up to `last`, none where the row itself does not. */
static inline void NAME(counted)(const PAIR *p, int64_t z, int64_t y, int64_t *first, int64_t *last) {
    const Axis *a = p->axes;
    const int64_t rz = a[0].length / 2, ry = a[1].length / 2, rx = a[2].length / 2;
    const int inside = z >= rz && z < a[0].size - rz && y >= ry && y < a[1].size - ry;
    *first = p->valid ? rx : 0;
    *last = !p->valid ? a[2].size : inside ? a[2].size - rx : 0;
}

/* Correlations of the planes from `low` to `high`: the map, or the sum of each plane. */
static void NAME(forward_planes)(const PAIR *p, RINGS *r, int64_t low, int64_t high, REAL *map, double *sums) {
    const Axis *a = p->axes;
    const int64_t reach = a[0].length / 2;
    int64_t next = low - reach < 0 ? 0 : low - reach;
    for (int64_t z = low; z < high; ++z) {
        for (; next <= z + reach && next < a[0].size; ++next) NAME(moments_of_plane)(p, r, next);
        double total = 0;
        for (int64_t y = 0; y < a[1].size; ++y) {
            const int64_t at = (z * a[1].size + y) * a[2].size;
            REAL *value = map ? map + at : r->sums + (MAPS + 3) * r->pitch;
            int64_t first, last;
            NAME(counted)(p, z, y, &first, &last);
            if (last <= first && !map) continue;
            NAME(sums_of_row)(p, r, z, y);
            NAME(evaluate)(p, r, p->weight ? p->weight + at : NULL, value, NULL, NULL, NULL, 0);
            if (!map)
                for (int64_t i = first; i < last; ++i) total += (double)value[i];
        }
        if (!map) sums[z] = total;
    }
}

/* The three gradient maps of plane z, filtered along x and y, into their place in the second ring. */
static void NAME(slopes_of_plane)(const PAIR *p, RINGS *r, int64_t z, const REAL *grad, REAL all) {
    const Axis *a = p->axes;
    const int64_t margin = a[2].length / 2, row = r->pitch + a[2].length;
    REAL *restrict upstream = r->sums + (MAPS + 3) * r->pitch;
    for (int64_t y = 0; y < a[1].size; ++y) {
        const int64_t at = (z * a[1].size + y) * a[2].size;
        int64_t first, last;
        NAME(counted)(p, z, y, &first, &last);
        for (int64_t i = 0; i < a[2].size; ++i)
            upstream[i] = i < first || i >= last ? 0 : grad ? grad[at + i] : all;
        NAME(sums_of_row)(p, r, z, y);
        REAL *out = r->padded + margin;
        NAME(evaluate)(p, r, p->weight ? p->weight + at : NULL, upstream, out, out + row, out + 2 * row, 1);
        for (int m = 0; m < 3; ++m)
            NAME(filter_x)(a + 2, r->padded + m * row, r->pitch, r->slopes + m * r->plane + y * r->pitch);
    }
    REAL *slot = r->adjoint + z % a[0].length * 3 * r->plane;
    for (int m = 0; m < 3; ++m) NAME(filter_y)(a + 1, r->slopes + m * r->plane, r->pitch, slot + m * r->plane);
}

static void NAME(backward_planes)(const PAIR *p, RINGS *r, int64_t low, int64_t high, const REAL *grad, REAL all,
                                  REAL *out) {
    const Axis *a = p->axes;
    const int64_t reach = a[0].length / 2;
    int64_t sloped = low - reach < 0 ? 0 : low - reach, next = sloped - reach < 0 ? 0 : sloped - reach;
    for (int64_t z = low; z < high; ++z) {
        for (; sloped <= z + reach && sloped < a[0].size; ++sloped) {
            for (; next <= sloped + reach && next < a[0].size; ++next) NAME(moments_of_plane)(p, r, next);
            NAME(slopes_of_plane)(p, r, sloped, grad, all);
        }
        for (int64_t y = 0; y < a[1].size; ++y) {
            const int64_t at = (z * a[1].size + y) * a[2].size;
            REAL *restrict s = r->sums, *restrict to = out + at;
            for (int m = 0; m < 3; ++m)
                NAME(filter_z)(a, r->adjoint, 3 * r->plane, m * r->plane + y * r->pitch, r->pitch, z, s + m * r->pitch);
            const REAL *restrict x_row = p->x + at, *restrict y_row = p->y + at;
            const REAL *restrict w = p->weight ? p->weight + at : NULL;
            for (int64_t i = 0; i < a[2].size; ++i) {
                const REAL u = x_row[i] - p->mean_x, v = y_row[i] - p->mean_y;
                REAL slope = (p->statistic == SSIM ? u - v : v) * s[i] + u * s[i + r->pitch] - s[i + 2 * r->pitch];
                to[i] = w ? (w[i] > 0 ? w[i] * slope : 0) : slope;
            }
        }
    }
}

/* Weighted means of both volumes, summed in double. */
static void NAME(means)(PAIR *p, int64_t voxels) {
    double x = 0, y = 0, mass = 0;
    for (int64_t i = 0; i < voxels; ++i) {
        const double w = p->weight ? (double)p->weight[i] : 1;
        x += w > 0 ? w * (double)p->x[i] : 0;
        y += w > 0 ? w * (double)p->y[i] : 0;
        mass += w > 0 ? w : 0;
    }
    p->mean_x = (REAL)(mass > 0 ? x / mass : 0);
    p->mean_y = (REAL)(mass > 0 ? y / mass : 0);
}

/* How a call is cut up: each volume into as many runs of planes as keep the threads busy. */
static int64_t NAME(runs)(int64_t volumes, const Axis *depth, int threads) {
    int64_t runs = (threads + volumes - 1) / volumes, most = depth->size / depth->length;
    return runs < most ? runs : (most > 1 ? most : 1);
}

static PAIR NAME(pair)(const REAL *x, const REAL *y, const REAL *weight, int64_t shared, int64_t volume,
                       const Axis *axes, const int *options, double nr, double dr) {
    const int64_t voxels = axes[0].size * axes[1].size * axes[2].size;
    const REAL *own = weight ? weight + volume / shared * voxels : NULL;
    PAIR p = {x + volume * voxels, y + volume * voxels, own, axes, options[0],
              weight ? MAPS : MASS, options[1], options[2], 0, 0, 1, (REAL)nr, (REAL)dr};
    double total = 1;
    for (int a = 0; a < 3; ++a) {
        double sum = 0;
        for (int64_t j = 0; j < axes[a].length; ++j) sum += axes[a].window[j];
        total *= sum;
    }
    p.volume = (REAL)total;
    NAME(means)(&p, voxels);
    return p;
}

/* Forward where `out` is NULL: `map` or, without one, the `sums` of each volume. Backward into `out` with an upstream
 * `grad` map or, without one, the gradients `all` of each volume's sum. `shared`: volumes that have one weight. */
static int NAME(sweep)(const REAL *x, const REAL *y, const REAL *weight, int64_t volumes, int64_t shared, Axis *axes,
                       const int *options, double nr, double dr, REAL *map, double *sums, const REAL *grad,
                       const REAL *all, REAL *out, int threads) {
    const int64_t depth = axes[0].size, runs = NAME(runs)(volumes, axes, threads);
    const int64_t voxels = depth * axes[1].size * axes[2].size;
    PAIR *pairs = malloc(sizeof(PAIR) * (size_t)volumes);
    double *planes = malloc(sizeof(double) * (size_t)(volumes * depth));
    int failed = !pairs || !planes;
    if (!failed) {
#pragma omp parallel num_threads(threads) reduction(| : failed)
        {
            RINGS rings;
#pragma omp for schedule(static)
            for (int64_t v = 0; v < volumes; ++v)
                pairs[v] = NAME(pair)(x, y, weight, shared, v, axes, options, nr, dr);
            failed |= NAME(rings_alloc)(&rings, pairs, out != NULL);
#pragma omp for collapse(2) schedule(dynamic)
            for (int64_t v = 0; v < volumes; ++v)
                for (int64_t run = 0; run < runs; ++run) {
                    const int64_t low = depth * run / runs, high = depth * (run + 1) / runs;
                    if (failed) continue;
                    if (out)
                        NAME(backward_planes)(pairs + v, &rings, low, high, grad ? grad + v * voxels : NULL,
                                              grad ? 0 : all[v], out + v * voxels);
                    else
                        NAME(forward_planes)(pairs + v, &rings, low, high, map ? map + v * voxels : NULL,
                                             planes + v * depth);
                }
            NAME(rings_free)(&rings);
        }
    }
    for (int64_t v = 0; sums && v < volumes && !failed; ++v) {
        sums[v] = 0;
        for (int64_t z = 0; z < depth; ++z) sums[v] += planes[v * depth + z];
    }
    free(pairs);
    free(planes);
    return failed;
}

static int NAME(axes_of)(Axis *axes, int64_t depth, int64_t height, int64_t width, const double *kz, int64_t nz,
                         const double *ky, int64_t ny, const double *kx, int64_t nx) {
    int failed = axis_alloc(axes, depth, nz, kz);
    failed |= axis_alloc(axes + 1, height, ny, ky);
    return failed | axis_alloc(axes + 2, width, nx, kx);
}

static void NAME(axes_free)(Axis *axes) {
    for (int a = 0; a < 3; ++a) free(axes[a].inside);
}

MEDLOSS_EXPORT int NAME(local_moments_forward)(const REAL *x, const REAL *y, const REAL *weight, int64_t volumes,
                                               int64_t shared, int64_t depth, int64_t height, int64_t width,
                                               const double *kz, int64_t nz, const double *ky, int64_t ny,
                                               const double *kx, int64_t nx, int64_t border, int64_t statistic,
                                               int64_t valid, double nr, double dr, REAL *map, double *sums,
                                               int threads) {
    Axis axes[3];
    const int options[3] = {(int)border, (int)statistic, (int)valid};
    int failed = NAME(axes_of)(axes, depth, height, width, kz, nz, ky, ny, kx, nx);
    if (!failed)
        failed = NAME(sweep)(x, y, weight, volumes, shared, axes, options, nr, dr, map, sums, NULL, NULL, NULL,
                             threads);
    NAME(axes_free)(axes);
    return failed;
}

MEDLOSS_EXPORT int NAME(local_moments_backward)(const REAL *x, const REAL *y, const REAL *weight, int64_t volumes,
                                                int64_t shared, int64_t depth, int64_t height, int64_t width,
                                                const double *kz, int64_t nz, const double *ky, int64_t ny,
                                                const double *kx, int64_t nx, int64_t border, int64_t statistic,
                                                int64_t valid, double nr, double dr, const REAL *grad,
                                                const REAL *all, REAL *out, int threads) {
    Axis axes[3];
    const int options[3] = {(int)border, (int)statistic, (int)valid};
    int failed = NAME(axes_of)(axes, depth, height, width, kz, nz, ky, ny, kx, nx);
    if (!failed)
        failed = NAME(sweep)(x, y, weight, volumes, shared, axes, options, nr, dr, NULL, NULL, grad, all, out, threads);
    NAME(axes_free)(axes);
    return failed;
}

#undef PAIR
#undef RINGS
#undef VECTOR
#undef NAME
#endif
