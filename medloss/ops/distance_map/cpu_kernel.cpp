/* distance_map, border_distance and nearest_source on the CPU. Squares of distances are in units of the smallest voxel
 * size, so that a cubic grid counts in whole numbers.
 *
 * Distances come from sweeps and minima over sums (scan.hpp), a block of voxels at once. Where an axis is so long that
 * a search along it might not end soon, and where the nearest voxel itself is asked for, it is the lower envelope of
 * parabolas (envelope.hpp), whose time is linear in the voxels. Every line is on its own: threads change nothing. */
#include "envelope.hpp"
#include "scan.hpp"

namespace {

enum { DISTANCE, SQUARE, SIGNED }; /* what is made of a squared distance */
enum { LONGEST_SEARCH = 512 };     /* voxels along an axis */

/* A volume's voxels along its axes, and the ways from one to the next in units of the smallest. */
struct Grid {
    int64_t size[3];
    double step[3], unit;

    int64_t voxels() const { return size[0] * size[1] * size[2]; }
};

/* The squares of one volume, given to `finish` row by row. `alone`: the distance to the inside, not to the border. */
template <typename Finish>
int search_volume(const uint8_t *inside, const Grid &grid, int alone, int threads, Finish finish) {
    int64_t size[3] = {grid.size[0], grid.size[1], grid.size[2]};
    double square[3], largest = 0;
    bool whole = true;
    for (int axis = 0; axis < 3; ++axis) square[axis] = grid.step[axis] * grid.step[axis];
    for (int last = 1; last < 3; ++last) /* the first axis is the cheapest: it is not one that is missing */
        if (size[0] == 1) {
            size[0] = size[last];
            square[0] = square[last];
            size[last] = 1;
        }
    for (int axis = 0; axis < 3; ++axis) {
        if (size[axis] == 1) square[axis] = 0;
        largest += square[axis] * (double)(size[axis] * size[axis]); /* a search looks one step too far */
        whole &= square[axis] == floor(square[axis]);
    }
    const auto finish_row = [=, width = size[2]](int64_t row, const double *squares) {
        finish(row * width, width, squares);
    };
    if (whole && largest < 32767) return Scan<Shorts>::volume(inside, size, square, alone, threads, finish_row);
    if (whole && largest < 1 << 24) return Scan<Words>::volume(inside, size, square, alone, threads, finish_row);
    return Scan<Doubles>::volume(inside, size, square, alone, threads, finish_row);
}

/* The distance to the inside by envelopes, for long axes. */
template <typename Finish>
int by_envelopes(const uint8_t *inside, const Grid &grid, int threads, Finish finish) {
    double *squared = room<double>(grid.voxels());
    const int failed = !squared || transform(inside, grid.size, grid.step, squared, nullptr, threads);
    if (!failed) finish(0, grid.voxels(), squared);
    free(squared);
    return failed;
}

/* Some voxels of a volume from their squared distances. */
template <typename Real>
MEDLOSS_APART void finish(const double *squares, const uint8_t *inside, int64_t n, double unit, int64_t kind,
                          Real *__restrict out) {
    if (kind == SQUARE)
        for (int64_t x = 0; x < n; ++x) out[x] = squares[x] < INFINITY ? (Real)(squares[x] * unit * unit) : 0;
    else
        for (int64_t x = 0; x < n; ++x) out[x] = squares[x] < INFINITY ? (Real)(sqrt(squares[x]) * unit) : 0;
    if (kind == SIGNED)
        for (int64_t x = 0; x < n; ++x) {
            const Real within = out[x] - (Real)unit;
            out[x] = inside[x] ? 0 - (within > 0 ? within : 0) : out[x];
        }
}

/* `alone`: distances to the inside; otherwise to the other side of its border, signed or squared where `kind` says
 * so. */
template <typename Real>
int distances(const uint8_t *inside, int64_t volumes, const Grid &grid, int alone, int64_t kind, Real *out,
              int threads) {
    const int64_t voxels = grid.voxels();
    const bool envelopes = alone && most(grid.size[1], grid.size[2]) > LONGEST_SEARCH;
    int failed = 0;
    prefer_huge_pages(out, (size_t)(volumes * voxels) * sizeof(Real));
    for (int64_t v = 0; v < volumes && !failed; ++v, inside += voxels, out += voxels) {
        const auto finished = [=, unit = grid.unit](int64_t start, int64_t n, const double *squares) {
            finish(squares, inside + start, n, unit, kind, out + start);
        };
        failed = envelopes ? by_envelopes(inside, grid, threads, finished)
                           : search_volume(inside, grid, alone, threads, finished);
    }
    return failed;
}

inline int nearest(const uint8_t *sources, int64_t volumes, const Grid &grid, int64_t *out, int threads) {
    const int64_t voxels = grid.voxels();
    double *squared = room<double>(most(voxels, 1));
    int failed = !squared;
    for (int64_t v = 0; v < volumes && !failed; ++v)
        failed = transform(sources + v * voxels, grid.size, grid.step, squared, out + v * voxels, threads);
    free(squared);
    return failed;
}

} // namespace

#define OPERANDS                                                                                                   \
    const uint8_t *inside, int64_t volumes, int64_t size0, int64_t size1, int64_t size2, double step0, double step1, \
        double step2, double unit
#define GRID Grid{{size0, size1, size2}, {step0, step1, step2}, unit}

MEDLOSS_ENTRY(distance_map, (OPERANDS, int64_t alone, int64_t kind, Real *out, int threads),
              return distances(inside, volumes, GRID, (int)alone, kind, out, threads);)

MEDLOSS_ENTRY_OF(nearest_source, f64, (OPERANDS, int64_t *out, int threads),
                 return nearest(inside, volumes, GRID, out, threads);)
