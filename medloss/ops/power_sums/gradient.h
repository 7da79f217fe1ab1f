/* The gradient of a tile. Included once for each REAL.
 *
 * With s = dL/dp, k = dL/d(-log p) and h = dL/d(-log(1 - p)) of each class, a softmax has
 *     dL/dz = p (s - sum p s) - k + p sum k + p (h / (1 - p) - sum h p / (1 - p)),
 * where of the class above a half everything over 1 - p goes by the other classes' shares of each other. */

/* dL/dp of a class by the columns of the regions and, where the error is a difference, by its powers; weighted. */
static void NAME(probability_slopes)(const NAME(Powers) * f, const TILE *t, NAME(Rows) * r, const REAL *restrict p,
                                     const REAL *restrict m, const REAL *cotangent, REAL *restrict s) {
    const int64_t n = t->n;
    const REAL *powers = cotangent + (f->regions ? REGION_COLUMNS : 0), *restrict w = t->weight;
    const int errors = f->regions && f->likelihood;
    const REAL invented = errors ? cotangent[FALSE_POSITIVE] : 0, missed = errors ? cotangent[FALSE_NEGATIVE] : 0;
    const REAL base = f->regions ? cotangent[INPUT] + invented : 0; /* of voxels that the class has not */
    const REAL hit = f->regions ? cotangent[INPUT] + cotangent[OVERLAP] - missed : 0;
    const REAL twice = f->regions ? 2 * cotangent[INPUT_SQUARES] : 0;
    if (f->likelihood) {
        for (int64_t i = 0; i < n; ++i) s[i] = w[i] * (base * (1 - m[i]) + hit * m[i] + twice * p[i]);
        return;
    }
    const REAL own = powers[0], other = f->both ? powers[1] : 0;
    const REAL *restrict q = r->q;
    REAL *restrict slope = r->no;
    const int exact = NAME(is_exact)(f, t);
    NAME(bases)(f, t, r, p, m);
    NAME(power_slopes)(f->exponent, n, r->yes, slope);
    for (int64_t i = 0; i < n; ++i) {
        const REAL up = slope[i] * (other * (1 - m[i]) + own * m[i]);
        const REAL error = exact ? p[i] * (1 - m[i]) - q[i] * m[i] : p[i] - m[i];
        const REAL turned = error < 0 ? -up : error == 0 ? 0 : up;
        s[i] = w[i] * (base * (1 - m[i]) + hit * m[i] + twice * p[i] + turned);
    }
}

/* k into `k` and h into `h`, weighted. */
static void NAME(likelihood_slopes)(const NAME(Powers) * f, const TILE *t, NAME(Rows) * r, const REAL *restrict p,
                                    const REAL *restrict m, const REAL *cotangent, REAL *restrict k,
                                    REAL *restrict h) {
    const int64_t n = t->n;
    const REAL *powers = cotangent + (f->regions ? REGION_COLUMNS : 0), *restrict w = t->weight;
    const REAL own = powers[0], other = f->both ? powers[1] : 0;
    const int one = NAME(bases)(f, t, r, p, m);
    if (NAME(has_once)(f))
        memcpy(k, r->no, sizeof(REAL) * (size_t)n);
    else
        NAME(power_slopes)(f->exponent, n, r->yes, k);
    if (f->both && !one) NAME(power_slopes)(f->exponent, n, r->no, h);
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
static void NAME(mix_class)(const NAME(Powers) * f, const TILE *t, NAME(Rows) * r, const REAL *restrict p,
                            REAL *restrict u) {
    const int64_t n = t->n;
    const REAL *restrict k = r->k, *restrict h = r->h, *restrict rest = r->others;
    REAL *restrict shared = r->shared, *restrict other = r->other;
    if (!f->both) {
        for (int64_t i = 0; i < n; ++i) {
            const REAL s = u[i];
            shared[i] += k[i] - p[i] * s;
            u[i] = p[i] * s - k[i];
        }
        return;
    }
    for (int64_t i = 0; i < n; ++i) {
        const REAL s = u[i], odds = p[i] / (1 - p[i]), ph = p[i] * h[i];
        const int above = p[i] > (REAL)0.5;
        shared[i] += k[i] - p[i] * s - (above ? 0 : h[i] * odds);
        other[i] += above && !NAME(vanishes)(rest[i]) ? ph / rest[i] : 0;
        u[i] = p[i] * s - k[i] + (above ? ph : h[i] * odds);
    }
}

/* Where the classes without the one above a half vanish beside it: their shares of each other from the logits. `own` is
 * that class's p h. */
static void NAME(mix_vanishing)(const NAME(Powers) * f, const TILE *t, NAME(Rows) * r, REAL *u) {
    const VOLUME *v = &f->volume;
    for (int64_t i = 0; i < t->n; ++i) {
        if (!NAME(vanishes)(r->others[i]) || r->own[i] == 0) continue;
        const REAL rest = NAME(log_others)(v, t, i);
        for (int64_t c = 0; c < v->classes; ++c) {
            const REAL z = t->p[c * t->step + i];
            if (z != t->top[i] && z > -(REAL)INFINITY) u[c * t->step + i] -= r->own[i] * EXP(z - rest);
        }
    }
}

/* p h of the class above a half, for the voxels that need it by itself. */
static void NAME(keep_own)(const TILE *t, NAME(Rows) * r, const REAL *restrict p) {
    REAL *restrict own = r->own;
    for (int64_t i = 0; i < t->n; ++i) own[i] = p[i] > (REAL)0.5 ? p[i] * r->h[i] : own[i];
}

static void NAME(write_row)(const NAME(Powers) * f, const TILE *t, int64_t c, const REAL *row, void *out) {
    const VOLUME *v = &f->volume;
    REAL *to = NAME(own_row)(v, t, c, out);
    if (!to)
        NAME(store_row)(v, t, c, row, out);
    else if (f->streams)
        stream_copy(to, row, sizeof(REAL) * (size_t)t->n);
    else
        memcpy(to, row, sizeof(REAL) * (size_t)t->n);
}

/* Rows of which that of the certain class is minus the sum of the others. */
static void NAME(settle_and_write)(const NAME(Powers) * f, TILE *t, REAL *rows, void *out) {
    NAME(settle)(&f->volume, t, rows, t->step);
    for (int64_t c = 0; c < f->volume.classes; ++c) NAME(write_row)(f, t, c, rows + c * t->step, out);
}

static void NAME(write_gradient)(const NAME(Powers) * f, TILE *t, NAME(Rows) * r, const REAL *cotangent, void *out) {
    const VOLUME *v = &f->volume;
    const int64_t n = t->n, columns = 2 + (f->regions ? REGION_COLUMNS : 0);
    const int soft = v->activation == SOFTMAX, apart = soft && f->likelihood && f->both;
    REAL *restrict shared = r->shared, *restrict other = r->other;
    if (NAME(has_once)(f)) NAME(power_slopes)(f->exponent, n, r->once, r->no); /* which is free, as `both` is not */
    for (int64_t i = 0; i < n; ++i) shared[i] = other[i] = r->own[i] = 0;
    for (int64_t c = 0; c < v->classes; ++c) {
        const REAL *from = cotangent + (t->b * v->classes + c) * columns;
        const REAL *restrict p = NAME(probabilities)(f, t, r, c), *restrict k = r->k, *restrict h = r->h;
        REAL *restrict u = r->u + c * t->step;
        const REAL *restrict q = r->q;
        NAME(members)(v, t, c, r->member);
        if (f->likelihood) NAME(likelihood_slopes)(f, t, r, p, r->member, from, r->k, r->h);
        NAME(probability_slopes)(f, t, r, p, r->member, from, u);
        if (soft && f->likelihood) {
            NAME(mix_class)(f, t, r, p, u);
            if (apart) NAME(keep_own)(t, r, p);
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
    if (apart) NAME(mix_vanishing)(f, t, r, r->u);
    for (int64_t c = 0; c < v->classes; ++c) {
        const REAL *restrict p = (f->likelihood ? r->p : t->p) + c * t->step;
        REAL *restrict u = r->u + c * t->step;
        if (apart)
            for (int64_t i = 0; i < n; ++i)
                u[i] += p[i] > (REAL)0.5 ? p[i] * shared[i] : p[i] * (shared[i] - other[i]);
        else if (soft)
            for (int64_t i = 0; i < n; ++i) u[i] += p[i] * shared[i];
        if (!soft || !t->sure) NAME(write_row)(f, t, c, u, out);
    }
    if (soft && t->sure) NAME(settle_and_write)(f, t, r->u, out);
}

/* Where the true class's likelihood alone is asked for: k (p - [c is true]). */
static void NAME(true_gradient)(const NAME(Powers) * f, TILE *t, NAME(Rows) * r, const REAL *cotangent, void *out) {
    const VOLUME *v = &f->volume;
    const int64_t n = t->n;
    NAME(true_logit)(t, r->yes);
    NAME(exponentials)(v, t, NULL, NULL, r->log_norm);
    REAL *restrict yes = r->yes, *restrict k = r->k, *restrict shared = r->shared;
    const REAL *restrict top = t->top, *restrict log_norm = r->log_norm, *restrict w = t->weight;
    const int32_t *restrict label = t->label;
    for (int64_t i = 0; i < n; ++i) yes[i] = top[i] - yes[i] + log_norm[i];
    NAME(power_slopes)(f->exponent, n, yes, k);
    for (int64_t i = 0; i < n; ++i) yes[i] = cotangent[(t->b * v->classes + (label[i] < 0 ? 0 : label[i])) * 2];
    for (int64_t i = 0; i < n; ++i) {
        k[i] = w[i] > 0 && label[i] >= 0 ? w[i] * yes[i] * k[i] : 0;
        shared[i] = k[i] * t->scale[i];
    }
    for (int64_t c = 0; c < v->classes; ++c) {
        REAL *e = t->p + c * t->step, *g = t->sure ? e : f->streams ? r->u : NAME(own_row)(v, t, c, out);
        g = g ? g : r->u;
        SIMD for (int64_t i = 0; i < n; ++i) g[i] = e[i] * shared[i] - (label[i] == (int32_t)c ? k[i] : 0);
        if (g == r->u) NAME(write_row)(f, t, c, g, out);
    }
    if (t->sure) NAME(settle_and_write)(f, t, t->p, out);
}
