/* Softmax with class indices: what belongs to the true class is found once per voxel and not once per class. */

/* Whether 1 - p of the true class is asked for. */
static inline int NAME(has_other)(const VOLUME *v) {
    return (v->terms & (FOCAL | ERRORS | WITH_DIFFERENCE | SQUARES)) != 0;
}

/* The certain class of each voxel; returns whether there is one. It is the true one, unless that has next to nothing,
 * and then seldom. `own` is the true class's probability. */
static int NAME(find_certain_label)(const VOLUME *v, TILE *t) {
    const int64_t n = t->n;
    const int32_t none = (int32_t)v->classes;
    const REAL *restrict own = t->own, *restrict w = t->weight;
    const int32_t *restrict label = t->label;
    int32_t *restrict certain = t->certain;
    int found = 0, low = 0;
#pragma omp simd reduction(| : found, low)
    for (int64_t i = 0; i < n; ++i) {
        const int sure = own[i] > 1 - UNSURE, lost = (own[i] < UNSURE) | (label[i] == none);
        certain[i] = sure ? label[i] : none;
        found |= sure & !lost;
        low |= lost;
    }
    for (int64_t i = 0; low && i < n; ++i) {
        if ((!(own[i] < UNSURE) && label[i] != none) || !(w[i] > 0)) continue;
        for (int64_t c = 0; c < v->classes; ++c)
            if (t->p[c * v->size + i] * t->unit[i] > 1 - UNSURE) {
                certain[i] = (int32_t)c;
                found = 1;
            }
    }
    return found;
}

/* Of a true class that is certain: its complement, and minus its logarithm where that is asked for. */
static void NAME(sharpen)(const VOLUME *v, TILE *t, int likelihoods) {
    const int64_t n = t->n;
    const int32_t *restrict label = t->label, *restrict certain = t->certain, none = (int32_t)v->classes;
    const REAL *restrict unit = t->unit;
    REAL *restrict rest = t->rest, *restrict other = t->other, *restrict nll = t->nll;
    NAME(sum_of_others)(t->p, v->size, v->classes, n, certain, rest);
    for (int64_t i = 0; i < n; ++i) {
        const int sure = certain[i] == label[i] && label[i] != none;
        rest[i] *= unit[i];
        other[i] = sure ? rest[i] : other[i];
    }
    for (int64_t i = 0; likelihoods && i < n; ++i) {
        const int sure = certain[i] == label[i] && label[i] != none;
        const REAL odds = rest[i] / (1 - rest[i]), near = LOG1P(odds);
        nll[i] = sure ? near : nll[i];
    }
}

/* From exponentials to probabilities of the true class, and their complements; returns whether one is near 0 or 1, as
 * that of a voxel of no class is. */
static inline ALWAYS_INLINE int NAME(scale_own)(TILE *t, int complements) {
    const int64_t n = t->n;
    const REAL *restrict unit = t->unit;
    REAL *restrict own = t->own, *restrict other = t->other;
    int extreme = 0;
#pragma omp simd reduction(| : extreme)
    for (int64_t i = 0; i < n; ++i) {
        const REAL p = own[i] * unit[i], q = 1 - p;
        own[i] = p;
        if (complements) other[i] = q;
        extreme |= (p < q ? p : q) < UNSURE;
    }
    return extreme;
}

/* The true class's probability and, where asked for, minus its logarithm; with `complements` what is certain is looked
 * for, and 1 - p found where a term needs it. Returns whether something is certain. */
static int NAME(own_likelihood)(const VOLUME *v, TILE *t, int likelihoods, int complements) {
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
                nll[i] = t->top[i] - FINITE(t->z[label[i] * t->step + i]) + LOG(norm[i]);
    }
    if (!complements) {
        SIMD for (int64_t i = 0; i < n; ++i) own[i] *= unit[i];
        return 0;
    }
    const int extreme = NAME(has_other)(v) ? NAME(scale_own)(t, 1) : NAME(scale_own)(t, 0);
    const int certain = extreme && NAME(find_certain_label)(v, t);
    if (certain && NAME(has_other)(v)) NAME(sharpen)(v, t, likelihoods);
    return certain;
}

/* Sums over the voxels of what every class has: w p and, where asked for, w p p; with `apart` of the voxels of other
 * classes alone, and with `negatives` w (1 - p) of those. Two classes at once, so that their sums do not wait for
 * themselves. */
static inline ALWAYS_INLINE void NAME(add_classes)(const VOLUME *v, const TILE *t, int squares, int apart,
                                                   int negatives, double *partial) {
    const int64_t n = t->n;
    const REAL *restrict inverse = t->inverse, *restrict unit = t->unit, *restrict w = t->weight;
    const int32_t *restrict label = t->label;
    for (int64_t c = 0; c < v->classes; c += 2) { /* an odd last class meets the row of ones, which goes nowhere */
        const REAL *restrict p0 = t->p + c * v->size, *restrict p1 = p0 + v->size;
        const int32_t class0 = (int32_t)c, class1 = class0 + 1;
        REAL sum0 = 0, sum1 = 0, square0 = 0, square1 = 0, clear0 = 0, clear1 = 0;
#pragma omp simd reduction(+ : sum0, sum1, square0, square1, clear0, clear1)
        for (int64_t i = 0; i < n; ++i) {
            const int out0 = !apart || label[i] != class0, out1 = !apart || label[i] != class1;
            const REAL share0 = out0 ? p0[i] * inverse[i] : 0, share1 = out1 ? p1[i] * inverse[i] : 0;
            sum0 += share0;
            sum1 += share1;
            if (squares) {
                square0 += share0 * (p0[i] * unit[i]);
                square1 += share1 * (p1[i] * unit[i]);
            }
            if (negatives) {
                clear0 += out0 ? w[i] - share0 : 0;
                clear1 += out1 ? w[i] - share1 : 0;
            }
        }
        double *row = partial + c * COLUMNS;
        row[apart ? FALSE_POSITIVE : INPUT] += (double)sum0;
        if (squares) row[INPUT_SQUARES] += (double)square0;
        if (negatives) row[TRUE_NEGATIVE] += (double)clear0;
        if (c + 1 == v->classes) break;
        row[COLUMNS + (apart ? FALSE_POSITIVE : INPUT)] += (double)sum1;
        if (squares) row[COLUMNS + INPUT_SQUARES] += (double)square1;
        if (negatives) row[COLUMNS + TRUE_NEGATIVE] += (double)clear1;
    }
}

/* Adds each voxel to its class. Neighbours are mostly of one class: they go to different lanes, so that no sum waits
 * for the one before. */
static inline ALWAYS_INLINE void NAME(scatter)(const VOLUME *v, TILE *t, const REAL *f, int likelihood, int focal,
                                               int apart) {
    const int64_t n = t->n, pitch = (v->classes + 1) * PER_LANE;
    const REAL *restrict w = t->weight, *restrict own = t->own, *restrict nll = t->nll, *restrict other = t->other;
    const int32_t *restrict label = t->label;
    double *restrict lanes = t->lanes;
    for (int64_t i = 0; i < n; ++i) {
        double *row = lanes + (i % LANES) * pitch + label[i] * PER_LANE;
        row[0] += (double)w[i];
        row[1] += (double)own[i];
        if (likelihood) row[2] += (double)nll[i];
        if (focal) row[3] += (double)f[i];
        if (apart) {
            const double missed = (double)(w[i] * other[i]);
            row[4] += missed;
            row[5] += missed * (double)other[i];
            row[6] += (double)own[i] * (1 - (double)other[i]);
        }
    }
}

/* Whether voxels of the class and others are summed apart. */
static inline int NAME(is_apart)(const VOLUME *v) { return (v->terms & (ERRORS | WITH_DIFFERENCE | SQUARES)) != 0; }

/* Columns that came along and that nobody asked for are zero. */
static void NAME(clear_unasked)(const VOLUME *v, double *partial) {
    static const int column[] = {INPUT_SQUARES, TARGET_SQUARES, SQUARED_ERROR, SURPLUS,        COMMON,
                                 LACK,          FALSE_POSITIVE, FALSE_NEGATIVE, TRUE_NEGATIVE};
    static const int term[] = {SQUARES,         SQUARES, SQUARES, WITH_DIFFERENCE, WITH_DIFFERENCE,
                               WITH_DIFFERENCE, ERRORS,  ERRORS,  NEGATIVES};
    for (int64_t c = 0; c < v->classes; ++c)
        for (int k = 0; k < 9; ++k)
            if (!(v->terms & term[k])) partial[c * COLUMNS + column[k]] = 0;
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
        if (!NAME(is_apart)(v)) continue;
        row[FALSE_NEGATIVE] = sum[4];
        row[INPUT] = row[FALSE_POSITIVE] + sum[1];
        row[SQUARED_ERROR] = row[INPUT_SQUARES] + sum[5];
        row[INPUT_SQUARES] += sum[6];
        row[TARGET_SQUARES] = sum[0];
        row[COMMON] = sum[1];
        row[SURPLUS] = row[FALSE_POSITIVE];
        row[LACK] = sum[4];
    }
    NAME(clear_unasked)(v, partial);
    memset(t->lanes, 0, sizeof(double) * (size_t)(LANES * (v->classes + 1) * PER_LANE));
}

static void NAME(add_labelled)(const VOLUME *v, TILE *t, double *partial) {
    const int64_t n = t->n;
    const int likelihood = (v->terms & LIKELIHOOD) != 0, focal = (v->terms & FOCAL) != 0;
    const REAL *restrict w = t->weight;
    const int apart = NAME(is_apart)(v);
    REAL *restrict own = t->own, *restrict nll = t->nll, *restrict f = apart ? t->factor : t->other;
    NAME(softmax)(v, t, 0);
    if (v->terms & NEGATIVES)
        NAME(add_classes)(v, t, 1, 1, 1, partial);
    else if (v->terms & SQUARES)
        NAME(add_classes)(v, t, 1, 1, 0, partial);
    else
        apart ? NAME(add_classes)(v, t, 0, 1, 0, partial) : NAME(add_classes)(v, t, 0, 0, 0, partial);
    NAME(own_likelihood)(v, t, likelihood || focal, NAME(has_other)(v));
    if (focal) {
        if (apart) memcpy(f, t->other, sizeof(REAL) * (size_t)n);
        NAME(powers)(v->gamma, n, f, NULL);
        for (int64_t i = 0; i < n; ++i) f[i] *= w[i] * nll[i];
    }
    if (likelihood)
        for (int64_t i = 0; i < n; ++i) nll[i] *= w[i];
    for (int64_t i = 0; i < n; ++i) own[i] *= w[i];
    if (apart)
        NAME(scatter)(v, t, f, likelihood, focal, 1);
    else if (focal)
        likelihood ? NAME(scatter)(v, t, f, 1, 1, 0) : NAME(scatter)(v, t, f, 0, 1, 0);
    else
        likelihood ? NAME(scatter)(v, t, f, 1, 0, 0) : NAME(scatter)(v, t, f, 0, 0, 0);
    if (v->terms & UNIFORM) {
        NAME(log_norm)(t, nll);
        for (int64_t c = 0; c < v->classes; ++c)
            partial[c * COLUMNS + NLL_ALL] += NAME(sum_nll)(t, t->z + c * t->step, nll);
    }
}
