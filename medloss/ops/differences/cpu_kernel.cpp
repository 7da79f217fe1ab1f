/* differences on the CPU: energies that are sums of squares, or of absolute values, of linear stencils, and their
 * gradient.
 *
 * A stencil is a list of taps (offset in component, depth, height and width, and weight); all energies differ in their
 * lists alone. Forward, each row reads its neighbours and keeps nothing. Backward, what each stencil L passes on,
 * 2 g L u, is kept in a ring of planes of a few rows, from which the adjoint gathers: every voxel of the gradient is
 * written once, by one thread, and the result does not depend on their number. The rings fit into the second cache. */
#include "../ordered_sums.hpp"
#include "plane_iterator.hpp"

namespace {

enum { RING_BYTES = 1 << 18, LEAST_ROWS = 8 };

/* Planes low to high and rows first to last of a volume. */
struct Piece {
    int64_t volume, low, high, first, last;
};

/* How volumes are cut: into tiles of rows, so that the rings stay in the cache, and these into runs of planes for more
 * threads, of which what is computed twice stays small. */
struct Pieces {
    int64_t depth, height, tiles, runs, all;

    template <typename Real>
    Pieces(const Field<Real> &f, int64_t volumes, const int64_t *size, int threads) : depth(size[0]), height(size[1]) {
        const int64_t *span = f.frame.span;
        const int64_t row = span[0] * (f.terms + f.components) * f.frame.whole[2] * (int64_t)sizeof(Real);
        const int64_t rows = most(RING_BYTES / row - span[1], LEAST_ROWS);
        tiles = (height + rows - 1) / rows;
        runs = most(1, least((2 * threads + volumes * tiles - 1) / (volumes * tiles), depth / (4 * span[0])));
        all = volumes * tiles * runs;
    }

    int64_t rows() const { return (height + tiles - 1) / tiles; }

    Piece operator[](int64_t at) const {
        const int64_t run = at % runs, tile = at / runs % tiles;
        return {at / runs / tiles, depth * run / runs, depth * (run + 1) / runs, height * tile / tiles,
                height * (tile + 1) / tiles};
    }
};

/* Gives the map, or the sums of the volumes. */
template <typename Real>
int energies(const Field<Real> &f, int64_t volumes, Real *map, double *sums, int threads) {
    const int64_t depth = f.frame.inner[0], stencils = f.frame.stencils();
    const Pieces pieces(f, volumes, f.frame.inner, threads);
    if (map) prefer_huge_pages(map, (size_t)(volumes * stencils) * sizeof(Real));
    for (int64_t v = 0; sums && v < volumes; ++v) sums[v] = 0;
    return add_in_order(
        pieces.all, depth, threads, PlaneIterator<Real>(f, pieces.rows(), 0),
        [&](PlaneIterator<Real> *w, int64_t at, double *planes) {
            const Piece p = pieces[at];
            w->begin(f.of(p.volume), p.first, p.last, p.low);
            w->energies(p.low, p.high, map ? map + p.volume * stencils : nullptr, planes);
        },
        [&](int64_t at, const double *planes) {
            for (int64_t z = 0; sums && z < depth; ++z) sums[pieces[at].volume] += planes[z];
        });
}

/* The gradient of the field, from an upstream map `grad` or, without one, from one number `all` for each volume. */
template <typename Real>
int gradients(const Field<Real> &f, int64_t volumes, const Real *grad, const Real *all, Real *out, int threads) {
    const Frame &g = f.frame;
    const Pieces pieces(f, volumes, g.size, threads);
    const int64_t voxels = f.components * g.voxels();
    prefer_huge_pages(out, (size_t)(volumes * voxels) * sizeof(Real));
    return share_out(pieces.all, threads, PlaneIterator<Real>(f, pieces.rows(), 1),
                     [&](PlaneIterator<Real> *w, int64_t at) {
                         const Piece p = pieces[at];
                         const int64_t plane = p.low ? p.low + g.pad[0] : 0, row = p.first ? p.first + g.pad[1] : 0;
                         const int64_t end = p.last < g.size[1] ? p.last + g.pad[1] : g.whole[1];
                         w->begin(f.of(p.volume), row - g.span[1] + 1, end, most(plane - g.span[0] + 1, 0));
                         w->gradient(p.low, p.high, p.first, p.last, grad ? grad + p.volume * g.stencils() : nullptr,
                                     grad ? 0 : all[p.volume], out + p.volume * voxels);
                     });
}

} // namespace

/* `mask`: one volume for `shared` volumes of the field; `scale`: one factor for each volume; `options`: before and
 * behind along each axis, components, absolute, replicate. */
#define OPERANDS                                                                                             \
    const Real *u, const Real *mask, int64_t shared, int64_t volumes, const int64_t *size, int64_t terms,    \
        const int64_t *start, const int64_t *offset, const Real *weight, const Real *factor,                 \
        const int64_t *options, const Real *scale
#define FIELD                                                                                                \
    Field<Real>{Frame(size, options, options[8]), u, mask, shared, terms, start, offset, weight, factor, scale, \
                options[6], options[7]}

MEDLOSS_ENTRY(differences_forward, (OPERANDS, Real *map, double *sums, int threads),
              return energies(FIELD, volumes, map, sums, threads);)

MEDLOSS_ENTRY(differences_backward, (OPERANDS, const Real *grad, const Real *all, Real *out, int threads),
              return gradients(FIELD, volumes, grad, all, out, threads);)
