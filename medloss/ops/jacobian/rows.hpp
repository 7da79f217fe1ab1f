/* Rows of stencils: where their points lie, what they weigh, and how the points are given what is theirs. */
#include "../stencil_rows.hpp"
#include "simplices.hpp"

namespace {

enum { DETERMINANT = 0, FOLDING = 1, LOGARITHM = 2, VOLUME = 3, SDLOG = 4, HYPERELASTIC = 5, HINGE = 6 };

/* One call's field. */
template <typename Real>
struct Field {
    Frame frame;
    const Real *u, *mask; /* of a volume */
    int64_t mode, rank, points, simplices;
    const int64_t *offset; /* depth, height and width of each point from the centre */
    Real scale[9], floor, log_floor, price[3], fall;

    /* `options`: rank, points, simplices, voxels before and behind along each axis, replicate. `numbers`: the factor of
     * component k along axis i at 3 i + k; floor; prices of length, area, volume. */
    Field(const Real *field, const Real *weight, const int64_t *size, const int64_t *options, const int64_t *offsets,
          const double *numbers, int64_t what)
        : frame(size, options + 3, options[9]), u(field), mask(weight), mode(what), rank(options[0]),
          points(options[1]), simplices(options[2]), offset(offsets), floor((Real)numbers[9]) {
        const double least_growth = numbers[9], under = least_growth - 1;
        for (int i = 0; i < 9; ++i) scale[i] = (Real)numbers[i];
        for (int i = 0; i < 3; ++i) price[i] = (Real)numbers[10 + i];
        log_floor = (Real)log((double)floor);
        fall = (Real)(2 * under * under * under * (least_growth + 1) / (least_growth * least_growth * least_growth));
    }

    Field of(int64_t volume) const {
        Field f = *this;
        f.u += volume * rank * frame.voxels();
        if (mask) f.mask += volume * frame.voxels();
        return f;
    }

    /* The share of a cell's volume that a simplex stands for. */
    double share_of(int64_t simplex) const {
        if (simplices == 1) return 1;
        return rank == 3 ? (simplex < 8 ? 1.0 / 12 : 1.0 / 6) : 1.0 / (double)simplices;
    }
};

/* Of one thread: rows of `pitch` entries. */
template <typename Real>
struct Work {
    Field<Real> f;
    int64_t backward, n, pitch; /* n: stencils of a row */
    Real *copies = nullptr, *weight, *box, *seen, *cost, *growth, *given;
    const Real *at[MOST_ENDS]; /* component c of point p at p rank + c */

    Work(const Field<Real> &field, int64_t back) : f(field), backward(back), n(f.frame.inner[2]) {}

    int take() {
        const int64_t ends = f.points * f.rank;
        pitch = f.frame.size[2] + LANES<Real>;
        copies = cleared<Real>((ends * (1 + backward) + 4 + f.simplices) * pitch);
        if (!copies) return 1;
        weight = copies + ends * pitch;
        box = weight + pitch;
        seen = box + pitch;
        cost = seen + pitch;
        growth = cost + pitch;
        given = growth + f.simplices * pitch;
        return 0;
    }

    void give() { free(copies); }

    /* Where the points of a row of stencils lie: in the volume, or in copies that are continued beyond the border and
     * have room behind. */
    MEDLOSS_APART void point_rows(int64_t z, int64_t y) {
        const Frame &g = f.frame;
        const Real **to = at;
        Real *copy = copies;
        for (const int64_t *step = f.offset; step < f.offset + 3 * f.points; step += 3) {
            const int64_t column = g.before[2] + step[2];
            const Real *row = f.u + g.row(z + g.before[0] + step[0], y + g.before[1] + step[1]);
            for (int64_t c = 0; c < f.rank; ++c, row += g.voxels(), copy += pitch) {
                *to++ = !g.replicate && n >= LANES<Real> ? row + column : copy;
                if (to[-1] == copy) continue_row(g, column, n, copy, [=](int64_t x) { return row[x]; });
            }
        }
    }

    /* The weights of a row of stencils, null where all are 1. */
    const Real *row_weight(int64_t z, int64_t y) {
        const Frame &g = f.frame;
        if (!f.mask) return nullptr;
        const auto row_of = [&](int64_t plane, int64_t line) -> const Real * {
            const Real *row = f.mask + g.row(plane, line);
            if (!g.replicate) return row;
            continue_row(g, 0, g.whole[2], seen, [=](int64_t x) { return row[x]; });
            return seen;
        };
        box_weights(g, z, y, row_of, box, weight);
        return weight;
    }

    template <typename Body>
    void by_rank(Body body) const {
        f.rank == 1 ? body(Number<1>{}) : f.rank == 2 ? body(Number<2>{}) : body(Number<3>{});
    }

    /* `body(simplices)` of a row, of a simple scheme; of any. */
    template <typename Body>
    void with_simplex(Body body) const {
        by_rank([&](auto rank) { body(Simplices<Real, rank, 0>{at, f.scale, n, pitch}); });
    }
    template <typename Body>
    void with_simplices(Body body) const {
        if (f.simplices == 1) with_simplex(body);
        else by_rank([&](auto rank) { body(Simplices<Real, rank, 1>{at, f.scale, n, pitch}); });
    }

    void growths() const { with_simplices([&](const auto &s) { s.growths(growth); }); }
    void growths_back() const { with_simplices([&](const auto &s) { s.growths_back(growth, given); }); }
    void energies() const { with_simplex([&](const auto &s) { s.energies(f.price, f.floor, f.fall, cost); }); }
    void energies_back() const { with_simplex([&](const auto &s) { s.energies_back(f.price, f.floor, cost, given); }); }

    /* Adds what a row of stencils gives to its points, where these lie in planes low to high. What lies beyond the
     * border comes on top of the border's, which it repeats. */
    void give_points(int64_t z, int64_t y, int64_t low, int64_t high, Real *out) {
        const Frame &g = f.frame;
        Real *row = given;
        for (int64_t p = 0; p < f.points; ++p) {
            const int64_t *step = f.offset + 3 * p, plane = z + g.before[0] + step[0];
            const bool here = g.place(0, plane) >= low && g.place(0, plane) < high;
            Real *to = out + g.row(plane, y + g.before[1] + step[1]);
            for (int64_t c = 0; c < f.rank; ++c, row += pitch, to += g.voxels()) {
                if (here && f.mask)
                    for (int64_t x = 0; x < n; ++x) row[x] = weight[x] > 0 ? row[x] : 0;
                if (here) add_continued(g, g.before[2] + step[2], n, row, to);
            }
        }
    }
};

} // namespace
