/* A softmax with class indices: the true class has all of a voxel's penalty, which is found once and not once
 * per class. */
namespace {

/* The voxel's weight times the factor of its class; 0 for no class. */
template <typename Real>
void true_weight(const Likelihood<Real> *f, const Tile<Real> *t, Real *__restrict out) {
    const int32_t *__restrict label = t->label;
    for (int64_t i = 0; i < t->n; ++i) out[i] = label[i] < 0 ? 0 : t->weight[i] * f->positive[label[i]];
}

template <typename Real>
void true_values(const Likelihood<Real> *f, Tile<Real> *t, LikelihoodRows<Real> *r, Real *map) {
    const Volume<Real> *v = &f->volume;
    const int64_t n = t->n;
    true_nll(v, t, r->p, r->log_norm, r->nll);
    Real *__restrict nll = r->nll, *__restrict value = r->value, *__restrict weight = r->up;
    const Real *__restrict w = t->weight;
    const int32_t *__restrict label = t->label;
    penalties(f, n, nll, r->factor, value);
    true_weight(f, t, weight);
    for (int64_t i = 0; i < n; ++i) value[i] = label[i] >= 0 && w[i] > 0 ? weight[i] * value[i] : 0;
    if (f->given == ALL_CLASSES) {
        memcpy(r->total, value, sizeof(Real) * (size_t)n);
        return;
    }
    if (f->given == SUMS) {
        for (int64_t i = 0; i < n; ++i)
            if (label[i] >= 0) r->sums[label[i]] += (double)value[i];
        return;
    }
    for (int64_t c = 0; c < v->classes; ++c) {
        Real *__restrict row = map + (t->b * v->classes + c) * v->voxels + t->start;
        for (int64_t i = 0; i < n; ++i) row[i] = label[i] == (int32_t)c ? value[i] : 0;
    }
}

/* What comes from above for the true class. */
template <typename Real>
void true_up(const Likelihood<Real> *f, const Tile<Real> *t, const Real *grad, Real *__restrict up) {
    const Volume<Real> *v = &f->volume;
    const int32_t *__restrict label = t->label;
    const Real *from = grad + t->b * (f->given == ALL_CLASSES ? 1 : v->classes) * v->voxels + t->start;
    if (f->given == SUMS)
        for (int64_t i = 0; i < t->n; ++i) up[i] = grad[t->b * v->classes + (label[i] < 0 ? 0 : label[i])];
    else if (f->given == ALL_CLASSES)
        memcpy(up, from, sizeof(Real) * (size_t)t->n);
    else
        for (int64_t i = 0; i < t->n; ++i) up[i] = from[(label[i] < 0 ? 0 : label[i]) * v->voxels + i];
}

/* dL/dz of the tile: s (p - [c is true]) with s = dL/dnll of the true class. */
template <typename Real>
void true_gradient(const Likelihood<Real> *f, Tile<Real> *t, LikelihoodRows<Real> *r, const Real *grad, void *out) {
    const Volume<Real> *v = &f->volume;
    const int64_t n = t->n;
    true_nll(v, t, nullptr, r->log_norm, r->nll);
    Real *__restrict nll = r->nll, *__restrict s = r->value, *__restrict weight = r->total, *__restrict up = r->up;
    Real *__restrict shared = t->scale;
    const Real *__restrict w = t->weight;
    const int32_t *__restrict label = t->label;
    penalty_slopes(f, n, nll, r->slope, s);
    true_weight(f, t, weight);
    true_up(f, t, grad, up);
    for (int64_t i = 0; i < n; ++i) {
        s[i] = label[i] >= 0 && w[i] > 0 ? weight[i] * up[i] * s[i] : 0;
        shared[i] *= s[i];
    }
    for (int64_t c = 0; c < v->classes; ++c) {
        Real *e = t->p + c * t->step;
        Real *own = own_row(v, t, c, out), *g = t->sure ? e : own ? own : nll;
#pragma omp simd
        for (int64_t i = 0; i < n; ++i) g[i] = e[i] * shared[i] - (label[i] == (int32_t)c ? s[i] : 0);
        if (!own && !t->sure) store_row(v, t, c, g, out);
    }
    if (!t->sure) return;
    settle(v, t, t->p, t->step);
    store_rows(v, t, t->p, t->step, out);
}

} // namespace
