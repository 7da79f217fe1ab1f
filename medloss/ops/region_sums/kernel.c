/* region_sums on the CPU: softmax or sigmoid, overlap sums and likelihoods in one sweep, and the gradient in another.
 *
 * The volume is cut into tiles whose classes fit the first-level cache; a tile's logits are read once, its activation
 * lives in scratch. Tiles are grouped into blocks of fixed size, each with its own row of partial sums in double, added
 * in order at the end: the result depends neither on the number of threads nor on their timing.
 */
#ifndef REAL

#include "../native.h"

enum { OVERLAP, INPUT, TARGET, VOXELS, INPUT_SQUARES, TARGET_SQUARES, DIFFERENCE, NLL_TRUE, NLL_FALSE, NLL_ALL,
       FOCAL_TRUE, FOCAL_FALSE, COLUMNS };
enum { SQUARES = 1, WITH_DIFFERENCE = 2, LIKELIHOOD = 4, UNIFORM = 8 };
enum { NONE, SIGMOID, SOFTMAX };
enum { BLOCK = 16384, LARGEST_TILE = 512, SMALLEST_TILE = 64 };

/* Voxels of a tile, so that two rows per class stay near the processor. */
static int64_t tile_size(int64_t classes, size_t real) {
    int64_t tile = LARGEST_TILE;
    while (tile > SMALLEST_TILE && (size_t)(tile * classes) * real > 24576) tile /= 2;
    return tile;
}

#define REAL float
#define SUFFIX f32
#define EXP exp_f32
#define LOG1P log1p_unit_f32
#define LOG log_from_one_f32
#include "kernel.c"
#undef REAL
#undef SUFFIX
#undef EXP
#undef LOG1P
#undef LOG
#define REAL double
#define SUFFIX f64
#define EXP exp_f64
#define LOG1P log1p_unit_f64
#define LOG log_from_one_f64
#include "kernel.c"

#else

#define NAME(stem) MEDLOSS_PASTE(stem, SUFFIX, MEDLOSS_LEVEL)
#define VOLUME NAME(Volume)
#define TILE NAME(Tile)

/* One call's operands, as they lie. */
typedef struct {
    const REAL *input;
    int64_t classes, voxels, batch_stride;
    const void *labels;
    int kind; /* of the labels, or -1 for memberships B C V */
    const REAL *mask;
    int has_ignore;
    int64_t ignore;
    int activation, terms;
} VOLUME;

/* Scratch of one thread for one tile. */
typedef struct {
    REAL *p, *h;               /* classes x tile */
    REAL *weight, *top, *norm; /* tile */
    int32_t *label;
    uint8_t *keep;
    int weighted;
} TILE;

static int NAME(tile_alloc)(TILE *tile, int64_t classes, int64_t size) {
    memset(tile, 0, sizeof *tile);
    tile->p = malloc(sizeof(REAL) * (size_t)(classes * size));
    tile->h = malloc(sizeof(REAL) * (size_t)(classes * size));
    tile->weight = malloc(sizeof(REAL) * (size_t)size * 3);
    tile->label = malloc(sizeof(int32_t) * (size_t)size);
    tile->keep = malloc((size_t)size);
    if (!tile->p || !tile->h || !tile->weight || !tile->label || !tile->keep) return 1;
    tile->top = tile->weight + size;
    tile->norm = tile->top + size;
    return 0;
}

static void NAME(tile_free)(TILE *tile) {
    free(tile->p);
    free(tile->h);
    free(tile->weight);
    free(tile->label);
    free(tile->keep);
}

/* Labels and weights of a tile; a weight is made only where some voxel may weigh other than one. */
static void NAME(load_voxels)(const VOLUME *v, TILE *t, int64_t b, int64_t start, int64_t n) {
    t->weighted = v->mask || v->has_ignore;
    if (v->kind >= 0) load_labels(v->labels, v->kind, b * v->voxels + start, n, t->label);
    if (!t->weighted) return;
    memset(t->keep, 1, (size_t)n);
    if (v->has_ignore) drop_ignored(v->labels, v->kind, b * v->voxels + start, n, v->ignore, t->keep);
    for (int64_t i = 0; i < n; ++i) t->weight[i] = t->keep[i] ? (v->mask ? v->mask[b * v->voxels + start + i] : 1) : 0;
}

/* A class's logits of the tile; what weighs nothing is not looked at. */
static inline void NAME(load_row)(const REAL *restrict z, const TILE *t, int64_t n, REAL *restrict out) {
    if (t->weighted)
        for (int64_t i = 0; i < n; ++i) out[i] = t->weight[i] > 0 ? z[i] : 0;
    else
        memcpy(out, z, sizeof(REAL) * (size_t)n);
}

/* p of every class, and for the softmax the largest logit (top) and the sum of exponentials (norm). */
static void NAME(activate)(const VOLUME *v, TILE *t, const REAL *z, int64_t size, int64_t n) {
    REAL *restrict top = t->top, *restrict norm = t->norm;
    for (int64_t c = 0; c < v->classes; ++c) NAME(load_row)(z + c * v->voxels, t, n, t->p + c * size);
    if (v->activation == SIGMOID)
        for (int64_t c = 0; c < v->classes; ++c) {
            REAL *restrict p = t->p + c * size;
            for (int64_t i = 0; i < n; ++i) {
                REAL e = EXP(p[i] > 0 ? -p[i] : p[i]), small = e / (1 + e), large = 1 / (1 + e);
                p[i] = p[i] > 0 ? large : small;
            }
        }
    if (v->activation != SOFTMAX) return;
    memcpy(top, t->p, sizeof(REAL) * (size_t)n);
    for (int64_t c = 1; c < v->classes; ++c) {
        const REAL *restrict p = t->p + c * size;
        for (int64_t i = 0; i < n; ++i) top[i] = p[i] > top[i] ? p[i] : top[i];
    }
    memset(norm, 0, sizeof(REAL) * (size_t)n);
    for (int64_t c = 0; c < v->classes; ++c) {
        REAL *restrict p = t->p + c * size;
        for (int64_t i = 0; i < n; ++i) {
            p[i] = EXP(p[i] - top[i]);
            norm[i] += p[i];
        }
    }
    for (int64_t c = 0; c < v->classes; ++c) {
        REAL *restrict p = t->p + c * size;
        for (int64_t i = 0; i < n; ++i) p[i] /= norm[i];
    }
}

/* How much each voxel of the tile belongs to class c. */
static inline void NAME(members)(const VOLUME *v, const TILE *t, int64_t b, int64_t c, int64_t start, int64_t n,
                                 REAL *restrict out) {
    if (v->kind >= 0) {
        for (int64_t i = 0; i < n; ++i) out[i] = t->label[i] == (int32_t)c ? 1 : 0;
        return;
    }
    const REAL *from = (const REAL *)v->labels + (b * v->classes + c) * v->voxels + start;
    NAME(load_row)(from, t, n, out);
}

#define SUM(into, expression)                                                                                       \
    {                                                                                                               \
        REAL sum_ = 0;                                                                                              \
        _Pragma("omp simd reduction(+ : sum_)") for (int64_t i = 0; i < n; ++i) sum_ += (expression);               \
        row[into] += (double)sum_;                                                                                  \
    }

/* -log p of class c: from the logit for the softmax (exact where p underflows), from |z| for the sigmoid. */
static void NAME(add_likelihood)(const VOLUME *v, const TILE *t, const REAL *restrict z, const REAL *restrict m,
                                 const REAL *restrict w, int64_t n, REAL *restrict lse, double *row) {
    (void)t;
    if (v->activation == SOFTMAX) {
        if (v->terms & LIKELIHOOD) SUM(NLL_TRUE, m[i] != 0 && w[i] > 0 ? w[i] * m[i] * (lse[i] - z[i]) : 0);
        if (v->terms & UNIFORM) SUM(NLL_ALL, w[i] > 0 ? w[i] * (lse[i] - z[i]) : 0);
        return;
    }
    for (int64_t i = 0; i < n; ++i) lse[i] = LOG1P(EXP(z[i] > 0 ? -z[i] : z[i])); /* log(1 + exp(-|z|)) */
    if (v->terms & LIKELIHOOD) {
        SUM(NLL_TRUE, w[i] > 0 ? w[i] * m[i] * (lse[i] + (z[i] < 0 ? -z[i] : 0)) : 0);
        SUM(NLL_FALSE, w[i] > 0 ? w[i] * (1 - m[i]) * (lse[i] + (z[i] > 0 ? z[i] : 0)) : 0);
    }
    if (v->terms & UNIFORM) SUM(NLL_ALL, w[i] > 0 ? w[i] * (lse[i] + (z[i] < 0 ? -z[i] : 0)) : 0);
}

static void NAME(add_tile)(const VOLUME *v, TILE *t, int64_t b, int64_t start, int64_t size, int64_t n,
                           double *partial) {
    const REAL *z = v->input + b * v->batch_stride + start;
    REAL *restrict w = t->weight, *restrict m = t->h;
    NAME(load_voxels)(v, t, b, start, n);
    NAME(activate)(v, t, z, size, n);
    if (!t->weighted)
        for (int64_t i = 0; i < n; ++i) w[i] = 1;
    if (v->activation == SOFTMAX) /* from here on norm holds the log of the sum of exponentials */
        for (int64_t i = 0; i < n; ++i) t->norm[i] = t->top[i] + LOG(t->norm[i]);
    for (int64_t c = 0; c < v->classes; ++c) {
        const REAL *restrict p = t->p + c * size;
        double *row = partial + c * COLUMNS;
        NAME(members)(v, t, b, c, start, n, m);
        SUM(OVERLAP, w[i] * p[i] * m[i]);
        SUM(INPUT, w[i] * p[i]);
        SUM(TARGET, w[i] * m[i]);
        SUM(VOXELS, w[i]);
        if (v->terms & SQUARES) {
            SUM(INPUT_SQUARES, w[i] * p[i] * p[i]);
            SUM(TARGET_SQUARES, w[i] * m[i] * m[i]);
        }
        if (v->terms & WITH_DIFFERENCE) SUM(DIFFERENCE, w[i] * (p[i] > m[i] ? p[i] - m[i] : m[i] - p[i]));
        if (v->terms & (LIKELIHOOD | UNIFORM))
            NAME(add_likelihood)(v, t, z + c * v->voxels, m, w, n, t->norm, row);
    }
}

/* dL/dz of the tile. With h_c = p_c dL/dp_c - dL/d(-log p_c) it is h_c - p_c sum(h) for the softmax. */
static void NAME(gradient_tile)(const VOLUME *v, TILE *t, int64_t b, int64_t start, int64_t size, int64_t n,
                                const double *cotangent, REAL *out) {
    REAL *restrict total = t->norm, *restrict m = t->top, *restrict w = t->weight;
    NAME(load_voxels)(v, t, b, start, n);
    NAME(activate)(v, t, v->input + b * v->batch_stride + start, size, n);
    if (!t->weighted)
        for (int64_t i = 0; i < n; ++i) w[i] = 1;
    memset(total, 0, sizeof(REAL) * (size_t)n);
    for (int64_t c = 0; c < v->classes; ++c) {
        const double *row = cotangent + c * COLUMNS;
        const REAL base = (REAL)row[INPUT], slope = (REAL)row[OVERLAP], twice = (REAL)(2 * row[INPUT_SQUARES]);
        const REAL side = v->terms & WITH_DIFFERENCE ? (REAL)row[DIFFERENCE] : 0;
        const REAL yes = v->terms & LIKELIHOOD ? (REAL)row[NLL_TRUE] : 0;
        const REAL no = v->terms & LIKELIHOOD ? (REAL)row[NLL_FALSE] : 0;
        const REAL all = v->terms & UNIFORM ? (REAL)row[NLL_ALL] : 0;
        const REAL square = v->terms & SQUARES ? twice : 0;
        const REAL *restrict p = t->p + c * size;
        REAL *restrict h = t->h + c * size;
        NAME(members)(v, t, b, c, start, n, m);
#define SLOPE (base + slope * m[i] + square * p[i] + side * (REAL)((p[i] > m[i]) - (p[i] < m[i])))
        if (v->activation == SOFTMAX)
            for (int64_t i = 0; i < n; ++i) {
                h[i] = p[i] * SLOPE - yes * m[i] - all;
                total[i] += h[i];
            }
        else if (v->activation == SIGMOID)
            for (int64_t i = 0; i < n; ++i)
                h[i] = p[i] * (1 - p[i]) * SLOPE - (yes * m[i] + all) * (1 - p[i]) + no * (1 - m[i]) * p[i];
        else
            for (int64_t i = 0; i < n; ++i) h[i] = SLOPE;
#undef SLOPE
    }
    for (int64_t c = 0; c < v->classes; ++c) {
        const REAL *restrict p = t->p + c * size, *restrict h = t->h + c * size;
        REAL *restrict g = out + (b * v->classes + c) * v->voxels + start;
        if (v->activation == SOFTMAX)
            for (int64_t i = 0; i < n; ++i) g[i] = w[i] * (h[i] - p[i] * total[i]);
        else
            for (int64_t i = 0; i < n; ++i) g[i] = w[i] * h[i];
    }
}

MEDLOSS_EXPORT int NAME(region_sums_forward)(const REAL *input, int64_t batch, int64_t classes, int64_t voxels,
                                             int64_t batch_stride, const void *labels, int64_t kind, const REAL *mask,
                                             int64_t has_ignore, int64_t ignore, int64_t activation, int64_t terms,
                                             double *sums, int threads) {
    const VOLUME v = {input, classes, voxels, batch_stride, labels, (int)kind,
                      mask,  (int)has_ignore, ignore, (int)activation, (int)terms};
    const int64_t size = tile_size(classes, sizeof(REAL)), blocks = (voxels + BLOCK - 1) / BLOCK;
    const size_t width = (size_t)(classes * COLUMNS);
    double *partials = calloc((size_t)(batch * blocks) * width, sizeof(double));
    int failed = !partials;
    if (failed) return 1;
#pragma omp parallel num_threads(threads) reduction(| : failed)
    {
        TILE tile;
        failed |= NAME(tile_alloc)(&tile, classes, size);
#pragma omp for collapse(2) schedule(static)
        for (int64_t b = 0; b < batch; ++b)
            for (int64_t block = 0; block < blocks; ++block) {
                const int64_t end = (block + 1) * BLOCK < voxels ? (block + 1) * BLOCK : voxels;
                for (int64_t start = block * BLOCK; start < end && !failed; start += size)
                    NAME(add_tile)(&v, &tile, b, start, size, end - start < size ? end - start : size,
                                   partials + (size_t)(b * blocks + block) * width);
            }
        NAME(tile_free)(&tile);
    }
    memset(sums, 0, (size_t)batch * width * sizeof(double));
    for (int64_t b = 0; b < batch; ++b)
        for (int64_t block = 0; block < blocks; ++block)
            for (size_t k = 0; k < width; ++k)
                sums[(size_t)b * width + k] += partials[(size_t)(b * blocks + block) * width + k];
    free(partials);
    return failed;
}

MEDLOSS_EXPORT int NAME(region_sums_backward)(const REAL *input, int64_t batch, int64_t classes, int64_t voxels,
                                              int64_t batch_stride, const void *labels, int64_t kind, const REAL *mask,
                                              int64_t has_ignore, int64_t ignore, int64_t activation, int64_t terms,
                                              const double *cotangent, REAL *out, int threads) {
    const VOLUME v = {input, classes, voxels, batch_stride, labels, (int)kind,
                      mask,  (int)has_ignore, ignore, (int)activation, (int)terms};
    const int64_t size = tile_size(classes, sizeof(REAL)), blocks = (voxels + BLOCK - 1) / BLOCK;
    int failed = 0;
#pragma omp parallel num_threads(threads) reduction(| : failed)
    {
        TILE tile;
        failed |= NAME(tile_alloc)(&tile, classes, size);
#pragma omp for collapse(2) schedule(static)
        for (int64_t b = 0; b < batch; ++b)
            for (int64_t block = 0; block < blocks; ++block) {
                const int64_t end = (block + 1) * BLOCK < voxels ? (block + 1) * BLOCK : voxels;
                for (int64_t start = block * BLOCK; start < end && !failed; start += size)
                    NAME(gradient_tile)(&v, &tile, b, start, size, end - start < size ? end - start : size,
                                        cotangent + b * classes * COLUMNS, out);
            }
        NAME(tile_free)(&tile);
    }
    return failed;
}

#undef SUM
#undef NAME
#undef VOLUME
#undef TILE
#endif
