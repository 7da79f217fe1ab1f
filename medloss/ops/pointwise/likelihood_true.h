/* A softmax with class indices: the true class has all of a voxel's penalty, which is found once and not once
 * per class. Included once for each REAL. */

/* The voxel's weight times the factor of its class; 0 for no class. */
static void NAME(true_weight)(const NAME(Penalty) * f, const TILE *t, REAL *restrict out) {
    const int32_t *restrict label = t->label;
    for (int64_t i = 0; i < t->n; ++i) out[i] = label[i] < 0 ? 0 : t->weight[i] * f->positive[label[i]];
}

static void NAME(true_values)(const NAME(Penalty) * f, TILE *t, NAME(Rows) * r, REAL *map) {
    const VOLUME *v = &f->volume;
    const int64_t n = t->n;
    NAME(true_logit)(t, r->nll);
    NAME(exponentials)(v, t, NULL, r->p, r->log_norm);
    REAL *restrict nll = r->nll, *restrict value = r->value, *restrict weight = r->up;
    const REAL *restrict top = t->top, *restrict log_norm = r->log_norm, *restrict w = t->weight;
    const int32_t *restrict label = t->label;
    for (int64_t i = 0; i < n; ++i) nll[i] = top[i] - nll[i] + log_norm[i];
    NAME(penalties)(f, n, nll, r->factor, value);
    NAME(true_weight)(f, t, weight);
    for (int64_t i = 0; i < n; ++i) value[i] = label[i] >= 0 && w[i] > 0 ? weight[i] * value[i] : 0;
    if (f->given == ALL_CLASSES) {
        memcpy(r->total, value, sizeof(REAL) * (size_t)n);
        return;
    }
    if (f->given == SUMS) {
        for (int64_t i = 0; i < n; ++i)
            if (label[i] >= 0) r->sums[label[i]] += (double)value[i];
        return;
    }
    for (int64_t c = 0; c < v->classes; ++c) {
        REAL *restrict row = map + (t->b * v->classes + c) * v->voxels + t->start;
        for (int64_t i = 0; i < n; ++i) row[i] = label[i] == (int32_t)c ? value[i] : 0;
    }
}

/* What comes from above for the true class. */
static void NAME(true_up)(const NAME(Penalty) * f, const TILE *t, const REAL *grad, REAL *restrict up) {
    const VOLUME *v = &f->volume;
    const int32_t *restrict label = t->label;
    const REAL *from = grad + t->b * (f->given == ALL_CLASSES ? 1 : v->classes) * v->voxels + t->start;
    if (f->given == SUMS)
        for (int64_t i = 0; i < t->n; ++i) up[i] = grad[t->b * v->classes + (label[i] < 0 ? 0 : label[i])];
    else if (f->given == ALL_CLASSES)
        memcpy(up, from, sizeof(REAL) * (size_t)t->n);
    else
        for (int64_t i = 0; i < t->n; ++i) up[i] = from[(label[i] < 0 ? 0 : label[i]) * v->voxels + i];
}

/* dL/dz of the tile: s (p - [c is true]) with s = dL/dnll of the true class. */
static void NAME(true_gradient)(const NAME(Penalty) * f, TILE *t, NAME(Rows) * r, const REAL *grad, void *out) {
    const VOLUME *v = &f->volume;
    const int64_t n = t->n;
    NAME(true_logit)(t, r->nll);
    NAME(exponentials)(v, t, NULL, NULL, r->log_norm);
    REAL *restrict nll = r->nll, *restrict s = r->value, *restrict weight = r->total, *restrict up = r->up;
    REAL *restrict shared = t->scale;
    const REAL *restrict top = t->top, *restrict log_norm = r->log_norm, *restrict w = t->weight;
    const int32_t *restrict label = t->label;
    for (int64_t i = 0; i < n; ++i) nll[i] = top[i] - nll[i] + log_norm[i];
    NAME(penalty_slopes)(f, n, nll, r->slope, s);
    NAME(true_weight)(f, t, weight);
    NAME(true_up)(f, t, grad, up);
    for (int64_t i = 0; i < n; ++i) {
        s[i] = label[i] >= 0 && w[i] > 0 ? weight[i] * up[i] * s[i] : 0;
        shared[i] *= s[i];
    }
    for (int64_t c = 0; c < v->classes; ++c) {
        REAL *e = t->p + c * t->step;
        REAL *own = NAME(own_row)(v, t, c, out), *g = t->sure ? e : own ? own : nll;
        SIMD for (int64_t i = 0; i < n; ++i) g[i] = e[i] * shared[i] - (label[i] == (int32_t)c ? s[i] : 0);
        if (!own && !t->sure) NAME(store_row)(v, t, c, g, out);
    }
    if (!t->sure) return;
    NAME(settle)(v, t, t->p, t->step);
    NAME(store_rows)(v, t, t->p, t->step, out);
}
