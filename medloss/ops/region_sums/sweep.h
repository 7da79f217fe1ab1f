/* The sweeps over a volume, for one type of REAL. */

#define NAME(stem) MEDLOSS_PASTE(stem, SUFFIX, MEDLOSS_LEVEL)
#define VOLUME NAME(Volume)
#define TILE NAME(Tile)

#include "../softmax.h"
#include "volume.h"
#include "rows.h"
#include "softmax.h"
#include "../focal.h"
#include "labelled.h"
#include "memberships.h"

/* What the gradient of the labelled path is made of: by class, a row of zeros for no class at the end. */
static void NAME(load_coefficients)(const VOLUME *v, TILE *t, const REAL *cotangent) {
    const int terms = v->terms;
    memset(t->coefficients, 0, sizeof(REAL) * (size_t)((v->classes + 1) * PER_CLASS));
    for (int64_t c = 0; c < v->classes; ++c) {
        const REAL *from = cotangent + c * COLUMNS, side = terms & WITH_DIFFERENCE ? from[DIFFERENCE] : 0;
        REAL *row = t->coefficients + c * PER_CLASS;
        row[BASE] = from[INPUT] + side; /* |p - 0| grows with p, |p - 1| falls */
        row[OWN] = from[OVERLAP] - 2 * side;
        row[YES] = terms & LIKELIHOOD ? from[NLL_TRUE] : 0;
        row[ALL] = terms & UNIFORM ? from[NLL_ALL] : 0;
        row[SQUARE] = terms & SQUARES ? 2 * from[INPUT_SQUARES] : 0;
        row[FOCAL_SLOPE] = terms & FOCAL ? from[FOCAL_TRUE] : 0;
    }
}

/* One block of voxels of sample b: its sums into `partial`, or its gradient into `out`. */
static void NAME(sweep_block)(const VOLUME *v, TILE *t, int64_t b, int64_t block, double *partial,
                              const REAL *cotangent, void *out) {
    const int64_t end = (block + 1) * BLOCK < v->voxels ? (block + 1) * BLOCK : v->voxels;
    const int labelled = v->kind >= 0 && v->activation == SOFTMAX;
    double voxels = 0;
    t->b = b;
    t->careful = 0;
    memset(t->top, 0, sizeof(REAL) * (size_t)v->size);
    if (labelled && out) NAME(load_coefficients)(v, t, cotangent);
    if (labelled && !out) memset(t->lanes, 0, sizeof(double) * (size_t)(LANES * (v->classes + 1) * PER_LANE));
    for (t->start = block * BLOCK; t->start < end; t->start += v->size) {
        t->n = end - t->start < v->size ? end - t->start : v->size;
        NAME(stage)(v, t);
        NAME(load_voxels)(v, t);
        if (out) {
            labelled ? NAME(labelled_gradient)(v, t, out) : NAME(membership_gradient)(v, t, cotangent, out);
            NAME(unstage)(v, t, out);
            continue;
        }
        labelled ? NAME(add_labelled)(v, t, partial) : NAME(add_memberships)(v, t, partial);
        for (int64_t i = 0; i < t->n; ++i) voxels += (double)t->weight[i];
    }
    if (out) return;
    if (labelled) NAME(gather_lanes)(v, t, partial);
    for (int64_t c = 0; c < v->classes; ++c) partial[c * COLUMNS + VOXELS] += voxels;
}

/* Every block, shared out among the threads in one fixed way. */
static int NAME(sweep)(const VOLUME *v, double *partials, const REAL *cotangent, void *out, int threads) {
    const int64_t blocks = (v->voxels + BLOCK - 1) / BLOCK, width = v->classes * COLUMNS;
    int failed = 0;
#pragma omp parallel num_threads(threads) reduction(| : failed)
    {
        TILE tile;
        void *scratch = NAME(tile_alloc)(&tile, v);
        failed |= !scratch;
#pragma omp for collapse(2) schedule(static)
        for (int64_t b = 0; b < v->batch; ++b)
            for (int64_t block = 0; block < blocks; ++block)
                if (scratch)
                    NAME(sweep_block)(v, &tile, b, block, partials ? partials + (b * blocks + block) * width : NULL,
                                      cotangent ? cotangent + b * width : NULL, out);
        if (v->streams) streamed();
        free(scratch);
    }
    return failed;
}

#define OPERANDS                                                                                                    \
    const void *input, int64_t type, int64_t batch, int64_t classes, int64_t voxels, int64_t batch_stride,          \
        int64_t class_stride, int64_t voxel_stride, const void *labels, int64_t kind, const REAL *mask,             \
        int64_t has_ignore, int64_t ignore, int64_t activation, double gamma, int64_t terms
#define GIVEN                                                                                                       \
    {input, (int)type, batch, classes, voxels, batch_stride, class_stride, voxel_stride, labels, (int)kind, mask,   \
     (int)has_ignore, ignore, (int)activation, (int)terms, (REAL)gamma, tile_size(classes, sizeof(REAL)), 0}

MEDLOSS_EXPORT int NAME(region_sums_forward)(OPERANDS, REAL *sums, int threads) {
    const VOLUME v = GIVEN;
    const int64_t blocks = (voxels + BLOCK - 1) / BLOCK, width = classes * COLUMNS;
    double *partials = calloc((size_t)(batch * blocks * width), sizeof(double));
    if (!partials) return 1;
    const int failed = NAME(sweep)(&v, partials, NULL, NULL, threads);
    for (int64_t b = 0; b < batch; ++b) {
        double *first = partials + b * blocks * width;
        for (int64_t block = 1; block < blocks; ++block)
            for (int64_t k = 0; k < width; ++k) first[k] += first[block * width + k];
        for (int64_t k = 0; k < width; ++k) sums[b * width + k] = (REAL)first[k];
    }
    free(partials);
    return failed;
}

MEDLOSS_EXPORT int NAME(region_sums_backward)(OPERANDS, const REAL *cotangent, void *out, int threads) {
    VOLUME v = GIVEN;
    const size_t bytes = (size_t)(batch * classes * voxels) * (type == REAL_OWN ? sizeof(REAL) : sizeof(uint16_t));
    v.streams = bytes >= STREAMED;
    prefer_huge_pages(out, bytes);
    return NAME(sweep)(&v, NULL, cotangent, out, threads);
}

#undef OPERANDS
#undef GIVEN
#undef TILE
#undef VOLUME
#undef NAME
