/* jaccard_extension on the CPU. Hard labels in large volumes need no sort but counts (bins.hpp, steps.hpp,
 * binned.hpp). For all else the errors of every class go into rows in one sweep of tiles, each class is sorted
 * (rank.hpp), and for the gradient there is another sweep.
 *
 * In the backward pass the errors are written where the gradient will be; each class's row becomes the steps
 * of the Jaccard loss, and these the gradient. A row is sorted by one thread and its sums are in double, in
 * one order: the result does not depend on the number of threads.
 */
#include "../label_sweep.hpp"
#include "bins.hpp"
#include "rank.hpp"
#include "steps.hpp"

namespace {

enum { HINGE = 3 };

/* What one call works on: rows of entries for the classes from `first` on, of `group` samples at a time. */
struct Work {
    Volume<float> v;
    int64_t first, group;
    int unit;    /* errors lie in [0, 1] */
    int uneven;  /* some voxels weigh neither 0 nor 1, as the sweep found */
    int streams; /* whether the gradient is so large that it goes past the caches */
};

/* `use(i, error)` for each voxel of the tile with p - m, which for a hard m is either probability and no difference. */
template <typename Use>
MEDLOSS_INLINE void each_error(const Tile<float> *t, int64_t c, const float *__restrict m,
                               Use use) {
    const int64_t n = t->n;
    const float *__restrict p = t->p + c * t->step, *__restrict q = t->q ? t->q + c * t->step : nullptr;
    const float *__restrict scale = t->scale, *__restrict rest = t->rest;
    const int32_t *__restrict certain = t->certain, own_class = (int32_t)c;
    if (q)
        for (int64_t i = 0; i < n; ++i) use(i, p[i] * scale[i] * (1 - m[i]) - q[i] * m[i]);
    else if (t->sure)
        for (int64_t i = 0; i < n; ++i) {
            const float at = p[i] * scale[i], others = rest[i] * scale[i], lack = 1 - at;
            use(i, at * (1 - m[i]) - (certain[i] == own_class ? others : lack) * m[i]);
        }
    else
        for (int64_t i = 0; i < n; ++i) {
            const float at = p[i] * scale[i];
            use(i, at * (1 - m[i]) - (1 - at) * m[i]);
        }
}

/* Errors of the tile in class c, of the members m. */
inline void tile_errors(const Work *work, const Tile<float> *t, int64_t c, const float *__restrict m,
                        float *__restrict out) {
    const float *__restrict p = t->p + c * t->step;
    if (work->v.activation == HINGE)
        for (int64_t i = 0; i < t->n; ++i) {
            const float e = 1 - p[i] * (2 * m[i] - 1);
            out[i] = e < 0 ? 0 : e;
        }
    else
        each_error(t, c, m, [out](int64_t i, float error) { out[i] = fabsf(error); });
}

/* What the error of class c adds to dL/dp: the step, with the sign of dL/dp, times a factor. */
inline void tile_slopes(const Work *work, const Tile<float> *t, int64_t c, const float *__restrict m,
                        const step_t *step, float factor, float *__restrict out) {
    const float *__restrict p = t->p + c * t->step;
    if (work->v.activation == HINGE)
        for (int64_t i = 0; i < t->n; ++i) {
            const float side = 2 * m[i] - 1, e = 1 - p[i] * side;
            out[i] = e <= 0 ? 0 : e == e ? -side * step[i] * factor : e;
        }
    else
        each_error(t, c, m, [=](int64_t i, float error) {
            const float up = step[i] * factor, down = error < 0 ? -up : error;
            out[i] = error > 0 ? up : down;
        });
}

/* The sweep that writes errors into rows of entries. */
struct Entries : Statistic<float> {
    const Work *work;
    entry_t *entries;
    int *uneven;

    int64_t rows() const { return 2; }

    void add(Tile<float> *t, Rows<float> *rows, double *) const {
        const int64_t n = t->n;
        float *m = (*rows)[0], *errors = (*rows)[1];
        look_at_weights(t);
        for (int64_t c = work->first; c < volume.classes; ++c) {
            entry_t *row = entries + (t->b % work->group * volume.classes + c) * volume.voxels + t->start;
            members(&volume, t, c, m);
            tile_errors(work, t, c, m, errors);
            if (work->unit)
                for (int64_t i = 0; i < n; ++i) row[i] = key_of(errors[i], 1) << 1 | (uint32_t)(m[i] > 0.5f);
            else
                for (int64_t i = 0; i < n; ++i) row[i] = key_of(errors[i], 0) << 1 | (uint32_t)(m[i] > 0.5f);
            if (t->weighted)
                for (int64_t i = 0; i < n; ++i)
                    if (!(t->weight[i] > 0)) row[i] = DROPPED;
        }
    }

    void look_at_weights(const Tile<float> *t) const {
        int found = 0;
        if (volume.mask)
            for (int64_t i = 0; i < t->n; ++i) found |= t->weight[i] > 0 && t->weight[i] != 1;
        if (!found) return;
#pragma omp atomic write
        *uneven = 1;
    }
};

/* The sweep from rows of steps to the gradient; they may lie where it goes. */
struct Gradient : Statistic<float> {
    const Work *work;
    const step_t *steps;
    const double *grad;

    int64_t rows() const { return volume.classes + 1; }

    void write(Tile<float> *t, Rows<float> *rows, void *out) const {
        float *m = (*rows)[volume.classes];
        write_slopes(*this, t, *rows, out, [&](int64_t c, float *row) {
            const step_t *step = steps + (t->b % work->group * volume.classes + c) * volume.voxels + t->start;
            if (c < work->first) return false;
            members(&volume, t, c, m);
            tile_slopes(work, t, c, m, step, (float)grad[3 * (c - work->first)], row);
            return true;
        });
    }
};

inline int write_entries(Work *work, int64_t b, entry_t *rows, int threads) {
    work->uneven = 0;
    return sweep(Entries{{work->v}, work, rows, &work->uneven}, b, work->group, nullptr, nullptr, threads);
}

inline int write_gradient(const Work *work, int64_t b, const entry_t *rows, const double *grad, void *out,
                          int threads) {
    return sweep(Gradient{{work->v}, work, (const step_t *)rows, grad}, b, work->group, nullptr, out, threads);
}

/* Every class's row of a group: the sums, and in place of the entries the steps where asked for. */
inline int rank_rows(const Work *work, int64_t b, entry_t *rows, double *out, int with_steps, int threads) {
    const Volume<float> *v = &work->v;
    const int64_t pitch = v->classes * v->voxels, count = v->classes - work->first;
    int failed = 0;
#pragma omp parallel num_threads(threads < count ? threads : (int)count) reduction(| : failed)
    {
        void *scratch = nullptr;
#pragma omp for schedule(static, 1)
        for (int64_t c = work->first; c < v->classes; ++c) {
            const Row row = {
                rows + c * v->voxels,
                work->group,
                v->voxels,
                pitch,
                work->uneven ? v->mask + b * v->voxels : nullptr,
                v->kind < 0 ? (const float *)v->labels + (b * v->classes + c) * v->voxels : nullptr,
                work->unit,
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

} // namespace

#include "binned.hpp"

namespace {

/* `sums` holds value, mass of the class and mass of all voxels, for each group of samples and class; `lines`, unless
 * null, keeps LINES of each for the backward pass, where bins serve. */
inline int extension_forward(Work work, double *sums, void *lines, int threads) {
    const int64_t batch = work.v.batch, classes = work.v.classes, voxels = work.v.voxels, first = work.first;
    const size_t bytes = sizeof(entry_t) * (size_t)(work.group * classes * voxels);
    entry_t *rows = nullptr;
    int failed = 0;
    for (int64_t b = 0; b < batch && !failed; b += work.group) {
        const int64_t row = b / work.group * (classes - first);
        double *at = sums + 3 * row;
        if (is_binned(&work, b, threads)) {
            failed |= binned_forward(&work, b, at, lines ? (Line *)lines + row * LINES : nullptr, threads);
            continue;
        }
        if (!rows && (rows = (entry_t *)malloc(bytes))) prefer_huge_pages(rows, bytes);
        if (!rows) return 1;
        failed |= write_entries(&work, b, rows, threads);
        if (!failed) failed |= rank_rows(&work, b, rows, at, 0, threads);
    }
    free(rows);
    return failed;
}

/* `grad` lies as the sums do; only the value has a gradient. `lines` as the forward pass kept them, or null. */
inline int extension_backward(Work work, const double *grad, double *sums, void *lines, void *out, int threads) {
    const int64_t batch = work.v.batch, classes = work.v.classes, voxels = work.v.voxels, first = work.first;
    const int own = lies_in_rows(&work.v);
    const size_t bytes = sizeof(entry_t) * (size_t)(work.group * classes * voxels);
    const size_t all = gradient_bytes(work.v);
    entry_t *scratch = nullptr;
    int failed = 0;
    prefer_huge_pages(out, all);
    work.streams = own && all >= STREAMED;
    for (int64_t b = 0; b < batch && !failed; b += work.group) {
        const int64_t row = b / work.group * (classes - first), at = 3 * row;
        Line *kept = lines ? (Line *)lines + row * LINES : nullptr;
        const int done =
            is_binned(&work, b, threads) ? binned_backward(&work, b, grad + at, kept, out, threads) : UNFIT;
        failed |= done == 1;
        if (done != UNFIT) continue;
        if (!own && !scratch && (scratch = (entry_t *)malloc(bytes))) prefer_huge_pages(scratch, bytes);
        entry_t *rows = own ? (entry_t *)out + b * classes * voxels : scratch;
        if (!rows) return 1;
        failed |= write_entries(&work, b, rows, threads);
        if (!failed) failed |= rank_rows(&work, b, rows, sums + at, 1, threads);
        if (!failed) failed |= write_gradient(&work, b, rows, grad + at, out, threads);
    }
    free(scratch);
    return failed;
}

} // namespace

#define OPERANDS MEDLOSS_LABEL_OPERANDS, int64_t joined, int64_t first
#define WORK_GIVEN \
    Work{MEDLOSS_LABEL_VOLUME, first, joined ? batch : 1, activation == SOFTMAX || activation == SIGMOID, 0, 0}

MEDLOSS_ENTRY_OF(jaccard_extension_forward, f32, (OPERANDS, double *sums, void *lines, int threads),
                 return extension_forward(WORK_GIVEN, sums, lines, threads);)

MEDLOSS_ENTRY_OF(jaccard_extension_backward, f32,
                 (OPERANDS, const double *grad, double *sums, void *lines, void *out, int threads),
                 return extension_backward(WORK_GIVEN, grad, sums, lines, out, threads);)
