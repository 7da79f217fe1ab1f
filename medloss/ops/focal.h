/* The focal factor. Included once for each REAL, with EXP and LOG defined, as label_tile.h is. */

/* base^gamma in place, and gamma base^(gamma - 1) beside it where asked for. The base is kept off zero, as in the
 * reference: at saturation the gradient is zero and not NaN for an exponent below one. */
static inline void NAME(powers)(REAL gamma, int64_t n, REAL *restrict base, REAL *restrict slope) {
    const REAL least = sizeof(REAL) == 4 ? (REAL)1.1754944e-38 : (REAL)2.2250738585072014e-308;
    if (gamma == 2) {
        if (slope)
            for (int64_t i = 0; i < n; ++i) slope[i] = 2 * base[i];
        for (int64_t i = 0; i < n; ++i) base[i] *= base[i];
        return;
    }
    if (gamma == 0) {
        if (slope)
            for (int64_t i = 0; i < n; ++i) slope[i] = base[i] != base[i] ? base[i] : 0;
        for (int64_t i = 0; i < n; ++i) base[i] = base[i] != base[i] ? base[i] : 1;
        return;
    }
    if (slope) {
        for (int64_t i = 0; i < n; ++i) {
            const REAL d = base[i] < least ? least : base[i];
            slope[i] = base[i] < least ? 0 : gamma * EXP((1 - gamma) * LOG(1 / d));
        }
    }
    for (int64_t i = 0; i < n; ++i) {
        const REAL d = base[i] < least ? least : base[i];
        base[i] = EXP(-gamma * LOG(1 / d));
    }
}
