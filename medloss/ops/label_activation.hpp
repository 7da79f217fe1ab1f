/* The activation of a tile, the classes that are certain in it, and what the softmax makes of a gradient. */
#ifndef MEDLOSS_LABEL_ACTIVATION_HPP
#define MEDLOSS_LABEL_ACTIVATION_HPP

#include "label_runs.hpp"
#include "label_tile.hpp"
#include "softmax.hpp"

namespace {

enum { CARE_BLOCK = 16384 };

/* What `rows` says: exponentials and their sum. Once a tile of a block needs care (see softmax.hpp), the rest of the
 * block is done with care at once; blocks are the same for any number of threads, and so is the result. `again`
 * brings back logits that exponentials have taken the place of. */
template <bool pulls, typename Real, typename Again>
inline void exponentiate(Tile<Real> *t, SoftmaxRows<Real> *rows, Again again) {
    if (t->exact || t->start % CARE_BLOCK == 0) t->careful = t->exact;
    if (!t->careful && softmax_rows<pulls>(rows)) {
        t->careful = 1;
        again();
    }
    if (t->careful) careful_softmax_rows<pulls>(rows, t->top);
}

template <typename Real>
void softmax(const Volume<Real> *v, Tile<Real> *t) {
    SoftmaxRows<Real> rows = {.z = t->p,
                              .p = t->p,
                              .norm = t->scale,
                              .z_step = t->step,
                              .p_step = t->step,
                              .classes = v->classes,
                              .n = t->n};
    if (lies_in_rows(v)) {
        rows.z = (const Real *)v->input + t->b * v->batch_stride + t->start;
        rows.z_step = v->class_stride;
        rows.ahead = t->size;
        rows.weight = t->weighted ? t->weight : nullptr;
    } else {
        load_logits(v, t);
    }
    exponentiate<false>(t, &rows, [&] {
        if (!lies_in_rows(v)) load_logits(v, t);
    });
    Real *__restrict norm = t->scale;
    for (int64_t i = 0; i < t->n; ++i) norm[i] = 1 / norm[i];
}

/* Labels, weights and probabilities of the tile's voxels. */
template <typename Real>
void load_tile(const Volume<Real> *v, Tile<Real> *t) {
    const int64_t n = t->n;
    load_voxels(v, t);
    if (v->activation == SOFTMAX) {
        softmax(v, t);
        return;
    }
    load_logits(v, t);
    for (int64_t i = 0; i < n; ++i) t->scale[i] = 1;
    for (int64_t c = 0; v->activation == SIGMOID && c < v->classes; ++c) {
        Real *__restrict p = t->p + c * t->step, *__restrict q = t->q + c * t->step;
#pragma omp simd
        for (int64_t i = 0; i < n; ++i) {
            const Sigmoid<Real> at = sigmoid_of(p[i]);
            p[i] = at.p;
            q[i] = at.q;
        }
    }
}

/* Finite logits in place of those of forbidden classes, where an infinite one would be multiplied. */
template <typename Real>
inline void allow(const Volume<Real> *v, Tile<Real> *t) {
    for (int64_t c = 0; c < v->classes; ++c) {
        Real *__restrict z = t->p + c * t->step;
#pragma omp simd
        for (int64_t i = 0; i < t->n; ++i) z[i] = made_finite(z[i]);
    }
}

/* Whether a class is certain somewhere in the tile's softmax; four classes at once. */
template <typename Real>
inline int is_certain(const Volume<Real> *v, const Tile<Real> *t) {
    const int64_t n = t->n, step = t->step;
    const Real *__restrict scale = t->scale;
    int found = 0;
    for (int64_t c = 0; c < v->classes; c += 4) {
        const Real *__restrict p0 = t->p + c * step, *__restrict p1 = c + 1 < v->classes ? p0 + step : p0;
        const Real *__restrict p2 = c + 2 < v->classes ? p1 + step : p1;
        const Real *__restrict p3 = c + 3 < v->classes ? p2 + step : p2;
#pragma omp simd reduction(| : found)
        for (int64_t i = 0; i < n; ++i) {
            const Real a = p0[i] > p1[i] ? p0[i] : p1[i], b = p2[i] > p3[i] ? p2[i] : p3[i];
            found |= (a > b ? a : b) * scale[i] > 1 - unsure<Real>;
        }
    }
    return found;
}

/* Finds what is certain in the tile's softmax and, with `complement`, the sum of the others. */
template <typename Real>
inline void seek_certain(const Volume<Real> *v, Tile<Real> *t, int complement) {
    t->sure = 0;
    if (v->activation != SOFTMAX) return;
    t->sure = is_certain(v, t);
    if (t->sure) find_certain(t->p, t->step, v->classes, t->n, t->scale, t->certain);
    if (t->sure && complement) sum_of_others(t->p, t->step, v->classes, t->n, t->certain, t->rest);
}

/* 1 - p of class c, from its probabilities. */
template <typename Real>
inline void complements(const Volume<Real> *v, const Tile<Real> *t, int64_t c, const Real *__restrict p,
                        Real *__restrict out) {
    const int64_t n = t->n;
    const Real *__restrict rest = t->rest, *__restrict scale = t->scale;
    const int32_t *__restrict certain = t->certain;
    if (v->activation == SIGMOID) {
        memcpy(out, t->q + c * t->step, sizeof(Real) * (size_t)n);
        return;
    }
    for (int64_t i = 0; i < n; ++i) out[i] = 1 - p[i];
    if (t->sure)
        for (int64_t i = 0; i < n; ++i) out[i] = certain[i] == (int32_t)c ? rest[i] * scale[i] : out[i];
}

/* The gradient of the certain class in `rows`, `step` apart, is minus the sum of the others'. */
template <typename Real>
inline void settle(const Volume<Real> *v, Tile<Real> *t, Real *rows, int64_t step) {
    if (!t->sure) return;
    sum_of_others(rows, step, v->classes, t->n, t->certain, t->rest);
    for (int64_t i = 0; i < t->n; ++i)
        if (t->certain[i] >= 0) rows[t->certain[i] * step + i] = -t->rest[i];
}

} // namespace

#endif
