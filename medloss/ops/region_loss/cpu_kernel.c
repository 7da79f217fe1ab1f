/* region_loss on the CPU: from the columns of each sample and class to the value and its slope along each column. */
#ifndef REAL
#include "../native.h"

/* As in medloss/ops/region_sums/columns.py. */
enum {
    TARGET = 2, VOXELS = 3, NLL_TRUE = 7, NLL_FALSE = 8, NLL_ALL = 9, FOCAL_TRUE = 10, FOCAL_FALSE = 11, COLUMNS = 18
};

#define NAME(stem) MEDLOSS_PASTE(stem, SUFFIX, MEDLOSS_LEVEL)
#define REAL float
#define SUFFIX f32
#include "cpu_kernel.c"
#undef REAL
#undef SUFFIX
#define REAL double
#define SUFFIX f64
#include "cpu_kernel.c"
#else

/* n . s of one region */
static double NAME(linear)(const double *n, const double *s) {
    double total = 0;
    for (int k = 0; k < COLUMNS; ++k) total += n[k] != 0 ? n[k] * s[k] : 0;
    return total;
}

/* The columns of class c: of sample b, or of the whole batch. */
static void NAME(region)(const REAL *columns, int64_t batch, int64_t classes, int64_t b, int64_t c, int joined,
                         double *s) {
    for (int k = 0; k < COLUMNS; ++k) s[k] = 0;
    for (int64_t at = joined ? 0 : b; at < (joined ? batch : b + 1); ++at)
        for (int k = 0; k < COLUMNS; ++k) s[k] += columns[(at * classes + c) * COLUMNS + k];
}

/* Whether a region has nothing; what is no finite number counts, so that it shows. */
static inline int NAME(empty)(double mass) { return mass <= 0 && mass > -INFINITY; }

/* Mean (or sum) of each region's quotient; its slopes are added to `slopes`. */
static double NAME(quotients)(const REAL *columns, int64_t batch, int64_t classes, const double *given,
                              const REAL *factors, int64_t first, int joined, int skip, int mean, REAL *slopes) {
    const double weight = given[0], offset = given[1], nr = given[2], dr = given[3];
    const double *above = given + 4, *below = above + COLUMNS;
    const int64_t groups = joined ? 1 : batch;
    double s[COLUMNS], total = 0;
    int64_t count = 0;
    for (int64_t at = 0; mean && at < groups * (classes - first); ++at) {
        NAME(region)(columns, batch, classes, at / (classes - first), first + at % (classes - first), joined, s);
        count += !NAME(empty)(s[VOXELS]) && !(skip && NAME(empty)(s[TARGET]));
    }
    const double scale = weight / (count > 0 ? (double)count : 1);
    for (int64_t b = 0; b < groups; ++b)
        for (int64_t c = first; c < classes; ++c) {
            NAME(region)(columns, batch, classes, b, c, joined, s);
            if (NAME(empty)(s[VOXELS]) || (skip && NAME(empty)(s[TARGET]))) continue;
            const double f = scale * (factors ? factors[c] : 1), d = NAME(linear)(below, s) + dr;
            const double q = (NAME(linear)(above, s) + nr) / d;
            total += f * (offset + q);
            for (int64_t to = joined ? 0 : b; to < (joined ? batch : b + 1); ++to)
                for (int k = 0; k < COLUMNS; ++k)
                    slopes[(to * classes + c) * COLUMNS + k] += (REAL)(f * (above[k] - (below[k] != 0 ? q * below[k] : 0)) / d);
        }
    return total;
}

static double NAME(factor)(int k, int64_t c, const REAL *positive, const REAL *negative) {
    if (k == TARGET || k == NLL_TRUE || k == NLL_ALL || k == FOCAL_TRUE) return positive ? positive[c] : 1;
    if (k == NLL_FALSE || k == FOCAL_FALSE) return negative ? negative[c] : 1;
    return 1;
}

/* One linear form of all columns over another; its slopes are added to `slopes`. */
static double NAME(share)(const REAL *columns, int64_t batch, int64_t classes, const double *given,
                          const REAL *positive, const REAL *negative, int64_t first, int mean, REAL *slopes) {
    const double weight = given[0], *above = given + 1, *below = above + COLUMNS;
    double total = 0, mass = 0;
    for (int64_t at = 0; at < batch * classes; ++at)
        for (int k = 0; k < COLUMNS && at % classes >= first; ++k) {
            const double s = columns[at * COLUMNS + k] * NAME(factor)(k, at % classes, positive, negative);
            total += above[k] != 0 ? above[k] * s : 0;
            mass += below[k] != 0 ? below[k] * s : 0;
        }
    if (mean && NAME(empty)(mass)) return 0;
    const double value = mean ? total / mass : total, scale = mean ? weight / mass : weight;
    for (int64_t at = 0; at < batch * classes; ++at)
        for (int k = 0; k < COLUMNS && at % classes >= first; ++k) {
            const double slope = above[k] - (mean && below[k] != 0 ? value * below[k] : 0);
            slopes[at * COLUMNS + k] +=
                (REAL)(scale * slope * NAME(factor)(k, at % classes, positive, negative));
        }
    return weight * value;
}

/* `numbers`: those of the quotient, where there is one, then those of the share. */
MEDLOSS_EXPORT int NAME(region_loss)(const REAL *columns, int64_t batch, int64_t classes, const double *numbers,
                                     int64_t has_quotient, const REAL *factors, int64_t first, int64_t joined,
                                     int64_t skip, int64_t has_share, const REAL *positive, const REAL *negative,
                                     int64_t share_first, int64_t mean, REAL *value, REAL *slopes, int threads) {
    (void)threads;
    double total = 0;
    memset(slopes, 0, sizeof(REAL) * (size_t)(batch * classes * COLUMNS));
    if (has_quotient)
        total += NAME(quotients)(columns, batch, classes, numbers, factors, first, joined != 0, skip != 0, mean != 0,
                                 slopes);
    if (has_share)
        total += NAME(share)(columns, batch, classes, numbers + (has_quotient ? 4 + 2 * COLUMNS : 0), positive,
                             negative, share_first, mean != 0, slopes);
    *value = (REAL)total;
    return 0;
}
#endif
