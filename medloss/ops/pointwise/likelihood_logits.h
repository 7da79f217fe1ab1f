/* Penalties of all logits of a voxel: how far each lies behind the largest, and a softmax against -log t.
 * Included once for each REAL. */

/* The largest logit, or NaN where one is. */
static void NAME(top_or_nan)(const VOLUME *v, TILE *t) {
    const SOFTMAX_ROWS rows = {.z = t->p, .z_step = t->step, .classes = v->classes, .n = t->n};
    REAL *restrict top = t->top;
    NAME(top_rows)(&rows, top);
    for (int64_t c = 0; c < v->classes; ++c) {
        const REAL *restrict z = t->p + c * t->step;
        for (int64_t i = 0; i < t->n; ++i) top[i] = z[i] == z[i] ? top[i] : z[i];
    }
}

/* -log t, of a t of at least `least`. */
static void NAME(minus_log)(REAL least, int64_t n, REAL *restrict t) {
    for (int64_t i = 0; i < n; ++i) {
        const REAL x = t[i] < least ? least : t[i], far = LOG(x < 1 ? 1 / x : x);
        t[i] = x < 1 ? far : -far;
    }
}

static void NAME(logits_values)(const NAME(Penalty) * f, TILE *t, NAME(Rows) * r, REAL *map) {
    const VOLUME *v = &f->volume;
    const int64_t n = t->n;
    const REAL gamma = f->gamma, least = (REAL)exp(-(double)gamma);
    if (f->penalty == REVERSE)
        NAME(exponentials)(v, t, NULL, NULL, r->log_norm);
    else
        NAME(top_or_nan)(v, t);
    REAL *restrict value = r->value;
    const REAL *restrict w = t->weight, *restrict top = t->top, *restrict scale = t->scale;
    for (int64_t c = 0; c < v->classes; ++c) {
        const REAL *restrict z = t->p + c * t->step;
        if (f->penalty == REVERSE) {
            NAME(members)(v, t, c, value);
            NAME(minus_log)(least, n, value);
            for (int64_t i = 0; i < n; ++i) value[i] *= z[i] * scale[i];
        } else {
            for (int64_t i = 0; i < n; ++i) {
                const REAL behind = top[i] - z[i] - gamma;
                value[i] = behind < 0 ? 0 : behind;
            }
        }
        for (int64_t i = 0; i < n; ++i) value[i] = w[i] > 0 ? w[i] * value[i] : 0;
        NAME(hand_over)(f, t, r, c, value, map);
    }
}

/* dL/dz of the softmax: p (s - sum of p s) with s = dL/dp. */
static void NAME(reverse_gradient)(const NAME(Penalty) * f, TILE *t, NAME(Rows) * r, const REAL *grad, void *out) {
    const VOLUME *v = &f->volume;
    const int64_t n = t->n;
    const REAL least = (REAL)exp(-(double)f->gamma);
    NAME(exponentials)(v, t, r->p, NULL, r->log_norm);
    REAL *restrict total = r->total, *restrict up = r->up, *restrict m = r->member;
    const REAL *restrict scale = t->scale;
    for (int64_t i = 0; i < n; ++i) total[i] = 0;
    for (int64_t c = 0; c < v->classes; ++c) {
        REAL *restrict s = t->p + c * t->step;
        const REAL *restrict e = r->p + c * t->step;
        NAME(members)(v, t, c, m);
        NAME(minus_log)(least, n, m);
        NAME(come_down)(f, t, c, grad, up);
        for (int64_t i = 0; i < n; ++i) {
            s[i] = up[i] * m[i];
            total[i] += e[i] * scale[i] * s[i];
        }
    }
    for (int64_t c = 0; c < v->classes; ++c) {
        REAL *s = t->p + c * t->step;
        const REAL *restrict e = r->p + c * t->step;
        REAL *own = NAME(own_row)(v, t, c, out), *g = t->sure ? s : own ? own : up;
        SIMD for (int64_t i = 0; i < n; ++i) g[i] = e[i] * scale[i] * (s[i] - total[i]);
        if (!own && !t->sure) NAME(store_row)(v, t, c, g, out);
    }
    if (!t->sure) return;
    NAME(settle)(v, t, t->p, t->step);
    NAME(store_rows)(v, t, t->p, t->step, out);
}

/* Every logit too far behind rises, and the largest falls for all of them; equals share that. */
static void NAME(margin_gradient)(const NAME(Penalty) * f, TILE *t, NAME(Rows) * r, const REAL *grad, void *out) {
    const VOLUME *v = &f->volume;
    const int64_t n = t->n;
    const REAL gamma = f->gamma;
    NAME(top_or_nan)(v, t);
    REAL *restrict total = r->total, *restrict equals = r->other, *restrict up = r->up, *restrict top = t->top;
    for (int64_t i = 0; i < n; ++i) total[i] = equals[i] = 0;
    for (int64_t c = 0; c < v->classes; ++c) {
        const REAL *restrict z = t->p + c * t->step;
        REAL *restrict s = r->p + c * t->step;
        NAME(come_down)(f, t, c, grad, up);
        for (int64_t i = 0; i < n; ++i) {
            const REAL u = up[i], slope = top[i] - z[i] - gamma > 0 ? u : 0;
            s[i] = slope;
            total[i] += slope;
            equals[i] += z[i] == top[i] ? 1 : 0;
        }
    }
    for (int64_t i = 0; i < n; ++i) total[i] = top[i] == top[i] ? total[i] / equals[i] : top[i];
    for (int64_t c = 0; c < v->classes; ++c) {
        const REAL *restrict z = t->p + c * t->step, *restrict s = r->p + c * t->step;
        REAL *restrict own = NAME(own_row)(v, t, c, out), *restrict g = own ? own : up;
        for (int64_t i = 0; i < n; ++i)
            g[i] = top[i] == top[i] ? (z[i] == top[i] ? total[i] : 0) - s[i] : top[i];
        if (!own) NAME(store_row)(v, t, c, g, out);
    }
}

static void NAME(logits_gradient)(const NAME(Penalty) * f, TILE *t, NAME(Rows) * r, const REAL *grad, void *out) {
    if (f->penalty == REVERSE)
        NAME(reverse_gradient)(f, t, r, grad, out);
    else
        NAME(margin_gradient)(f, t, r, grad, out);
}
