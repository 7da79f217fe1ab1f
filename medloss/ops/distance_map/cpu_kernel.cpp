/* distance_map, border_distance and nearest_source on the CPU. Squares of distances are in units of the smallest voxel
 * size, so that a cubic grid counts in whole numbers.
 *
 * Distances come from sweeps and minima over sums (scan.h), a block of voxels at once. Where an axis is so long that a
 * search along it might not end soon, and where the nearest voxel itself is asked for, it is the lower envelope of
 * parabolas (envelope.h), whose time is linear in the voxels. Every line is on its own: threads change nothing.
 */
#ifndef REAL

#include "../native.h"

#include "envelope.h"

enum { DISTANCE, SQUARE, SIGNED }; /* what is made of a squared distance */
enum { LONGEST_SEARCH = 512 };     /* voxels along an axis */

/* What is done with a row of squared distances. */
typedef struct Finish {
    void (*row)(const struct Finish *finish, int64_t row);
    double *squares;
    const uint8_t *inside;
    int64_t width;
    double unit;
    int kind;
    void *out;
} FINISH;

#define SCAN(stem) stem##_16
#define CELL int16_t
#define UCELL uint16_t
#define COUNT int16_t
#define HUGE_CELL 32767
#define OWN(cell) ((CELL)((cell) < 0 ? -1 : 0))
#define FLIP(cell, own) ((CELL)((cell) ^ (own)))
#include "scan.h"
#define SCAN(stem) stem##_32
#define CELL int32_t
#define UCELL uint32_t
#define COUNT int32_t
#define HUGE_CELL (1 << 30)
#define OWN(cell) ((CELL)((cell) < 0 ? -1 : 0))
#define FLIP(cell, own) ((cell) ^ (own))
#include "scan.h"
#define SCAN(stem) stem##_real
#define CELL double
#define UCELL double
#define COUNT int32_t
#define HUGE_CELL INFINITY
#define OWN(cell) ((cell) < 0 ? -1.0 : 1.0)
#define FLIP(cell, own) ((cell) * (own))
#include "scan.h"

/* The squares of one volume, given to `finish` row by row. `alone`: the distance to the inside, not to the border. */
static int squares_of(const uint8_t *inside, const int64_t *sizes, const double *steps, int alone, FINISH finish,
                      int threads) {
    int64_t size[3] = {sizes[0], sizes[1], sizes[2]};
    double square[3] = {steps[0] * steps[0], steps[1] * steps[1], steps[2] * steps[2]}, most = 0;
    int whole = 1;
    for (int last = 1; last < 3; ++last) /* the first axis is the cheapest: it is not one that is missing */
        if (size[0] == 1) {
            size[0] = size[last];
            square[0] = square[last];
            size[last] = 1;
        }
    for (int axis = 0; axis < 3; ++axis) {
        if (size[axis] == 1) square[axis] = 0;
        most += square[axis] * (double)(size[axis] * size[axis]); /* a search looks one step too far */
        whole &= square[axis] == floor(square[axis]);
    }
    finish.width = size[2];
    if (whole && most < 32767) return volume_16(inside, size, square, alone, finish, threads);
    if (whole && most < 1 << 24) return volume_32(inside, size, square, alone, finish, threads);
    return volume_real(inside, size, square, alone, finish, threads);
}

MEDLOSS_EXPORT int MEDLOSS_PASTE(nearest_source, f64, MEDLOSS_LEVEL)(const uint8_t *sources, int64_t volumes,
                                                                     int64_t size0, int64_t size1, int64_t size2,
                                                                     double step0, double step1, double step2,
                                                                     double unit, int64_t *out, int threads) {
    const int64_t sizes[3] = {size0, size1, size2}, voxels = size0 * size1 * size2;
    const double steps[3] = {step0, step1, step2};
    double *squared = malloc(sizeof(double) * (size_t)(voxels ? voxels : 1));
    int failed = !squared;
    (void)unit;
    for (int64_t v = 0; v < volumes && !failed; ++v)
        failed = transform(sources + v * voxels, sizes, steps, squared, out + v * voxels, threads);
    free(squared);
    return failed;
}

#define REAL float
#define SUFFIX f32
#include "cpu_kernel.c"
#undef REAL
#undef SUFFIX
#define REAL double
#define SUFFIX f64
#include "cpu_kernel.c"

#else

#define NAME(stem) MEDLOSS_PASTE(stem, SUFFIX, MEDLOSS_LEVEL)

static void NAME(finish_row)(const FINISH *finish, int64_t row) {
    const double *squares = finish->squares, unit = finish->unit;
    const int64_t n = finish->width;
    const uint8_t *inside = finish->inside + row * n;
    REAL *restrict out = (REAL *)finish->out + row * n;
    if (finish->kind == SQUARE)
        for (int64_t x = 0; x < n; ++x) out[x] = squares[x] < INFINITY ? (REAL)(squares[x] * unit * unit) : 0;
    else
        for (int64_t x = 0; x < n; ++x) out[x] = squares[x] < INFINITY ? (REAL)(sqrt(squares[x]) * unit) : 0;
    if (finish->kind == SIGNED)
        for (int64_t x = 0; x < n; ++x) {
            const REAL within = out[x] - (REAL)unit;
            out[x] = inside[x] ? 0 - (within > 0 ? within : 0) : out[x];
        }
}

/* The distance to the inside by envelopes, for long axes. */
static int NAME(by_envelopes)(const uint8_t *inside, const int64_t *sizes, const double *steps, FINISH finish,
                              int threads) {
    const int64_t rows = sizes[0] * sizes[1];
    double *squared = malloc(sizeof(double) * (size_t)(rows * sizes[2]));
    finish.width = sizes[2];
    const int failed = !squared || transform(inside, sizes, steps, squared, NULL, threads);
    for (int64_t row = 0; row < rows && !failed; ++row) {
        finish.squares = squared + row * sizes[2];
        finish.row(&finish, row);
    }
    free(squared);
    return failed;
}

/* `alone`: distances to the inside; otherwise to the other side of its border, signed or squared where `kind` says so. */
MEDLOSS_EXPORT int NAME(distance_map)(const uint8_t *inside, int64_t volumes, int64_t size0, int64_t size1,
                                      int64_t size2, double step0, double step1, double step2, double unit,
                                      int64_t alone, int64_t kind, REAL *out, int threads) {
    const int64_t sizes[3] = {size0, size1, size2}, voxels = size0 * size1 * size2;
    const double steps[3] = {step0, step1, step2};
    const int envelopes = alone && (size1 > LONGEST_SEARCH || size2 > LONGEST_SEARCH);
    int failed = 0;
    prefer_huge_pages(out, (size_t)(volumes * voxels) * sizeof(REAL));
    for (int64_t v = 0; v < volumes && !failed; ++v) {
        const uint8_t *own = inside + v * voxels;
        const FINISH finish = {NAME(finish_row), NULL, own, size2, unit, (int)kind, out + v * voxels};
        failed = envelopes ? NAME(by_envelopes)(own, sizes, steps, finish, threads)
                           : squares_of(own, sizes, steps, (int)alone, finish, threads);
    }
    return failed;
}

#undef NAME
#endif
