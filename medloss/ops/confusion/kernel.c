/* confusion on the CPU: the soft confusion matrix in one sweep, and its gradient in another.
 *
 * Within a tile the matrix is a product: rows of memberships (of the classes that the tile has) by rows of
 * probabilities. A tile of labels with many classes is added voxel by voxel, so that the cost never grows with the
 * square of the classes. Tiles are grouped into blocks of fixed size, each with its own matrix in double, added in order
 * at the end: the result depends neither on the number of threads nor on their timing.
 */
#ifndef REAL

#include "../native.h"

enum { BLOCK = 16384, FEW = 24, REGISTERS = 16 };

/* A table of up to 16 floats looked up in registers, eight voxels at a time, which no compiler finds by itself. */
#if defined(__GNUC__) && !defined(__clang__)
typedef float table_part __attribute__((vector_size(32)));
typedef int32_t table_index __attribute__((vector_size(32)));

static void look_up(const float *table, const int32_t *label, int64_t n, float *out) {
    table_part low, high, found;
    table_index at;
    memcpy(&low, table, sizeof low);
    memcpy(&high, table + 8, sizeof high);
    int64_t i = 0;
    for (; i + 8 <= n; i += 8) {
        memcpy(&at, label + i, sizeof at);
        found = __builtin_shuffle(low, high, at);
        memcpy(out + i, &found, sizeof found);
    }
    for (; i < n; ++i) out[i] = table[label[i]];
}
#else
static void look_up(const float *table, const int32_t *label, int64_t n, float *out) {
    for (int64_t i = 0; i < n; ++i) out[i] = table[label[i]];
}
#endif

/* Voxels of a block: enough that its matrix is small beside its logits. */
static int64_t block_size(int64_t classes) {
    int64_t block = BLOCK;
    while (block < 128 * classes) block *= 2;
    return block;
}

#define REAL float
#define SUFFIX f32
#define EXP exp_f32
#include "kernel.c"
#undef REAL
#undef SUFFIX
#undef EXP
#define REAL double
#define SUFFIX f64
#define EXP exp_f64
#include "kernel.c"

#else

#include "../label_tile.h"

#define MEMBERS NAME(Members)

/* The classes that a tile has, and the memberships of its voxels in each of them as rows. */
typedef struct {
    REAL *rows, *slope, *spare; /* classes (even) x step; classes x step; a row */
    REAL *table;                /* the matrix of one tile, or the cotangent by predicted class */
    int32_t *present;
    uint8_t *seen;
    int64_t count, width; /* classes present; columns of the table */
} MEMBERS;

static int NAME(members_alloc)(MEMBERS *m, const VOLUME *v, const TILE *t, int backward) {
    const int64_t few = v->kind >= 0 && v->classes > FEW ? FEW : v->classes;
    memset(m, 0, sizeof *m);
    m->rows = malloc(sizeof(REAL) * (size_t)((few + 4) * t->step));
    m->slope = malloc(sizeof(REAL) * (size_t)((backward ? v->classes + 1 : 1) * t->step));
    m->width = v->classes < REGISTERS ? REGISTERS : v->classes + 1;
    m->table = calloc((size_t)(v->classes * m->width), sizeof(REAL));
    m->present = malloc(sizeof(int32_t) * (size_t)v->classes);
    m->seen = calloc((size_t)v->classes + 1, 1);
    m->spare = m->slope ? m->slope + (backward ? v->classes : 0) * t->step : NULL;
    return !m->rows || !m->slope || !m->table || !m->present || !m->seen;
}

static void NAME(members_free)(MEMBERS *m) {
    free(m->rows);
    free(m->slope);
    free(m->table);
    free(m->present);
    free(m->seen);
}

/* Which classes the tile has; all of them where the target holds memberships. */
static void NAME(find_present)(const VOLUME *v, const TILE *t, MEMBERS *m) {
    m->count = 0;
    if (v->kind < 0) {
        for (int64_t c = 0; c < v->classes; ++c) m->present[m->count++] = (int32_t)c;
        return;
    }
    if (v->classes < 32) {
        uint32_t bits = 0;
        for (int64_t i = 0; i < t->n; ++i) bits |= (uint32_t)1 << (t->label[i] + 1);
        for (int64_t c = 0; c < v->classes; ++c)
            if (bits >> (c + 1) & 1) m->present[m->count++] = (int32_t)c;
        return;
    }
    for (int64_t i = 0; i < t->n; ++i) m->seen[t->label[i] + 1] = 1;
    for (int64_t c = 0; c < v->classes; ++c)
        if (m->seen[c + 1]) m->present[m->count++] = (int32_t)c;
    memset(m->seen, 0, (size_t)v->classes + 1);
}

/* Whether a column of the cotangent, with a 0 in front for what is of no class, fits two registers. */
static inline int NAME(in_registers)(const VOLUME *v) {
    return v->kind >= 0 && v->classes < REGISTERS && sizeof(REAL) == sizeof(float);
}

static inline int NAME(is_product)(const VOLUME *v, const MEMBERS *m) { return v->kind < 0 || m->count <= FEW; }

/* The rows of the classes present, then rows of zero up to a multiple of four. */
static void NAME(fill_rows)(const VOLUME *v, const TILE *t, MEMBERS *m) {
    for (int64_t k = 0; k < m->count; ++k) NAME(members)(v, t, m->present[k], m->rows + k * t->step);
    for (int64_t k = m->count; k < m->count + 3; ++k) memset(m->rows + k * t->step, 0, sizeof(REAL) * (size_t)t->n);
}

/* Eight sums at once, of two rows of memberships by four of probabilities: one sum alone would wait for itself. */
static inline void NAME(eight_sums)(const REAL *restrict a, const REAL *restrict b, const REAL *restrict p0,
                                    const REAL *restrict p1, const REAL *restrict p2, const REAL *restrict p3, int64_t n,
                                    REAL *restrict out) {
    REAL a0 = 0, a1 = 0, a2 = 0, a3 = 0, b0 = 0, b1 = 0, b2 = 0, b3 = 0;
#pragma omp simd reduction(+ : a0, a1, a2, a3, b0, b1, b2, b3)
    for (int64_t i = 0; i < n; ++i) {
        a0 += a[i] * p0[i];
        a1 += a[i] * p1[i];
        a2 += a[i] * p2[i];
        a3 += a[i] * p3[i];
        b0 += b[i] * p0[i];
        b1 += b[i] * p1[i];
        b2 += b[i] * p2[i];
        b3 += b[i] * p3[i];
    }
    const REAL sums[8] = {a0, a1, a2, a3, b0, b1, b2, b3};
    memcpy(out, sums, sizeof sums);
}

static void NAME(add_product)(const VOLUME *v, const TILE *t, MEMBERS *m, double *matrix) {
    const int64_t n = t->n, classes = v->classes;
    const REAL *restrict r = m->spare;
    NAME(fill_rows)(v, t, m);
    for (int64_t k = 0; k < m->count; ++k) {
        REAL *restrict row = m->rows + k * t->step;
        for (int64_t i = 0; i < n; ++i) row[i] *= r[i];
    }
    for (int64_t k = 0; k < m->count; k += 2)
        for (int64_t c = 0; c < classes; c += 4) {
            const REAL *p[4];
            REAL sums[8];
            for (int64_t j = 0; j < 4; ++j) p[j] = t->p + (c + j < classes ? c + j : c) * t->step;
            NAME(eight_sums)(m->rows + k * t->step, m->rows + (k + 1) * t->step, p[0], p[1], p[2], p[3], n, sums);
            for (int64_t h = 0; h < 2 && k + h < m->count; ++h)
                for (int64_t j = 0; j < 4 && c + j < classes; ++j)
                    matrix[m->present[k + h] * classes + c + j] += (double)sums[4 * h + j];
        }
}

/* Voxel by voxel into the tile's own matrix, of which the rows in use are then added and cleared. */
static void NAME(add_voxels)(const VOLUME *v, const TILE *t, MEMBERS *m, double *matrix) {
    const int64_t classes = v->classes;
    const REAL *r = m->spare;
    for (int64_t i = 0; i < t->n; ++i) {
        if (t->label[i] < 0) continue;
        REAL *row = m->table + t->label[i] * classes;
        for (int64_t c = 0; c < classes; ++c) row[c] += r[i] * t->p[c * t->step + i];
    }
    for (int64_t k = 0; k < m->count; ++k) {
        REAL *restrict row = m->table + m->present[k] * classes;
        double *restrict to = matrix + m->present[k] * classes;
        for (int64_t c = 0; c < classes; ++c) to[c] += (double)row[c];
        memset(row, 0, sizeof(REAL) * (size_t)classes);
    }
}

static void NAME(add_tile)(const VOLUME *v, const TILE *t, MEMBERS *m, double *matrix) {
    for (int64_t i = 0; i < t->n; ++i) m->spare[i] = t->weight[i] > 0 ? t->weight[i] * t->scale[i] : 0;
    NAME(find_present)(v, t, m);
    if (NAME(is_product)(v, m))
        NAME(add_product)(v, t, m, matrix);
    else
        NAME(add_voxels)(v, t, m, matrix);
}

/* dL/dp of class c, before the voxel's weight: the cotangent's column by the memberships, four at a time. */
static void NAME(slope_row)(const VOLUME *v, const TILE *t, const MEMBERS *m, int64_t c, REAL *restrict out) {
    const int64_t n = t->n;
    const REAL *restrict column = m->table + c * m->width;
    if (NAME(in_registers)(v)) {
        look_up((const float *)column, t->label, n, (float *)out);
        return;
    }
    if (!NAME(is_product)(v, m)) {
        const int32_t *restrict label = t->label;
        for (int64_t i = 0; i < n; ++i) out[i] = column[label[i] + 1];
        return;
    }
    for (int64_t k = 0; k < m->count || !k; k += 4) {
        REAL f[4];
        for (int64_t j = 0; j < 4; ++j) f[j] = k + j < m->count ? column[m->present[k + j] + 1] : 0;
        const REAL f0 = f[0], f1 = f[1], f2 = f[2], f3 = f[3], *restrict a = m->rows + k * t->step;
        const REAL *restrict b = a + t->step, *restrict d = b + t->step, *restrict e = d + t->step;
        if (!k)
            for (int64_t i = 0; i < n; ++i) out[i] = f0 * a[i] + f1 * b[i] + f2 * d[i] + f3 * e[i];
        else
            for (int64_t i = 0; i < n; ++i) out[i] += f0 * a[i] + f1 * b[i] + f2 * d[i] + f3 * e[i];
    }
}

/* dL/dz of the tile. With s = dL/dp it is p (s - sum of p s) for the softmax. */
static void NAME(gradient_tile)(const VOLUME *v, TILE *t, MEMBERS *m, void *out) {
    const int64_t n = t->n;
    REAL *restrict total = t->top, *restrict scale = t->scale;
    const REAL *restrict w = t->weight;
    if (NAME(in_registers)(v)) {
        for (int64_t i = 0; i < n; ++i) ++t->label[i]; /* the table's first entry is that of no class */
    } else {
        NAME(find_present)(v, t, m);
        if (NAME(is_product)(v, m)) NAME(fill_rows)(v, t, m);
    }
    for (int64_t i = 0; i < n; ++i) total[i] = 0;
    for (int64_t c = 0; c < v->classes; ++c) {
        REAL *restrict s = m->slope + c * t->step;
        const REAL *restrict p = t->p + c * t->step;
        NAME(slope_row)(v, t, m, c, s);
        if (v->activation == SOFTMAX)
            for (int64_t i = 0; i < n; ++i) total[i] += p[i] * s[i];
    }
    for (int64_t i = 0; i < n; ++i) {
        total[i] *= scale[i];
        scale[i] = w[i] > 0 ? w[i] * scale[i] : 0;
    }
    for (int64_t c = 0; c < v->classes; ++c) {
        const REAL *restrict s = m->slope + c * t->step, *restrict p = t->p + c * t->step;
        REAL *restrict own = NAME(own_row)(v, t, c, out), *restrict g = own ? own : m->spare;
        if (v->activation == SOFTMAX)
            for (int64_t i = 0; i < n; ++i) g[i] = scale[i] * p[i] * (s[i] - total[i]);
        else if (v->activation == SIGMOID)
            for (int64_t i = 0; i < n; ++i) g[i] = scale[i] * p[i] * (1 - p[i]) * s[i];
        else
            for (int64_t i = 0; i < n; ++i) g[i] = scale[i] * s[i];
        if (!own) NAME(store_row)(v, t, c, g, out);
    }
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
    const int64_t size = tile_size(classes, sizeof(REAL)), length = block_size(classes);
    const int64_t blocks = (voxels + length - 1) / length;
    int failed = 0;
    prefer_huge_pages(out, (size_t)(batch * classes * voxels) * (type == REAL_OWN ? sizeof(REAL) : sizeof(uint16_t)));
#pragma omp parallel num_threads(threads) reduction(| : failed)
    {
        TILE tile;
        MEMBERS members;
        int64_t held = -1;
        failed |= NAME(tile_alloc)(&tile, &v, size);
        failed |= NAME(members_alloc)(&members, &v, &tile, 1);
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
