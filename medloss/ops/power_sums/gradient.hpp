/* The gradient of a tile.
 *
 * With s = dL/dp, k = dL/d(-log p) and h = dL/d(-log(1 - p)) of each class, a softmax has
 *     dL/dz = p (s - sum p s) - k + p sum k + p (h / (1 - p) - sum h p / (1 - p)),
 * where of the class above a half everything over 1 - p goes by the other classes' shares of each other. */
namespace {

/* dL/dp of a class by the columns of the regions and, where the error is a difference, by its powers; weighted. */
template <typename Real>
void probability_slopes(const Powers<Real> *f, const Tile<Real> *t, PowerRows<Real> *r, const Real *__restrict p,
                        const Real *__restrict m, const Real *cotangent, Real *__restrict s) {
    const int64_t n = t->n;
    const Real *powers = cotangent + (f->regions ? COLUMNS : 0), *__restrict w = t->weight;
    const int errors = f->regions && f->likelihood;
    const Real invented = errors ? cotangent[FALSE_POSITIVE] : 0, missed = errors ? cotangent[FALSE_NEGATIVE] : 0;
    const Real base = f->regions ? cotangent[INPUT] + invented : 0; /* of voxels that the class has not */
    const Real hit = f->regions ? cotangent[INPUT] + cotangent[OVERLAP] - missed : 0;
    const Real twice = f->regions ? 2 * cotangent[INPUT_SQUARES] : 0;
    if (f->likelihood) {
        for (int64_t i = 0; i < n; ++i) s[i] = w[i] * (base * (1 - m[i]) + hit * m[i] + twice * p[i]);
        return;
    }
    const Real own = powers[0], other = f->both ? powers[1] : 0;
    const Real *__restrict q = r->q;
    Real *__restrict slope = r->no;
    const int exact = is_exact(f, t);
    bases(f, t, r, p, m);
    power_slopes(f->exponent, n, r->yes, slope);
    for (int64_t i = 0; i < n; ++i) {
        const Real up = slope[i] * (other * (1 - m[i]) + own * m[i]);
        const Real error = exact ? p[i] * (1 - m[i]) - q[i] * m[i] : p[i] - m[i];
        const Real turned = error < 0 ? -up : error == 0 ? 0 : up;
        s[i] = w[i] * (base * (1 - m[i]) + hit * m[i] + twice * p[i] + turned);
    }
}

/* k into `k` and h into `h`, weighted. */
template <typename Real>
void likelihood_slopes(const Powers<Real> *f, const Tile<Real> *t, PowerRows<Real> *r, const Real *__restrict p,
                       const Real *__restrict m, const Real *cotangent, Real *__restrict k, Real *__restrict h) {
    const int64_t n = t->n;
    const Real *powers = cotangent + (f->regions ? COLUMNS : 0), *__restrict w = t->weight;
    const Real own = powers[0], other = f->both ? powers[1] : 0;
    if (has_once(f)) { /* and no class has a part in h */
        const Real *__restrict once = r->no;
        for (int64_t i = 0; i < n; ++i) k[i] = w[i] > 0 && m[i] != 0 ? w[i] * m[i] * own * once[i] : 0;
        return;
    }
    const int one = bases(f, t, r, p, m);
    power_slopes(f->exponent, n, r->yes, k);
    if (f->both && !one) power_slopes(f->exponent, n, r->no, h);
    if (!f->both)
        for (int64_t i = 0; i < n; ++i) h[i] = 0;
    else if (one)
        for (int64_t i = 0; i < n; ++i) h[i] = k[i];
    for (int64_t i = 0; i < n; ++i) {
        k[i] = w[i] > 0 && m[i] != 0 ? w[i] * m[i] * own * k[i] : 0;
        h[i] = w[i] > 0 && m[i] != 1 ? w[i] * (1 - m[i]) * other * h[i] : 0;
    }
}

/* What class c has by itself into `u`, and what it adds to the voxels' totals: `shared`, of which every class has p
 * times, and `other`, of which all but the class above a half have p times. Softmax. */
template <typename Real>
void mix_class(const Powers<Real> *f, const Tile<Real> *t, PowerRows<Real> *r, const Real *__restrict p,
               Real *__restrict u) {
    const int64_t n = t->n;
    const Real *__restrict k = r->k, *__restrict h = r->h, *__restrict rest = r->others;
    Real *__restrict shared = r->shared, *__restrict other = r->other;
    if (!f->both) {
        for (int64_t i = 0; i < n; ++i) {
            const Real s = u[i];
            shared[i] += k[i] - p[i] * s;
            u[i] = p[i] * s - k[i];
        }
        return;
    }
    for (int64_t i = 0; i < n; ++i) {
        const Real s = u[i], odds = p[i] / (1 - p[i]), ph = p[i] * h[i];
        const int above = p[i] > (Real)0.5;
        shared[i] += k[i] - p[i] * s - (above ? 0 : h[i] * odds);
        other[i] += above && !vanishes(rest[i]) ? ph / rest[i] : 0;
        u[i] = p[i] * s - k[i] + (above ? ph : h[i] * odds);
    }
}

/* Where the classes without the one above a half vanish beside it: their shares of each other from the logits. `own`
 * is that class's p h. */
template <typename Real>
void mix_vanishing(const Powers<Real> *f, const Tile<Real> *t, PowerRows<Real> *r, Real *u) {
    const Volume<Real> *v = &f->volume;
    for (int64_t i = 0; i < t->n; ++i) {
        if (!vanishes(r->others[i]) || r->own[i] == 0) continue;
        const Real rest = log_others(v, t, i);
        for (int64_t c = 0; c < v->classes; ++c) {
            const Real z = t->p[c * t->step + i];
            if (z != t->top[i] && z > -(Real)INFINITY) u[c * t->step + i] -= r->own[i] * exp_of(z - rest);
        }
    }
}

/* p h of the class above a half, for the voxels that need it by itself. */
template <typename Real>
void keep_own(const Tile<Real> *t, PowerRows<Real> *r, const Real *__restrict p) {
    Real *__restrict own = r->own;
    for (int64_t i = 0; i < t->n; ++i) own[i] = p[i] > (Real)0.5 ? p[i] * r->h[i] : own[i];
}

/* Rows of which that of the certain class is minus the sum of the others. */
template <typename Real>
void settle_and_write(const Powers<Real> *f, Tile<Real> *t, Real *rows, void *out) {
    settle(&f->volume, t, rows, t->step);
    for (int64_t c = 0; c < f->volume.classes; ++c) hand_row(*f, t, c, rows + c * t->step, out);
}

template <typename Real>
void write_gradient(const Powers<Real> *f, Tile<Real> *t, PowerRows<Real> *r, const Real *cotangent, void *out) {
    const Volume<Real> *v = &f->volume;
    const int64_t n = t->n, columns = 2 + (f->regions ? COLUMNS : 0);
    const int soft = v->activation == SOFTMAX, apart = soft && f->likelihood && f->both;
    Real *__restrict shared = r->shared, *__restrict other = r->other;
    if (has_once(f)) power_slopes(f->exponent, n, r->once, r->no); /* which is free, as `both` is not */
    for (int64_t i = 0; i < n; ++i) shared[i] = other[i] = r->own[i] = 0;
    for (int64_t c = 0; c < v->classes; ++c) {
        const Real *from = cotangent + (t->b * v->classes + c) * columns;
        const Real *__restrict p = probabilities(f, t, r, c, 0), *__restrict k = r->k, *__restrict h = r->h;
        Real *__restrict u = r->u + c * t->step;
        const Real *__restrict q = r->q;
        members(v, t, c, r->member);
        if (f->likelihood) likelihood_slopes(f, t, r, p, r->member, from, r->k, r->h);
        probability_slopes(f, t, r, p, r->member, from, u);
        if (soft && f->likelihood) {
            mix_class(f, t, r, p, u);
            if (apart) keep_own(t, r, p);
        } else if (soft) {
            for (int64_t i = 0; i < n; ++i) {
                u[i] *= p[i];
                shared[i] -= u[i];
            }
        } else if (f->likelihood) {
            for (int64_t i = 0; i < n; ++i) u[i] = q[i] * (p[i] * u[i] - k[i]) + p[i] * h[i];
        } else if (v->activation == SIGMOID) {
            for (int64_t i = 0; i < n; ++i) u[i] *= p[i] * q[i];
        }
    }
    if (apart) mix_vanishing(f, t, r, r->u);
    for (int64_t c = 0; c < v->classes; ++c) {
        const Real *__restrict p = (f->likelihood ? r->p : t->p) + c * t->step;
        Real *__restrict u = r->u + c * t->step;
        if (apart)
            for (int64_t i = 0; i < n; ++i)
                u[i] += p[i] > (Real)0.5 ? p[i] * shared[i] : p[i] * (shared[i] - other[i]);
        else if (soft)
            for (int64_t i = 0; i < n; ++i) u[i] += p[i] * shared[i];
        if (!soft || !t->sure) hand_row(*f, t, c, u, out);
    }
    if (soft && t->sure) settle_and_write(f, t, r->u, out);
}

/* Where the true class's likelihood alone is asked for: k (p - [c is true]). */
template <typename Real>
void true_gradient(const Powers<Real> *f, Tile<Real> *t, PowerRows<Real> *r, const Real *cotangent, void *out) {
    const Volume<Real> *v = &f->volume;
    const int64_t n = t->n;
    true_nll(v, t, nullptr, r->log_norm, r->yes);
    Real *__restrict yes = r->yes, *__restrict k = r->k, *__restrict shared = r->shared;
    const Real *__restrict w = t->weight;
    const int32_t *__restrict label = t->label;
    power_slopes(f->exponent, n, yes, k);
    for (int64_t i = 0; i < n; ++i) yes[i] = cotangent[(t->b * v->classes + (label[i] < 0 ? 0 : label[i])) * 2];
    for (int64_t i = 0; i < n; ++i) {
        k[i] = w[i] > 0 && label[i] >= 0 ? w[i] * yes[i] * k[i] : 0;
        shared[i] = k[i] * t->scale[i];
    }
    for (int64_t c = 0; c < v->classes; ++c) {
        Real *e = t->p + c * t->step, *g = t->sure ? e : f->streams ? r->u : own_row(v, t, c, out);
        g = g ? g : r->u;
#pragma omp simd
        for (int64_t i = 0; i < n; ++i) g[i] = e[i] * shared[i] - (label[i] == (int32_t)c ? k[i] : 0);
        if (g == r->u) hand_row(*f, t, c, g, out);
    }
    if (t->sure) settle_and_write(f, t, t->p, out);
}

} // namespace
