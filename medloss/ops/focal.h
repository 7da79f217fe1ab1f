/* Powers of a base of at least 0, as the focal factor is one. Included once for each REAL, with EXP and LOG defined, as
 * label_tile.h is; LOG is asked for any normal number.
 *
 * The base is kept off zero, as in the references: there the slope is zero, and neither NaN nor infinite for an
 * exponent below one. The exponents that losses are mostly given cost neither exp nor log. */

static inline REAL NAME(root)(REAL x) { return sizeof(REAL) == 4 ? (REAL)sqrtf((float)x) : (REAL)sqrt((double)x); }

static inline REAL NAME(smallest)(void) {
    return sizeof(REAL) == 4 ? (REAL)1.1754944e-38 : (REAL)2.2250738585072014e-308;
}

/* `value` of each d, which is the base kept off zero. */
#define EACH_BASE(value)                                                                                            \
    for (int64_t i = 0; i < n; ++i) {                                                                               \
        const REAL d = base[i] < least ? least : base[i];                                                           \
        to[i] = (value);                                                                                            \
    }
/* The same, but zero where the base is below the smallest number. */
#define EACH_SLOPE(value)                                                                                           \
    for (int64_t i = 0; i < n; ++i) {                                                                               \
        const REAL d = base[i] < least ? least : base[i], found = (value);                                          \
        to[i] = base[i] < least ? 0 : found;                                                                        \
    }

/* gamma base^(gamma - 1). */
static inline void NAME(power_slopes)(REAL gamma, int64_t n, const REAL *restrict base, REAL *restrict to) {
    const REAL least = NAME(smallest)(), less = gamma - 1;
    if (gamma == 2)
        for (int64_t i = 0; i < n; ++i) to[i] = 2 * base[i];
    else if (gamma == 0)
        for (int64_t i = 0; i < n; ++i) to[i] = base[i] != base[i] ? base[i] : 0;
    else if (gamma == 1)
        EACH_SLOPE(d != d ? d : 1)
    else if (gamma == (REAL)0.5)
        EACH_SLOPE((REAL)0.5 / NAME(root)(d))
    else if (gamma == (REAL)1.5)
        EACH_SLOPE((REAL)1.5 * NAME(root)(d))
    else if (gamma == 3)
        EACH_SLOPE(3 * (d * d))
    else
        EACH_SLOPE(gamma * EXP(less * LOG(d)))
}

/* base^gamma in place, and its slope beside it where asked for. */
static inline void NAME(powers)(REAL gamma, int64_t n, REAL *restrict base, REAL *restrict slope) {
    const REAL least = NAME(smallest)();
    REAL *to = base;
    if (slope) NAME(power_slopes)(gamma, n, base, slope);
    if (gamma == 2)
        for (int64_t i = 0; i < n; ++i) to[i] = base[i] * base[i];
    else if (gamma == 0)
        for (int64_t i = 0; i < n; ++i) to[i] = base[i] != base[i] ? base[i] : 1;
    else if (gamma == 1)
        EACH_BASE(d)
    else if (gamma == (REAL)0.5)
        EACH_BASE(NAME(root)(d))
    else if (gamma == (REAL)1.5)
        EACH_BASE(d * NAME(root)(d))
    else if (gamma == 3)
        EACH_BASE(d * d * d)
    else
        EACH_BASE(EXP(gamma * LOG(d)))
}
#undef EACH_BASE
#undef EACH_SLOPE
