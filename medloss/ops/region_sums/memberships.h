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

/* Whether 1 - p is asked for; the sigmoid's gradient always has it. */
static inline int NAME(has_complement)(const VOLUME *v) {
    return (v->terms & (FOCAL | ERRORS | NEGATIVES | WITH_DIFFERENCE | SQUARES)) != 0;
}

/* The probabilities of class c, and their complements into `other`. For the sigmoid `small` holds exp(-|z|). `sure`:
 * whether a class is certain somewhere, whose complement is in `rest`. */
static const REAL *NAME(probabilities)(const VOLUME *v, const TILE *t, int64_t c, const REAL *restrict z, int sure,
                                       REAL *restrict small) {
    const int64_t n = t->n;
    const REAL *restrict unit = t->unit, *restrict rest = t->rest;
    const int32_t *restrict certain = t->certain, class = (int32_t)c;
    REAL *restrict p = t->p + c * v->size, *restrict other = t->other;
    if (v->activation == NONE) {
        for (int64_t i = 0; NAME(has_complement)(v) && i < n; ++i) other[i] = 1 - z[i];
        return z;
    }
    if (v->activation == SOFTMAX) {
        SIMD for (int64_t i = 0; i < n; ++i) p[i] *= unit[i];
        if (!NAME(has_complement)(v)) return p;
        if (sure)
            SIMD for (int64_t i = 0; i < n; ++i) other[i] = certain[i] == class ? rest[i] : 1 - p[i];
        else
            SIMD for (int64_t i = 0; i < n; ++i) other[i] = 1 - p[i];
    } else {
        SIMD for (int64_t i = 0; i < n; ++i) {
            const REAL e = EXP(z[i] > 0 ? -z[i] : z[i]), large = 1 / (1 + e), few = e * large;
            small[i] = e;
            p[i] = z[i] > 0 ? large : few;
            other[i] = z[i] > 0 ? few : large;
        }
    }
    return p;
}

/* The softmax's exponentials, and the log of their sum in nll. Returns whether a class is certain, which is looked for
 * where complements are asked for. */
static int NAME(prepare)(const VOLUME *v, TILE *t) {
    if (v->activation != SOFTMAX) return 0;
    NAME(softmax)(v, t, 0);
    NAME(log_norm)(t, t->nll);
    if (!NAME(has_complement)(v) || !NAME(find_certain)(t->p, v->size, v->classes, t->n, t->unit, t->certain)) return 0;
    NAME(sum_of_others)(t->p, v->size, v->classes, t->n, t->certain, t->rest);
    for (int64_t i = 0; i < t->n; ++i) t->rest[i] *= t->unit[i];
    return 1;
}

/* What the focal factor is a power of: 1 - p for the softmax, p (1 - m) + (1 - p) m for the sigmoid. */
static void NAME(distance)(const VOLUME *v, const TILE *t, const REAL *restrict p, const REAL *restrict m,
                           REAL *restrict out) {
    const REAL *restrict other = t->other;
    if (v->activation == SOFTMAX)
        memcpy(out, other, sizeof(REAL) * (size_t)t->n);
    else
        for (int64_t i = 0; i < t->n; ++i) out[i] = p[i] * (1 - m[i]) + other[i] * m[i];
}

/* p - m, which for a hard m is either probability and no difference; of a soft one it is 0 where they are equal. */
#define ERROR(i) (m[i] == 0 ? p[i] : m[i] == 1 ? -other[i] : p[i] - m[i])
#define SUM(into, expression)                                                                                       \
    {                                                                                                               \
        REAL sum_ = 0;                                                                                              \
        _Pragma("omp simd reduction(+ : sum_)") for (int64_t i = 0; i < n; ++i) sum_ += (expression);               \
        row[into] += (double)sum_;                                                                                  \
    }
#define TRUE(term) (w[i] > 0 && m[i] != 0 ? w[i] * m[i] * (term) : 0)
#define FALSE(term) (w[i] > 0 && m[i] != 1 ? w[i] * (1 - m[i]) * (term) : 0)
#define POSITIVE (rest[i] + (z[i] < 0 ? -FINITE(z[i]) : 0)) /* -log p of the sigmoid */
#define NEGATIVE (rest[i] + (z[i] > 0 ? z[i] : 0))          /* -log (1 - p) */

/* The likelihood columns of one class; `rest` is log(sum exp) for the softmax, log(1 + exp(-|z|)) for the sigmoid. */
static void NAME(add_likelihood)(const VOLUME *v, const TILE *t, const REAL *restrict z, const REAL *restrict m,
                                 const REAL *restrict rest, double *row) {
    const int64_t n = t->n;
    const REAL *restrict w = t->weight;
    if (v->activation == SOFTMAX) {
        if (v->terms & LIKELIHOOD) SUM(NLL_TRUE, TRUE(rest[i] - FINITE(z[i])));
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
    NAME(distance)(v, t, p, m, f);
    NAME(powers)(v->gamma, n, f, NULL);
    if (v->activation == SOFTMAX) {
        SUM(FOCAL_TRUE, TRUE(f[i] * (rest[i] - FINITE(z[i]))));
        return;
    }
    SUM(FOCAL_TRUE, TRUE(f[i] * POSITIVE));
    SUM(FOCAL_FALSE, FALSE(f[i] * NEGATIVE));
}

/* Overlap, input and target of one class, and what else is made of p and m. */
static void NAME(add_overlaps)(const VOLUME *v, const TILE *t, const REAL *restrict p, const REAL *restrict m,
                               double *row) {
    const int64_t n = t->n;
    const REAL *restrict w = t->weight, *restrict other = t->other;
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
        SUM(SQUARED_ERROR, w[i] * ERROR(i) * ERROR(i));
    }
    if (v->terms & WITH_DIFFERENCE) {
        SUM(COMMON, w[i] * (p[i] < m[i] ? p[i] + 0 * m[i] : m[i])); /* an infinite membership shows */
        SUM(SURPLUS, w[i] * (ERROR(i) > 0 ? ERROR(i) : 0));
        SUM(LACK, w[i] * (ERROR(i) < 0 ? -ERROR(i) : 0));
    }
    if (v->terms & ERRORS) {
        SUM(FALSE_POSITIVE, w[i] * p[i] * (1 - m[i]));
        SUM(FALSE_NEGATIVE, w[i] * other[i] * m[i]);
    }
    if (v->terms & NEGATIVES) SUM(TRUE_NEGATIVE, w[i] * other[i] * (1 - m[i]));
}
#undef SUM

/* log(1 + exp(-|z|)) of the sigmoid, from exp(-|z|), or the softmax's log of the norm. */
static const REAL *NAME(rest)(const VOLUME *v, const TILE *t, const REAL *restrict small, REAL *restrict row) {
    if (v->activation != SIGMOID) return t->nll;
    SIMD for (int64_t i = 0; i < t->n; ++i) row[i] = LOG1P(small[i]);
    return row;
}

static void NAME(add_memberships)(const VOLUME *v, TILE *t, double *partial) {
    const int sure = NAME(prepare)(v, t);
    for (int64_t c = 0; c < v->classes; ++c) {
        double *row = partial + c * COLUMNS;
        const REAL *z = NAME(logits)(v, t, c, t->own), *p = NAME(probabilities)(v, t, c, z, sure, t->slope);
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
    const REAL *restrict other = t->other;
    REAL *restrict f = t->factor, *restrict d = t->slope;
    NAME(distance)(v, t, p, m, f);
    NAME(powers)(v->gamma, n, f, d);
    if (v->activation == SOFTMAX)
        SIMD for (int64_t i = 0; i < n; ++i)
            h[i] -= m[i] != 0 ? yes * m[i] * (f[i] + d[i] * p[i] * (rest[i] - FINITE(z[i]))) : 0;
    else
        SIMD for (int64_t i = 0; i < n; ++i) {
            const REAL q = other[i], turn = d[i] * p[i] * q * (1 - 2 * m[i]);
            h[i] += yes * m[i] * (turn * POSITIVE - f[i] * q) + no * (1 - m[i]) * (turn * NEGATIVE + f[i] * p[i]);
        }
}
#undef TRUE
#undef FALSE
#undef POSITIVE
#undef NEGATIVE

/* The gradient by the logit of one class, before the softmax mixes the classes; without the weight. */
static inline ALWAYS_INLINE void NAME(slopes)(const VOLUME *v, const TILE *t, const REAL *restrict p,
                                              const REAL *restrict m, const REAL *row, double shared, int bent,
                                              REAL *restrict h) {
    const int64_t n = t->n;
    const int likelihood = v->terms & LIKELIHOOD, squares = v->terms & SQUARES;
    const int sides = (v->terms & WITH_DIFFERENCE) && !NAME(is_sided)(v);
    const REAL *restrict other = t->other;
    const REAL of_others = (REAL)(NAME(slope_of_others)(v, row) - shared);
    const REAL of_own = (REAL)(NAME(slope_of_own)(v, row) - shared);
    const REAL more = of_own - of_others; /* which is enough where the slopes are alike */
    const REAL twice = squares ? 2 * row[INPUT_SQUARES] : 0, off = squares ? 2 * row[SQUARED_ERROR] : 0;
    const REAL above = sides ? row[SURPLUS] : 0, below = sides ? row[COMMON] - row[LACK] : 0;
    const REAL yes = likelihood ? row[NLL_TRUE] : 0, no = likelihood ? row[NLL_FALSE] : 0;
    const REAL all = v->terms & UNIFORM ? row[NLL_ALL] : 0;
#define SIDE (ERROR(i) > 0 ? above : ERROR(i) < 0 ? below : (above + below) / 2)
#define EITHER (more == 0 ? of_others : of_others * (1 - m[i]) + of_own * m[i])
#define BENT ((squares ? twice * p[i] + off * ERROR(i) : 0) + (sides ? SIDE : 0))
#define SLOPE (bent ? EITHER + BENT : of_others + more * m[i])
    if (v->activation == SOFTMAX)
        SIMD for (int64_t i = 0; i < n; ++i) h[i] = p[i] * SLOPE - yes * m[i] - all;
    else if (v->activation == SIGMOID)
        SIMD for (int64_t i = 0; i < n; ++i)
            h[i] = other[i] * (p[i] * SLOPE - yes * m[i] - all) + no * (1 - m[i]) * p[i];
    else
        SIMD for (int64_t i = 0; i < n; ++i) h[i] = SLOPE;
#undef SLOPE
#undef BENT
#undef EITHER
#undef SIDE
}
#undef ERROR

/* The softmax's rows from h and its sum over the classes. With `sure` their sums but that of the certain class go to
 * `rest`, from which that class's gradient is made. */
static inline ALWAYS_INLINE void NAME(mix_rows)(const VOLUME *v, TILE *t, int sure, void *out) {
    const int64_t n = t->n;
    const REAL *restrict w = t->weight, *restrict pull = t->pull;
    const int32_t *restrict certain = t->certain;
    REAL *restrict rest = t->rest;
    if (sure) memset(rest, 0, sizeof(REAL) * (size_t)n);
    for (int64_t c = 0; c < v->classes; ++c) {
        const REAL *p = t->p + c * v->size, *h = t->h + c * v->size;
        const int32_t class = (int32_t)c;
        REAL *g = NAME(gradient_row)(v, t, c, out);
        SIMD for (int64_t i = 0; i < n; ++i) {
            g[i] = w[i] * (h[i] - p[i] * pull[i]);
            if (sure) rest[i] += certain[i] == class ? 0 : g[i];
        }
        if (!sure) NAME(store_row)(v, t, c, g, out);
    }
    if (sure) NAME(settle)(v, t, out);
}

static void NAME(membership_gradient)(const VOLUME *v, TILE *t, const REAL *cotangent, void *out) {
    const int64_t n = t->n;
    const int soft = v->activation == SOFTMAX;
    const int bent = (v->terms & (SQUARES | WITH_DIFFERENCE)) || NAME(is_uneven)(v, cotangent);
    const double shared = NAME(shared_slope)(v, cotangent);
    const REAL *restrict w = t->weight;
    REAL *restrict pull = t->pull;
    int sure = NAME(prepare)(v, t), high = 0;
    memset(pull, 0, sizeof(REAL) * (size_t)n);
    for (int64_t c = 0; c < v->classes; ++c) {
        const REAL *row = cotangent + c * COLUMNS;
        REAL *h = t->h + (soft ? c * v->size : 0);
        const REAL *z = NAME(logits)(v, t, c, t->own), *p = NAME(probabilities)(v, t, c, z, sure, t->inverse);
        const REAL *m = NAME(members)(v, t, c, t->member);
        bent ? NAME(slopes)(v, t, p, m, row, shared, 1, h)
             : NAME(slopes)(v, t, p, m, row, shared, 0, h);
        if (v->terms & FOCAL)
            NAME(add_focal_slope)(v, t, z, p, m, NAME(rest)(v, t, t->inverse, t->norm), row[FOCAL_TRUE],
                                  row[FOCAL_FALSE], h);
        if (soft) {
#pragma omp simd reduction(| : high)
            for (int64_t i = 0; i < n; ++i) {
                pull[i] += h[i];
                high |= p[i] > 1 - UNSURE;
            }
            continue;
        }
        REAL *g = NAME(gradient_row)(v, t, c, out);
        SIMD for (int64_t i = 0; i < n; ++i) g[i] = w[i] * h[i];
        NAME(store_row)(v, t, c, g, out);
    }
    if (!soft) return;
    if (high && !sure) sure = NAME(find_certain)(t->p, v->size, v->classes, n, NULL, t->certain);
    sure ? NAME(mix_rows)(v, t, 1, out) : NAME(mix_rows)(v, t, 0, out);
}
