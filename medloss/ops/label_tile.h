/* Tiles of a labelled volume: logits of any layout as rows, labels, weights, and the activation. A kernel
 * includes this once for each REAL, with SUFFIX and EXP defined, after native.h; NAME, VOLUME and TILE are
 * its own to undefine.
 *
 * The rows of a tile stay near the processor from one step to the next, so a logit is read from memory once.
 */
#ifndef MEDLOSS_LABEL_TILE
#define MEDLOSS_LABEL_TILE

enum { NONE, SIGMOID, SOFTMAX };
enum { PADDING = 16, CARE_BLOCK = 16384 };
#endif

#define NAME(stem) MEDLOSS_PASTE(stem, SUFFIX, MEDLOSS_LEVEL)
#define VOLUME NAME(LabelVolume)
#define TILE NAME(LabelTile)

#include "softmax.h"

/* One call's operands, as they lie. */
typedef struct {
    const void *input;
    int64_t type; /* of the input: REAL itself or a half precision */
    int64_t batch, classes, voxels, batch_stride, class_stride, voxel_stride;
    const void *labels;
    int64_t kind; /* of the labels, or -1 for memberships B C V */
    const REAL *mask;
    int64_t has_ignore, ignore, activation;
} VOLUME;

/* Scratch of one thread for one tile of `n` voxels from `start` in sample `b`; rows lie `step` apart. */
typedef struct {
    REAL *p;      /* probabilities; for the softmax still to be multiplied by `scale` */
    REAL *weight; /* of each voxel, at least 0 */
    REAL *scale;  /* one over the sum of exponentials, 1 without a softmax */
    REAL *top;
    REAL *q;          /* 1 - p of a sigmoid, as precise as p; NULL for the others */
    REAL *rest;       /* of the classes but the certain one: the sum of their `p`, or of their gradients */
    int32_t *certain; /* that class, see softmax.h; `classes` stands for none */
    int sure;         /* whether there is one in the tile */
    int32_t *label;
    uint8_t *keep;
    int weighted;
    int careful; /* whether the softmax takes off the largest logit first, to the end of the block; see softmax.h */
    int exact;   /* whether it always does: a class beside which the others vanish has a probability of 1 then */
    int64_t size, step, b, start, n;
} TILE;

static int NAME(tile_alloc)(TILE *t, const VOLUME *v, int64_t size) {
    memset(t, 0, sizeof *t);
    t->size = size;
    t->step = size + PADDING; /* so that the rows of a voxel do not share the cache's sets */
    t->p = malloc(sizeof(REAL) * (size_t)(v->classes * t->step));
    t->q = v->activation == SIGMOID ? malloc(sizeof(REAL) * (size_t)(v->classes * t->step)) : NULL;
    t->weight = malloc(sizeof(REAL) * (size_t)size * 4);
    t->label = malloc(sizeof(int32_t) * (size_t)size * 2);
    t->keep = malloc((size_t)size);
    if (!t->p || !t->weight || !t->label || !t->keep || (v->activation == SIGMOID && !t->q)) return 1;
    t->scale = t->weight + size;
    t->top = t->scale + size;
    t->rest = t->top + size;
    t->certain = t->label + size;
    t->weighted = v->mask || v->has_ignore;
    t->exact = v->classes == 1;
    for (int64_t i = 0; i < size; ++i) t->weight[i] = 1;
    return 0;
}

static void NAME(tile_free)(TILE *t) {
    free(t->p);
    free(t->q);
    free(t->weight);
    free(t->label);
    free(t->keep);
}

/* Labels, -1 for none of the classes, and weights. */
static void NAME(load_voxels)(const VOLUME *v, TILE *t) {
    const int64_t n = t->n, offset = t->b * v->voxels + t->start;
    REAL *restrict w = t->weight;
    if (v->kind >= 0) {
        const int32_t classes = (int32_t)v->classes;
        int32_t *restrict label = t->label;
        fetch_labels(v->labels, (int)v->kind, offset + n, t->size);
        load_labels(v->labels, (int)v->kind, offset, n, label);
        for (int64_t i = 0; i < n; ++i) label[i] = label[i] < classes ? label[i] : -1;
    }
    if (!t->weighted) return; /* all weigh 1, as they have from the beginning */
    memset(t->keep, 1, (size_t)n);
    if (v->has_ignore) drop_ignored(v->labels, (int)v->kind, offset, n, v->ignore, t->keep);
    if (v->mask)
        for (int64_t i = 0; i < n; ++i) w[i] = t->keep[i] ? v->mask[offset + i] : 0;
    else
        for (int64_t i = 0; i < n; ++i) w[i] = t->keep[i];
}

/* Asks for `bytes` ahead of their use: a tile's rows are short and lie far apart, which no processor
 * foresees. */
static inline void NAME(ask_for)(const void *start, int64_t bytes) {
    for (int64_t at = 0; at < bytes; at += 64) __builtin_prefetch((const char *)start + at, 0, 2);
}

/* A row of numbers of the input's type, `stride` apart. */
static inline void NAME(load_row)(const VOLUME *v, int64_t at, int64_t stride, int64_t n,
                                  REAL *restrict out) {
    if (v->type == REAL_BF16) {
        const uint16_t *from = (const uint16_t *)v->input + at;
        for (int64_t i = 0; i < n; ++i) out[i] = from_bf16(from[i * stride]);
    } else if (v->type == REAL_F16) {
        const uint16_t *from = (const uint16_t *)v->input + at;
        for (int64_t i = 0; i < n; ++i) out[i] = from_f16(from[i * stride]);
    } else {
        const REAL *from = (const REAL *)v->input + at;
        for (int64_t i = 0; i < n; ++i) out[i] = from[i * stride];
    }
}

/* The tile's logits as rows; what weighs nothing is not looked at. */
static void NAME(load_logits)(const VOLUME *v, TILE *t) {
    const int64_t n = t->n, from = t->b * v->batch_stride + t->start * v->voxel_stride;
    const int64_t width = v->type == REAL_OWN ? (int64_t)sizeof(REAL) : 2;
    const int64_t next = v->voxels - t->start - n < n ? v->voxels - t->start - n : n;
    if (v->voxel_stride == 1) /* one call for each constant stride, so that it is vectorised */
        for (int64_t c = 0; c < v->classes; ++c) {
            const int64_t at = from + c * v->class_stride;
            NAME(ask_for)((const char *)v->input + (at + n) * width, next * width);
            NAME(load_row)(v, at, 1, n, t->p + c * t->step);
        }
    else
        for (int64_t c = 0; c < v->classes; ++c)
            NAME(load_row)(v, from + c * v->class_stride, v->voxel_stride, n, t->p + c * t->step);
    for (int64_t c = 0; t->weighted && c < v->classes; ++c) {
        REAL *restrict p = t->p + c * t->step;
        for (int64_t i = 0; i < n; ++i) p[i] = t->weight[i] > 0 ? p[i] : 0;
    }
}

/* Finite logits in place of those of forbidden classes, where an infinite one would be multiplied. */
static inline void NAME(allow)(const VOLUME *v, TILE *t) {
    for (int64_t c = 0; c < v->classes; ++c) {
        REAL *restrict z = t->p + c * t->step;
        SIMD for (int64_t i = 0; i < t->n; ++i) z[i] = FINITE(z[i]);
    }
}

/* One row of the gradient from the tile into a dense result: rows of a class, or channels side by side as
 * they came. */
static void NAME(store_row)(const VOLUME *v, const TILE *t, int64_t c, const REAL *restrict row, void *out) {
    const int64_t n = t->n, stride = v->voxel_stride;
    const int64_t at = t->b * v->classes * v->voxels + t->start * stride + c * (stride == 1 ? v->voxels : 1);
    if (v->type == REAL_BF16)
        for (int64_t i = 0; i < n; ++i) ((uint16_t *)out)[at + i * stride] = to_bf16((float)row[i]);
    else if (v->type == REAL_F16)
        for (int64_t i = 0; i < n; ++i) ((uint16_t *)out)[at + i * stride] = to_f16((float)row[i]);
    else
        for (int64_t i = 0; i < n; ++i) ((REAL *)out)[at + i * stride] = row[i];
}

/* Whether a row of the gradient can be written where it belongs. */
static inline REAL *NAME(own_row)(const VOLUME *v, const TILE *t, int64_t c, void *out) {
    if (v->type != REAL_OWN || v->voxel_stride != 1) return NULL;
    return (REAL *)out + (t->b * v->classes + c) * v->voxels + t->start;
}

/* Whether the logits lie as rows of REAL, so that they need not be copied. */
static inline int NAME(lies_in_rows)(const VOLUME *v) { return v->type == REAL_OWN && v->voxel_stride == 1; }

static void NAME(softmax)(const VOLUME *v, TILE *t) {
    const int rows = NAME(lies_in_rows)(v);
    SOFTMAX_ROWS s = {.z = t->p, .p = t->p, .norm = t->scale, .z_step = t->step, .p_step = t->step,
                      .classes = v->classes, .n = t->n};
    if (rows) {
        s.z = (const REAL *)v->input + t->b * v->batch_stride + t->start;
        s.z_step = v->class_stride;
        s.ahead = t->size;
        s.weight = t->weighted ? t->weight : NULL;
    } else {
        NAME(load_logits)(v, t);
    }
    if (t->exact || t->start % CARE_BLOCK == 0) t->careful = t->exact;
    if (!t->careful && NAME(softmax_rows)(&s)) {
        t->careful = 1;
        if (!rows) NAME(load_logits)(v, t);
    }
    if (t->careful) NAME(careful_softmax_rows)(&s, t->top);
    REAL *restrict norm = t->scale;
    for (int64_t i = 0; i < t->n; ++i) norm[i] = 1 / norm[i];
}

/* Fills the tile of `n` voxels from `start` in sample `b`. */
static void NAME(load_tile)(const VOLUME *v, TILE *t, int64_t b, int64_t start, int64_t n) {
    t->b = b;
    t->start = start;
    t->n = n;
    NAME(load_voxels)(v, t);
    if (v->activation == SOFTMAX) {
        NAME(softmax)(v, t);
        return;
    }
    NAME(load_logits)(v, t);
    for (int64_t i = 0; i < n; ++i) t->scale[i] = 1;
    for (int64_t c = 0; v->activation == SIGMOID && c < v->classes; ++c) {
        REAL *restrict p = t->p + c * t->step, *restrict q = t->q + c * t->step;
        for (int64_t i = 0; i < n; ++i) {
            const REAL e = EXP(p[i] > 0 ? -p[i] : p[i]), small = e / (1 + e), large = 1 / (1 + e);
            q[i] = p[i] > 0 ? small : large;
            p[i] = p[i] > 0 ? large : small;
        }
    }
}

/* How much each voxel of the tile belongs to class c, 0 where it weighs nothing. */
static inline void NAME(members)(const VOLUME *v, const TILE *t, int64_t c, REAL *restrict out) {
    const int64_t n = t->n;
    if (v->kind >= 0) {
        for (int64_t i = 0; i < n; ++i) out[i] = t->label[i] == (int32_t)c ? 1 : 0;
        return;
    }
    const REAL *restrict from = (const REAL *)v->labels + (t->b * v->classes + c) * v->voxels + t->start;
    for (int64_t i = 0; i < n; ++i) out[i] = t->weight[i] > 0 ? from[i] : 0;
}

/* Whether a class is certain somewhere in the tile's softmax; four classes at once. */
static inline int NAME(is_certain)(const VOLUME *v, const TILE *t) {
    const int64_t n = t->n, step = t->step;
    const REAL *restrict scale = t->scale;
    int found = 0;
    for (int64_t c = 0; c < v->classes; c += 4) {
        const REAL *restrict p0 = t->p + c * step, *restrict p1 = c + 1 < v->classes ? p0 + step : p0;
        const REAL *restrict p2 = c + 2 < v->classes ? p1 + step : p1;
        const REAL *restrict p3 = c + 3 < v->classes ? p2 + step : p2;
#pragma omp simd reduction(| : found)
        for (int64_t i = 0; i < n; ++i) {
            const REAL a = p0[i] > p1[i] ? p0[i] : p1[i], b = p2[i] > p3[i] ? p2[i] : p3[i];
            found |= (a > b ? a : b) * scale[i] > 1 - UNSURE;
        }
    }
    return found;
}

/* Finds what is certain in the tile's softmax and, with `complement`, the sum of the others. */
static inline void NAME(seek_certain)(const VOLUME *v, TILE *t, int complement) {
    t->sure = 0;
    if (v->activation != SOFTMAX) return;
    t->sure = NAME(is_certain)(v, t);
    if (t->sure) NAME(find_certain)(t->p, t->step, v->classes, t->n, t->scale, t->certain);
    if (t->sure && complement) NAME(sum_of_others)(t->p, t->step, v->classes, t->n, t->certain, t->rest);
}

/* 1 - p of class c, from its probabilities. */
static inline void NAME(complements)(const VOLUME *v, const TILE *t, int64_t c, const REAL *restrict p, REAL *restrict out) {
    const int64_t n = t->n;
    const REAL *restrict rest = t->rest, *restrict scale = t->scale;
    const int32_t *restrict certain = t->certain;
    if (v->activation == SIGMOID) {
        memcpy(out, t->q + c * t->step, sizeof(REAL) * (size_t)n);
        return;
    }
    for (int64_t i = 0; i < n; ++i) out[i] = 1 - p[i];
    for (int64_t i = 0; t->sure && i < n; ++i) out[i] = certain[i] == (int32_t)c ? rest[i] * scale[i] : out[i];
}

/* The gradient of the certain class in `rows`, `step` apart, is minus the sum of the others'. */
static inline void NAME(settle)(const VOLUME *v, TILE *t, REAL *rows, int64_t step) {
    if (!t->sure) return;
    NAME(sum_of_others)(rows, step, v->classes, t->n, t->certain, t->rest);
    for (int64_t i = 0; i < t->n; ++i)
        if (t->certain[i] < v->classes) rows[t->certain[i] * step + i] = -t->rest[i];
}

/* Rows of the gradient, `step` apart, to where they belong. */
static inline void NAME(store_rows)(const VOLUME *v, const TILE *t, const REAL *rows, int64_t step, void *out) {
    for (int64_t c = 0; c < v->classes; ++c) {
        REAL *own = NAME(own_row)(v, t, c, out);
        if (own)
            memcpy(own, rows + c * step, sizeof(REAL) * (size_t)t->n);
        else
            NAME(store_row)(v, t, c, rows + c * step, out);
    }
}
