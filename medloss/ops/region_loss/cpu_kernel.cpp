/* region_loss on the CPU: from the columns of each sample and class to the value and its slope along each column. */
#include "../native.hpp"
#include "../region_columns.hpp"

namespace {

/* n . s of one region */
inline double linear(const double *n, const double *s) {
    double total = 0;
    for (int k = 0; k < COLUMNS; ++k) total += n[k] != 0 ? n[k] * s[k] : 0;
    return total;
}

/* The columns of class c: of sample b, or of the whole batch. */
template <typename Real>
void region(const Real *columns, int64_t batch, int64_t classes, int64_t b, int64_t c, int joined, double *s) {
    for (int k = 0; k < COLUMNS; ++k) s[k] = 0;
    for (int64_t at = joined ? 0 : b; at < (joined ? batch : b + 1); ++at)
        for (int k = 0; k < COLUMNS; ++k) s[k] += columns[(at * classes + c) * COLUMNS + k];
}

/* Whether a region has nothing; what is no finite number counts, so that it shows. */
inline int empty(double mass) { return mass <= 0 && mass > -INFINITY; }

/* Mean (or sum) of each region's quotient; its slopes are added to `slopes`. */
template <typename Real>
double quotients(const Real *columns, int64_t batch, int64_t classes, const double *given, const Real *factors,
                 int64_t first, int joined, int skip, int mean, Real *slopes) {
    const double weight = given[0], offset = given[1], nr = given[2], dr = given[3];
    const double *above = given + 4, *below = above + COLUMNS;
    const int64_t groups = joined ? 1 : batch;
    double s[COLUMNS], total = 0;
    int64_t count = 0;
    for (int64_t at = 0; mean && at < groups * (classes - first); ++at) {
        region(columns, batch, classes, at / (classes - first), first + at % (classes - first), joined, s);
        count += !empty(s[VOXELS]) && !(skip && empty(s[TARGET]));
    }
    const double scale = weight / (count > 0 ? (double)count : 1);
    for (int64_t b = 0; b < groups; ++b)
        for (int64_t c = first; c < classes; ++c) {
            region(columns, batch, classes, b, c, joined, s);
            if (empty(s[VOXELS]) || (skip && empty(s[TARGET]))) continue;
            const double f = scale * (factors ? factors[c] : 1), d = linear(below, s) + dr;
            const double q = (linear(above, s) + nr) / d;
            total += f * (offset + q);
            for (int64_t to = joined ? 0 : b; to < (joined ? batch : b + 1); ++to)
                for (int k = 0; k < COLUMNS; ++k)
                    slopes[(to * classes + c) * COLUMNS + k] +=
                        (Real)(f * (above[k] - (below[k] != 0 ? q * below[k] : 0)) / d);
        }
    return total;
}

template <typename Real>
double factor(int k, int64_t c, const Real *positive, const Real *negative) {
    if (k == TARGET || k == NLL_TRUE || k == NLL_ALL || k == FOCAL_TRUE) return positive ? positive[c] : 1;
    if (k == NLL_FALSE || k == FOCAL_FALSE) return negative ? negative[c] : 1;
    return 1;
}

/* One linear form of all columns over another; its slopes are added to `slopes`. */
template <typename Real>
double share(const Real *columns, int64_t batch, int64_t classes, const double *given, const Real *positive,
             const Real *negative, int64_t first, int mean, Real *slopes) {
    const double weight = given[0], *above = given + 1, *below = above + COLUMNS;
    double total = 0, mass = 0;
    for (int64_t at = 0; at < batch * classes; ++at)
        for (int k = 0; k < COLUMNS && at % classes >= first; ++k) {
            const double s = columns[at * COLUMNS + k] * factor(k, at % classes, positive, negative);
            total += above[k] != 0 ? above[k] * s : 0;
            mass += below[k] != 0 ? below[k] * s : 0;
        }
    if (mean && empty(mass)) return 0;
    const double value = mean ? total / mass : total, scale = mean ? weight / mass : weight;
    for (int64_t at = 0; at < batch * classes; ++at)
        for (int k = 0; k < COLUMNS && at % classes >= first; ++k) {
            const double slope = above[k] - (mean && below[k] != 0 ? value * below[k] : 0);
            slopes[at * COLUMNS + k] += (Real)(scale * slope * factor(k, at % classes, positive, negative));
        }
    return weight * value;
}

/* `numbers`: those of the quotient, where there is one, then those of the share. */
template <typename Real>
int loss(const Real *columns, int64_t batch, int64_t classes, const double *numbers, int64_t has_quotient,
         const Real *factors, int64_t first, int64_t joined, int64_t skip, int64_t has_share, const Real *positive,
         const Real *negative, int64_t share_first, int64_t mean, Real *value, Real *slopes) {
    double total = 0;
    memset(slopes, 0, sizeof(Real) * (size_t)(batch * classes * COLUMNS));
    if (has_quotient)
        total +=
            quotients(columns, batch, classes, numbers, factors, first, joined != 0, skip != 0, mean != 0, slopes);
    if (has_share)
        total += share(columns, batch, classes, numbers + (has_quotient ? 4 + 2 * COLUMNS : 0), positive, negative,
                       share_first, mean != 0, slopes);
    *value = (Real)total;
    return 0;
}

} // namespace

MEDLOSS_ENTRY(region_loss,
              (const Real *columns, int64_t batch, int64_t classes, const double *numbers, int64_t has_quotient,
               const Real *factors, int64_t first, int64_t joined, int64_t skip, int64_t has_share,
               const Real *positive, const Real *negative, int64_t share_first, int64_t mean, Real *value,
               Real *slopes, int),
              return loss(columns, batch, classes, numbers, has_quotient, factors, first, joined, skip, has_share,
                          positive, negative, share_first, mean, value, slopes);)
