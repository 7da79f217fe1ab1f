/* The sweeps over a labelled volume, for one type of REAL. */

#include "../label_tile.h"

#include "../focal.h"
#include "../log_softmax.h"

/* One call's volume and penalty. */
typedef struct {
    VOLUME volume;
    int penalty, given; /* given: what stands for the map */
    REAL gamma;
    const REAL *positive, *negative; /* factor of each class on its true and on its false part */
} NAME(Penalty);

/* Rows of one thread beside its tile, each of the tile's step. */
typedef struct {
    REAL *p;  /* exponentials of the logits, classes x step, where the logits must stay */
    REAL *up; /* what comes from above, times the voxel's weight */
    REAL *member, *nll, *other, *factor, *slope, *value, *total, *log_norm;
    double *sums; /* of the block, one for each class */
} NAME(Rows);

static REAL *NAME(rows_alloc)(NAME(Rows) * r, int64_t classes, int64_t step) {
    REAL *block = malloc(sizeof(REAL) * (size_t)((classes + 9) * step)), *at = block;
    if (!block) return NULL;
    r->p = at;
    at += classes * step;
    REAL **rows[] = {&r->up,    &r->member, &r->nll,   &r->other,   &r->factor,
                     &r->slope, &r->value,  &r->total, &r->log_norm};
    for (int k = 0; k < 9; ++k, at += step) *rows[k] = at;
    return block;
}

/* A class's values of the tile into the map, the voxels' totals, or the block's sums. */
static void NAME(hand_over)(const NAME(Penalty) * f, const TILE *t, NAME(Rows) * r, int64_t c,
                            const REAL *restrict value, REAL *map) {
    const VOLUME *v = &f->volume;
    const int64_t n = t->n;
    if (f->given == EACH_CLASS) {
        memcpy(map + (t->b * v->classes + c) * v->voxels + t->start, value, sizeof(REAL) * (size_t)n);
        return;
    }
    if (f->given == ALL_CLASSES) {
        REAL *restrict total = r->total;
        for (int64_t i = 0; i < n; ++i) total[i] += value[i];
        return;
    }
    REAL sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < n; ++i) sum += value[i];
    r->sums[c] += (double)sum;
}

/* What comes from above for a class, times the voxels' weights; nothing where they weigh nothing. */
static void NAME(come_down)(const NAME(Penalty) * f, const TILE *t, int64_t c, const REAL *grad,
                            REAL *restrict up) {
    const VOLUME *v = &f->volume;
    const int64_t n = t->n, row = t->b * v->classes + c;
    const REAL *restrict w = t->weight;
    const REAL *restrict from = grad + (f->given == ALL_CLASSES ? t->b : row) * v->voxels + t->start;
    if (f->given == SUMS) {
        const REAL all = grad[row];
        for (int64_t i = 0; i < n; ++i) up[i] = w[i] > 0 ? w[i] * all : 0;
    } else {
        for (int64_t i = 0; i < n; ++i) up[i] = w[i] > 0 ? w[i] * from[i] : 0;
    }
}

#include "likelihood_terms.h"

#include "likelihood_true.h"

#include "likelihood_logits.h"

/* One tile of the map, or of the gradient where `grad` is given. */
static void NAME(likelihood_tile)(const NAME(Penalty) * f, TILE *t, NAME(Rows) * r, const REAL *grad, REAL *map,
                                  void *out) {
    const VOLUME *v = &f->volume;
    const int labelled = v->activation == SOFTMAX && v->kind >= 0 && f->penalty < MARGIN;
    NAME(load_voxels)(v, t);
    NAME(load_logits)(v, t);
    if (!labelled) NAME(allow)(v, t);
    if (f->given == ALL_CLASSES && map) memset(r->total, 0, sizeof(REAL) * (size_t)t->n);
    if (labelled)
        grad ? NAME(true_gradient)(f, t, r, grad, out) : NAME(true_values)(f, t, r, map);
    else if (f->penalty >= MARGIN)
        grad ? NAME(logits_gradient)(f, t, r, grad, out) : NAME(logits_values)(f, t, r, map);
    else
        grad ? NAME(class_gradients)(f, t, r, grad, out) : NAME(class_values)(f, t, r, map);
    if (f->given == ALL_CLASSES && map)
        memcpy(map + t->b * v->voxels + t->start, r->total, sizeof(REAL) * (size_t)t->n);
}

/* Every block, shared out among the threads in one fixed way. */
static int NAME(likelihood_sweep)(const NAME(Penalty) * f, const REAL *grad, REAL *map, double *sums, void *out,
                                  int threads) {
    const VOLUME *v = &f->volume;
    const int64_t size = tile_size(v->classes, sizeof(REAL)), blocks = (v->voxels + BLOCK - 1) / BLOCK;
    int failed = 0;
#pragma omp parallel num_threads(threads) reduction(| : failed)
    {
        TILE tile;
        NAME(Rows) rows;
        failed |= NAME(tile_alloc)(&tile, v, size);
        REAL *scratch = NAME(rows_alloc)(&rows, v->classes, tile.step);
        failed |= !scratch;
#pragma omp for collapse(2) schedule(static)
        for (int64_t b = 0; b < v->batch; ++b)
            for (int64_t block = 0; block < blocks; ++block) {
                const int64_t end = (block + 1) * BLOCK < v->voxels ? (block + 1) * BLOCK : v->voxels;
                rows.sums = sums ? sums + (b * blocks + block) * v->classes : NULL;
                tile.b = b;
                for (tile.start = block * BLOCK; tile.start < end && !failed; tile.start += size) {
                    tile.n = end - tile.start < size ? end - tile.start : size;
                    NAME(likelihood_tile)(f, &tile, &rows, grad, map, out);
                }
            }
        free(scratch);
        NAME(tile_free)(&tile);
    }
    return failed;
}

#define OPERANDS                                                                                                    \
    const void *input, int64_t type, int64_t batch, int64_t classes, int64_t voxels, int64_t batch_stride,          \
        int64_t class_stride, int64_t voxel_stride, const void *labels, int64_t kind, const REAL *mask,             \
        int64_t has_ignore, int64_t ignore, int64_t activation, int64_t penalty, double gamma, const REAL *positive,\
        const REAL *negative, int64_t given
#define GIVEN                                                                                                       \
    {{input, type, batch, classes, voxels, batch_stride, class_stride, voxel_stride, labels, kind, mask, has_ignore,\
      ignore, activation},                                                                                          \
     (int)penalty, (int)given, (REAL)gamma, positive, negative}

/* The map B C V, its sums over the classes B V, or those over the voxels B C. */
MEDLOSS_EXPORT int NAME(likelihood_forward)(OPERANDS, REAL *map, double *sums, int threads) {
    const NAME(Penalty) f = GIVEN;
    if (!sums) {
        prefer_huge_pages(map, (size_t)(batch * (given == EACH_CLASS ? classes : 1) * voxels) * sizeof(REAL));
        return NAME(likelihood_sweep)(&f, NULL, map, NULL, NULL, threads);
    }
    const int64_t blocks = (voxels + BLOCK - 1) / BLOCK;
    double *parts = calloc((size_t)(batch * blocks * classes), sizeof(double));
    if (!parts) return 1;
    const int failed = NAME(likelihood_sweep)(&f, NULL, NULL, parts, NULL, threads);
    memset(sums, 0, sizeof(double) * (size_t)(batch * classes));
    for (int64_t b = 0; b < batch; ++b)
        for (int64_t block = 0; block < blocks; ++block)
            for (int64_t c = 0; c < classes; ++c)
                sums[b * classes + c] += parts[(b * blocks + block) * classes + c];
    free(parts);
    return failed;
}

/* The gradient of the logits from `grad`, which is as the map or the sums are. */
MEDLOSS_EXPORT int NAME(likelihood_backward)(OPERANDS, const REAL *grad, void *out, int threads) {
    const NAME(Penalty) f = GIVEN;
    prefer_huge_pages(out, (size_t)(batch * classes * voxels) * (type == REAL_OWN ? sizeof(REAL) : sizeof(uint16_t)));
    return NAME(likelihood_sweep)(&f, grad, NULL, NULL, out, threads);
}

#undef OPERANDS
#undef GIVEN
#undef NAME
#undef VOLUME
#undef TILE
