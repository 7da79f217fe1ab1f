/* Penalties of all logits of a voxel: how far each lies behind the largest, and a softmax against -log t.
 * */
namespace {

/* The largest logit, or NaN where one is. */
template <typename Real>
void top_or_nan(const Volume<Real> *v, Tile<Real> *t) {
    const SoftmaxRows<Real> rows = {.z = t->p, .z_step = t->step, .classes = v->classes, .n = t->n};
    Real *__restrict top = t->top;
    top_rows(&rows, top);
    for (int64_t c = 0; c < v->classes; ++c) {
        const Real *__restrict z = t->p + c * t->step;
        for (int64_t i = 0; i < t->n; ++i) top[i] = z[i] == z[i] ? top[i] : z[i];
    }
}

/* -log t, of a t of at least `least`. */
template <typename Real>
void minus_log(Real least, int64_t n, Real *__restrict t) {
    for (int64_t i = 0; i < n; ++i) {
        const Real x = t[i] < least ? least : t[i], far = log_from_one(x < 1 ? 1 / x : x);
        t[i] = x < 1 ? far : -far;
    }
}

template <typename Real>
void logits_values(const Likelihood<Real> *f, Tile<Real> *t, LikelihoodRows<Real> *r, Real *map) {
    const Volume<Real> *v = &f->volume;
    const int64_t n = t->n;
    const Real gamma = f->gamma, least = (Real)exp(-(double)gamma);
    if (f->penalty == REVERSE)
        exponentials(v, t, nullptr, nullptr, r->log_norm);
    else
        top_or_nan(v, t);
    Real *__restrict value = r->value;
    const Real *__restrict w = t->weight, *__restrict top = t->top, *__restrict scale = t->scale;
    for (int64_t c = 0; c < v->classes; ++c) {
        const Real *__restrict z = t->p + c * t->step;
        if (f->penalty == REVERSE) {
            members(v, t, c, value);
            minus_log(least, n, value);
            for (int64_t i = 0; i < n; ++i) value[i] *= z[i] * scale[i];
        } else {
            for (int64_t i = 0; i < n; ++i) {
                const Real behind = top[i] - z[i] - gamma;
                value[i] = behind < 0 ? 0 : behind;
            }
        }
        for (int64_t i = 0; i < n; ++i) value[i] = w[i] > 0 ? w[i] * value[i] : 0;
        hand_over(f, t, r, c, value, map);
    }
}

/* dL/dz of the softmax: p (s - sum of p s) with s = dL/dp. */
template <typename Real>
void reverse_gradient(const Likelihood<Real> *f, Tile<Real> *t, LikelihoodRows<Real> *r, const Real *grad,
                      void *out) {
    const Volume<Real> *v = &f->volume;
    const int64_t n = t->n;
    const Real least = (Real)exp(-(double)f->gamma);
    exponentials(v, t, r->p, nullptr, r->log_norm);
    Real *__restrict total = r->total, *__restrict up = r->up, *__restrict m = r->member;
    const Real *__restrict scale = t->scale;
    for (int64_t i = 0; i < n; ++i) total[i] = 0;
    for (int64_t c = 0; c < v->classes; ++c) {
        Real *__restrict s = t->p + c * t->step;
        const Real *__restrict e = r->p + c * t->step;
        members(v, t, c, m);
        minus_log(least, n, m);
        come_down(f, t, c, grad, up);
        for (int64_t i = 0; i < n; ++i) {
            s[i] = up[i] * m[i];
            total[i] += e[i] * scale[i] * s[i];
        }
    }
    for (int64_t c = 0; c < v->classes; ++c) {
        Real *s = t->p + c * t->step;
        const Real *__restrict e = r->p + c * t->step;
        Real *own = own_row(v, t, c, out), *g = t->sure ? s : own ? own : up;
#pragma omp simd
        for (int64_t i = 0; i < n; ++i) g[i] = e[i] * scale[i] * (s[i] - total[i]);
        if (!own && !t->sure) store_row(v, t, c, g, out);
    }
    if (!t->sure) return;
    settle(v, t, t->p, t->step);
    store_rows(v, t, t->p, t->step, out);
}

/* Every logit too far behind rises, and the largest falls for all of them; equals share that. */
template <typename Real>
void margin_gradient(const Likelihood<Real> *f, Tile<Real> *t, LikelihoodRows<Real> *r, const Real *grad, void *out) {
    const Volume<Real> *v = &f->volume;
    const int64_t n = t->n;
    const Real gamma = f->gamma;
    top_or_nan(v, t);
    Real *__restrict total = r->total, *__restrict equals = r->other, *__restrict up = r->up,
                     *__restrict top = t->top;
    for (int64_t i = 0; i < n; ++i) total[i] = equals[i] = 0;
    for (int64_t c = 0; c < v->classes; ++c) {
        const Real *__restrict z = t->p + c * t->step;
        Real *__restrict s = r->p + c * t->step;
        come_down(f, t, c, grad, up);
        for (int64_t i = 0; i < n; ++i) {
            const Real u = up[i], slope = top[i] - z[i] - gamma > 0 ? u : 0;
            s[i] = slope;
            total[i] += slope;
            equals[i] += z[i] == top[i] ? 1 : 0;
        }
    }
    for (int64_t i = 0; i < n; ++i) total[i] = top[i] == top[i] ? total[i] / equals[i] : top[i];
    for (int64_t c = 0; c < v->classes; ++c) {
        const Real *__restrict z = t->p + c * t->step, *__restrict s = r->p + c * t->step;
        Real *__restrict own = own_row(v, t, c, out), *__restrict g = own ? own : up;
        for (int64_t i = 0; i < n; ++i) g[i] = top[i] == top[i] ? (z[i] == top[i] ? total[i] : 0) - s[i] : top[i];
        if (!own) store_row(v, t, c, g, out);
    }
}

template <typename Real>
void logits_gradient(const Likelihood<Real> *f, Tile<Real> *t, LikelihoodRows<Real> *r, const Real *grad, void *out) {
    if (f->penalty == REVERSE)
        reverse_gradient(f, t, r, grad, out);
    else
        margin_gradient(f, t, r, grad, out);
}

} // namespace
