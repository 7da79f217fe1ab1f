/* squared_errors on the CPU: sums of w c (p - t)^2, and their gradient, a tile of voxels at a time. A volume is cut
 * into blocks of fixed size, each with sums of its own, added in order: the result does not depend on the number of
 * threads.
 */
#ifndef REAL

#include "../native.h"

enum { BLOCK = 16384, LANES = 8 };

#define REAL float
#define SUFFIX f32
#define EXP exp_f32
#include "cpu_kernel.c"
#undef REAL
#undef SUFFIX
#undef EXP
#undef NAME
#undef VOLUME
#undef TILE
#define REAL double
#define SUFFIX f64
#define EXP exp_f64
#include "cpu_kernel.c"

#else

#include "../label_tile.h"

/* One call: the costs are those of the classes from `first` on. */
typedef struct {
    VOLUME v;
    const REAL *cost;
    int64_t first;
} NAME(Call);

/* p - m from the memberships m in `error`, where 1 - p is known apart from p. */
static void NAME(sharp_errors)(const TILE *t, int64_t c, REAL *restrict error) {
    const int64_t n = t->n;
    const REAL *restrict p = t->p + c * t->step, *restrict q = t->q ? t->q + c * t->step : NULL;
    const REAL *restrict rest = t->rest, *restrict scale = t->scale;
    const int32_t *restrict certain = t->certain;
    if (q)
        for (int64_t i = 0; i < n; ++i) error[i] = p[i] * (1 - error[i]) - q[i] * error[i];
    else
        for (int64_t i = 0; i < n; ++i) {
            const REAL share = p[i] * scale[i];
            const REAL other = certain[i] == (int32_t)c ? rest[i] * scale[i] : 1 - share;
            error[i] = share * (1 - error[i]) - other * error[i];
        }
}

/* w c (p - t) of the tile in class c, and p - t; what weighs nothing is not looked at. */
static void NAME(errors)(const NAME(Call) * call, const TILE *t, int64_t c, REAL *restrict error,
                         REAL *restrict weighed) {
    const VOLUME *v = &call->v;
    const int64_t n = t->n, counted = v->classes - call->first;
    const REAL *restrict p = t->p + c * t->step, *restrict scale = t->scale, *restrict w = t->weight;
    const REAL *restrict cost = call->cost + (t->b * counted + c - call->first) * v->voxels + t->start;
    NAME(members)(v, t, c, error);
    if (t->q || t->sure) /* of a hard label it is either probability, and no difference */
        NAME(sharp_errors)(t, c, error);
    else
        for (int64_t i = 0; i < n; ++i) error[i] = p[i] * scale[i] - error[i];
    if (t->weighted)
        for (int64_t i = 0; i < n; ++i) weighed[i] = w[i] > 0 ? w[i] * cost[i] * error[i] : 0;
    else
        for (int64_t i = 0; i < n; ++i) weighed[i] = cost[i] * error[i];
}

static double NAME(dot)(const REAL *restrict a, const REAL *restrict b, int64_t n) {
    double lanes[LANES] = {0}, sum = 0;
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int l = 0; l < LANES; ++l) lanes[l] += (double)(a[i + l] * b[i + l]);
    for (; i < n; ++i) sum += (double)(a[i] * b[i]);
    for (int l = 0; l < LANES; ++l) sum += lanes[l];
    return sum;
}

static void NAME(add_tile)(const NAME(Call) * call, const TILE *t, REAL *spare, double *sums) {
    for (int64_t c = call->first; c < call->v.classes; ++c) {
        NAME(errors)(call, t, c, spare, spare + t->step);
        sums[c - call->first] += NAME(dot)(spare, spare + t->step, t->n);
    }
}

/* `slope`: of each volume, the factor of w c (p - t) in the gradient of p. */
static void NAME(write_gradient)(const NAME(Call) * call, TILE *t, const double *slope, REAL *spare, void *out) {
    const VOLUME *v = &call->v;
    const int64_t n = t->n, counted = v->classes - call->first;
    REAL *restrict total = t->top, *restrict error = spare + v->classes * t->step;
    const REAL *restrict scale = t->scale;
    for (int64_t i = 0; i < n; ++i) total[i] = 0;
    for (int64_t c = 0; c < v->classes; ++c) {
        REAL *restrict s = spare + c * t->step;
        const REAL *restrict p = t->p + c * t->step;
        memset(s, 0, sizeof(REAL) * (size_t)n);
        if (c < call->first) continue;
        const REAL g = (REAL)slope[t->b * counted + c - call->first];
        NAME(errors)(call, t, c, error, s);
        for (int64_t i = 0; i < n; ++i) {
            s[i] *= g;
            total[i] += p[i] * s[i];
        }
    }
    for (int64_t c = 0; c < v->classes; ++c) {
        REAL *restrict s = spare + c * t->step;
        const REAL *restrict p = t->p + c * t->step, *restrict q = t->q ? t->q + c * t->step : NULL;
        if (v->activation == SOFTMAX)
            for (int64_t i = 0; i < n; ++i) s[i] = scale[i] * p[i] * (s[i] - total[i] * scale[i]);
        else if (v->activation == SIGMOID)
            for (int64_t i = 0; i < n; ++i) s[i] *= p[i] * q[i];
        for (int64_t i = 0; t->weighted && i < n; ++i) s[i] = t->weight[i] > 0 ? s[i] : 0;
    }
    NAME(settle)(v, t, spare, t->step);
    NAME(store_rows)(v, t, spare, t->step, out);
}

/* One sweep: sums of each block where `sums` is given, else the gradient. */
static int NAME(sweep)(const NAME(Call) * call, double *sums, const double *slope, void *out, int threads) {
    const VOLUME *v = &call->v;
    const int64_t size = tile_size(v->classes, sizeof(REAL)), blocks = (v->voxels + BLOCK - 1) / BLOCK;
    int failed = 0;
#pragma omp parallel num_threads(threads) reduction(| : failed)
    {
        TILE tile;
        failed |= NAME(tile_alloc)(&tile, v, size);
        REAL *spare = failed ? NULL : malloc(sizeof(REAL) * (size_t)((v->classes + 2) * tile.step));
        failed |= !spare;
#pragma omp for schedule(static)
        for (int64_t at = 0; at < v->batch * blocks; ++at) {
            const int64_t from = at % blocks * BLOCK;
            const int64_t end = from + BLOCK < v->voxels ? from + BLOCK : v->voxels;
            for (int64_t start = from; start < end && !failed; start += size) {
                NAME(load_tile)(v, &tile, at / blocks, start, end - start < size ? end - start : size);
                NAME(seek_certain)(v, &tile, 1);
                if (sums)
                    NAME(add_tile)(call, &tile, spare, sums + at * (v->classes - call->first));
                else
                    NAME(write_gradient)(call, &tile, slope, spare, out);
            }
        }
        free(spare);
        NAME(tile_free)(&tile);
    }
    return failed;
}

#define OPERANDS                                                                                                    \
    const void *input, int64_t type, int64_t batch, int64_t classes, int64_t voxels, int64_t batch_stride,          \
        int64_t class_stride, int64_t voxel_stride, const void *labels, int64_t kind, const REAL *mask,             \
        int64_t has_ignore, int64_t ignore, int64_t activation, const REAL *cost, int64_t first
#define CALL_GIVEN                                                                                                  \
    {.v = {input, type, batch, classes, voxels, batch_stride, class_stride, voxel_stride, labels, kind, mask,       \
           has_ignore, ignore, activation},                                                                         \
     .cost = cost, .first = first}

MEDLOSS_EXPORT int NAME(squared_errors_forward)(OPERANDS, double *sums, int threads) {
    const NAME(Call) call = CALL_GIVEN;
    const int64_t blocks = (voxels + BLOCK - 1) / BLOCK, counted = classes - first;
    double *partial = calloc((size_t)(batch * blocks * counted), sizeof(double));
    const int failed = !partial || NAME(sweep)(&call, partial, NULL, NULL, threads);
    for (int64_t k = 0; k < batch * counted && !failed; ++k) {
        sums[k] = 0;
        for (int64_t block = 0; block < blocks; ++block)
            sums[k] += partial[(k / counted * blocks + block) * counted + k % counted];
    }
    free(partial);
    return failed;
}

MEDLOSS_EXPORT int NAME(squared_errors_backward)(OPERANDS, const double *slope, void *out, int threads) {
    const NAME(Call) call = CALL_GIVEN;
    prefer_huge_pages(out, (type == REAL_OWN ? sizeof(REAL) : 2) * (size_t)(batch * classes * voxels));
    return NAME(sweep)(&call, NULL, slope, out, threads);
}

#undef OPERANDS
#undef CALL_GIVEN
#endif
