/* The sweeps over a labelled volume, for one type of REAL. */

#include "../label_tile.h"

#include "../focal.h"
#include "../log_softmax.h"

/* One call's volume and errors. */
typedef struct {
    VOLUME volume;
    int likelihood; /* the error; else the difference */
    int both;       /* whether what a voxel is not of is asked for */
    int regions;    /* whether the columns of region_sums are */
    REAL exponent;
    int streams; /* whether the gradient is so large that it goes past the caches */
} NAME(Powers);

/* Rows of one thread beside its tile, each of the tile's step. */
typedef struct {
    REAL *p; /* of a likelihood: exponentials, then probabilities, classes x step; the logits stay in the tile */
    REAL *u; /* the gradient before the softmax mixes the classes, classes x step */
    REAL *yes, *no, *member, *log_norm, *others, *sure, *k, *h, *shared, *other, *own, *once;
    REAL *q; /* 1 - p of the class at hand */
    double *lanes; /* sums of the true classes, see sums.h */
} NAME(Rows);

static void *NAME(rows_alloc)(NAME(Rows) * r, int64_t classes, int64_t step) {
    const size_t lanes = sizeof(double) * (size_t)(LANES * (classes + 1));
    char *block = malloc(lanes + sizeof(REAL) * (size_t)((2 * classes + 13) * step));
    if (!block) return NULL;
    r->lanes = (double *)(void *)block;
    REAL *at = (REAL *)(void *)(block + lanes);
    r->p = at;
    r->u = at += classes * step;
    at += classes * step;
    REAL **rows[] = {&r->yes, &r->no, &r->member, &r->log_norm, &r->others, &r->sure,
                     &r->k,   &r->h,  &r->shared, &r->other,    &r->own,    &r->once, &r->q};
    for (int i = 0; i < 13; ++i, at += step) *rows[i] = at;
    return block;
}

static void NAME(find_others)(const VOLUME *v, const TILE *t, NAME(Rows) * r);

#include "errors.h"

#include "sums.h"

#include "gradient.h"

/* Whether each voxel has one power, that of its true class. */
static int NAME(is_single)(const NAME(Powers) * f) {
    return NAME(has_once)(f) && !f->regions;
}

static void NAME(single_tile)(const NAME(Powers) * f, TILE *t, NAME(Rows) * r, const REAL *cotangent, void *out) {
    NAME(load_voxels)(&f->volume, t);
    NAME(load_logits)(&f->volume, t);
    out ? NAME(true_gradient)(f, t, r, cotangent, out) : NAME(add_true)(f, t, r, r->lanes);
}

/* One block of voxels of sample b: its sums, or its gradient into `out`. */
static void NAME(sweep_block)(const NAME(Powers) * f, TILE *t, NAME(Rows) * r, int64_t b, int64_t block,
                              double *sums, const REAL *cotangent, void *out) {
    const VOLUME *v = &f->volume;
    const int64_t end = (block + 1) * BLOCK < v->voxels ? (block + 1) * BLOCK : v->voxels;
    const int single = NAME(is_single)(f);
    memset(r->lanes, 0, sizeof(double) * (size_t)(LANES * (v->classes + 1)));
    for (int64_t start = block * BLOCK; start < end; start += t->size) {
        const int64_t n = end - start < t->size ? end - start : t->size;
        t->b = b;
        t->start = start;
        t->n = n;
        if (single) {
            NAME(single_tile)(f, t, r, cotangent, out);
            continue;
        }
        NAME(prepare)(f, t, r, b, start, n);
        out ? NAME(write_gradient)(f, t, r, cotangent, out) : NAME(add_tile)(f, t, r, sums);
    }
    for (int64_t at = 0; single && !out && at < LANES * v->classes; ++at)
        sums[at % v->classes * COLUMNS + TRUE_POWERS] +=
            r->lanes[at / v->classes * (v->classes + 1) + at % v->classes + 1];
}

/* Every block, shared out among the threads in one fixed way. */
static int NAME(sweep)(const NAME(Powers) * f, double *partials, const REAL *cotangent, void *out, int threads) {
    const VOLUME *v = &f->volume;
    const int64_t size = tile_size(v->classes, sizeof(REAL)), blocks = (v->voxels + BLOCK - 1) / BLOCK;
    int failed = 0;
#pragma omp parallel num_threads(threads) reduction(| : failed)
    {
        TILE tile;
        NAME(Rows) rows;
        failed |= NAME(tile_alloc)(&tile, v, size);
        tile.exact |= f->exponent < 1; /* a low power makes much of a rounding */
        void *scratch = failed ? NULL : NAME(rows_alloc)(&rows, v->classes, tile.step);
        failed |= !scratch;
#pragma omp for collapse(2) schedule(static)
        for (int64_t b = 0; b < v->batch; ++b)
            for (int64_t block = 0; block < blocks; ++block)
                if (!failed)
                    NAME(sweep_block)(f, &tile, &rows, b, block,
                                      partials ? partials + (b * blocks + block) * v->classes * COLUMNS : NULL,
                                      cotangent, out);
        if (f->streams) streamed();
        free(scratch);
        NAME(tile_free)(&tile);
    }
    return failed;
}

#define OPERANDS                                                                                                    \
    const void *input, int64_t type, int64_t batch, int64_t classes, int64_t voxels, int64_t batch_stride,          \
        int64_t class_stride, int64_t voxel_stride, const void *labels, int64_t kind, const REAL *mask,             \
        int64_t has_ignore, int64_t ignore, int64_t activation, int64_t likelihood, double exponent, int64_t regions,\
        int64_t both
#define GIVEN                                                                                                       \
    {{input, type, batch, classes, voxels, batch_stride, class_stride, voxel_stride, labels, kind, mask, has_ignore,\
      ignore, activation},                                                                                          \
     (int)likelihood, (int)both, (int)regions, (REAL)exponent, 0}

/* B C 2, with the columns of the regions in front where they are asked for. */
MEDLOSS_EXPORT int NAME(power_sums_forward)(OPERANDS, REAL *sums, int threads) {
    const NAME(Powers) f = GIVEN;
    const int64_t blocks = (voxels + BLOCK - 1) / BLOCK, width = classes * COLUMNS;
    const int64_t first = regions ? 0 : REGION_COLUMNS, given = COLUMNS - first;
    double *partials = calloc((size_t)(batch * blocks * width), sizeof(double));
    if (!partials) return 1;
    const int failed = NAME(sweep)(&f, partials, NULL, NULL, threads);
    for (int64_t b = 0; b < batch; ++b) {
        double *total = partials + b * blocks * width;
        for (int64_t block = 1; block < blocks; ++block)
            for (int64_t at = 0; at < width; ++at) total[at] += total[block * width + at];
        for (int64_t at = 0; at < classes * given; ++at)
            sums[b * classes * given + at] = (REAL)total[at / given * COLUMNS + first + at % given];
    }
    free(partials);
    return failed;
}

MEDLOSS_EXPORT int NAME(power_sums_backward)(OPERANDS, const REAL *cotangent, void *out, int threads) {
    NAME(Powers) f = GIVEN;
    const size_t bytes = (size_t)(batch * classes * voxels) * (type == REAL_OWN ? sizeof(REAL) : sizeof(uint16_t));
    f.streams = bytes >= STREAMED && type == REAL_OWN && voxel_stride == 1;
    prefer_huge_pages(out, bytes);
    return NAME(sweep)(&f, NULL, cotangent, out, threads);
}

#undef OPERANDS
#undef GIVEN
#undef TILE
#undef VOLUME
#undef NAME
