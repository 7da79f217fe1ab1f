/* Penalties of the likelihood of labels, and of all logits of a voxel: a sweep for the map, its sum over the classes
 * or over the voxels, and one for the gradient of the logits; no map of probabilities is made.
 *
 * A voxel's value does not depend on where it lies, so that voxels which tie stay tied.
 */
#include "../focal.hpp"
#include "../label_sweep.hpp"
#include "../log_softmax.hpp"
#include "functions.hpp"

namespace {

/* Codes of the penalties and of what is handed over for the map, as in likelihood.py. */
enum { PLAIN, POLY, POWER, MIXED, MARGIN, REVERSE };
enum { EACH_CLASS, ALL_CLASSES, SUMS };

/* Rows of one thread beside its tile, each of the tile's step. */
template <typename Real>
struct LikelihoodRows {
    Real *p;  /* exponentials of the logits, classes x step, where the logits must stay */
    Real *up; /* what comes from above, times the voxel's weight */
    Real *member, *nll, *other, *factor, *slope, *value, *total, *log_norm;
    double *sums; /* of the block, one for each class */

    template <typename Statistic>
    int take(const Statistic &s, const Tile<Real> *t) {
        p = room<Real>((s.volume.classes + 9) * t->step);
        if (!p) return 1;
        Real *at = p + s.volume.classes * t->step;
        Real **rows[] = {&up, &member, &nll, &other, &factor, &slope, &value, &total, &log_norm};
        for (Real **row : rows) {
            *row = at;
            at += t->step;
        }
        return 0;
    }
    void give() { free(p); }
};

/* One call. */
template <typename Real>
struct Likelihood : Statistic<Real> {
    using Scratch = LikelihoodRows<Real>;
    using Statistic<Real>::volume;
    int penalty, given; /* given: what stands for the map */
    Real gamma;
    const Real *positive, *negative; /* factor of each class on its true and on its false part */
    Real *map;                       /* where one is asked for */
    const Real *grad;                /* null where no gradient is */

    Likelihood(const Volume<Real> &v, int64_t penalty, double gamma, const Real *positive, const Real *negative,
               int64_t given, Real *map, const Real *grad)
        : Statistic<Real>{v}, penalty((int)penalty), given((int)given), gamma((Real)gamma), positive(positive),
          negative(negative), map(map), grad(grad) {}

    int64_t width() const { return volume.classes; }
    int64_t block_length() const { return 2 * BLOCK; }

    /* Whether the true class has all of a voxel's penalty. */
    int is_labelled() const { return volume.activation == SOFTMAX && volume.kind >= 0 && penalty < MARGIN; }

    void load(Tile<Real> *t, LikelihoodRows<Real> *) const {
        load_voxels(&volume, t);
        load_logits(&volume, t);
        if (!is_labelled()) allow(&volume, t);
    }
    void add(Tile<Real> *t, LikelihoodRows<Real> *r, double *sums) const;
    void write(Tile<Real> *t, LikelihoodRows<Real> *r, void *out) const;
};

/* A class's values of the tile into the map, the voxels' totals, or the block's sums. */
template <typename Real>
void hand_over(const Likelihood<Real> *f, const Tile<Real> *t, LikelihoodRows<Real> *r, int64_t c,
               const Real *__restrict value, Real *map) {
    const Volume<Real> *v = &f->volume;
    const int64_t n = t->n;
    if (f->given == EACH_CLASS) {
        memcpy(map + (t->b * v->classes + c) * v->voxels + t->start, value, sizeof(Real) * (size_t)n);
        return;
    }
    if (f->given == ALL_CLASSES) {
        Real *__restrict total = r->total;
        for (int64_t i = 0; i < n; ++i) total[i] += value[i];
        return;
    }
    Real sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < n; ++i) sum += value[i];
    r->sums[c] += (double)sum;
}

/* What comes from above for a class, times the voxels' weights; nothing where they weigh nothing. */
template <typename Real>
void come_down(const Likelihood<Real> *f, const Tile<Real> *t, int64_t c, const Real *grad, Real *__restrict up) {
    const Volume<Real> *v = &f->volume;
    const int64_t n = t->n, row = t->b * v->classes + c;
    const Real *__restrict w = t->weight;
    const Real *__restrict from = grad + (f->given == ALL_CLASSES ? t->b : row) * v->voxels + t->start;
    if (f->given == SUMS) {
        const Real all = grad[row];
        for (int64_t i = 0; i < n; ++i) up[i] = w[i] > 0 ? w[i] * all : 0;
    } else {
        for (int64_t i = 0; i < n; ++i) up[i] = w[i] > 0 ? w[i] * from[i] : 0;
    }
}

} // namespace

#include "likelihood_terms.hpp"

#include "likelihood_true.hpp"

#include "likelihood_logits.hpp"

namespace {

template <typename Real>
void Likelihood<Real>::add(Tile<Real> *t, LikelihoodRows<Real> *r, double *sums) const {
    r->sums = sums;
    if (given == ALL_CLASSES) memset(r->total, 0, sizeof(Real) * (size_t)t->n);
    if (is_labelled())
        true_values(this, t, r, map);
    else
        penalty >= MARGIN ? logits_values(this, t, r, map) : class_values(this, t, r, map);
    if (given == ALL_CLASSES) memcpy(map + t->b * volume.voxels + t->start, r->total, sizeof(Real) * (size_t)t->n);
}

template <typename Real>
void Likelihood<Real>::write(Tile<Real> *t, LikelihoodRows<Real> *r, void *out) const {
    if (is_labelled())
        true_gradient(this, t, r, grad, out);
    else
        penalty >= MARGIN ? logits_gradient(this, t, r, grad, out) : class_gradients(this, t, r, grad, out);
}

/* The map B C V, its sums over the classes B V, or those over the voxels B C. */
template <typename Real>
int likelihood_forward(const Likelihood<Real> &f, double *sums, int threads) {
    if (sums) return add_up(f, sums, threads);
    const Volume<Real> &v = f.volume;
    prefer_huge_pages(f.map, (size_t)(v.batch * (f.given == EACH_CLASS ? v.classes : 1) * v.voxels) * sizeof(Real));
    return sweep(f, 0, v.batch, nullptr, nullptr, threads);
}

} // namespace
