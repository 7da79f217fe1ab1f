/* Softmax with class indices: what belongs to the true class is found once per voxel and not once per class.
 *
 * The gradient by the logit of class c is w (p_c (s_c - total) + [c is true] d), with s_c the slope of what every class
 * has, d that of the true class alone, and total = sum_c p_c s_c + d. */

/* The true class's probability and, where asked for, minus its logarithm. */
static void NAME(own_likelihood)(const VOLUME *v, TILE *t, int likelihoods) {
    const REAL most = sizeof(REAL) == 4 ? (REAL)1e37 : (REAL)1e300;
    const int64_t n = t->n, size = v->size;
    const REAL *restrict p = t->p, *restrict norm = t->norm, *restrict unit = t->unit;
    const int32_t *restrict label = t->label, none = (int32_t)v->classes;
    REAL *restrict own = t->own, *restrict nll = t->nll;
    for (int64_t i = 0; i < n; ++i) own[i] = p[label[i] * size + i];
    SIMD for (int64_t i = 0; i < n; ++i) own[i] = label[i] == none ? norm[i] : own[i]; /* certain: nothing grows */
    if (likelihoods) {
        int overflow = 0;
#pragma omp simd reduction(| : overflow)
        for (int64_t i = 0; i < n; ++i) {
            const REAL ratio = norm[i] / own[i];
            nll[i] = LOG(ratio);
            overflow |= !(ratio < most);
        }
        for (int64_t i = 0; overflow && i < n; ++i) /* a probability too small for its inverse: from the logit */
            if (!(norm[i] / own[i] < most) && label[i] != none)
                nll[i] = t->top[i] - t->z[label[i] * t->step + i] + LOG(norm[i]);
    }
    SIMD for (int64_t i = 0; i < n; ++i) own[i] *= unit[i];
}

/* Sums over the voxels of what every class has: w p and, where asked for, w p p. Two classes at once, so that their
 * sums do not wait for themselves. */
static inline ALWAYS_INLINE void NAME(add_classes)(const VOLUME *v, const TILE *t, int squares, double *partial) {
    const int64_t n = t->n;
    const REAL *restrict inverse = t->inverse, *restrict unit = t->unit;
    for (int64_t c = 0; c < v->classes; c += 2) { /* an odd last class meets the row of ones, which goes nowhere */
        const REAL *restrict p0 = t->p + c * v->size, *restrict p1 = p0 + v->size;
        REAL sum0 = 0, sum1 = 0, square0 = 0, square1 = 0;
#pragma omp simd reduction(+ : sum0, sum1, square0, square1)
        for (int64_t i = 0; i < n; ++i) {
            const REAL share0 = p0[i] * inverse[i], share1 = p1[i] * inverse[i];
            sum0 += share0;
            sum1 += share1;
            if (squares) {
                square0 += share0 * (p0[i] * unit[i]);
                square1 += share1 * (p1[i] * unit[i]);
            }
        }
        double *row = partial + c * COLUMNS;
        row[INPUT] += (double)sum0;
        row[INPUT_SQUARES] += (double)square0;
        if (c + 1 == v->classes) break;
        row[COLUMNS + INPUT] += (double)sum1;
        row[COLUMNS + INPUT_SQUARES] += (double)square1;
    }
}

/* Adds each voxel to its class. Neighbours are mostly of one class: they go to different lanes, so that no sum waits
 * for the one before. */
static inline ALWAYS_INLINE void NAME(scatter)(const VOLUME *v, TILE *t, int likelihood, int focal) {
    const int64_t n = t->n, pitch = (v->classes + 1) * PER_LANE;
    const REAL *restrict w = t->weight, *restrict own = t->own, *restrict nll = t->nll, *restrict f = t->factor;
    const int32_t *restrict label = t->label;
    double *restrict lanes = t->lanes;
    for (int64_t i = 0; i < n; ++i) {
        double *row = lanes + (i % LANES) * pitch + label[i] * PER_LANE;
        row[0] += (double)w[i];
        row[1] += (double)own[i];
        if (likelihood) row[2] += (double)nll[i];
        if (focal) row[3] += (double)f[i];
    }
}

/* What scatter summed, into the block's columns. */
static void NAME(gather_lanes)(const VOLUME *v, TILE *t, double *partial) {
    for (int64_t c = 0; c < v->classes; ++c) {
        double *row = partial + c * COLUMNS, sum[PER_LANE] = {0};
        for (int64_t lane = 0; lane < LANES; ++lane)
            for (int k = 0; k < PER_LANE; ++k) sum[k] += t->lanes[(lane * (v->classes + 1) + c) * PER_LANE + k];
        row[TARGET] += sum[0];
        row[OVERLAP] += sum[1];
        row[NLL_TRUE] += sum[2];
        row[FOCAL_TRUE] += sum[3];
        if (v->terms & SQUARES) row[TARGET_SQUARES] += sum[0];
        if (v->terms & WITH_DIFFERENCE) row[DIFFERENCE] += row[INPUT] + sum[0] - 2 * sum[1];
    }
    memset(t->lanes, 0, sizeof(double) * (size_t)(LANES * (v->classes + 1) * PER_LANE));
}

static void NAME(add_labelled)(const VOLUME *v, TILE *t, double *partial) {
    const int64_t n = t->n;
    const int likelihood = (v->terms & LIKELIHOOD) != 0, focal = (v->terms & FOCAL) != 0;
    const REAL *restrict w = t->weight;
    REAL *restrict own = t->own, *restrict nll = t->nll, *restrict f = t->factor;
    NAME(softmax)(v, t, 0);
    v->terms & SQUARES ? NAME(add_classes)(v, t, 1, partial) : NAME(add_classes)(v, t, 0, partial);
    NAME(own_likelihood)(v, t, likelihood || focal);
    if (focal) {
        for (int64_t i = 0; i < n; ++i) f[i] = 1 - own[i];
        NAME(powers)(v->gamma, n, f, NULL);
        for (int64_t i = 0; i < n; ++i) f[i] *= w[i] * nll[i];
    }
    if (likelihood)
        for (int64_t i = 0; i < n; ++i) nll[i] *= w[i];
    for (int64_t i = 0; i < n; ++i) own[i] *= w[i];
    if (focal)
        likelihood ? NAME(scatter)(v, t, 1, 1) : NAME(scatter)(v, t, 0, 1);
    else
        likelihood ? NAME(scatter)(v, t, 1, 0) : NAME(scatter)(v, t, 0, 0);
    if (v->terms & UNIFORM) {
        NAME(log_norm)(t, nll);
        for (int64_t c = 0; c < v->classes; ++c)
            partial[c * COLUMNS + NLL_ALL] += NAME(sum_nll)(t, t->z + c * t->step, nll);
    }
}

/* d of each voxel into `own` and the total into `pull`, both times the weight; `pull` comes as sum_c exp(z_c) s_c. */
static void NAME(own_slope)(const VOLUME *v, TILE *t) {
    const int64_t n = t->n;
    const int focal = (v->terms & FOCAL) != 0;
    const REAL *restrict w = t->weight, *restrict nll = t->nll, *restrict inverse = t->inverse;
    const REAL *restrict coefficients = t->coefficients;
    const int32_t *restrict label = t->label;
    REAL *restrict own = t->own, *restrict f = t->factor, *restrict d = t->slope, *restrict pull = t->pull;
    NAME(own_likelihood)(v, t, focal);
    if (focal) {
        for (int64_t i = 0; i < n; ++i) f[i] = 1 - own[i];
        NAME(powers)(v->gamma, n, f, d);
        for (int64_t i = 0; i < n; ++i) f[i] += d[i] * own[i] * nll[i];
        for (int64_t i = 0; i < n; ++i) f[i] *= coefficients[label[i] * PER_CLASS + FOCAL_SLOPE];
    }
    for (int64_t i = 0; i < n; ++i) {
        const REAL *row = coefficients + label[i] * PER_CLASS;
        own[i] = own[i] * row[OWN] - row[YES];
    }
    if (focal)
        for (int64_t i = 0; i < n; ++i) own[i] -= f[i];
    for (int64_t i = 0; i < n; ++i) {
        own[i] *= w[i];
        pull[i] = pull[i] * inverse[i] + own[i];
    }
}

/* What squares and even likelihoods add to the total. */
static void NAME(curved_pull)(const VOLUME *v, TILE *t) {
    const int64_t n = t->n;
    REAL *restrict sum = t->factor, *restrict pull = t->pull, all = 0;
    const REAL *restrict norm = t->norm, *restrict unit = t->unit;
    memset(sum, 0, sizeof(REAL) * (size_t)n);
    for (int64_t c = 0; c < v->classes; ++c) {
        const REAL *restrict p = t->p + c * v->size, twice = t->coefficients[c * PER_CLASS + SQUARE];
        all += t->coefficients[c * PER_CLASS + ALL];
        SIMD for (int64_t i = 0; i < n; ++i) sum[i] += twice * p[i] * (p[i] * unit[i]);
    }
    for (int64_t i = 0; i < n; ++i) pull[i] += sum[i] - all * norm[i];
}

/* The gradient of one class; `scaled` is the total over the norm. */
static inline ALWAYS_INLINE REAL NAME(slope_at)(REAL p, REAL base, REAL inverse, REAL scaled, REAL own, int is_own) {
    return p * (base * inverse - scaled) + (is_own ? own : 0);
}

static void NAME(labelled_gradient)(const VOLUME *v, TILE *t, void *out) {
    const int64_t n = t->n;
    const int curved = (v->terms & (SQUARES | UNIFORM)) != 0;
    NAME(softmax)(v, t, 1);
    if (curved) NAME(curved_pull)(v, t);
    NAME(own_slope)(v, t);
    const REAL *restrict inverse = t->inverse, *restrict unit = t->unit, *restrict own = t->own;
    const REAL *restrict w = t->weight;
    const int32_t *restrict label = t->label;
    REAL *restrict scaled = t->pull;
    for (int64_t i = 0; i < n; ++i) scaled[i] *= unit[i];
    int64_t c = curved ? v->classes : v->classes % 2;
    for (int64_t k = 0; k < c; ++k) { /* one at a time: an odd class, or slopes that bend */
        const REAL *p = t->p + k * v->size, *row = t->coefficients + k * PER_CLASS;
        const REAL base = row[BASE], twice = row[SQUARE], all = row[ALL];
        REAL *g = NAME(gradient_row)(v, t, k, out);
        if (curved)
            SIMD for (int64_t i = 0; i < n; ++i)
                g[i] = NAME(slope_at)(p[i], base + twice * (p[i] * unit[i]), inverse[i], scaled[i], own[i],
                                      label[i] == (int32_t)k) - all * w[i];
        else
            SIMD for (int64_t i = 0; i < n; ++i)
                g[i] = NAME(slope_at)(p[i], base, inverse[i], scaled[i], own[i], label[i] == (int32_t)k);
        NAME(store_row)(v, t, k, g, out);
    }
    for (; c < v->classes; c += 2) {
        const REAL *p0 = t->p + c * v->size, *p1 = p0 + v->size;
        const REAL base0 = t->coefficients[c * PER_CLASS + BASE], base1 = t->coefficients[(c + 1) * PER_CLASS + BASE];
        REAL *g0 = NAME(gradient_row)(v, t, c, out), *g1 = NAME(gradient_row)(v, t, c + 1, out);
        const int32_t class0 = (int32_t)c, class1 = class0 + 1;
        SIMD for (int64_t i = 0; i < n; ++i) {
            g0[i] = NAME(slope_at)(p0[i], base0, inverse[i], scaled[i], own[i], label[i] == class0);
            g1[i] = NAME(slope_at)(p1[i], base1, inverse[i], scaled[i], own[i], label[i] == class1);
        }
        NAME(store_row)(v, t, c, g0, out);
        NAME(store_row)(v, t, c + 1, g1, out);
    }
}
