/* The sweeps over a volume, for one type of REAL. */

#define NAME(stem) MEDLOSS_PASTE(stem, SUFFIX, MEDLOSS_LEVEL)
#define VOLUME NAME(Volume)
#define TILE NAME(Tile)

#include "../softmax.h"
#include "volume.h"
#include "rows.h"
#include "softmax.h"
#include "../focal.h"

/* Whether p - t has the sign that the label gives it: a softmax lies between 0 and 1. */
static inline int NAME(is_sided)(const VOLUME *v) {
    return (v->terms & WITH_DIFFERENCE) && v->kind >= 0 && v->activation == SOFTMAX;
}

/* dL/dp of the voxels that a class has not, and of those that it has, but for what bends. */
static double NAME(slope_of_others)(const VOLUME *v, const REAL *from) {
    double slope = from[INPUT];
    if (v->terms & ERRORS) slope += from[FALSE_POSITIVE];
    if (v->terms & NEGATIVES) slope -= from[TRUE_NEGATIVE];
    return NAME(is_sided)(v) ? slope + from[SURPLUS] : slope;
}

static double NAME(slope_of_own)(const VOLUME *v, const REAL *from) {
    double slope = (double)from[INPUT] + from[OVERLAP];
    if (v->terms & ERRORS) slope -= from[FALSE_NEGATIVE];
    return NAME(is_sided)(v) ? slope + from[COMMON] - from[LACK] : slope;
}

/* A slope that several classes share, such as all that a sample lacks; else 0. A softmax has no use for what all slopes
 * have in common, and where equal ones are measured from each other they are exactly equal. */
static double NAME(shared_slope)(const VOLUME *v, const REAL *cotangent) {
    double shared = 0;
    int64_t most = 1;
    for (int64_t c = 0; v->activation == SOFTMAX && c + 1 < v->classes; ++c) {
        const double slope = NAME(slope_of_others)(v, cotangent + c * COLUMNS);
        int64_t count = 1;
        for (int64_t k = c + 1; k < v->classes; ++k)
            count += NAME(slope_of_others)(v, cotangent + k * COLUMNS) == slope;
        shared = count > most ? slope : shared;
        most = count > most ? count : most;
    }
    return shared;
}

/* Whether a class has a much steeper slope where it is not than where it is: the labelled path has the former
 * everywhere and takes it off again. */
static int NAME(is_uneven)(const VOLUME *v, const REAL *cotangent) {
    const double shared = NAME(shared_slope)(v, cotangent);
    for (int64_t c = 0; c < v->classes; ++c) {
        const double others = NAME(slope_of_others)(v, cotangent + c * COLUMNS) - shared;
        const double own = NAME(slope_of_own)(v, cotangent + c * COLUMNS) - shared;
        if (fabs(others) > 64 * fabs(own)) return 1;
    }
    return 0;
}

#include "labelled.h"
#include "labelled_gradient.h"
#include "memberships.h"

/* What the gradient of the labelled path is made of: by class, a row of zeros for no class at the end. */
static void NAME(load_coefficients)(const VOLUME *v, TILE *t, const REAL *cotangent) {
    const int terms = v->terms;
    const double shared = NAME(shared_slope)(v, cotangent);
    memset(t->coefficients, 0, sizeof(REAL) * (size_t)((v->classes + 1) * PER_CLASS));
    for (int64_t c = 0; c < v->classes; ++c) {
        const REAL *from = cotangent + c * COLUMNS;
        REAL *row = t->coefficients + c * PER_CLASS;
        const double of_others = NAME(slope_of_others)(v, from), of_own = NAME(slope_of_own)(v, from);
        row[BASE] = (REAL)(of_others - shared);
        row[OWN] = (REAL)(of_own - of_others);
        row[YES] = terms & LIKELIHOOD ? from[NLL_TRUE] : 0;
        row[ALL] = terms & UNIFORM ? from[NLL_ALL] : 0;
        row[SQUARE] = terms & SQUARES ? 2 * (from[INPUT_SQUARES] + from[SQUARED_ERROR]) : 0;
        row[OFF] = terms & SQUARES ? 2 * from[SQUARED_ERROR] : 0;
        row[CURVE] = terms & SQUARES ? 2 * from[INPUT_SQUARES] : 0;
        row[FOCAL_SLOPE] = terms & FOCAL ? from[FOCAL_TRUE] : 0;
    }
}

/* One block of voxels of sample b: its sums into `partial`, or its gradient into `out`. */
static void NAME(sweep_block)(const VOLUME *v, TILE *t, int64_t b, int64_t block, double *partial,
                              const REAL *cotangent, void *out) {
    const int64_t end = (block + 1) * BLOCK < v->voxels ? (block + 1) * BLOCK : v->voxels;
    const int labelled = v->kind >= 0 && v->activation == SOFTMAX && !(out && NAME(is_uneven)(v, cotangent));
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
