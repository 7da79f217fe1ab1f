/* gradient_alignment on the CPU: one minus the squared cosine between the gradients of two images, row by row; no map
 * of derivatives is made. One sweep for the mean squares that the edge is relative to, one for the values, one for the
 * gradient of an image, which is that of the other with both exchanged.
 *
 * Rows have sums of their own, in double, added in order: the result does not depend on the number of threads.
 */
#ifndef REAL

#include "../native.h"

enum { STRIP = 16 }; /* rows of a plane that the gradient is computed of at once */

#define REAL float
#define SUFFIX f32
#define ROOT sqrtf
#define LEAST 1.17549435e-38f
#include "cpu_kernel.c"
#undef REAL
#undef SUFFIX
#undef ROOT
#undef LEAST
#define REAL double
#define SUFFIX f64
#define ROOT sqrt
#define LEAST 2.2250738585072014e-308
#include "cpu_kernel.c"

#else

#define NAME(stem) MEDLOSS_PASTE(stem, SUFFIX, MEDLOSS_LEVEL)

#include "rows.h"

static inline const REAL *NAME(mask_of)(const NAME(Images) * f, int64_t volume) {
    return f->mask ? f->mask + volume / f->shared * f->voxels : NULL;
}

/* One over the length of the gradients of a row, edge included. */
static void NAME(inverse_lengths)(const REAL *restrict g, double energy, int64_t n, REAL *restrict out) {
    const REAL *restrict h = g + n, *restrict k = h + n, edge = (REAL)energy;
    for (int64_t i = 0; i < n; ++i) {
        const REAL square = g[i] * g[i] + h[i] * h[i] + k[i] * k[i] + edge;
        out[i] = 1 / ROOT(square < LEAST ? LEAST : square);
    }
}

static void NAME(cosines)(const REAL *restrict g, const REAL *restrict h, const REAL *restrict a,
                          const REAL *restrict b, int64_t n, REAL *restrict out) {
    for (int64_t i = 0; i < n; ++i)
        out[i] = (g[i] * h[i] + g[i + n] * h[i + n] + g[i + 2 * n] * h[i + 2 * n]) * a[i] * b[i];
}

#define SUM(expression)                                                                                             \
    ({                                                                                                              \
        REAL sum_ = 0;                                                                                              \
        _Pragma("omp simd reduction(+ : sum_)") for (int64_t i = 0; i < n; ++i) sum_ += (expression);               \
        (double)sum_;                                                                                               \
    })

/* Of a row: the squares of both gradients and the mass, each weighted. `g` is scratch of six rows. */
static void NAME(add_energies)(const NAME(Images) * f, int64_t volume, int64_t row, REAL *g, double *sums) {
    const int64_t n = f->size[2], plane = row / f->size[1], line = row % f->size[1];
    const REAL *mask = NAME(mask_of)(f, volume), *w = mask ? mask + row * n : NULL;
    for (int image = 0; image < 2; ++image) {
        NAME(derive)(f, (image ? f->y : f->x) + volume * f->voxels, mask, plane, line, g, NULL);
        if (w)
            sums[image] += SUM(w[i] * (g[i] * g[i] + g[i + n] * g[i + n] + g[i + 2 * n] * g[i + 2 * n]));
        else
            sums[image] += SUM(g[i] * g[i] + g[i + n] * g[i + n] + g[i + 2 * n] * g[i + 2 * n]);
    }
    sums[2] += w ? SUM(w[i]) : (double)n;
}

/* Of a row: the values, and by how much they grow with either image's energy (times `grad` where it is given). `energy`
 * holds both images' squared edges, `map` takes the values. */
static void NAME(add_values)(const NAME(Images) * f, int64_t volume, int64_t row, const double *energy,
                             const REAL *grad, REAL *map, REAL *g, double *sums) {
    const int64_t n = f->size[2], plane = row / f->size[1], line = row % f->size[1];
    const int64_t at = volume * f->voxels + row * n;
    const REAL *mask = NAME(mask_of)(f, volume), *w = mask ? mask + row * n : NULL;
    const REAL *restrict up = grad ? grad + at : NULL;
    REAL *h = g + 3 * n, *restrict a = h + 3 * n, *restrict b = a + n, *restrict cosine = b + n;
    REAL *restrict value = cosine + n;
    NAME(derive)(f, f->x + volume * f->voxels, mask, plane, line, g, NULL);
    NAME(derive)(f, f->y + volume * f->voxels, mask, plane, line, h, NULL);
    NAME(inverse_lengths)(g, energy[0], n, a);
    NAME(inverse_lengths)(h, energy[1], n, b);
    NAME(cosines)(g, h, a, b, n, cosine);
    for (int64_t i = 0; i < n; ++i) {
        cosine[i] *= cosine[i];
        value[i] = 1 - cosine[i];
    }
    for (int64_t i = 0; w && i < n; ++i) value[i] *= w[i];
    if (map) memcpy(map + at, value, sizeof(REAL) * (size_t)n);
    sums[0] += SUM(value[i]);
    for (int64_t i = 0; w && i < n; ++i) cosine[i] *= w[i];
    for (int64_t i = 0; up && i < n; ++i) cosine[i] = cosine[i] == 0 ? 0 : cosine[i] * up[i];
    sums[1] += SUM(cosine[i] * a[i] * a[i]);
    sums[2] += SUM(cosine[i] * b[i] * b[i]);
}

/* Of a row: what goes back along the differences of x, into three rows of `out`. `pull` is the part of the energy. */
static void NAME(slopes)(const NAME(Images) * f, int64_t volume, int64_t row, const double *energy, REAL pull,
                         const REAL *grad, REAL all, REAL *g, REAL *out) {
    const int64_t n = f->size[2], plane = row / f->size[1], line = row % f->size[1];
    const REAL *mask = NAME(mask_of)(f, volume), *w = mask ? mask + row * n : NULL;
    const REAL *restrict up = grad ? grad + volume * f->voxels + row * n : NULL;
    REAL *h = g + 3 * n, *restrict a = h + 3 * n, *restrict b = a + n, *restrict cosine = b + n;
    REAL *restrict weight = cosine + n;
    NAME(derive)(f, f->x + volume * f->voxels, mask, plane, line, g, out);
    NAME(derive)(f, f->y + volume * f->voxels, mask, plane, line, h, NULL);
    NAME(inverse_lengths)(g, energy[0], n, a);
    NAME(inverse_lengths)(h, energy[1], n, b);
    NAME(cosines)(g, h, a, b, n, cosine);
    for (int64_t i = 0; i < n; ++i) weight[i] = w ? w[i] : 1;
    for (int axis = 0; axis < 3; ++axis) {
        const REAL *restrict own = g + axis * n, *restrict other = h + axis * n;
        REAL *restrict to = out + axis * n;
        for (int64_t i = 0; i < n; ++i) {
            const REAL turn = a[i] * (b[i] * other[i] - cosine[i] * (a[i] * own[i]));
            const REAL from = -2 * cosine[i] * (up ? up[i] : all);
            to[i] *= weight[i] > 0 ? weight[i] * (from * turn + pull * own[i]) : 0;
        }
    }
}

/* One line of the gradient. `ring` holds three planes of slopes, of the rows from `first` - 1 on. */
static void NAME(gather)(const NAME(Images) * f, int64_t volume, int64_t plane, int64_t line, int64_t first,
                         const REAL *ring, int64_t pitch, REAL *restrict out) {
    const int64_t n = f->size[2], row = plane * f->size[1] + line, inner = (line - first + 1) * 3 * n;
    const REAL *mask = NAME(mask_of)(f, volume), *w = mask ? mask + row * n : NULL;
    const REAL *here = ring + plane % 3 * pitch + inner;
    memset(out, 0, sizeof(REAL) * (size_t)n);
    NAME(Reach) r = NAME(reach)(here, 0, w, f->size[1] * n, plane, f->size[0]);
    if (r.has_next) r.next = ring + (plane + 1) % 3 * pitch + inner;
    if (r.has_last) r.last = ring + (plane + 2) % 3 * pitch + inner;
    NAME(differ_back)(&r, 0, n, out);
    r = NAME(reach)(here + n, 3 * n, w, n, line, f->size[1]);
    NAME(differ_back)(&r, 0, n, out);
    for (int64_t from = 0; from < n;) {
        const int64_t end = NAME(reach_along)(here + 2 * n, w, from, n, &r);
        NAME(differ_back)(&r, from, end, out);
        from = end;
    }
}

/* The gradient of the lines from `first` of every plane of a volume. */
static void NAME(strip)(const NAME(Images) * f, int64_t volume, int64_t first, const double *energy, REAL pull,
                        const REAL *grad, REAL all, REAL *scratch, REAL *ring, REAL *out) {
    const int64_t n = f->size[2], lines = f->size[1], planes = f->size[0], pitch = (STRIP + 2) * 3 * n;
    const int64_t end = first + STRIP < lines ? first + STRIP : lines;
    for (int64_t plane = 0; plane <= planes; ++plane) {
        const int64_t from = first > 0 ? first - 1 : 0, to = end < lines ? end + 1 : lines;
        for (int64_t line = from; plane < planes && line < to; ++line)
            NAME(slopes)(f, volume, plane * lines + line, energy, pull, grad, all, scratch,
                         ring + plane % 3 * pitch + (line - first + 1) * 3 * n);
        for (int64_t line = first; plane > 0 && line < end; ++line)
            NAME(gather)(f, volume, plane - 1, line, first, ring, pitch,
                         out + volume * f->voxels + ((plane - 1) * lines + line) * n);
    }
}

#define OPERANDS                                                                                                    \
    const REAL *x, const REAL *y, const REAL *mask, int64_t shared, int64_t volumes, int64_t planes, int64_t lines, \
        int64_t columns, const double *scale
#define GIVEN                                                                                                       \
    {x, y, mask, shared, {planes, lines, columns}, planes * lines * columns,                                        \
     {(REAL)scale[0], (REAL)scale[1], (REAL)scale[2]}}

/* Sums of each volume, three in double: weighted squares of both gradients, and the mass; or, where `energy` is given,
 * the values and their slopes by both energies. */
MEDLOSS_EXPORT int NAME(gradient_alignment_sums)(OPERANDS, const double *energy, const REAL *grad, REAL *map,
                                                 double *sums, int threads) {
    const NAME(Images) f = GIVEN;
    const int64_t rows = planes * lines;
    double *partial = calloc((size_t)(volumes * rows * 3), sizeof(double));
    int failed = !partial;
    if (map) prefer_huge_pages(map, sizeof(REAL) * (size_t)(volumes * f.voxels));
#pragma omp parallel num_threads(threads) reduction(| : failed)
    {
        REAL *scratch = malloc(sizeof(REAL) * (size_t)(10 * columns));
        failed |= !scratch;
#pragma omp for schedule(static)
        for (int64_t at = 0; at < volumes * rows; ++at) {
            if (failed) continue;
            const int64_t volume = at / rows;
            if (energy)
                NAME(add_values)(&f, volume, at % rows, energy + 2 * volume, grad, map, scratch, partial + 3 * at);
            else
                NAME(add_energies)(&f, volume, at % rows, scratch, partial + 3 * at);
        }
        free(scratch);
    }
    memset(sums, 0, sizeof(double) * (size_t)(volumes * 3));
    for (int64_t at = 0; at < volumes * rows * 3 && !failed; ++at) sums[at / (3 * rows) * 3 + at % 3] += partial[at];
    free(partial);
    return failed;
}

/* The gradient of x, from a map `grad` or one number for each volume. `pull`: twice what the loss grows with the
 * squares of x by way of its energy. */
MEDLOSS_EXPORT int NAME(gradient_alignment_backward)(OPERANDS, const double *energy, const double *pull,
                                                     const REAL *grad, const REAL *all, REAL *out, int threads) {
    const NAME(Images) f = GIVEN;
    const int64_t strips = (lines + STRIP - 1) / STRIP;
    int failed = 0;
    prefer_huge_pages(out, sizeof(REAL) * (size_t)(volumes * f.voxels));
#pragma omp parallel num_threads(threads) reduction(| : failed)
    {
        REAL *scratch = malloc(sizeof(REAL) * (size_t)((10 + 9 * (STRIP + 2)) * columns));
        failed |= !scratch;
#pragma omp for schedule(static)
        for (int64_t at = 0; at < volumes * strips; ++at) {
            const int64_t volume = at / strips;
            if (failed) continue;
            NAME(strip)(&f, volume, at % strips * STRIP, energy + 2 * volume, (REAL)pull[volume], grad,
                        grad ? 0 : all[volume], scratch, scratch + 10 * columns, out);
        }
        free(scratch);
    }
    return failed;
}

#undef OPERANDS
#undef GIVEN
#undef SUM
#undef NAME
#endif
