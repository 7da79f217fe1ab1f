/* Rows of logits into rows of exponentials and their sum. A kernel includes this once for each REAL, with NAME and EXP
 * defined, after native.h; calls whose constant arguments are NULL or 0 become loops without them.
 *
 * A softmax need not take off the largest logit where the sum of the exponentials stays far from overflow and
 * underflow: the sum is looked at afterwards, and the tile computed again with care where it does not (NaN too). */
#ifndef MEDLOSS_SOFTMAX
#define MEDLOSS_SOFTMAX
#define ALWAYS_INLINE __attribute__((always_inline))
#define SIMD _Pragma("omp simd")

/* A logit of minus infinity, a forbidden class, is taken for this one, as in probabilities.py. */
#define FORBIDDEN -10000
#define FINITE(z) ((z) == -(REAL)INFINITY ? (REAL)FORBIDDEN : (z))

enum { LARGEST_TILE = 512, SMALLEST_TILE = 64, TILE_BYTES = 24576 };

/* Voxels of a tile, so that a row per class stays near the processor. */
static int64_t tile_size(int64_t classes, size_t real) {
    int64_t tile = LARGEST_TILE;
    while (tile > SMALLEST_TILE && (size_t)(tile * classes) * real > TILE_BYTES) tile /= 2;
    return tile;
}
#endif

#define SOFTMAX_ROWS NAME(SoftmaxRows)

/* What is to be done with `n` voxels. Rows of one pointer lie `..._step` apart; `p` may be `z`. */
typedef struct {
    const REAL *z;
    REAL *p, *norm; /* exponentials, or NULL where their sum is enough */
    int64_t z_step, p_step, classes, n;
    int64_t ahead;      /* voxels of a tile, whose logits are asked for before their use; 0 where they are near */
    const REAL *weight; /* what weighs nothing is not looked at; NULL where all do */
    const REAL *top;    /* taken off first, or NULL */
    const REAL *base;   /* a factor of each class, `base_step` apart ... */
    REAL *pull;         /* ... for the sum of the factors times the exponentials, or NULL */
    int64_t base_step;
} SOFTMAX_ROWS;

/* Asks for the row that comes four rows after that of class c, of this tile or of a later one: rows of different
 * classes lie too far apart for the processor to foresee. Beyond the tensor's end nothing happens. */
static inline void NAME(ask_ahead)(const SOFTMAX_ROWS *s, int64_t c) {
    const int64_t next = c + 4, later = next / s->classes;
    const char *row = (const char *)(s->z + (next - later * s->classes) * s->z_step + later * s->ahead);
    for (int64_t at = 0; at < s->n * (int64_t)sizeof(REAL); at += 64) __builtin_prefetch(row + at);
}

/* Two classes at once, so that the sums are loaded and stored half as often. `careful`: 1 where the largest logit is
 * taken off, 2 where logits of minus infinity are made finite, too. */
static inline ALWAYS_INLINE void NAME(exp_rows)(const SOFTMAX_ROWS *s, int weighted, int careful, int stored,
                                                int pulls) {
    const int64_t n = s->n;
    const REAL *restrict w = s->weight, *restrict top = s->top;
    REAL *restrict norm = s->norm, *restrict pull = s->pull;
#define SEEN(row) (weighted && !(w[i] > 0) ? 0 : careful > 1 ? FINITE((row)[i]) : (row)[i])
#define LOGIT(row) (SEEN(row) - (careful ? top[i] : 0))
    int64_t c = s->classes % 2;
    if (c) {
        const REAL *z = s->z, base = pulls ? s->base[0] : 0;
        REAL *p = s->p;
        if (s->ahead) NAME(ask_ahead)(s, 0);
        SIMD for (int64_t i = 0; i < n; ++i) {
            const REAL e = EXP(LOGIT(z));
            if (stored) p[i] = e;
            norm[i] = e;
            if (pulls) pull[i] = base * e;
        }
    } else {
        memset(norm, 0, sizeof(REAL) * (size_t)n);
        if (pulls) memset(pull, 0, sizeof(REAL) * (size_t)n);
    }
    for (; c < s->classes; c += 2) {
        const REAL *z0 = s->z + c * s->z_step, *z1 = z0 + s->z_step;
        const REAL base0 = pulls ? s->base[c * s->base_step] : 0, base1 = pulls ? s->base[(c + 1) * s->base_step] : 0;
        REAL *p0 = stored ? s->p + c * s->p_step : NULL, *p1 = stored ? p0 + s->p_step : NULL;
        if (s->ahead) {
            NAME(ask_ahead)(s, c);
            NAME(ask_ahead)(s, c + 1);
        }
        SIMD for (int64_t i = 0; i < n; ++i) {
            const REAL e0 = EXP(LOGIT(z0)), e1 = EXP(LOGIT(z1));
            if (stored) p0[i] = e0;
            if (stored) p1[i] = e1;
            norm[i] += e0 + e1;
            if (pulls) pull[i] += base0 * e0 + base1 * e1;
        }
    }
#undef LOGIT
#undef SEEN
}

/* The largest logit of each voxel; a NaN is kept. */
static void NAME(top_rows)(const SOFTMAX_ROWS *s, REAL *restrict top) {
    const int64_t n = s->n;
    const REAL *restrict w = s->weight, *restrict z = s->z;
    SIMD for (int64_t i = 0; i < n; ++i) top[i] = w && !(w[i] > 0) ? 0 : z[i];
    for (int64_t c = 1; c < s->classes; ++c) {
        z = s->z + c * s->z_step;
        if (w)
            SIMD for (int64_t i = 0; i < n; ++i) {
                const REAL x = w[i] > 0 ? z[i] : 0;
                top[i] = x > top[i] ? x : top[i];
            }
        else
            SIMD for (int64_t i = 0; i < n; ++i) top[i] = z[i] > top[i] ? z[i] : top[i];
    }
}

static int NAME(out_of_range)(const REAL *restrict norm, int64_t n) {
    const REAL least = sizeof(REAL) == 4 ? (REAL)1e-20 : (REAL)1e-200;
    const REAL most = sizeof(REAL) == 4 ? (REAL)1e30 : (REAL)1e250;
    int found = 0;
#pragma omp simd reduction(| : found)
    for (int64_t i = 0; i < n; ++i) found |= !(norm[i] > least && norm[i] < most);
    return found;
}

/* Exponentials, their sum and, with `pull`, the sum of their products with `base`; returns whether it must be done
 * again with care, for which the logits must stand in `z`. */
static int NAME(softmax_rows)(const SOFTMAX_ROWS *s) {
    const int weighted = s->weight != NULL;
    if (s->pull)
        weighted ? NAME(exp_rows)(s, 1, 0, 1, 1) : NAME(exp_rows)(s, 0, 0, 1, 1);
    else
        weighted ? NAME(exp_rows)(s, 1, 0, 1, 0) : NAME(exp_rows)(s, 0, 0, 1, 0);
    return NAME(out_of_range)(s->norm, s->n);
}

/* Makes the largest logit finite where a voxel's classes are all forbidden; returns whether one's are. */
static int NAME(all_forbidden)(int64_t n, REAL *restrict top) {
    int found = 0;
#pragma omp simd reduction(| : found)
    for (int64_t i = 0; i < n; ++i) found |= top[i] == -(REAL)INFINITY;
    for (int64_t i = 0; found && i < n; ++i) top[i] = FINITE(top[i]);
    return found;
}

/* The same with the largest logit in `top` and taken off; `p` may be NULL where nothing is weighed or pulled. */
static void NAME(careful_softmax_rows)(SOFTMAX_ROWS *s, REAL *top) {
    const int weighted = s->weight != NULL;
    NAME(top_rows)(s, top);
    s->top = top;
    if (NAME(all_forbidden)(s->n, top))
        NAME(exp_rows)(s, weighted, 2, s->p != NULL, s->pull != NULL);
    else if (s->pull)
        weighted ? NAME(exp_rows)(s, 1, 1, 1, 1) : NAME(exp_rows)(s, 0, 1, 1, 1);
    else if (s->p)
        weighted ? NAME(exp_rows)(s, 1, 1, 1, 0) : NAME(exp_rows)(s, 0, 1, 1, 0);
    else
        NAME(exp_rows)(s, 0, 1, 0, 0);
}

/* One class of a voxel is certain where it leaves the others less than 2^-10. Its complement and its gradient, as
 * differences, would lose the digits that they need; they are sums over the other classes. */
#define UNSURE ((REAL)0.0009765625)

/* Sums over the classes but each voxel's certain one: of `rows`, `step` apart. */
static inline void NAME(sum_of_others)(const REAL *rows, int64_t step, int64_t classes, int64_t n,
                                       const int32_t *restrict certain, REAL *restrict sum) {
    memset(sum, 0, sizeof(REAL) * (size_t)n);
    for (int64_t c = 0; c < classes; ++c) {
        const REAL *restrict row = rows + c * step;
        const int32_t class = (int32_t)c;
        SIMD for (int64_t i = 0; i < n; ++i) sum[i] += certain[i] == class ? 0 : row[i];
    }
}

/* Finds each voxel's certain class, `classes` where there is none, from shares `p` times `unit` (1 where it is NULL);
 * returns whether there is one. */
static inline int NAME(find_certain)(const REAL *p, int64_t step, int64_t classes, int64_t n, const REAL *restrict unit,
                              int32_t *restrict certain) {
    int found = 0;
    for (int64_t i = 0; i < n; ++i) certain[i] = (int32_t)classes;
    for (int64_t c = 0; c < classes; ++c) {
        const REAL *restrict row = p + c * step;
        const int32_t class = (int32_t)c;
#pragma omp simd reduction(| : found)
        for (int64_t i = 0; i < n; ++i) {
            const int sure = row[i] * (unit ? unit[i] : 1) > 1 - UNSURE;
            certain[i] = sure ? class : certain[i];
            found |= sure;
        }
    }
    return found;
}
