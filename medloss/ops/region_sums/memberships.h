/* Any activation and any target, class by class: memberships as they are given, or a row of them made from labels. */

/* How much each voxel of the tile belongs to class c; what weighs nothing is not looked at. */
static const REAL *NAME(members)(const VOLUME *v, const TILE *t, int64_t c, REAL *restrict row) {
    const int64_t n = t->n;
    const REAL *restrict w = t->weight;
    const int32_t *restrict label = t->label, class = (int32_t)c;
    const REAL *first = (const REAL *)v->labels + t->b * v->classes * v->voxels + t->start;
    const REAL *from = first + c * v->voxels;
    if (v->kind < 0) NAME(fetch_ahead)(v, t, first, v->voxels, c);
    if (v->kind >= 0)
        SIMD for (int64_t i = 0; i < n; ++i) row[i] = label[i] == class ? 1 : 0;
    else if (NAME(is_weighted)(v))
        SIMD for (int64_t i = 0; i < n; ++i) row[i] = w[i] > 0 ? from[i] : 0;
    else
        return from;
    return row;
}

/* A class's logits; what weighs nothing is not looked at. */
static const REAL *NAME(logits)(const VOLUME *v, const TILE *t, int64_t c, REAL *restrict row) {
    const REAL *restrict z = t->z + c * t->step, *restrict w = t->weight;
    if (v->activation != SOFTMAX && !NAME(is_staged)(v)) NAME(fetch_ahead)(v, t, t->z, t->step, c);
    if (!NAME(is_weighted)(v)) return z;
    SIMD for (int64_t i = 0; i < t->n; ++i) row[i] = w[i] > 0 ? z[i] : 0;
    return row;
}

/* The probabilities of class c. For the sigmoid `small` holds exp(-|z|). */
static const REAL *NAME(probabilities)(const VOLUME *v, const TILE *t, int64_t c, const REAL *restrict z,
                                       REAL *restrict small) {
    const int64_t n = t->n;
    const REAL *restrict unit = t->unit;
    REAL *restrict p = t->p + c * v->size;
    if (v->activation == NONE) return z;
    if (v->activation == SOFTMAX)
        SIMD for (int64_t i = 0; i < n; ++i) p[i] *= unit[i];
    else
        SIMD for (int64_t i = 0; i < n; ++i) {
            const REAL e = EXP(z[i] > 0 ? -z[i] : z[i]), large = 1 / (1 + e);
            small[i] = e;
            p[i] = z[i] > 0 ? large : e * large;
        }
    return p;
}

/* The softmax's exponentials, and the log of their sum in nll. */
static void NAME(prepare)(const VOLUME *v, TILE *t) {
    if (v->activation != SOFTMAX) return;
    NAME(softmax)(v, t, 0);
    NAME(log_norm)(t, t->nll);
}

/* What the focal factor is a power of: 1 - p for the softmax, p (1 - m) + (1 - p) m for the sigmoid. */
static void NAME(distance)(const VOLUME *v, const REAL *restrict p, const REAL *restrict m, int64_t n,
                           REAL *restrict out) {
    if (v->activation == SOFTMAX)
        for (int64_t i = 0; i < n; ++i) out[i] = 1 - p[i];
    else
        for (int64_t i = 0; i < n; ++i) out[i] = p[i] * (1 - m[i]) + (1 - p[i]) * m[i];
}

#define SUM(into, expression)                                                                                       \
    {                                                                                                               \
        REAL sum_ = 0;                                                                                              \
        _Pragma("omp simd reduction(+ : sum_)") for (int64_t i = 0; i < n; ++i) sum_ += (expression);               \
        row[into] += (double)sum_;                                                                                  \
    }
#define TRUE(term) (w[i] > 0 && m[i] != 0 ? w[i] * m[i] * (term) : 0)
#define FALSE(term) (w[i] > 0 && m[i] != 1 ? w[i] * (1 - m[i]) * (term) : 0)
#define POSITIVE (rest[i] + (z[i] < 0 ? -z[i] : 0)) /* -log p of the sigmoid */
#define NEGATIVE (rest[i] + (z[i] > 0 ? z[i] : 0))  /* -log (1 - p) */

/* The likelihood columns of one class; `rest` is log(sum exp) for the softmax, log(1 + exp(-|z|)) for the sigmoid. */
static void NAME(add_likelihood)(const VOLUME *v, const TILE *t, const REAL *restrict z, const REAL *restrict m,
                                 const REAL *restrict rest, double *row) {
    const int64_t n = t->n;
    const REAL *restrict w = t->weight;
    if (v->activation == SOFTMAX) {
        if (v->terms & LIKELIHOOD) SUM(NLL_TRUE, TRUE(rest[i] - z[i]));
        if (v->terms & UNIFORM) row[NLL_ALL] += (double)NAME(sum_nll)(t, z, rest);
        return;
    }
    if (v->terms & LIKELIHOOD) {
        SUM(NLL_TRUE, TRUE(POSITIVE));
        SUM(NLL_FALSE, FALSE(NEGATIVE));
    }
    if (v->terms & UNIFORM) SUM(NLL_ALL, w[i] > 0 ? w[i] * POSITIVE : 0);
}

static void NAME(add_focal)(const VOLUME *v, const TILE *t, const REAL *restrict z, const REAL *restrict p,
                            const REAL *restrict m, const REAL *restrict rest, double *row) {
    const int64_t n = t->n;
    const REAL *restrict w = t->weight;
    REAL *restrict f = t->factor;
    NAME(distance)(v, p, m, n, f);
    NAME(powers)(v->gamma, n, f, NULL);
    if (v->activation == SOFTMAX) {
        SUM(FOCAL_TRUE, TRUE(f[i] * (rest[i] - z[i])));
        return;
    }
    SUM(FOCAL_TRUE, TRUE(f[i] * POSITIVE));
    SUM(FOCAL_FALSE, FALSE(f[i] * NEGATIVE));
}

/* Overlap, input and target of one class, and what else is made of p and m. */
static void NAME(add_overlaps)(const VOLUME *v, const TILE *t, const REAL *restrict p, const REAL *restrict m,
                               double *row) {
    const int64_t n = t->n;
    const REAL *restrict w = t->weight;
    REAL overlap = 0, input = 0, target = 0;
#pragma omp simd reduction(+ : overlap, input, target)
    for (int64_t i = 0; i < n; ++i) {
        const REAL share = w[i] * p[i];
        overlap += share * m[i];
        input += share;
        target += w[i] * m[i];
    }
    row[OVERLAP] += (double)overlap;
    row[INPUT] += (double)input;
    row[TARGET] += (double)target;
    if (v->terms & SQUARES) {
        SUM(INPUT_SQUARES, w[i] * p[i] * p[i]);
        SUM(TARGET_SQUARES, w[i] * m[i] * m[i]);
    }
    if (v->terms & WITH_DIFFERENCE) SUM(DIFFERENCE, w[i] * (p[i] > m[i] ? p[i] - m[i] : m[i] - p[i]));
}
#undef SUM

/* log(1 + exp(-|z|)) of the sigmoid, from exp(-|z|), or the softmax's log of the norm. */
static const REAL *NAME(rest)(const VOLUME *v, const TILE *t, const REAL *restrict small, REAL *restrict row) {
    if (v->activation != SIGMOID) return t->nll;
    SIMD for (int64_t i = 0; i < t->n; ++i) row[i] = LOG1P(small[i]);
    return row;
}

static void NAME(add_memberships)(const VOLUME *v, TILE *t, double *partial) {
    NAME(prepare)(v, t);
    for (int64_t c = 0; c < v->classes; ++c) {
        double *row = partial + c * COLUMNS;
        const REAL *z = NAME(logits)(v, t, c, t->own), *p = NAME(probabilities)(v, t, c, z, t->slope);
        const REAL *m = NAME(members)(v, t, c, t->member);
        NAME(add_overlaps)(v, t, p, m, row);
        if (!(v->terms & (LIKELIHOOD | UNIFORM | FOCAL))) continue;
        const REAL *rest = NAME(rest)(v, t, t->slope, t->pull);
        if (v->terms & (LIKELIHOOD | UNIFORM)) NAME(add_likelihood)(v, t, z, m, rest, row);
        if (v->terms & FOCAL) NAME(add_focal)(v, t, z, p, m, rest, row);
    }
}

/* Adds to h what the focal terms of one class have there: minus dL/d(-log p) for the softmax, dL/dz for the sigmoid.
 * `yes` and `no` are the gradients of the two columns. */
static void NAME(add_focal_slope)(const VOLUME *v, const TILE *t, const REAL *restrict z, const REAL *restrict p,
                                  const REAL *restrict m, const REAL *restrict rest, REAL yes, REAL no,
                                  REAL *restrict h) {
    const int64_t n = t->n;
    REAL *restrict f = t->factor, *restrict d = t->slope;
    NAME(distance)(v, p, m, n, f);
    NAME(powers)(v->gamma, n, f, d);
    if (v->activation == SOFTMAX)
        SIMD for (int64_t i = 0; i < n; ++i)
            h[i] -= m[i] != 0 ? yes * m[i] * (f[i] + d[i] * p[i] * (rest[i] - z[i])) : 0;
    else
        SIMD for (int64_t i = 0; i < n; ++i) {
            const REAL q = 1 - p[i], turn = d[i] * p[i] * q * (1 - 2 * m[i]);
            h[i] += yes * m[i] * (turn * POSITIVE - f[i] * q) + no * (1 - m[i]) * (turn * NEGATIVE + f[i] * p[i]);
        }
}
#undef TRUE
#undef FALSE
#undef POSITIVE
#undef NEGATIVE

/* The gradient by the logit of one class, before the softmax mixes the classes; without the weight. */
static inline ALWAYS_INLINE void NAME(slopes)(const VOLUME *v, const TILE *t, const REAL *restrict p,
                                              const REAL *restrict m, const REAL *row, int bent, REAL *restrict h) {
    const int64_t n = t->n;
    const int likelihood = v->terms & LIKELIHOOD;
    const REAL base = row[INPUT], overlap = row[OVERLAP];
    const REAL twice = v->terms & SQUARES ? 2 * row[INPUT_SQUARES] : 0;
    const REAL side = v->terms & WITH_DIFFERENCE ? row[DIFFERENCE] : 0;
    const REAL yes = likelihood ? row[NLL_TRUE] : 0, no = likelihood ? row[NLL_FALSE] : 0;
    const REAL all = v->terms & UNIFORM ? row[NLL_ALL] : 0;
#define SLOPE                                                                                                       \
    (base + overlap * m[i] + (bent ? twice * p[i] + side * (REAL)((p[i] > m[i]) - (p[i] < m[i])) : 0))
    if (v->activation == SOFTMAX)
        SIMD for (int64_t i = 0; i < n; ++i) h[i] = p[i] * SLOPE - yes * m[i] - all;
    else if (v->activation == SIGMOID)
        SIMD for (int64_t i = 0; i < n; ++i)
            h[i] = (1 - p[i]) * (p[i] * SLOPE - yes * m[i] - all) + no * (1 - m[i]) * p[i];
    else
        SIMD for (int64_t i = 0; i < n; ++i) h[i] = SLOPE;
#undef SLOPE
}

static void NAME(membership_gradient)(const VOLUME *v, TILE *t, const REAL *cotangent, void *out) {
    const int64_t n = t->n;
    const int soft = v->activation == SOFTMAX;
    const REAL *restrict w = t->weight;
    REAL *restrict pull = t->pull;
    NAME(prepare)(v, t);
    memset(pull, 0, sizeof(REAL) * (size_t)n);
    for (int64_t c = 0; c < v->classes; ++c) {
        const REAL *row = cotangent + c * COLUMNS;
        REAL *h = t->h + (soft ? c * v->size : 0);
        const REAL *z = NAME(logits)(v, t, c, t->own), *p = NAME(probabilities)(v, t, c, z, t->inverse);
        const REAL *m = NAME(members)(v, t, c, t->member);
        v->terms & (SQUARES | WITH_DIFFERENCE) ? NAME(slopes)(v, t, p, m, row, 1, h)
                                               : NAME(slopes)(v, t, p, m, row, 0, h);
        if (v->terms & FOCAL)
            NAME(add_focal_slope)(v, t, z, p, m, NAME(rest)(v, t, t->inverse, t->norm), row[FOCAL_TRUE],
                                  row[FOCAL_FALSE], h);
        if (soft)
            SIMD for (int64_t i = 0; i < n; ++i) pull[i] += h[i];
        REAL *g = NAME(gradient_row)(v, t, c, out);
        if (!soft)
            SIMD for (int64_t i = 0; i < n; ++i) g[i] = w[i] * h[i];
        if (!soft) NAME(store_row)(v, t, c, g, out);
    }
    for (int64_t c = 0; soft && c < v->classes; ++c) {
        const REAL *p = t->p + c * v->size, *h = t->h + c * v->size;
        REAL *g = NAME(gradient_row)(v, t, c, out);
        SIMD for (int64_t i = 0; i < n; ++i) g[i] = w[i] * (h[i] - p[i] * pull[i]);
        NAME(store_row)(v, t, c, g, out);
    }
}
