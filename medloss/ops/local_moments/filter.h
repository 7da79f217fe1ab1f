/* Weighted sums of rows, for four neighbouring windows at a time.
 *
 * Windows of equal weights share the rows that all four hold: with k rows each, k + 3 are read and k + 6
 * added for four sums. Nothing is ever taken off again, as from running sums: a sum has the digits of its own
 * window. Written with vectors, as compilers fuse the loops of the plain form into scalar ones. */

/* 32 bytes that may lie anywhere. */
typedef REAL VECTOR __attribute__((vector_size(32), aligned(sizeof(REAL)), may_alias));

/* Four windows of equal weights over the rows of a list of which `there` exist. */
static inline void NAME(boxes)(const REAL *const *rows, int64_t length, Span there, int64_t pitch,
                               REAL *const *out) {
    const Span shared = common(there, (Span){GROUP - 1, length});
    for (int64_t x = 0; x < pitch; x += STEP) {
        VECTOR a = {0}, b = {0}, sum[GROUP][2];
        for (int64_t j = shared.low; j < shared.high; ++j)
            a += FROM(rows[j], x), b += FROM(rows[j], x + LANES);
#pragma GCC unroll 4
        for (int64_t j = GROUP - 1; j >= 0; --j) { /* and what lies before, for the earlier ones */
            if (j < GROUP - 1 && there.low <= j && j < there.high)
                a += FROM(rows[j], x), b += FROM(rows[j], x + LANES);
            sum[j][0] = a, sum[j][1] = b;
        }
        VECTOR c = {0}, d = {0};
#pragma GCC unroll 4
        for (int64_t j = 0; j < GROUP; ++j) { /* and behind, for the later ones */
            const int64_t behind = length + j - 1;
            if (j > 0 && there.low <= behind && behind < there.high)
                c += FROM(rows[behind], x), d += FROM(rows[behind], x + LANES);
            AT(out[j], x) = sum[j][0] + c;
            AT(out[j], x + LANES) = sum[j][1] + d;
        }
    }
}

/* Four windows of any weights. */
static inline void NAME(weighted)(const REAL *const *rows, const REAL *taps, int64_t length, Span there,
                                  int64_t pitch, REAL *const *out) {
    for (int64_t x = 0; x < pitch; x += STEP) {
        VECTOR sum[GROUP][2] = {{{0}}};
        for (int64_t j = there.low; j < there.high; ++j) {
            const VECTOR a = FROM(rows[j], x), b = FROM(rows[j], x + LANES);
#pragma GCC unroll 4
            for (int64_t g = 0; g < GROUP; ++g)
                if (g <= j && j - g < length) { /* no weight of zero instead: it would spread a NaN */
                    sum[g][0] += taps[j - g] * a;
                    sum[g][1] += taps[j - g] * b;
                }
        }
#pragma GCC unroll 4
        for (int64_t g = 0; g < GROUP; ++g) AT(out[g], x) = sum[g][0], AT(out[g], x + LANES) = sum[g][1];
    }
}

static inline void NAME(filter_group)(const Axis *axis, const REAL *taps, const REAL *const *rows, Span there,
                                      int64_t pitch, REAL *const *out) {
    if (axis->box) NAME(boxes)(rows, axis->length, there, pitch, out);
    else NAME(weighted)(rows, taps, axis->length, there, pitch, out);
}

/* A row along itself: `padded` starts with what the first window looks at. `scale` is what boxes owe. */
static inline void NAME(filter_row)(const Axis *axis, const REAL *taps, REAL scale, const REAL *padded,
                                    int64_t pitch, REAL *restrict out) {
    for (int64_t x = 0; x < pitch; x += STEP) {
        VECTOR a = {0}, b = {0};
        if (axis->box) {
            for (int64_t j = 0; j < axis->length; ++j)
                a += FROM(padded, x + j), b += FROM(padded, x + j + LANES);
            a *= scale, b *= scale;
        } else {
            for (int64_t j = 0; j < axis->length; ++j)
                a += taps[j] * FROM(padded, x + j), b += taps[j] * FROM(padded, x + j + LANES);
        }
        AT(out, x) = a;
        AT(out, x + LANES) = b;
    }
}
