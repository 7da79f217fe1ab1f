/* A softmax whose logits stay, and the logarithm of its sum. */
#ifndef MEDLOSS_LOG_SOFTMAX_HPP
#define MEDLOSS_LOG_SOFTMAX_HPP

#include "label_activation.hpp"

namespace {

/* exp(z - top) of every class into `p` (the logits' own rows where it is null; into `spare`, where that is given,
 * only if something is certain), and one over their sum and its logarithm. The largest logit is always taken off: a
 * likelihood of nearly 1 has digits then. The exponentials also tell what is certain, whose logarithm is that of the
 * sum of the others. */
template <typename Real>
void exponentials(const Volume<Real> *v, Tile<Real> *t, Itself<Real> *p, Itself<Real> *spare,
                  Real *__restrict log_norm) {
    const int norm_only = spare != nullptr;
    SoftmaxRows<Real> rows = {.z = t->p,
                              .p = norm_only ? nullptr
                                   : p       ? p
                                             : t->p,
                              .norm = t->scale,
                              .z_step = t->step,
                              .p_step = t->step,
                              .classes = v->classes,
                              .n = t->n};
    Real *__restrict norm = t->scale;
    careful_softmax_rows<false>(&rows, t->top);
    for (int64_t i = 0; i < t->n; ++i) log_norm[i] = log_from_one(norm[i]);
    int sure = 0;
#pragma omp simd reduction(| : sure)
    for (int64_t i = 0; i < t->n; ++i) {
        norm[i] = 1 / norm[i];
        sure |= norm[i] > 1 - unsure<Real>;
    }
    t->sure = sure;
    if (!sure) return;
    if (norm_only) { /* now they are needed */
        rows.p = spare;
        for (int64_t i = 0; i < t->n; ++i) norm[i] = 0;
        careful_softmax_rows<false>(&rows, t->top);
        for (int64_t i = 0; i < t->n; ++i) norm[i] = 1 / norm[i];
    }
    const int32_t *__restrict certain = t->certain;
    find_certain(rows.p, t->step, v->classes, t->n, norm, t->certain);
    sum_of_others(rows.p, t->step, v->classes, t->n, t->certain, t->rest);
    for (int64_t i = 0; i < t->n; ++i) { /* the largest exponential is 1 */
        const Real near = log1p_unit(t->rest[i] < 1 ? t->rest[i] : 1);
        log_norm[i] = certain[i] < 0 ? log_norm[i] : near;
    }
}

/* The true class's logit; whatever is there for a voxel of no class. */
template <typename Real>
void true_logit(const Tile<Real> *t, Real *__restrict out) {
    take_labelled(t->p, t->step, t->label, t->n, out);
#pragma omp simd
    for (int64_t i = 0; i < t->n; ++i) out[i] = made_finite(out[i]);
}

/* Minus the logarithm of the true class's probability, from its logit. */
template <typename Real>
void logit_to_nll(const Tile<Real> *t, const Real *__restrict log_norm, Real *__restrict nll) {
    const Real *__restrict top = t->top;
    for (int64_t i = 0; i < t->n; ++i) nll[i] = top[i] - nll[i] + log_norm[i];
}

/* The same from the tile's logits, whose rows then hold the exponentials, or not where `spare` is given. */
template <typename Real>
void true_nll(const Volume<Real> *v, Tile<Real> *t, Itself<Real> *spare, Real *log_norm, Real *nll) {
    true_logit(t, nll);
    exponentials(v, t, nullptr, spare, log_norm);
    logit_to_nll(t, log_norm, nll);
}

} // namespace

#endif
