/* Rows of stencils in a volume: where they read, what they weigh, and rows that are continued beyond the border.
 *
 * Positions count in the frame: the volume, or where the border is replicated the volume and what lies around it.
 * Stencil (z, y, x) reads the frame from there on, `span` entries along each axis, `before` of them ahead of its
 * centre. */
#ifndef MEDLOSS_STENCIL_ROWS_HPP
#define MEDLOSS_STENCIL_ROWS_HPP

#include "vector.hpp"

namespace {

struct Frame {
    int64_t size[3], before[3], span[3]; /* voxels: depth, height, width; what a stencil reads */
    int64_t pad[3], whole[3], inner[3];  /* what lies in front of the volume; entries of the frame; stencils */
    int64_t replicate;

    /* `reach`: what a stencil reads before and behind its centre, along each axis. */
    Frame(const int64_t *voxels, const int64_t *reach, int64_t continued) : replicate(continued) {
        for (int axis = 0; axis < 3; ++axis) {
            size[axis] = voxels[axis];
            before[axis] = reach[axis];
            span[axis] = reach[axis] + reach[3 + axis] + 1;
            pad[axis] = replicate ? before[axis] : 0;
            whole[axis] = size[axis] + (replicate ? span[axis] - 1 : 0);
            inner[axis] = whole[axis] - span[axis] + 1;
        }
    }

    int64_t voxels() const { return size[0] * size[1] * size[2]; }
    int64_t stencils() const { return inner[0] * inner[1] * inner[2]; }

    /* The plane or row of the volume that one of the frame repeats. */
    int64_t place(int axis, int64_t at) const { return most(0, least(at - pad[axis], size[axis] - 1)); }

    /* Where the volume has a row of the frame. */
    int64_t row(int64_t plane, int64_t line) const { return (place(0, plane) * size[1] + place(1, line)) * size[2]; }
};

template <typename Real>
MEDLOSS_APART void add_row(Real *__restrict to, const Real *__restrict from, int64_t n) {
    for (int64_t x = 0; x < n; ++x) to[x] += from[x];
}

/* Entries first to last, of n of a row of the frame, that lie in the volume, `shift` ahead of where they lie there. */
struct Inside {
    int64_t shift, first, last;

    Inside(const Frame &f, int64_t from, int64_t n) : shift(from - f.pad[2]) {
        first = least(n, most(0, -shift));
        last = most(first, least(n, f.size[2] - shift));
    }
};

/* Entries `from` on of a row of the frame, n of them: `value(x)` of the volume's row, whose ends continue it. */
template <typename Real, typename Value>
MEDLOSS_INLINE void continue_row(const Frame &f, int64_t from, int64_t n, Real *__restrict to, Value value) {
    const Inside in(f, from, n);
    for (int64_t x = 0; x < in.first; ++x) to[x] = value(0);
    for (int64_t x = in.first; x < in.last; ++x) to[x] = value(x + in.shift);
    for (int64_t x = in.last; x < n; ++x) to[x] = value(f.size[2] - 1);
}

/* The adjoint: entries of a row of the frame on top of a row of the volume, whose ends take what lies beyond. */
template <typename Real>
void add_continued(const Frame &f, int64_t from, int64_t n, const Real *entries, Real *to) {
    const Inside in(f, from, n);
    for (int64_t x = 0; x < in.first; ++x) to[0] += entries[x];
    add_row(to + in.first + in.shift, entries + in.first, in.last - in.first);
    for (int64_t x = in.last; x < n; ++x) to[f.size[2] - 1] += entries[x];
}

/* The weights of a row of stencils: each one's centre's, and zero where the mask is zero in its box.
 * `row(plane, line)`: the mask's row of the frame; `box`: a row of scratch. */
template <typename Real, typename RowOf>
void box_weights(const Frame &f, int64_t z, int64_t y, RowOf row, Real *__restrict box, Real *__restrict weight) {
    const int64_t width = f.whole[2], n = f.inner[2];
    for (int64_t x = 0; x < width; ++x) box[x] = 1;
    for (int64_t plane = z; plane < z + f.span[0]; ++plane)
        for (int64_t line = y; line < y + f.span[1]; ++line) {
            const Real *seen = row(plane, line);
            for (int64_t x = 0; x < width; ++x) box[x] = seen[x] > 0 ? box[x] : 0;
        }
    const Real *centre = row(z + f.before[0], y + f.before[1]) + f.before[2];
    for (int64_t x = 0; x < n; ++x) weight[x] = box[x] != 0 ? centre[x] : 0;
    for (int64_t step = 1; step < f.span[2]; ++step)
        for (int64_t x = 0; x < n; ++x) weight[x] = box[x + step] != 0 ? weight[x] : 0;
}

} // namespace

#endif
