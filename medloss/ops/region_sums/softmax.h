/* The exponentials of a tile and their sum.
 *
 * A softmax need not take off the largest logit where the sum of the exponentials stays far from overflow and
 * underflow: it is looked at afterwards, and the tile computed again with care where it does not (NaN too). The rest of
 * the block is then done with care at once; blocks are the same for any number of threads, and so is the result. */

/* exp(z - top) of every class, and their sum; with `pulls`, also the sum of each times the class's base coefficient. */
static inline ALWAYS_INLINE void NAME(exponentials)(const VOLUME *v, TILE *t, int weighted, int careful, int pulls) {
    const int64_t n = t->n;
    const REAL *restrict w = t->weight, *restrict top = t->top;
    REAL *restrict norm = t->norm, *restrict pull = t->pull;
#define LOGIT(row) ((weighted && !(w[i] > 0) ? 0 : (row)[i]) - (careful ? top[i] : 0))
    int64_t c = v->classes % 2;
    if (c) {
        const REAL *restrict z = t->z, base = t->coefficients[BASE];
        REAL *restrict p = t->p;
        SIMD for (int64_t i = 0; i < n; ++i) {
            p[i] = norm[i] = EXP(LOGIT(z));
            if (pulls) pull[i] = base * p[i];
        }
    } else {
        memset(norm, 0, sizeof(REAL) * (size_t)n);
        if (pulls) memset(pull, 0, sizeof(REAL) * (size_t)n);
    }
    for (; c < v->classes; c += 2) { /* two at once, so that the sums are loaded and stored half as often */
        const REAL *restrict z0 = t->z + c * t->step, *restrict z1 = z0 + t->step;
        const REAL base0 = t->coefficients[c * PER_CLASS + BASE], base1 = t->coefficients[(c + 1) * PER_CLASS + BASE];
        REAL *restrict p0 = t->p + c * v->size, *restrict p1 = p0 + v->size;
        if (!NAME(is_staged)(v)) {
            NAME(fetch_ahead)(v, t, t->z, t->step, c);
            NAME(fetch_ahead)(v, t, t->z, t->step, c + 1);
        }
        SIMD for (int64_t i = 0; i < n; ++i) {
            const REAL e0 = EXP(LOGIT(z0)), e1 = EXP(LOGIT(z1));
            p0[i] = e0;
            p1[i] = e1;
            norm[i] += e0 + e1;
            if (pulls) pull[i] += base0 * e0 + base1 * e1;
        }
    }
#undef LOGIT
}

/* The largest logit of each voxel; a NaN is kept. */
static void NAME(find_top)(const VOLUME *v, TILE *t) {
    const int64_t n = t->n;
    const REAL *restrict w = t->weight;
    REAL *restrict top = t->top;
    for (int64_t i = 0; i < n; ++i) top[i] = w[i] > 0 ? t->z[i] : 0;
    for (int64_t c = 1; c < v->classes; ++c) {
        const REAL *restrict z = t->z + c * t->step;
        SIMD for (int64_t i = 0; i < n; ++i) {
            const REAL x = w[i] > 0 ? z[i] : 0;
            top[i] = x > top[i] ? x : top[i];
        }
    }
}

static int NAME(out_of_range)(const TILE *t) {
    const REAL least = sizeof(REAL) == 4 ? (REAL)1e-20 : (REAL)1e-200;
    const REAL most = sizeof(REAL) == 4 ? (REAL)1e30 : (REAL)1e250;
    const REAL *restrict norm = t->norm;
    int found = 0;
#pragma omp simd reduction(| : found)
    for (int64_t i = 0; i < t->n; ++i) found |= !(norm[i] > least && norm[i] < most);
    return found;
}

/* Fills p with exponentials, norm, unit and inverse; with `pulls`, pull too. */
static void NAME(softmax)(const VOLUME *v, TILE *t, int pulls) {
    const int weighted = NAME(is_weighted)(v);
    if (!t->careful) {
        if (pulls)
            weighted ? NAME(exponentials)(v, t, 1, 0, 1) : NAME(exponentials)(v, t, 0, 0, 1);
        else
            weighted ? NAME(exponentials)(v, t, 1, 0, 0) : NAME(exponentials)(v, t, 0, 0, 0);
        t->careful = NAME(out_of_range)(t);
    }
    if (t->careful) {
        NAME(find_top)(v, t);
        if (pulls)
            weighted ? NAME(exponentials)(v, t, 1, 1, 1) : NAME(exponentials)(v, t, 0, 1, 1);
        else
            weighted ? NAME(exponentials)(v, t, 1, 1, 0) : NAME(exponentials)(v, t, 0, 1, 0);
    }
    const REAL *restrict w = t->weight, *restrict norm = t->norm;
    REAL *restrict unit = t->unit, *restrict inverse = t->inverse;
    SIMD for (int64_t i = 0; i < t->n; ++i) {
        unit[i] = 1 / norm[i];
        inverse[i] = w[i] * unit[i];
    }
}

/* The log of the sum of exponentials. */
static void NAME(log_norm)(const TILE *t, REAL *restrict out) {
    for (int64_t i = 0; i < t->n; ++i) out[i] = t->top[i] + LOG(t->norm[i]);
}

/* Sum over the voxels of w (-log p) for one class's logits. What weighs nothing is nothing. */
static REAL NAME(sum_nll)(const TILE *t, const REAL *restrict z, const REAL *restrict log_norm) {
    const REAL *restrict w = t->weight;
    REAL sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < t->n; ++i) sum += w[i] > 0 ? w[i] * (log_norm[i] - z[i]) : 0;
    return sum;
}
