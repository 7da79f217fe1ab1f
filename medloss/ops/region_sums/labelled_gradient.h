/* The gradient of a softmax with class indices.
 *
 * That by the logit of class c is w (p_c (s_c - total) + [c is true] d), with s_c the slope of what every class has, d
 * that of the true class alone, and total = sum_c p_c s_c + d. That of a certain class is minus the sum of the
 * others'. */

/* d of each voxel but its focal part, without the weight, from the true class's probability. */
static inline ALWAYS_INLINE void NAME(load_own_slopes)(TILE *t, int squares) {
    const int64_t n = t->n;
    const REAL *restrict coefficients = t->coefficients, *restrict other = t->other;
    const int32_t *restrict label = t->label;
    REAL *restrict own = t->own;
    for (int64_t i = 0; i < n; ++i) {
        const REAL *row = coefficients + label[i] * PER_CLASS;
        const REAL bend = squares ? row[CURVE] * own[i] - row[OFF] * other[i] : 0;
        own[i] = own[i] * (row[OWN] + bend) - row[YES];
    }
}

/* d of each voxel into `own`, times the weight, and the total into `pull`, times the weight and over the norm; `pull`
 * comes as sum_c exp(z_c) s_c. Returns whether a class is certain. */
static int NAME(own_slope)(const VOLUME *v, TILE *t) {
    const int64_t n = t->n;
    const int focal = (v->terms & FOCAL) != 0, squares = (v->terms & SQUARES) != 0;
    const REAL *restrict w = t->weight, *restrict nll = t->nll, *restrict inverse = t->inverse, *restrict unit = t->unit;
    const int32_t *restrict label = t->label;
    REAL *restrict own = t->own, *restrict d = t->slope, *restrict pull = t->pull;
    REAL *restrict f = squares ? t->factor : t->other;
    const int certain = NAME(own_likelihood)(v, t, focal, 1);
    if (focal) {
        if (squares) memcpy(f, t->other, sizeof(REAL) * (size_t)n);
        NAME(powers)(v->gamma, n, f, d);
        for (int64_t i = 0; i < n; ++i) f[i] += d[i] * own[i] * nll[i];
        for (int64_t i = 0; i < n; ++i) f[i] *= t->coefficients[label[i] * PER_CLASS + FOCAL_SLOPE];
    }
    squares ? NAME(load_own_slopes)(t, 1) : NAME(load_own_slopes)(t, 0);
    if (focal)
        for (int64_t i = 0; i < n; ++i) own[i] -= f[i];
    for (int64_t i = 0; i < n; ++i) {
        own[i] *= w[i];
        pull[i] = (pull[i] * inverse[i] + own[i]) * unit[i];
    }
    return certain;
}

/* What squares (but the true class's, which `own` has) and even likelihoods add to the total. */
static void NAME(curved_pull)(const VOLUME *v, TILE *t) {
    const int64_t n = t->n;
    REAL *restrict sum = t->factor, *restrict pull = t->pull, all = 0;
    const REAL *restrict norm = t->norm, *restrict unit = t->unit;
    const int32_t *restrict label = t->label;
    memset(sum, 0, sizeof(REAL) * (size_t)n);
    for (int64_t c = 0; c < v->classes; ++c) {
        const REAL *restrict p = t->p + c * v->size, twice = t->coefficients[c * PER_CLASS + SQUARE];
        all += t->coefficients[c * PER_CLASS + ALL];
        SIMD for (int64_t i = 0; i < n; ++i)
            sum[i] += label[i] == (int32_t)c ? 0 : twice * p[i] * (p[i] * unit[i]);
    }
    for (int64_t i = 0; i < n; ++i) pull[i] += sum[i] - all * norm[i];
}

/* The gradient of one class; `scaled` is the total over the norm. */
static inline ALWAYS_INLINE REAL NAME(slope_at)(REAL p, REAL base, REAL inverse, REAL scaled, REAL own, int is_own) {
    return p * (base * inverse - scaled) + (is_own ? own : 0);
}

/* The rows of the gradient. With `sure` their sums but that of the certain class go to `rest`, and no row is stored. */
static inline ALWAYS_INLINE void NAME(write_rows)(const VOLUME *v, TILE *t, int curved, int sure, void *out) {
    const int64_t n = t->n;
    const REAL *restrict inverse = t->inverse, *restrict unit = t->unit, *restrict own = t->own;
    const REAL *restrict w = t->weight, *restrict scaled = t->pull;
    const int32_t *restrict label = t->label, *restrict certain = t->certain;
    REAL *restrict rest = t->rest;
    if (sure) memset(rest, 0, sizeof(REAL) * (size_t)n);
    int64_t c = curved ? v->classes : v->classes % 2;
    for (int64_t k = 0; k < c; ++k) { /* one at a time: an odd class, or slopes that bend */
        const REAL *p = t->p + k * v->size, *row = t->coefficients + k * PER_CLASS;
        const REAL base = row[BASE], twice = row[SQUARE], all = row[ALL];
        const int32_t class = (int32_t)k;
        REAL *g = NAME(gradient_row)(v, t, k, out);
        SIMD for (int64_t i = 0; i < n; ++i) {
            const int is_own = label[i] == class;
            const REAL bent = curved && !is_own ? base + twice * (p[i] * unit[i]) : base;
            const REAL slope = NAME(slope_at)(p[i], bent, inverse[i], scaled[i], own[i], is_own);
            g[i] = curved ? slope - all * w[i] : slope;
            if (sure) rest[i] += certain[i] == class ? 0 : g[i];
        }
        if (!sure) NAME(store_row)(v, t, k, g, out);
    }
    for (; c < v->classes; c += 2) {
        const REAL *p0 = t->p + c * v->size, *p1 = p0 + v->size;
        const REAL base0 = t->coefficients[c * PER_CLASS + BASE], base1 = t->coefficients[(c + 1) * PER_CLASS + BASE];
        REAL *g0 = NAME(gradient_row)(v, t, c, out), *g1 = NAME(gradient_row)(v, t, c + 1, out);
        const int32_t class0 = (int32_t)c, class1 = class0 + 1;
        SIMD for (int64_t i = 0; i < n; ++i) {
            g0[i] = NAME(slope_at)(p0[i], base0, inverse[i], scaled[i], own[i], label[i] == class0);
            g1[i] = NAME(slope_at)(p1[i], base1, inverse[i], scaled[i], own[i], label[i] == class1);
            if (sure) rest[i] += (certain[i] == class0 ? 0 : g0[i]) + (certain[i] == class1 ? 0 : g1[i]);
        }
        if (sure) continue;
        NAME(store_row)(v, t, c, g0, out);
        NAME(store_row)(v, t, c + 1, g1, out);
    }
}

/* The certain class's gradient is minus the sum of the others' in `rest`; then the rows are stored. */
static void NAME(settle)(const VOLUME *v, TILE *t, void *out) {
    REAL *first = NAME(gradient_row)(v, t, 0, out);
    const int64_t step = v->classes > 1 ? NAME(gradient_row)(v, t, 1, out) - first : 0;
    for (int64_t i = 0; i < t->n; ++i)
        if (t->certain[i] < v->classes) first[t->certain[i] * step + i] = -t->rest[i];
    for (int64_t c = 0; c < v->classes; ++c) NAME(store_row)(v, t, c, first + c * step, out);
}

static void NAME(labelled_gradient)(const VOLUME *v, TILE *t, void *out) {
    const int curved = (v->terms & (SQUARES | UNIFORM)) != 0;
    NAME(softmax)(v, t, 1);
    if (curved) NAME(curved_pull)(v, t);
    const int sure = NAME(own_slope)(v, t);
    if (!sure) {
        curved ? NAME(write_rows)(v, t, 1, 0, out) : NAME(write_rows)(v, t, 0, 0, out);
        return;
    }
    curved ? NAME(write_rows)(v, t, 1, 1, out) : NAME(write_rows)(v, t, 0, 1, out);
    NAME(settle)(v, t, out);
}
