/* Penalties of a likelihood, class by class: a sigmoid's, and a softmax's with memberships. Included once for
 * each REAL.
 *
 * The map of class c is a t F(nll) + b (1 - t) F(other), with nll = -log p and other = -log(1 - p), which for
 * a softmax is nothing. */

/* share * term, in which nothing times infinity is nothing. */
#define PART(share, term) ((share) == 0 ? 0 : (share) * (term))

/* F of the softmax's -log p. `factor` is scratch. */
static void NAME(penalties)(const NAME(Penalty) * f, int64_t n, const REAL *restrict nll, REAL *restrict factor,
                            REAL *restrict out) {
    const REAL gamma = f->gamma;
    if (f->penalty == POLY) {
        for (int64_t i = 0; i < n; ++i) out[i] = nll[i] - gamma * EXPM1(-nll[i]);
    } else if (f->penalty == POWER) {
        for (int64_t i = 0; i < n; ++i) out[i] = -EXPM1(-gamma * nll[i]) / gamma;
    } else if (gamma == 0) {
        memcpy(out, nll, sizeof(REAL) * (size_t)n);
    } else {
        for (int64_t i = 0; i < n; ++i) factor[i] = -EXPM1(-nll[i]);
        NAME(powers)(gamma, n, factor, NULL);
        for (int64_t i = 0; i < n; ++i) out[i] = factor[i] * nll[i];
    }
}

/* dF/dnll of the softmax; `slope` is scratch. */
static void NAME(penalty_slopes)(const NAME(Penalty) * f, int64_t n, const REAL *restrict nll,
                                 REAL *restrict slope, REAL *restrict out) {
    const REAL gamma = f->gamma;
    if (f->penalty == POLY) {
        for (int64_t i = 0; i < n; ++i) out[i] = 1 + gamma * EXP(-nll[i]);
    } else if (f->penalty == POWER) {
        for (int64_t i = 0; i < n; ++i) out[i] = EXP(-gamma * nll[i]);
    } else if (gamma == 0) {
        for (int64_t i = 0; i < n; ++i) out[i] = 1;
    } else {
        for (int64_t i = 0; i < n; ++i) out[i] = -EXPM1(-nll[i]);
        NAME(powers)(gamma, n, out, slope);
        for (int64_t i = 0; i < n; ++i) out[i] += slope[i] * nll[i] * EXP(-nll[i]);
    }
}

/* The labels of class c, mixed with the others where the penalty says so. */
static void NAME(labels_of)(const NAME(Penalty) * f, const TILE *t, int64_t c, REAL *restrict member) {
    NAME(members)(&f->volume, t, c, member);
    if (f->penalty == MIXED)
        for (int64_t i = 0; i < t->n; ++i) member[i] = f->gamma + (1 - 2 * f->gamma) * member[i];
}

/* Both parts of a sigmoid. */
static void NAME(binary_values)(const NAME(Penalty) * f, int64_t c, int64_t n, const REAL *restrict z,
                                const REAL *restrict m, REAL *restrict nll, REAL *restrict other,
                                REAL *restrict factor, REAL *restrict out) {
    const REAL gamma = f->gamma, a = f->positive[c], b = f->negative[c];
    const int focal = f->penalty == PLAIN && gamma != 0, poly = f->penalty == POLY;
    for (int64_t i = 0; i < n; ++i) {
        const REAL e = EXP(z[i] > 0 ? -z[i] : z[i]), l = LOG1P(e), near = 1 / (1 + e), far = e * near;
        const REAL p = z[i] > 0 ? near : far, q = z[i] > 0 ? far : near;
        const REAL yes = l + (z[i] < 0 ? -z[i] : 0), no = l + (z[i] > 0 ? z[i] : 0);
        factor[i] = p * (1 - m[i]) + q * m[i];
        nll[i] = poly ? yes + gamma * q : yes;
        other[i] = poly ? no + gamma * p : no;
    }
    if (f->penalty == POWER && f->volume.kind >= 0)
        for (int64_t i = 0; i < n; ++i) /* a voxel is of the class or is not: one part is asked for */
            nll[i] = other[i] = -EXPM1(-gamma * (m[i] != 0 ? nll[i] : other[i])) / gamma;
    else if (f->penalty == POWER)
        for (int64_t i = 0; i < n; ++i) {
            nll[i] = -EXPM1(-gamma * nll[i]) / gamma;
            other[i] = -EXPM1(-gamma * other[i]) / gamma;
        }
    if (focal) {
        NAME(powers)(gamma, n, factor, NULL);
        for (int64_t i = 0; i < n; ++i) {
            nll[i] *= factor[i];
            other[i] *= factor[i];
        }
    }
    for (int64_t i = 0; i < n; ++i) {
        const REAL none = 1 - m[i];
        out[i] = a * PART(m[i], nll[i]) + b * PART(none, other[i]);
    }
}

static void NAME(class_values)(const NAME(Penalty) * f, TILE *t, NAME(Rows) * r, REAL *map) {
    const VOLUME *v = &f->volume;
    const int64_t n = t->n;
    if (v->activation == SOFTMAX) NAME(exponentials)(v, t, NULL, r->p, r->log_norm);
    const REAL *restrict w = t->weight, *restrict top = t->top, *restrict log_norm = r->log_norm;
    REAL *restrict value = r->value, *restrict nll = r->nll, *restrict m = r->member;
    for (int64_t c = 0; c < v->classes; ++c) {
        const REAL *restrict z = t->p + c * t->step;
        NAME(labels_of)(f, t, c, m);
        if (v->activation == SOFTMAX) {
            const REAL a = f->positive[c];
            for (int64_t i = 0; i < n; ++i) nll[i] = top[i] - z[i] + log_norm[i];
            NAME(penalties)(f, n, nll, r->factor, value);
            for (int64_t i = 0; i < n; ++i) value[i] = a * PART(m[i], value[i]);
        } else {
            NAME(binary_values)(f, c, n, z, m, nll, r->other, r->factor, value);
        }
        for (int64_t i = 0; i < n; ++i) value[i] = w[i] > 0 ? w[i] * value[i] : 0;
        NAME(hand_over)(f, t, r, c, value, map);
    }
}

/* The slope of a power of the likelihoods of a sigmoid by the logit; `yes` and `no` are scratch. */
static void NAME(power_slopes_of)(const NAME(Penalty) * f, int64_t c, int64_t n, const REAL *restrict z,
                                  const REAL *restrict m, REAL *restrict yes, REAL *restrict no,
                                  REAL *restrict out) {
    const REAL gamma = f->gamma, a = f->positive[c], b = f->negative[c];
    for (int64_t i = 0; i < n; ++i) {
        const REAL e = EXP(z[i] > 0 ? -z[i] : z[i]), l = LOG1P(e), near = 1 / (1 + e), far = e * near;
        const REAL p = z[i] > 0 ? near : far, q = z[i] > 0 ? far : near;
        const REAL true_part = l + (z[i] < 0 ? -z[i] : 0), false_part = l + (z[i] > 0 ? z[i] : 0);
        if (f->volume.kind >= 0) { /* a voxel is of the class or is not: one part is asked for */
            yes[i] = m[i] != 0 ? true_part : false_part;
            no[i] = m[i] != 0 ? -a * q : b * p;
        } else {
            out[i] = b * (1 - m[i]) * p * EXP(-gamma * false_part) - a * m[i] * q * EXP(-gamma * true_part);
        }
    }
    for (int64_t i = 0; f->volume.kind >= 0 && i < n; ++i) out[i] = no[i] * EXP(-gamma * yes[i]);
}

/* The slope of both parts of a sigmoid by the logit. */
static void NAME(binary_slopes)(const NAME(Penalty) * f, int64_t c, int64_t n, const REAL *restrict z,
                                const REAL *restrict m, REAL *restrict term, REAL *restrict turn,
                                REAL *restrict factor, REAL *restrict slope, REAL *restrict out) {
    const REAL gamma = f->gamma, a = f->positive[c], b = f->negative[c];
    const int focal = f->penalty == PLAIN && gamma != 0, poly = f->penalty == POLY;
    if (f->penalty == POWER) {
        NAME(power_slopes_of)(f, c, n, z, m, term, turn, out);
        return;
    }
    for (int64_t i = 0; i < n; ++i) {
        const REAL e = EXP(z[i] > 0 ? -z[i] : z[i]), l = LOG1P(e), near = 1 / (1 + e), far = e * near;
        const REAL p = z[i] > 0 ? near : far, q = z[i] > 0 ? far : near, none = 1 - m[i];
        const REAL yes = l + (z[i] < 0 ? -z[i] : 0), no = l + (z[i] > 0 ? z[i] : 0);
        const REAL rise = poly ? p + gamma * (p * q) : p, fall = poly ? q + gamma * (p * q) : q;
        const REAL up = b * none * rise, down = a * m[i] * fall;
        factor[i] = p * none + q * m[i];
        turn[i] = (1 - 2 * m[i]) * p * q;
        term[i] = a * PART(m[i], yes) + b * PART(none, no);
        out[i] = up - down;
    }
    if (!focal) return;
    NAME(powers)(gamma, n, factor, slope);
    for (int64_t i = 0; i < n; ++i) out[i] = factor[i] * out[i] + slope[i] * turn[i] * term[i];
}

/* dL/dz of the tile. With s = dL/dnll of each class it is p sum_c s_c - s for the softmax. */
static void NAME(class_gradients)(const NAME(Penalty) * f, TILE *t, NAME(Rows) * r, const REAL *grad, void *out) {
    const VOLUME *v = &f->volume;
    const int64_t n = t->n;
    const int soft = v->activation == SOFTMAX;
    if (soft) NAME(exponentials)(v, t, r->p, NULL, r->log_norm);
    REAL *restrict value = r->value, *restrict nll = r->nll, *restrict m = r->member, *restrict up = r->up;
    REAL *restrict total = r->total;
    const REAL *restrict top = t->top, *restrict log_norm = r->log_norm, *restrict scale = t->scale;
    for (int64_t i = 0; i < n; ++i) total[i] = 0;
    for (int64_t c = 0; c < v->classes; ++c) {
        REAL *restrict z = t->p + c * t->step;
        NAME(labels_of)(f, t, c, m);
        NAME(come_down)(f, t, c, grad, up);
        if (soft) {
            const REAL a = f->positive[c];
            for (int64_t i = 0; i < n; ++i) nll[i] = top[i] - z[i] + log_norm[i];
            NAME(penalty_slopes)(f, n, nll, r->slope, value);
            for (int64_t i = 0; i < n; ++i) { /* the slope takes the place of the logit */
                z[i] = up[i] * a * PART(m[i], value[i]);
                total[i] += z[i];
            }
            continue;
        }
        NAME(binary_slopes)(f, c, n, z, m, nll, r->other, r->factor, r->slope, value);
        REAL *restrict own = NAME(own_row)(v, t, c, out), *restrict g = own ? own : nll;
        for (int64_t i = 0; i < n; ++i) g[i] = up[i] == 0 ? 0 : up[i] * value[i];
        if (!own) NAME(store_row)(v, t, c, g, out);
    }
    for (int64_t i = 0; i < n; ++i) total[i] *= scale[i];
    for (int64_t c = 0; soft && c < v->classes; ++c) {
        REAL *s = t->p + c * t->step;
        const REAL *restrict e = r->p + c * t->step;
        REAL *own = NAME(own_row)(v, t, c, out), *g = t->sure ? s : own ? own : nll;
        SIMD for (int64_t i = 0; i < n; ++i) g[i] = e[i] * total[i] - s[i];
        if (!own && !t->sure) NAME(store_row)(v, t, c, g, out);
    }
    if (!soft || !t->sure) return;
    NAME(settle)(v, t, t->p, t->step);
    NAME(store_rows)(v, t, t->p, t->step, out);
}
#undef PART
