/* jaccard_extension on the CPU. Hard labels in large volumes need no sort but counts (bins.h, steps.h, binned.h). For
 * all else the errors of every class go into rows in one sweep of tiles, each class is sorted (rank.h), and for the
 * gradient there is another sweep.
 *
 * In the backward pass the errors are written where the gradient will be; each class's row becomes the steps
 * of the Jaccard loss, and these the gradient. A row is sorted by one thread and its sums are in double, in
 * one order: the result does not depend on the number of threads.
 */
#include "../native.h"

#define REAL float
#define SUFFIX f32
#define EXP exp_f32
#include "../label_tile.h"
#include "rank.h"
#include "bins.h"
#include "steps.h"

enum { HINGE = 3, BLOCK = 16384 };

/* What one call works on: rows of entries for the classes from `first` on, of `group` samples at a time. */
typedef struct {
    VOLUME v;
    int64_t first, group;
    int unit;   /* errors lie in [0, 1] */
    int uneven; /* some voxels weigh neither 0 nor 1, as the sweep found */
    int streams; /* whether the gradient is so large that it goes past the caches */
} WORK;

/* p - m, which for a hard m is either probability and no difference. */
static inline float error_at(const TILE *t, int64_t c, int64_t i, float p, float m) {
    const float q = t->q ? t->q[c * t->step + i] : t->sure && t->certain[i] == c ? t->rest[i] * t->scale[i] : 1 - p;
    return p * (1 - m) - q * m;
}

/* Errors of the tile in class c, of the members m. */
static void tile_errors(const WORK *work, const TILE *t, int64_t c, const float *restrict m,
                        float *restrict out) {
    const float *restrict p = t->p + c * t->step, *restrict scale = t->scale;
    if (work->v.activation == HINGE)
        for (int64_t i = 0; i < t->n; ++i) {
            const float e = 1 - p[i] * (2 * m[i] - 1);
            out[i] = e < 0 ? 0 : e;
        }
    else
        for (int64_t i = 0; i < t->n; ++i) out[i] = fabsf(error_at(t, c, i, p[i] * scale[i], m[i]));
}

/* What the error of class c adds to dL/dp: the step, with the sign of dL/dp. */
static void tile_slopes(const WORK *work, const TILE *t, int64_t c, const float *restrict m,
                        const step_t *step, float *restrict out) {
    const float *restrict p = t->p + c * t->step, *restrict scale = t->scale;
    if (work->v.activation == HINGE)
        for (int64_t i = 0; i < t->n; ++i) {
            const float side = 2 * m[i] - 1, e = 1 - p[i] * side;
            out[i] = e <= 0 ? 0 : e == e ? -side * step[i] : e;
        }
    else
        for (int64_t i = 0; i < t->n; ++i) {
            const float error = error_at(t, c, i, p[i] * scale[i], m[i]);
            out[i] = error > 0 ? step[i] : error < 0 ? -step[i] : error;
        }
}

static void write_entries(const WORK *work, TILE *t, entry_t *rows, float *m, float *errors) {
    const int64_t n = t->n;
    NAME(seek_certain)(&work->v, t, 1);
    for (int64_t c = work->first; c < work->v.classes; ++c) {
        entry_t *row = rows + (t->b % work->group * work->v.classes + c) * work->v.voxels + t->start;
        NAME(members)(&work->v, t, c, m);
        tile_errors(work, t, c, m, errors);
        if (work->unit)
            for (int64_t i = 0; i < n; ++i) row[i] = key_of(errors[i], 1) << 1 | (uint32_t)(m[i] > 0.5f);
        else
            for (int64_t i = 0; i < n; ++i) row[i] = key_of(errors[i], 0) << 1 | (uint32_t)(m[i] > 0.5f);
        for (int64_t i = 0; t->weighted && i < n; ++i)
            if (!(t->weight[i] > 0)) row[i] = DROPPED;
    }
}

/* The gradient of the tile from its rows of steps, which lie where it goes if `rows` are those of the result. */
static void write_gradient(const WORK *work, TILE *t, const step_t *rows, const double *grad, float *m, float *slopes,
                           void *out) {
    const VOLUME *v = &work->v;
    const int64_t n = t->n;
    float *restrict total = t->top;
    NAME(seek_certain)(v, t, 1);
    for (int64_t i = 0; i < n; ++i) total[i] = 0;
    for (int64_t c = 0; c < v->classes; ++c) {
        float *restrict s = slopes + c * t->step;
        const float *restrict p = t->p + c * t->step;
        memset(s, 0, sizeof(float) * (size_t)n);
        if (c < work->first) continue;
        const float factor = (float)grad[3 * (c - work->first)];
        NAME(members)(v, t, c, m);
        tile_slopes(work, t, c, m, rows + (t->b % work->group * v->classes + c) * v->voxels + t->start, s);
        for (int64_t i = 0; i < n; ++i) {
            s[i] *= factor;
            total[i] += p[i] * s[i];
        }
    }
    for (int64_t c = 0; c < v->classes; ++c) {
        float *s = slopes + c * t->step, *own = NAME(own_row)(v, t, c, out), *to = own ? own : s;
        const float *restrict p = t->p + c * t->step, *restrict scale = t->scale;
        const float *restrict q = t->q ? t->q + c * t->step : NULL;
        to = t->sure ? s : to;
        if (v->activation == SOFTMAX)
            SIMD for (int64_t i = 0; i < n; ++i) to[i] = scale[i] * p[i] * (s[i] - total[i] * scale[i]);
        else if (v->activation == SIGMOID)
            SIMD for (int64_t i = 0; i < n; ++i) to[i] = s[i] * p[i] * q[i];
        else if (own)
            memcpy(own, s, sizeof(float) * (size_t)n);
        for (int64_t i = 0; t->weighted && i < n; ++i) to[i] = t->weight[i] > 0 ? to[i] : 0;
        if (!own && !t->sure) NAME(store_row)(v, t, c, s, out);
    }
    if (!t->sure) return;
    NAME(settle)(v, t, slopes, t->step);
    NAME(store_rows)(v, t, slopes, t->step, out);
}

enum { ENTRIES, GRADIENT };

/* One sweep over the samples from `b` on: errors into rows, or steps into the gradient. */
static int sweep(WORK *work, int64_t b, int what, entry_t *rows, const double *grad, void *out, int threads) {
    const VOLUME *v = &work->v;
    const int64_t size = tile_size(v->classes, sizeof(float)), blocks = (v->voxels + BLOCK - 1) / BLOCK;
    int failed = 0, uneven = 0;
#pragma omp parallel num_threads(threads) reduction(| : failed, uneven)
    {
        TILE tile;
        failed |= NAME(tile_alloc)(&tile, v, size);
        float *spare = failed ? NULL : malloc(sizeof(float) * (size_t)((v->classes + 2) * tile.step));
        failed |= !spare;
#pragma omp for schedule(static)
        for (int64_t at = 0; at < work->group * blocks; ++at) {
            const int64_t from = at % blocks * BLOCK;
            const int64_t end = from + BLOCK < v->voxels ? from + BLOCK : v->voxels;
            for (int64_t start = from; start < end && !failed; start += size) {
                NAME(load_tile)(v, &tile, b + at / blocks, start, end - start < size ? end - start : size);
                for (int64_t i = 0; v->mask && i < tile.n; ++i)
                    uneven |= tile.weight[i] > 0 && tile.weight[i] != 1;
                if (what == ENTRIES)
                    write_entries(work, &tile, rows, spare, spare + tile.step);
                else
                    write_gradient(work, &tile, (const step_t *)rows, grad, spare, spare + tile.step, out);
            }
        }
        free(spare);
        NAME(tile_free)(&tile);
    }
    work->uneven = uneven;
    return failed;
}

/* Every class's row of a group: the sums, and in place of the entries the steps where asked for. */
static int rank_rows(const WORK *work, int64_t b, entry_t *rows, double *out, int with_steps, int threads) {
    const VOLUME *v = &work->v;
    const int64_t pitch = v->classes * v->voxels, count = v->classes - work->first;
    int failed = 0;
#pragma omp parallel num_threads(threads < count ? threads : (int)count) reduction(| : failed)
    {
        void *scratch = NULL;
#pragma omp for schedule(static, 1)
        for (int64_t c = work->first; c < v->classes; ++c) {
            const ROW row = {
                .entries = rows + c * v->voxels, .samples = work->group, .voxels = v->voxels, .pitch = pitch,
                .mask = work->uneven ? v->mask + b * v->voxels : NULL,
                .members = v->kind < 0 ? (const float *)v->labels + (b * v->classes + c) * v->voxels : NULL,
                .unit = work->unit,
            };
            const size_t bytes = rank_scratch(&row); /* the same for every class */
            if (!scratch && (scratch = malloc(bytes))) prefer_huge_pages(scratch, bytes);
            failed |= !scratch;
            if (!failed) rank_row(&row, scratch, out + 3 * (c - work->first), with_steps);
        }
        free(scratch);
    }
    return failed;
}

#include "binned.h"

#define OPERANDS                                                                                                    \
    const void *input, int64_t type, int64_t batch, int64_t classes, int64_t voxels, int64_t batch_stride,          \
        int64_t class_stride, int64_t voxel_stride, const void *labels, int64_t kind, const float *mask,            \
        int64_t has_ignore, int64_t ignore, int64_t activation, int64_t joined, int64_t first
#define WORK_GIVEN                                                                                                  \
    {.v = {input, type, batch, classes, voxels, batch_stride, class_stride, voxel_stride, labels, kind, mask,       \
           has_ignore, ignore, activation},                                                                         \
     .first = first, .group = joined ? batch : 1, .unit = activation == SOFTMAX || activation == SIGMOID}

/* `sums` holds value, mass of the class and mass of all voxels, for each group of samples and class; `lines`, unless
 * NULL, keeps LINES of each for the backward pass, where bins serve. */
MEDLOSS_EXPORT int NAME(jaccard_extension_forward)(OPERANDS, double *sums, void *lines, int threads) {
    WORK work = WORK_GIVEN;
    const size_t bytes = sizeof(entry_t) * (size_t)(work.group * classes * voxels);
    entry_t *rows = NULL;
    int failed = 0;
    for (int64_t b = 0; b < batch && !failed; b += work.group) {
        const int64_t row = b / work.group * (classes - first);
        double *at = sums + 3 * row;
        if (is_binned(&work, b, threads)) {
            failed |= binned_forward(&work, b, at, lines ? (LINE *)lines + row * LINES : NULL, threads);
            continue;
        }
        if (!rows && (rows = malloc(bytes))) prefer_huge_pages(rows, bytes);
        if (!rows) return 1;
        failed |= sweep(&work, b, ENTRIES, rows, NULL, NULL, threads);
        if (!failed) failed |= rank_rows(&work, b, rows, at, 0, threads);
    }
    free(rows);
    return failed;
}

/* `grad` lies as the sums do; only the value has a gradient. `lines` as the forward pass kept them, or NULL. */
MEDLOSS_EXPORT int NAME(jaccard_extension_backward)(OPERANDS, const double *grad, double *sums, void *lines, void *out,
                                                    int threads) {
    WORK work = WORK_GIVEN;
    const int own = type == REAL_OWN && voxel_stride == 1;
    const size_t bytes = sizeof(entry_t) * (size_t)(work.group * classes * voxels);
    const size_t all = (size_t)(batch * classes * voxels) * (type == REAL_OWN ? sizeof(float) : sizeof(uint16_t));
    entry_t *scratch = NULL;
    int failed = 0;
    prefer_huge_pages(out, all);
    work.streams = own && all >= STREAMED;
    for (int64_t b = 0; b < batch && !failed; b += work.group) {
        const int64_t row = b / work.group * (classes - first), at = 3 * row;
        LINE *kept = lines ? (LINE *)lines + row * LINES : NULL;
        const int done =
            is_binned(&work, b, threads) ? binned_backward(&work, b, grad + at, kept, out, threads) : UNFIT;
        failed |= done == 1;
        if (done != UNFIT) continue;
        if (!own && !scratch && (scratch = malloc(bytes))) prefer_huge_pages(scratch, bytes);
        entry_t *rows = own ? (entry_t *)out + b * classes * voxels : scratch;
        if (!rows) return 1;
        failed |= sweep(&work, b, ENTRIES, rows, NULL, NULL, threads);
        if (!failed) failed |= rank_rows(&work, b, rows, sums + at, 1, threads);
        if (!failed) failed |= sweep(&work, b, GRADIENT, rows, grad + at, out, threads);
    }
    free(scratch);
    return failed;
}
