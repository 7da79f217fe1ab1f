/* The penalties that compare two images, one line or two for each: its name, its value and its slopes. Their order is
 * that of the tables in penalties.py, which a test compares.
 *
 * Of a residual u = (x - t) / scale, with `gamma` the penalty's shape and `width` |gamma - 2|. The slope in t is
 * minus that in u.
 */
#define MEDLOSS_RESIDUALS(PENALTY)                                                        \
    PENALTY(SQUARED, u *u, 2 * u)                                                         \
    PENALTY(ABSOLUTE, u < 0 ? -u : u, u > 0 ? 1 : u < 0 ? -1 : u)                         \
    PENALTY(HUBER, clamped(u, gamma) * (u - clamped(u, gamma) / 2), clamped(u, gamma))    \
    PENALTY(CHARBONNIER, u *(u / (length(u) + 1)), u / length(u))                         \
    PENALTY(CAUCHY, log1p_of(u *u / 2), u / (u * u / 2 + 1))                              \
    PENALTY(GEMAN_MCCLURE, 2 * u * u / (u * u + 4), 16 * u / ((u * u + 4) * (u * u + 4))) \
    PENALTY(WELSCH, -expm1_of(-u *u / 2), kept(u, whole_exp(-u *u / 2)))                  \
    PENALTY(GENERAL, width / gamma * expm1_of(gamma / 2 * log1p_of(u * u / width)),       \
            kept(u, whole_exp((gamma / 2 - 1) * log1p_of(u * u / width))))                \
    PENALTY(TUKEY, biweight(u), kept(u, biweight_left(u)))

/* Of x = u and t = v, two distributions over the voxels, with `gamma` added inside the logarithms: the value, and the
 * slopes in x and in t. */
#define MEDLOSS_DIVERGENCES(PENALTY)                                                                         \
    PENALTY(KULLBACK_LEIBLER, entropy(v, u, gamma), entropy_second(v, u, gamma), entropy_first(v, u, gamma)) \
    PENALTY(JENSEN_SHANNON, shannon(u, v, gamma), shannon_slope(u, v, gamma), shannon_slope(v, u, gamma))

namespace {

#define MEDLOSS_CODE(name, ...) name,
enum { MEDLOSS_RESIDUALS(MEDLOSS_CODE) MEDLOSS_DIVERGENCES(MEDLOSS_CODE) FIRST_DIVERGENCE = KULLBACK_LEIBLER };
#undef MEDLOSS_CODE

} // namespace
