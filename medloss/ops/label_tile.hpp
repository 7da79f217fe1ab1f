/* Tiles of a labelled volume: logits of any layout as rows, labels and weights, and rows of a gradient to where they
 * belong. The rows of a tile stay near the processor from one step to the next, so a logit is read from memory once.
 */
#ifndef MEDLOSS_LABEL_TILE_HPP
#define MEDLOSS_LABEL_TILE_HPP

#include "real_rows.hpp"
#include "transpose.hpp"

namespace {

enum { NONE, SIGMOID, SOFTMAX };
enum { PADDING = 16 }; /* between rows */
enum { LARGEST_TILE = 512, SMALLEST_TILE = 64, TILE_BYTES = 24576 };

/* Voxels of a tile, so that a row per class stays near the processor. */
inline int64_t tile_size(int64_t classes, size_t real) {
    int64_t tile = LARGEST_TILE;
    while (tile > SMALLEST_TILE && (size_t)(tile * classes) * real > TILE_BYTES) tile /= 2;
    return tile;
}

/* One call's operands, as they lie. */
template <typename Real>
struct Volume {
    const void *input;
    int64_t type; /* of the input: Real itself or a half precision */
    int64_t batch, classes, voxels, batch_stride, class_stride, voxel_stride;
    const void *labels;
    int64_t kind; /* of the labels, or -1 for memberships B C V */
    const Real *mask;
    int64_t has_ignore, ignore, activation;
};

/* The first operands of an entry point of a kernel, as label_tile.py gives them, and the volume that they are. */
#define MEDLOSS_LABEL_OPERANDS                                                                             \
    const void *input, int64_t type, int64_t batch, int64_t classes, int64_t voxels, int64_t batch_stride, \
        int64_t class_stride, int64_t voxel_stride, const void *labels, int64_t kind, const Real *mask,    \
        int64_t has_ignore, int64_t ignore, int64_t activation
#define MEDLOSS_LABEL_VOLUME                                                                               \
    Volume<Real> {                                                                                         \
        input, type, batch, classes, voxels, batch_stride, class_stride, voxel_stride, labels, kind, mask, \
            has_ignore, ignore, activation                                                                 \
    }

/* Scratch of one thread for one tile of `n` voxels from `start` in sample `b`; rows lie `step` apart. */
template <typename Real>
struct Tile {
    Real *memory; /* a row of ones for no class, then the rows of p */
    Real *p;      /* probabilities; for the softmax still to be multiplied by `scale` */
    Real *weight; /* of each voxel, at least 0 */
    Real *scale;  /* one over the sum of exponentials, 1 without a softmax */
    Real *top;
    Real *q;          /* 1 - p of a sigmoid, as precise as p; null for the others */
    Real *rest;       /* of the classes but the certain one: the sum of their `p`, or of their gradients */
    int32_t *certain; /* that class, see softmax.hpp; -1 for none */
    int sure;         /* whether there is one in the tile */
    int32_t *label;   /* -1 for none of the classes */
    uint8_t *keep;
    int weighted;
    int careful; /* whether the softmax takes off the largest logit first, to the end of the block; see softmax.hpp */
    int exact;   /* whether it always does: a class beside which the others vanish has a probability of 1 then */
    int64_t size, step, b, start, n;
};

template <typename Real>
int tile_alloc(Tile<Real> *t, const Volume<Real> *v, int64_t size) {
    memset(t, 0, sizeof *t);
    t->size = size;
    t->step = size + PADDING; /* so that the rows of a voxel do not share the cache's sets */
    t->memory = lines<Real>((v->classes + 1) * t->step);
    t->q = v->activation == SIGMOID ? lines<Real>(v->classes * t->step) : nullptr;
    t->weight = lines<Real>(size * 4);
    t->label = lines<int32_t>(size * 2);
    t->keep = room<uint8_t>(size);
    if (!t->memory || !t->weight || !t->label || !t->keep || (v->activation == SIGMOID && !t->q)) return 1;
    t->p = t->memory + t->step;
    t->scale = t->weight + size;
    t->top = t->scale + size;
    t->rest = t->top + size;
    t->certain = t->label + size;
    t->weighted = v->mask || v->has_ignore;
    t->exact = v->classes == 1;
    for (int64_t i = 0; i < size; ++i) t->weight[i] = t->memory[i] = 1;
    return 0;
}

template <typename Real>
void tile_free(Tile<Real> *t) {
    free(t->memory);
    free(t->q);
    free(t->weight);
    free(t->label);
    free(t->keep);
}

/* Labels, -1 for none of the classes, and weights. What weighs nothing is of no class. */
template <typename Real>
void load_voxels(const Volume<Real> *v, Tile<Real> *t) {
    const int64_t n = t->n, offset = t->b * v->voxels + t->start;
    Real *__restrict w = t->weight;
    if (v->kind >= 0) {
        const int32_t classes = (int32_t)v->classes;
        int32_t *__restrict label = t->label;
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
    if (v->kind >= 0)
        for (int64_t i = 0; i < n; ++i) t->label[i] = w[i] > 0 ? t->label[i] : -1;
}

/* Asks for `bytes` ahead of their use: a tile's rows are short and lie far apart, which no processor
 * foresees. */
inline void ask_for(const void *start, int64_t bytes) {
    for (int64_t at = 0; at < bytes; at += 64) __builtin_prefetch((const char *)start + at, 0, 2);
}

/* The tile's logits into rows, `step` apart. Channels side by side are taken a few voxels at a time, so that what is
 * far is read once and in order. */
template <typename Real>
void load_rows(const Volume<Real> *v, const Tile<Real> *t, Real *rows, int64_t step) {
    const int64_t n = t->n, from = t->b * v->batch_stride + t->start * v->voxel_stride, few = 32;
    const int64_t width = v->type == REAL_OWN ? (int64_t)sizeof(Real) : 2;
    const int64_t next = v->voxels - t->start - n < n ? v->voxels - t->start - n : n;
    if (v->voxel_stride == 1)
        for (int64_t c = 0; c < v->classes; ++c) {
            const int64_t at = from + c * v->class_stride;
            ask_for((const char *)v->input + (at + n) * width, next * width);
            load_row(v->input, v->type, at, 1, n, rows + c * step);
        }
    else if (v->type == REAL_OWN)
        transpose((const Real *)v->input + from, v->voxel_stride, n, v->classes, rows, step);
    else
        for (int64_t i = 0; i < n; i += few)
            for (int64_t c = 0; c < v->classes; ++c)
                load_row(v->input, v->type, from + i * v->voxel_stride + c * v->class_stride, v->voxel_stride,
                         n - i < few ? n - i : few, rows + c * step + i);
}

/* The tile's logits in place of p; what weighs nothing is not looked at. */
template <typename Real>
void load_logits(const Volume<Real> *v, Tile<Real> *t) {
    load_rows(v, t, t->p, t->step);
    for (int64_t c = 0; t->weighted && c < v->classes; ++c) {
        Real *__restrict p = t->p + c * t->step;
        for (int64_t i = 0; i < t->n; ++i) p[i] = t->weight[i] > 0 ? p[i] : 0;
    }
}

/* Whether the logits lie as rows of Real, so that they need not be copied. */
template <typename Real>
inline int lies_in_rows(const Volume<Real> *v) {
    return v->type == REAL_OWN && v->voxel_stride == 1;
}

/* One row of the gradient from the tile into a dense result: rows of a class, or channels side by side as
 * they came. */
template <typename Real>
void store_row(const Volume<Real> *v, const Tile<Real> *t, int64_t c, const Real *__restrict row, void *out) {
    const int64_t n = t->n, stride = v->voxel_stride;
    const int64_t at = t->b * v->classes * v->voxels + t->start * stride + c * (stride == 1 ? v->voxels : 1);
    round_row(row, n, v->type, at, stride, out);
}

/* Whether a row of the gradient can be written where it belongs. */
template <typename Real>
inline Real *own_row(const Volume<Real> *v, const Tile<Real> *t, int64_t c, void *out) {
    if (v->type != REAL_OWN || v->voxel_stride != 1) return nullptr;
    return (Real *)out + (t->b * v->classes + c) * v->voxels + t->start;
}

/* How much each voxel of the tile belongs to class c, 0 where it weighs nothing. */
template <typename Real>
inline void members(const Volume<Real> *v, const Tile<Real> *t, int64_t c, Real *__restrict out) {
    const int64_t n = t->n;
    if (v->kind >= 0) {
        for (int64_t i = 0; i < n; ++i) out[i] = t->label[i] == (int32_t)c ? 1 : 0;
        return;
    }
    const Real *__restrict from = (const Real *)v->labels + (t->b * v->classes + c) * v->voxels + t->start;
    for (int64_t i = 0; i < n; ++i) out[i] = t->weight[i] > 0 ? from[i] : 0;
}

/* Rows of the gradient, `step` apart, to where they belong. */
template <typename Real>
inline void store_rows(const Volume<Real> *v, const Tile<Real> *t, const Real *rows, int64_t step, void *out) {
    if (v->type == REAL_OWN && v->voxel_stride != 1) {
        Real *to = (Real *)out + (t->b * v->voxels + t->start) * v->classes;
        transpose(rows, step, v->classes, t->n, to, v->classes);
        return;
    }
    for (int64_t c = 0; c < v->classes; ++c) {
        Real *own = own_row(v, t, c, out);
        if (own)
            memcpy(own, rows + c * step, sizeof(Real) * (size_t)t->n);
        else
            store_row(v, t, c, rows + c * step, out);
    }
}

} // namespace

#endif
