/* confusion on the CPU: the soft confusion matrix in one sweep, and its gradient in another.
 *
 * Within a tile the matrix is a product: rows of memberships (of the classes that the tile has) by rows of
 * probabilities. A tile of labels with many classes is added voxel by voxel (columns.h), so that the cost never grows
 * with the square of the classes. Tiles are grouped into blocks of fixed size, each with its own matrix in
 * double, added in order at the end: the result depends neither on the number of threads nor on their
 * timing.
 */
#ifndef REAL

#include "../native.h"

enum { BLOCK = 16384, FEW = 24, REGISTERS = 16 };

#include "registers.h"
#include "columns.h"

/* Voxels of a block: enough that its matrix is small beside its logits. */
static int64_t block_size(int64_t classes) {
    int64_t block = BLOCK;
    while (block < 128 * classes) block *= 2;
    return block;
}

#define REAL float
#define SUFFIX f32
#define EXP exp_f32
#include "cpu_kernel.c"
#undef REAL
#undef SUFFIX
#undef EXP
#define REAL double
#define SUFFIX f64
#define EXP exp_f64
#include "cpu_kernel.c"

#else

#include "../label_tile.h"

#include "members.h"

/* Stores one row of the gradient, computed in `row`, in the result. */
static void NAME(store_gradient_row)(const VOLUME *v, const TILE *t, const MEMBERS *m, int64_t c, const REAL *row, void *out) {
    REAL *own = NAME(own_row)(v, t, c, out);
    if (!own)
        NAME(store_row)(v, t, c, row, out);
    else if (m->streams)
        stream_copy(own, row, sizeof(REAL) * (size_t)t->n);
    else if (own != row)
        memcpy(own, row, sizeof(REAL) * (size_t)t->n);
}

/* Slopes measured from that of the certain class: prices are often equal. Then the sum of p s. */
static void NAME(from_certain)(const VOLUME *v, TILE *t, MEMBERS *m) {
    const int64_t n = t->n;
    REAL *restrict total = t->top, *restrict base = t->rest;
    for (int64_t i = 0; i < n; ++i) base[i] = t->certain[i] < v->classes ? m->slope[t->certain[i] * t->step + i] : 0;
    for (int64_t c = 0; c < v->classes; ++c) {
        REAL *restrict s = m->slope + c * t->step;
        const REAL *restrict p = t->p + c * t->step;
        for (int64_t i = 0; i < n; ++i) {
            s[i] -= base[i];
            total[i] += p[i] * s[i];
        }
    }
}

/* Where a class is certain: the gradient lies in the rows of p, and is stored after that class's entry is corrected. */
static void NAME(correct_and_store_rows)(const VOLUME *v, TILE *t, const MEMBERS *m, void *out) {
    if (!t->sure) return;
    NAME(settle)(v, t, t->p, t->step);
    for (int64_t c = 0; c < v->classes; ++c) NAME(store_gradient_row)(v, t, m, c, t->p + c * t->step, out);
}

/* The softmax's gradient from columns in registers; the slopes are looked up twice rather than kept. */
static void NAME(gradient_by_registers)(const VOLUME *v, TILE *t, MEMBERS *m, void *out) {
    const int64_t n = (t->n + 15) / 16 * 16; /* a tile's room is a multiple of that */
    float *total = (float *)t->top, *scale = (float *)t->scale;
    for (int64_t i = 0; i < t->n; ++i) ++t->label[i];
    for (int64_t i = t->n; i < n; ++i) t->label[i] = 0;
    sum_looked_up((const float *)m->table, m->width, t->label, (const float *)t->p, t->step, v->classes, n, total);
    for (int64_t i = 0; i < t->n; ++i) {
        total[i] *= scale[i];
        scale[i] = t->weight[i] > 0 ? (float)t->weight[i] * scale[i] : 0;
    }
    for (int64_t c = 0; c < v->classes; ++c) {
        slope_looked_up((const float *)m->table + c * m->width, t->label, (const float *)t->p + c * t->step, scale,
                        total, n, (float *)m->spare);
        NAME(store_gradient_row)(v, t, m, c, m->spare, out);
    }
}

/* dL/dz of the tile. With s = dL/dp it is p (s - sum of p s) for the softmax. */
static void NAME(gradient_tile)(const VOLUME *v, TILE *t, MEMBERS *m, void *out) {
    const int64_t n = t->n;
    REAL *restrict total = t->top, *restrict scale = t->scale;
    const REAL *restrict w = t->weight;
    NAME(seek_certain)(v, t, 0);
    if (NAME(in_registers)(v) && !t->sure) {
        NAME(gradient_by_registers)(v, t, m, out);
        return;
    }
    NAME(find_present)(v, t, m);
    if (NAME(is_product)(v, m)) NAME(fill_rows)(v, t, m);
    for (int64_t i = 0; i < n; ++i) total[i] = 0;
    for (int64_t c = 0; c < v->classes; ++c) {
        REAL *restrict s = m->slope + c * t->step;
        const REAL *restrict p = t->p + c * t->step;
        NAME(slope_row)(v, t, m, c, s);
        if (v->activation == SOFTMAX && !t->sure)
            for (int64_t i = 0; i < n; ++i) total[i] += p[i] * s[i];
    }
    if (t->sure) NAME(from_certain)(v, t, m);
    for (int64_t i = 0; i < n; ++i) {
        total[i] *= scale[i];
        scale[i] = w[i] > 0 ? w[i] * scale[i] : 0;
    }
    for (int64_t c = 0; c < v->classes; ++c) {
        const REAL *restrict s = m->slope + c * t->step, *restrict q = t->q ? t->q + c * t->step : NULL;
        REAL *p = t->p + c * t->step;
        REAL *own = NAME(own_row)(v, t, c, out), *g = t->sure ? p : own && !m->streams ? own : m->spare;
        if (v->activation == SOFTMAX)
            SIMD for (int64_t i = 0; i < n; ++i) g[i] = scale[i] * p[i] * (s[i] - total[i]);
        else if (v->activation == SIGMOID)
            SIMD for (int64_t i = 0; i < n; ++i) g[i] = scale[i] * p[i] * q[i] * s[i];
        else
            for (int64_t i = 0; i < n; ++i) g[i] = scale[i] * s[i];
        if (!t->sure) NAME(store_gradient_row)(v, t, m, c, g, out);
    }
    NAME(correct_and_store_rows)(v, t, m, out);
}

#define OPERANDS                                                                                                    \
    const void *input, int64_t type, int64_t batch, int64_t classes, int64_t voxels, int64_t batch_stride,          \
        int64_t class_stride, int64_t voxel_stride, const void *labels, int64_t kind, const REAL *mask,             \
        int64_t has_ignore, int64_t ignore, int64_t activation
#define GIVEN                                                                                                       \
    {input, type, batch, classes, voxels, batch_stride, class_stride, voxel_stride, labels, kind, mask, has_ignore, \
     ignore, activation}

MEDLOSS_EXPORT int NAME(confusion_forward)(OPERANDS, double *matrices, int threads) {
    const VOLUME v = GIVEN;
    const int64_t size = tile_size(classes, sizeof(REAL)), length = block_size(classes);
    const int64_t blocks = (voxels + length - 1) / length;
    const size_t cells = (size_t)(classes * classes);
    double *partials = calloc((size_t)(batch * blocks) * cells, sizeof(double));
    int failed = !partials;
    if (failed) return 1;
#pragma omp parallel num_threads(threads) reduction(| : failed)
    {
        TILE tile;
        MEMBERS members;
        failed |= NAME(tile_alloc)(&tile, &v, size);
        failed |= NAME(members_alloc)(&members, &v, &tile, 0);
#pragma omp for collapse(2) schedule(static)
        for (int64_t b = 0; b < batch; ++b)
            for (int64_t block = 0; block < blocks; ++block) {
                const int64_t end = (block + 1) * length < voxels ? (block + 1) * length : voxels;
                for (int64_t start = block * length; start < end && !failed; start += size) {
                    NAME(load_tile)(&v, &tile, b, start, end - start < size ? end - start : size);
                    NAME(add_tile)(&v, &tile, &members, partials + (size_t)(b * blocks + block) * cells);
                }
            }
        NAME(members_free)(&members);
        NAME(tile_free)(&tile);
    }
    memset(matrices, 0, (size_t)batch * cells * sizeof(double));
    for (int64_t b = 0; b < batch; ++b)
        for (int64_t block = 0; block < blocks; ++block)
            for (size_t k = 0; k < cells; ++k)
                matrices[(size_t)b * cells + k] += partials[(size_t)(b * blocks + block) * cells + k];
    free(partials);
    return failed;
}

/* `cotangent` B true predicted. */
MEDLOSS_EXPORT int NAME(confusion_backward)(OPERANDS, const REAL *cotangent, void *out, int threads) {
    const VOLUME v = GIVEN;
    /* slopes lie beside the probabilities where they are kept */
    const int64_t size = tile_size(NAME(in_registers)(&v) ? classes : 2 * classes, sizeof(REAL));
    const int64_t length = block_size(classes);
    const int64_t blocks = (voxels + length - 1) / length;
    int failed = 0;
    const size_t entry = type == REAL_OWN ? sizeof(REAL) : sizeof(uint16_t);
    const size_t bytes = (size_t)(batch * classes * voxels) * entry;
    prefer_huge_pages(out, bytes);
#pragma omp parallel num_threads(threads) reduction(| : failed)
    {
        TILE tile;
        MEMBERS members;
        int64_t held = -1;
        failed |= NAME(tile_alloc)(&tile, &v, size);
        failed |= NAME(members_alloc)(&members, &v, &tile, 1);
        members.streams = bytes >= STREAMED;
#pragma omp for collapse(2) schedule(static)
        for (int64_t b = 0; b < batch; ++b)
            for (int64_t block = 0; block < blocks; ++block) {
                if (b != held && !failed) /* by predicted class; what is of no class has a slope of 0 */
                    for (int64_t k = 0; k < classes * classes; ++k)
                        members.table[k % classes * members.width + k / classes + 1] =
                            cotangent[b * classes * classes + k];
                held = b;
                const int64_t end = (block + 1) * length < voxels ? (block + 1) * length : voxels;
                for (int64_t start = block * length; start < end && !failed; start += size) {
                    NAME(load_tile)(&v, &tile, b, start, end - start < size ? end - start : size);
                    NAME(gradient_tile)(&v, &tile, &members, out);
                }
            }
        streamed();
        NAME(members_free)(&members);
        NAME(tile_free)(&tile);
    }
    return failed;
}

#undef OPERANDS
#undef GIVEN
#undef MEMBERS
#undef NAME
#undef VOLUME
#undef TILE
#endif
