/* local_moments, local_correlation, local_ssim and local_error on the CPU: the local correlation, squared or
 * not, the dissimilarity or the mean absolute difference of two images, and its gradient in the first.
 *
 * Windows are separable: products of the images are summed along z, then y, then x, and no map of the whole
 * volume is ever made (windows.h). The gradient is y K*a + x K*b - K*c with three maps a, b, c of the
 * windows, kept in a ring of as many planes as four windows are deep (sweep.h).
 */
#ifndef REAL

#include "axis.h"

enum { ZERO, RENORMALISE, MASKED, REFLECT }; /* what lies beyond the border */
enum {
    X,
    Y,
    XX,
    YY,
    XY,
    MASS,
    MAPS
}; /* for SSIM, Y is the difference and XY its square, and YY is of y still */
/* the square; SSIM without luminance; the correlation itself; the mean difference */
enum { CORRELATION, SSIM, STRUCTURE, SIGNED, ERROR };
enum { ERROR_MASS = 1 }; /* behind the differences, which are its only map */
static inline int is_ssim(int statistic) { return statistic == SSIM || statistic == STRUCTURE; }
enum { VALUES, SLOPES, GRADIENT }; /* what is made of windows */
enum { ROUNDING = 32 };            /* as in reference.py */

#define LANES (32 / (int64_t)sizeof(REAL))
#define STEP (2 * LANES)
#define AT(row, x) (*(VECTOR *)((row) + (x)))
#define FROM(row, x) (*(const VECTOR *)((row) + (x)))

#define NAME(stem) MEDLOSS_PASTE(stem, SUFFIX, MEDLOSS_LEVEL)
#define PLAN NAME(Plan)
#define STAGE NAME(Stage)
#define SCRATCH NAME(Scratch)
#define VECTOR NAME(Vector)
#define PAIR NAME(Pair)
#define ROW NAME(Row)
#define TASK NAME(Task)
#define CALL NAME(Call)

#define REAL float
#define SUFFIX f32
#define EPSILON 1.1920929e-7f
#define ROOT sqrtf
#include "cpu_kernel.c"
#undef REAL
#undef SUFFIX
#undef EPSILON
#undef ROOT
#define REAL double
#define SUFFIX f64
#define EPSILON 2.220446049250313e-16
#define ROOT sqrt
#include "cpu_kernel.c"

#else

#include "plan.h"

#include "filter.h"

#include "products.h"

#include "similarity.h"

#include "windows.h"

#include "sweep.h"

/* All that a call says: values where `out` is NULL, else the gradient, and the `sums` beside it where asked for. `skip_`: windows that do not count, at
 * either end of an axis; `plain`: a mask weighs the windows' voxels, but no value. */
MEDLOSS_EXPORT int NAME(local_moments)(const REAL *x, const REAL *y, const REAL *weight, int64_t volumes,
                                       int64_t shared, int64_t depth, int64_t height, int64_t width,
                                       const double *kz, int64_t nz, const double *ky, int64_t ny,
                                       const double *kx, int64_t nx, int64_t border, int64_t statistic,
                                       int64_t skip_z, int64_t skip_y, int64_t skip_x, int64_t plain,
                                       double nr, double dr, REAL *map, double *sums, const REAL *grad,
                                       const REAL *all, REAL *out, int threads) {
    Axis axes[3];
    PLAN plan;
    const int mirrored = border == REFLECT;
    int failed = axis_alloc(axes, depth, nz, kz, skip_z, mirrored);
    failed |= axis_alloc(axes + 1, height, ny, ky, skip_y, mirrored);
    failed |= axis_alloc(axes + 2, width, nx, kx, skip_x, mirrored);
    NAME(plan)(&plan, axes, (int)border, (int)statistic, weight != NULL, nr, dr);
    plan.plain = (int)plain;
    plan.inverse = malloc(sizeof(REAL) * (size_t)width);
    failed |= !plan.inverse;
    for (int64_t i = 0; i < width && !failed; ++i) plan.inverse[i] = (REAL)(1 / axes[2].inside[i]);
    const CALL call = {x, y, weight, volumes, shared, map, sums, grad, all, out};
    if (out) prefer_huge_pages(out, sizeof(REAL) * (size_t)(volumes * depth * height * width));
    failed = failed || NAME(sweep)(&plan, &call, threads);
    free(plan.inverse);
    for (int a = 0; a < 3; ++a) free(axes[a].inside);
    return failed;
}

#endif
