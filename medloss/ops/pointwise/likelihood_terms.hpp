/* Penalties of a likelihood, class by class: a sigmoid's, and a softmax's with memberships.
 *
 * The map of class c is a t F(nll) + b (1 - t) F(other), with nll = -log p and other = -log(1 - p), which for
 * a softmax is nothing. */
namespace {

/* share * term, in which nothing times infinity is nothing. */
#define PART(share, term) ((share) == 0 ? 0 : (share) * (term))

/* F of the softmax's -log p. `factor` is scratch. */
template <typename Real>
void penalties(const Likelihood<Real> *f, int64_t n, const Real *__restrict nll, Real *__restrict factor,
               Real *__restrict out) {
    const Real gamma = f->gamma;
    if (f->penalty == POLY) {
        for (int64_t i = 0; i < n; ++i) out[i] = nll[i] - gamma * expm1_of(-nll[i]);
    } else if (f->penalty == POWER) {
        for (int64_t i = 0; i < n; ++i) out[i] = -expm1_of(-gamma * nll[i]) / gamma;
    } else if (gamma == 0) {
        memcpy(out, nll, sizeof(Real) * (size_t)n);
    } else {
        for (int64_t i = 0; i < n; ++i) factor[i] = -expm1_of(-nll[i]);
        powers(gamma, n, factor, nullptr);
        for (int64_t i = 0; i < n; ++i) out[i] = factor[i] * nll[i];
    }
}

/* dF/dnll of the softmax; `slope` is scratch. */
template <typename Real>
void penalty_slopes(const Likelihood<Real> *f, int64_t n, const Real *__restrict nll, Real *__restrict slope,
                    Real *__restrict out) {
    const Real gamma = f->gamma;
    if (f->penalty == POLY) {
        for (int64_t i = 0; i < n; ++i) out[i] = 1 + gamma * exp_of(-nll[i]);
    } else if (f->penalty == POWER) {
        for (int64_t i = 0; i < n; ++i) out[i] = exp_of(-gamma * nll[i]);
    } else if (gamma == 0) {
        for (int64_t i = 0; i < n; ++i) out[i] = 1;
    } else {
        for (int64_t i = 0; i < n; ++i) out[i] = -expm1_of(-nll[i]);
        powers(gamma, n, out, slope);
        for (int64_t i = 0; i < n; ++i) out[i] += slope[i] * nll[i] * exp_of(-nll[i]);
    }
}

/* The labels of class c, mixed with the others where the penalty says so. */
template <typename Real>
void labels_of(const Likelihood<Real> *f, const Tile<Real> *t, int64_t c, Real *__restrict member) {
    members(&f->volume, t, c, member);
    if (f->penalty == MIXED)
        for (int64_t i = 0; i < t->n; ++i) member[i] = f->gamma + (1 - 2 * f->gamma) * member[i];
}

/* Both parts of a sigmoid. */
template <typename Real>
void binary_values(const Likelihood<Real> *f, int64_t c, int64_t n, const Real *__restrict z,
                   const Real *__restrict m, Real *__restrict nll, Real *__restrict other, Real *__restrict factor,
                   Real *__restrict out) {
    const Real gamma = f->gamma, a = f->positive[c], b = f->negative[c];
    const int focal = f->penalty == PLAIN && gamma != 0, poly = f->penalty == POLY;
    for (int64_t i = 0; i < n; ++i) {
        const Sigmoid<Real> at = sigmoid_of(z[i]);
        const Real p = at.p, q = at.q, l = log1p_unit(at.small);
        const Real yes = l + (z[i] < 0 ? -z[i] : 0), no = l + (z[i] > 0 ? z[i] : 0);
        factor[i] = p * (1 - m[i]) + q * m[i];
        nll[i] = poly ? yes + gamma * q : yes;
        other[i] = poly ? no + gamma * p : no;
    }
    if (f->penalty == POWER && f->volume.kind >= 0)
        for (int64_t i = 0; i < n; ++i) /* a voxel is of the class or is not: one part is asked for */
            nll[i] = other[i] = -expm1_of(-gamma * (m[i] != 0 ? nll[i] : other[i])) / gamma;
    else if (f->penalty == POWER)
        for (int64_t i = 0; i < n; ++i) {
            nll[i] = -expm1_of(-gamma * nll[i]) / gamma;
            other[i] = -expm1_of(-gamma * other[i]) / gamma;
        }
    if (focal) {
        powers(gamma, n, factor, nullptr);
        for (int64_t i = 0; i < n; ++i) {
            nll[i] *= factor[i];
            other[i] *= factor[i];
        }
    }
    for (int64_t i = 0; i < n; ++i) {
        const Real none = 1 - m[i];
        out[i] = a * PART(m[i], nll[i]) + b * PART(none, other[i]);
    }
}

template <typename Real>
void class_values(const Likelihood<Real> *f, Tile<Real> *t, LikelihoodRows<Real> *r, Real *map) {
    const Volume<Real> *v = &f->volume;
    const int64_t n = t->n;
    if (v->activation == SOFTMAX) exponentials(v, t, nullptr, r->p, r->log_norm);
    const Real *__restrict w = t->weight, *__restrict top = t->top, *__restrict log_norm = r->log_norm;
    Real *__restrict value = r->value, *__restrict nll = r->nll, *__restrict m = r->member;
    for (int64_t c = 0; c < v->classes; ++c) {
        const Real *__restrict z = t->p + c * t->step;
        labels_of(f, t, c, m);
        if (v->activation == SOFTMAX) {
            const Real a = f->positive[c];
            for (int64_t i = 0; i < n; ++i) nll[i] = top[i] - z[i] + log_norm[i];
            penalties(f, n, nll, r->factor, value);
            for (int64_t i = 0; i < n; ++i) value[i] = a * PART(m[i], value[i]);
        } else {
            binary_values(f, c, n, z, m, nll, r->other, r->factor, value);
        }
        for (int64_t i = 0; i < n; ++i) value[i] = w[i] > 0 ? w[i] * value[i] : 0;
        hand_over(f, t, r, c, value, map);
    }
}

/* The slope of a power of the likelihoods of a sigmoid by the logit; `yes` and `no` are scratch. */
template <typename Real>
void power_slopes_of(const Likelihood<Real> *f, int64_t c, int64_t n, const Real *__restrict z,
                     const Real *__restrict m, Real *__restrict yes, Real *__restrict no, Real *__restrict out) {
    const Real gamma = f->gamma, a = f->positive[c], b = f->negative[c];
    for (int64_t i = 0; i < n; ++i) {
        const Sigmoid<Real> at = sigmoid_of(z[i]);
        const Real p = at.p, q = at.q, l = log1p_unit(at.small);
        const Real true_part = l + (z[i] < 0 ? -z[i] : 0), false_part = l + (z[i] > 0 ? z[i] : 0);
        if (f->volume.kind >= 0) { /* a voxel is of the class or is not: one part is asked for */
            yes[i] = m[i] != 0 ? true_part : false_part;
            no[i] = m[i] != 0 ? -a * q : b * p;
        } else {
            out[i] = b * (1 - m[i]) * p * exp_of(-gamma * false_part) - a * m[i] * q * exp_of(-gamma * true_part);
        }
    }
    if (f->volume.kind >= 0)
        for (int64_t i = 0; i < n; ++i) out[i] = no[i] * exp_of(-gamma * yes[i]);
}

/* The slope of both parts of a sigmoid by the logit. */
template <typename Real>
void binary_slopes(const Likelihood<Real> *f, int64_t c, int64_t n, const Real *__restrict z,
                   const Real *__restrict m, Real *__restrict term, Real *__restrict turn, Real *__restrict factor,
                   Real *__restrict slope, Real *__restrict out) {
    const Real gamma = f->gamma, a = f->positive[c], b = f->negative[c];
    const int focal = f->penalty == PLAIN && gamma != 0, poly = f->penalty == POLY;
    if (f->penalty == POWER) {
        power_slopes_of(f, c, n, z, m, term, turn, out);
        return;
    }
    for (int64_t i = 0; i < n; ++i) {
        const Sigmoid<Real> at = sigmoid_of(z[i]);
        const Real p = at.p, q = at.q, l = log1p_unit(at.small), none = 1 - m[i];
        const Real yes = l + (z[i] < 0 ? -z[i] : 0), no = l + (z[i] > 0 ? z[i] : 0);
        const Real rise = poly ? p + gamma * (p * q) : p, fall = poly ? q + gamma * (p * q) : q;
        const Real up = b * none * rise, down = a * m[i] * fall;
        factor[i] = p * none + q * m[i];
        turn[i] = (1 - 2 * m[i]) * p * q;
        term[i] = a * PART(m[i], yes) + b * PART(none, no);
        out[i] = up - down;
    }
    if (!focal) return;
    powers(gamma, n, factor, slope);
    for (int64_t i = 0; i < n; ++i) out[i] = factor[i] * out[i] + slope[i] * turn[i] * term[i];
}

/* dL/dz of the tile. With s = dL/dnll of each class it is p sum_c s_c - s for the softmax. */
template <typename Real>
void class_gradients(const Likelihood<Real> *f, Tile<Real> *t, LikelihoodRows<Real> *r, const Real *grad, void *out) {
    const Volume<Real> *v = &f->volume;
    const int64_t n = t->n;
    const int soft = v->activation == SOFTMAX;
    if (soft) exponentials(v, t, r->p, nullptr, r->log_norm);
    Real *__restrict value = r->value, *__restrict nll = r->nll, *__restrict m = r->member, *__restrict up = r->up;
    Real *__restrict total = r->total;
    const Real *__restrict top = t->top, *__restrict log_norm = r->log_norm, *__restrict scale = t->scale;
    for (int64_t i = 0; i < n; ++i) total[i] = 0;
    for (int64_t c = 0; c < v->classes; ++c) {
        Real *__restrict z = t->p + c * t->step;
        labels_of(f, t, c, m);
        come_down(f, t, c, grad, up);
        if (soft) {
            const Real a = f->positive[c];
            for (int64_t i = 0; i < n; ++i) nll[i] = top[i] - z[i] + log_norm[i];
            penalty_slopes(f, n, nll, r->slope, value);
            for (int64_t i = 0; i < n; ++i) { /* the slope takes the place of the logit */
                z[i] = up[i] * a * PART(m[i], value[i]);
                total[i] += z[i];
            }
            continue;
        }
        binary_slopes(f, c, n, z, m, nll, r->other, r->factor, r->slope, value);
        Real *__restrict own = own_row(v, t, c, out), *__restrict g = own ? own : nll;
        for (int64_t i = 0; i < n; ++i) g[i] = up[i] == 0 ? 0 : up[i] * value[i];
        if (!own) store_row(v, t, c, g, out);
    }
    for (int64_t i = 0; i < n; ++i) total[i] *= scale[i];
    for (int64_t c = 0; soft && c < v->classes; ++c) {
        Real *s = t->p + c * t->step;
        const Real *__restrict e = r->p + c * t->step;
        Real *own = own_row(v, t, c, out), *g = t->sure ? s : own ? own : nll;
#pragma omp simd
        for (int64_t i = 0; i < n; ++i) g[i] = e[i] * total[i] - s[i];
        if (!own && !t->sure) store_row(v, t, c, g, out);
    }
    if (!soft || !t->sure) return;
    settle(v, t, t->p, t->step);
    store_rows(v, t, t->p, t->step, out);
}
#undef PART

} // namespace
