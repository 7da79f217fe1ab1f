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
enum { SQUARES = 1, WITH_DIFFERENCE = 2, LIKELIHOOD = 4, UNIFORM = 8, FOCAL = 16 };
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
    const void *input;
    int type; /* of the input: REAL itself or a half precision */
    int64_t classes, voxels, batch_stride, class_stride, voxel_stride;
    const void *labels;
    int kind; /* of the labels, or -1 for memberships B C V */
    const REAL *mask;
    int has_ignore;
    int64_t ignore;
    int activation, terms;
    REAL gamma; /* of the focal factor */
} VOLUME;

/* Scratch of one thread for one tile. */
typedef struct {
    REAL *p, *h;               /* classes x tile */
    REAL *staged;              /* classes x tile: logits that do not lie as rows of REAL */
    REAL *weight, *top, *norm; /* tile */
    REAL *factor, *slope, *log_norm; /* tile: focal factor, its derivative, log of the sum of exponentials */
    int32_t *label;
    uint8_t *keep;
    int weighted;
} TILE;

/* Whether a tile's logits must be copied: they are of half precision, or their voxels do not lie side by side. */
static inline int NAME(is_staged)(const VOLUME *v) {
    return v->type != REAL_OWN || v->voxel_stride != 1;
}

static int NAME(tile_alloc)(TILE *tile, const VOLUME *v, int64_t size) {
    const int64_t classes = v->classes;
    memset(tile, 0, sizeof *tile);
    if (NAME(is_staged)(v)) tile->staged = malloc(sizeof(REAL) * (size_t)(classes * size));
    if (NAME(is_staged)(v) && !tile->staged) return 1;
    tile->p = malloc(sizeof(REAL) * (size_t)(classes * size));
    tile->h = malloc(sizeof(REAL) * (size_t)(classes * size));
    tile->weight = malloc(sizeof(REAL) * (size_t)size * 6);
    tile->label = malloc(sizeof(int32_t) * (size_t)size);
    tile->keep = malloc((size_t)size);
    if (!tile->p || !tile->h || !tile->weight || !tile->label || !tile->keep) return 1;
    tile->top = tile->weight + size;
    tile->norm = tile->top + size;
    tile->factor = tile->norm + size;
    tile->slope = tile->factor + size;
    tile->log_norm = tile->slope + size;
    return 0;
}

static void NAME(tile_free)(TILE *tile) {
    free(tile->staged);
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

#define EACH(expression)                                                                                            \
    for (int64_t c = 0; c < v->classes; ++c)                                                                        \
        for (int64_t i = 0; i < n; ++i) {                                                                           \
            const int64_t at = offset + c * v->class_stride + i * v->voxel_stride, to = c * size + i;               \
            expression;                                                                                             \
        }

/* The tile's logits as rows, and the step from class to class. */
static const REAL *NAME(stage)(const VOLUME *v, TILE *t, int64_t b, int64_t start, int64_t size, int64_t n,
                               int64_t *step) {
    const int64_t offset = b * v->batch_stride + start * v->voxel_stride;
    *step = v->class_stride;
    if (!NAME(is_staged)(v)) return (const REAL *)v->input + offset;
    *step = size;
    if (v->type == REAL_BF16)
        EACH(t->staged[to] = from_bf16(((const uint16_t *)v->input)[at]))
    else if (v->type == REAL_F16)
        EACH(t->staged[to] = from_f16(((const uint16_t *)v->input)[at]))
    else
        EACH(t->staged[to] = ((const REAL *)v->input)[at])
    return t->staged;
}

/* The tile's gradient, from rows in `staged` into a dense result: whole rows of a class, or channels side by side. */
static void NAME(unstage)(const VOLUME *v, const TILE *t, int64_t b, int64_t start, int64_t size, int64_t n,
                          void *out) {
    VOLUME dense = *v;
    dense.class_stride = v->voxel_stride == 1 ? v->voxels : 1;
    v = &dense;
    const int64_t offset = b * v->classes * v->voxels + start * v->voxel_stride;
    if (v->type == REAL_BF16)
        EACH(((uint16_t *)out)[at] = to_bf16((float)t->staged[to]))
    else if (v->type == REAL_F16)
        EACH(((uint16_t *)out)[at] = to_f16((float)t->staged[to]))
    else
        EACH(((REAL *)out)[at] = t->staged[to])
}
#undef EACH

/* A class's logits of the tile; what weighs nothing is not looked at. */
static inline void NAME(load_row)(const REAL *restrict z, const TILE *t, int64_t n, REAL *restrict out) {
    if (t->weighted)
        for (int64_t i = 0; i < n; ++i) out[i] = t->weight[i] > 0 ? z[i] : 0;
    else
        memcpy(out, z, sizeof(REAL) * (size_t)n);
}

/* p of every class, and for the softmax the largest logit (top) and the sum of exponentials (norm). */
static void NAME(activate)(const VOLUME *v, TILE *t, const REAL *z, int64_t step, int64_t size, int64_t n) {
    REAL *restrict top = t->top, *restrict norm = t->norm;
    for (int64_t c = 0; c < v->classes; ++c) NAME(load_row)(z + c * step, t, n, t->p + c * size);
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

/* base^gamma in place, and gamma base^(gamma - 1) beside it where asked for. The base is kept off zero, as in the
 * reference: at saturation the gradient is zero and not NaN for an exponent below one. */
static inline void NAME(powers)(REAL gamma, int64_t n, REAL *restrict base, REAL *restrict slope) {
    const REAL least = sizeof(REAL) == 4 ? (REAL)1.1754944e-38 : (REAL)2.2250738585072014e-308;
    if (gamma == 2) {
        for (int64_t i = 0; slope && i < n; ++i) slope[i] = 2 * base[i];
        for (int64_t i = 0; i < n; ++i) base[i] *= base[i];
        return;
    }
    if (gamma == 0) {
        for (int64_t i = 0; slope && i < n; ++i) slope[i] = base[i] != base[i] ? base[i] : 0;
        for (int64_t i = 0; i < n; ++i) base[i] = base[i] != base[i] ? base[i] : 1;
        return;
    }
    if (slope) {
        for (int64_t i = 0; i < n; ++i) {
            const REAL d = base[i] < least ? least : base[i];
            slope[i] = base[i] < least ? 0 : gamma * EXP((1 - gamma) * LOG(1 / d));
        }
    }
    for (int64_t i = 0; i < n; ++i) {
        const REAL d = base[i] < least ? least : base[i];
        base[i] = EXP(-gamma * LOG(1 / d));
    }
}

/* What the focal factor is a power of: 1 - p for the softmax, p (1 - m) + (1 - p) m for the sigmoid. */
static inline void NAME(distance)(const VOLUME *v, const REAL *restrict p, const REAL *restrict m, int64_t n,
                                  REAL *restrict out) {
    if (v->activation == SOFTMAX)
        for (int64_t i = 0; i < n; ++i) out[i] = 1 - p[i];
    else
        for (int64_t i = 0; i < n; ++i) out[i] = p[i] * (1 - m[i]) + (1 - p[i]) * m[i];
}

/* The focal terms of class c; `norm` holds what add_likelihood left there: log(sum exp), or log(1 + exp(-|z|)). */
static void NAME(add_focal)(const VOLUME *v, TILE *t, const REAL *restrict z, const REAL *restrict p,
                            const REAL *restrict m, const REAL *restrict w, int64_t n, double *row) {
    REAL *restrict f = t->factor, *restrict lse = t->norm;
    NAME(distance)(v, p, m, n, f);
    NAME(powers)(v->gamma, n, f, NULL);
    if (v->activation == SOFTMAX) {
        SUM(FOCAL_TRUE, m[i] != 0 && w[i] > 0 ? w[i] * m[i] * f[i] * (lse[i] - z[i]) : 0);
        return;
    }
    for (int64_t i = 0; i < n; ++i) lse[i] = LOG1P(EXP(z[i] > 0 ? -z[i] : z[i]));
    SUM(FOCAL_TRUE, w[i] > 0 ? w[i] * m[i] * f[i] * (lse[i] + (z[i] < 0 ? -z[i] : 0)) : 0);
    SUM(FOCAL_FALSE, w[i] > 0 ? w[i] * (1 - m[i]) * f[i] * (lse[i] + (z[i] > 0 ? z[i] : 0)) : 0);
}

/* Adds to h what the focal terms of class c have there: minus dL/d(-log p) for the softmax, dL/dz for the sigmoid.
 * `yes` and `no` are the gradients of the two columns. */
static void NAME(focal_slope)(const VOLUME *v, TILE *t, const REAL *restrict z, const REAL *restrict p,
                              const REAL *restrict m, int64_t n, REAL yes, REAL no, const REAL *restrict log_norm,
                              REAL *restrict h) {
    REAL *restrict f = t->factor, *restrict d = t->slope;
    const REAL *restrict w = t->weight;
    NAME(distance)(v, p, m, n, f);
    NAME(powers)(v->gamma, n, f, d);
    if (v->activation == SOFTMAX) {
        for (int64_t i = 0; i < n; ++i)
            h[i] -= m[i] != 0 && w[i] > 0 ? yes * m[i] * (f[i] + d[i] * p[i] * (log_norm[i] - z[i])) : 0;
        return;
    }
    for (int64_t i = 0; i < n; ++i) {
        const REAL x = w[i] > 0 ? z[i] : 0, lse = LOG1P(EXP(x > 0 ? -x : x)), q = 1 - p[i], turn = d[i] * p[i] * q;
        const REAL positive = lse + (x < 0 ? -x : 0), negative = lse + (x > 0 ? x : 0), side = 1 - 2 * m[i];
        h[i] += yes * m[i] * (turn * side * positive - f[i] * q) +
                no * (1 - m[i]) * (turn * side * negative + f[i] * p[i]);
    }
}

static void NAME(add_tile)(const VOLUME *v, TILE *t, int64_t b, int64_t start, int64_t size, int64_t n,
                           double *partial) {
    int64_t step;
    const REAL *z = NAME(stage)(v, t, b, start, size, n, &step);
    REAL *restrict w = t->weight, *restrict m = t->h;
    NAME(load_voxels)(v, t, b, start, n);
    NAME(activate)(v, t, z, step, size, n);
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
            NAME(add_likelihood)(v, t, z + c * step, m, w, n, t->norm, row);
        if (v->terms & FOCAL) NAME(add_focal)(v, t, z + c * step, p, m, w, n, row);
    }
}

/* dL/dz of the tile. With h_c = p_c dL/dp_c - dL/d(-log p_c) it is h_c - p_c sum(h) for the softmax. */
static void NAME(gradient_tile)(const VOLUME *v, TILE *t, int64_t b, int64_t start, int64_t size, int64_t n,
                                const double *cotangent, void *out) {
    REAL *restrict total = t->norm, *restrict m = t->top, *restrict w = t->weight, *restrict log_norm = t->log_norm;
    int64_t step;
    const REAL *z = NAME(stage)(v, t, b, start, size, n, &step);
    NAME(load_voxels)(v, t, b, start, n);
    NAME(activate)(v, t, z, step, size, n);
    if (!t->weighted)
        for (int64_t i = 0; i < n; ++i) w[i] = 1;
    if (v->terms & FOCAL && v->activation == SOFTMAX)
        for (int64_t i = 0; i < n; ++i) log_norm[i] = t->top[i] + LOG(t->norm[i]);
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
        if (v->terms & FOCAL) {
            if (v->activation == SOFTMAX)
                for (int64_t i = 0; i < n; ++i) total[i] -= h[i]; /* h of this class is not complete yet */
            NAME(focal_slope)(v, t, z + c * step, p, m, n, (REAL)row[FOCAL_TRUE], (REAL)row[FOCAL_FALSE], log_norm,
                              h);
            if (v->activation == SOFTMAX)
                for (int64_t i = 0; i < n; ++i) total[i] += h[i];
        }
    }
    for (int64_t c = 0; c < v->classes; ++c) {
        const REAL *restrict p = t->p + c * size, *restrict h = t->h + c * size;
        REAL *restrict g =
            NAME(is_staged)(v) ? t->staged + c * size : (REAL *)out + (b * v->classes + c) * v->voxels + start;
        if (v->activation == SOFTMAX)
            for (int64_t i = 0; i < n; ++i) g[i] = w[i] * (h[i] - p[i] * total[i]);
        else
            for (int64_t i = 0; i < n; ++i) g[i] = w[i] * h[i];
    }
    if (NAME(is_staged)(v)) NAME(unstage)(v, t, b, start, size, n, out);
}

MEDLOSS_EXPORT int NAME(region_sums_forward)(const void *input, int64_t type, int64_t batch, int64_t classes,
                                             int64_t voxels, int64_t batch_stride, int64_t class_stride,
                                             int64_t voxel_stride, const void *labels, int64_t kind, const REAL *mask,
                                             int64_t has_ignore, int64_t ignore, int64_t activation, double gamma,
                                             int64_t terms, double *sums, int threads) {
    const VOLUME v = {input, (int)type, classes, voxels, batch_stride, class_stride, voxel_stride, labels, (int)kind,
                      mask,  (int)has_ignore, ignore, (int)activation, (int)terms, (REAL)gamma};
    const int64_t size = tile_size(classes, sizeof(REAL)), blocks = (voxels + BLOCK - 1) / BLOCK;
    const size_t width = (size_t)(classes * COLUMNS);
    double *partials = calloc((size_t)(batch * blocks) * width, sizeof(double));
    int failed = !partials;
    if (failed) return 1;
#pragma omp parallel num_threads(threads) reduction(| : failed)
    {
        TILE tile;
        failed |= NAME(tile_alloc)(&tile, &v, size);
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

MEDLOSS_EXPORT int NAME(region_sums_backward)(const void *input, int64_t type, int64_t batch, int64_t classes,
                                              int64_t voxels, int64_t batch_stride, int64_t class_stride,
                                              int64_t voxel_stride, const void *labels, int64_t kind, const REAL *mask,
                                              int64_t has_ignore, int64_t ignore, int64_t activation, double gamma,
                                              int64_t terms, const double *cotangent, void *out, int threads) {
    const VOLUME v = {input, (int)type, classes, voxels, batch_stride, class_stride, voxel_stride, labels, (int)kind,
                      mask,  (int)has_ignore, ignore, (int)activation, (int)terms, (REAL)gamma};
    const int64_t size = tile_size(classes, sizeof(REAL)), blocks = (voxels + BLOCK - 1) / BLOCK;
    int failed = 0;
    prefer_huge_pages(out, (size_t)(batch * classes * voxels) * (type == REAL_OWN ? sizeof(REAL) : sizeof(uint16_t)));
#pragma omp parallel num_threads(threads) reduction(| : failed)
    {
        TILE tile;
        failed |= NAME(tile_alloc)(&tile, &v, size);
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
