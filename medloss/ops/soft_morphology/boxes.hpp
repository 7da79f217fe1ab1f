/* Largest values of boxes, plane by plane, and what a boundary loss makes of them, volume by volume.
 *
 * A box is taken along the planes, then the rows, then the columns. The way back is made of the same steps in the other
 * order, and of several equal voxels the last one wins each step, as in pools.py. Minus infinity does not count; the
 * least value is the largest of the negated map. */
#include "rows.hpp"

namespace {

template <typename Real>
void larger_into(Real *__restrict to, const Real *__restrict from, int64_t n) {
    for (int64_t i = 0; i < n; ++i) to[i] = larger(to[i], from[i]);
}

template <typename Real>
MEDLOSS_APART bool any(const Real *row, int64_t n) {
    int found = 0;
    for (int64_t x = 0; x < n; ++x) found |= row[x] != 0;
    return found;
}

template <typename Real>
struct Box {
    int64_t depth, height, width, reach, pitch; /* entries of a row with its margins */
    Real *memory = nullptr, *deep, *tall, *wide; /* a plane of the largest along one axis, along two, along all three */
    Real *left, *to_tall, *to_deep;              /* gradients of a plane that have yet to be handed on */

    Box(const Volumes<Real> &v, int64_t size)
        : depth(v.depth), height(v.height), width(v.width), reach(size / 2), pitch(width + 2 * reach) {}

    int take() {
        const int64_t plane = height * width, padded = height * pitch;
        memory = room<Real>(4 * plane + 2 * padded);
        if (!memory) return 1;
        deep = memory, wide = deep + plane, left = wide + plane, to_deep = left + plane;
        tall = to_deep + plane, to_tall = tall + padded;
        for (int64_t i = 0; i < padded; ++i) tall[i] = -INF<Real>;
        return 0;
    }

    void give() { free(memory); }

    /* The entries around `at` that a box holds. */
    int64_t first(int64_t at) const { return most(at - reach, 0); }
    int64_t end(int64_t at, int64_t size) const { return least(at + reach + 1, size); }

    /* The largest of the rows or planes around `at`, of `size` of them with n entries each. */
    void largest(const Real *rows, int64_t at, int64_t size, int64_t n, Real *to) const {
        memcpy(to, rows + first(at) * n, sizeof(Real) * (size_t)n);
        for (int64_t k = first(at) + 1; k < end(at, size); ++k) larger_into(to, rows + k * n, n);
    }

    /* The boxes around the voxels of plane z, into `wide`. */
    void look(const Real *map, int64_t z) const {
        largest(map, z, depth, height * width, deep);
        for (int64_t y = 0; y < height; ++y) {
            Real *row = tall + y * pitch, *to = wide + y * width;
            largest(deep, y, height, width, row + reach);
            memcpy(to, row, sizeof(Real) * (size_t)width);
            for (int64_t j = 1; j <= 2 * reach; ++j) larger_into(to, row + j, width);
        }
    }

    /* The adjoint of `largest`. */
    void hand_back(const Real *rows, int64_t at, int64_t size, int64_t n, const Real *winner, Real *rest,
                   Real *to) const {
        for (int64_t k = end(at, size) - 1; k >= first(at); --k) pass_back(rows + k * n, winner, rest, to + k * n, n);
    }

    /* Adds the gradients in `left`, of the boxes of the plane that `look` has last seen, to those of the map. */
    void adjoint(const Real *map, int64_t z, Real *grad) const {
        const int64_t n = width, plane = height * n;
        if (!any(left, plane)) return;
        memset(to_tall, 0, sizeof(Real) * (size_t)(height * pitch));
        memset(to_deep, 0, sizeof(Real) * (size_t)plane);
        for (int64_t y = 0; y < height; ++y) {
            Real *row = tall + y * pitch, *to_row = to_tall + y * pitch, *rest = left + y * n;
            if (!any(rest, n)) continue;
            for (int64_t j = 2 * reach; j >= 0; --j) pass_back(row + j, wide + y * n, rest, to_row + j, n);
            hand_back(deep, y, height, n, row + reach, to_row + reach, to_deep);
        }
        hand_back(map, z, depth, plane, deep, to_deep, grad);
    }
};

/* A map times `sign`, minus infinity where nothing counts; whether a value that counts is not finite. */
template <typename Real>
int copy_counted(const Real *map, const Real *weight, Real sign, int64_t n, Real *out) {
    return fill_counted(weight, n, -INF<Real>, out, [=](int64_t i) MEDLOSS_INLINED { return sign * map[i]; });
}

/* Largest values: scratch of a thread, and the volume that it is at. */
template <typename Real>
struct Pool {
    Volumes<Real> v;
    Box<Real> box;
    const Real *weight;
    Real *seen = nullptr;

    Pool(const Volumes<Real> &volumes, int64_t size) : v(volumes), box(v, size) {}

    int take() { return box.take() | !(seen = room<Real>(v.voxels())); }
    void give() {
        box.give();
        free(seen);
    }

    /* The largest value of the box around each voxel, or with `grad` the gradient of the map; whether a value that
     * counts is not finite. */
    int run(const Real *map, const Real *grad, Real *out) const {
        if (copy_counted(map, weight, (Real)1, v.voxels(), seen)) return 1;
        if (grad) memset(out, 0, v.bytes());
        for (int64_t z = 0; z < v.depth; ++z) {
            const int64_t at = z * v.plane();
            box.look(seen, z);
            const Real *from = grad ? grad + at : box.wide;
            Real *to = grad ? box.left : out + at;
            if (weight) keep_counted(weight + at, v.plane(), to, [=](int64_t i) MEDLOSS_INLINED { return from[i]; });
            else memcpy(to, from, sizeof(Real) * (size_t)v.plane());
            if (grad) box.adjoint(seen, z, out);
        }
        return 0;
    }
};

/* Boundaries: scratch of a thread, and the volume that it is at. */
template <typename Real>
struct Boundaries {
    Volumes<Real> v;
    Box<Real> inner, outer; /* of the erosion that makes a boundary, and of what is near it */
    const Real *weight;
    Real *negated = nullptr, *true_edge, *edge, *scratch; /* maps */

    Boundaries(const Volumes<Real> &volumes, int64_t thin, int64_t near) : v(volumes), inner(v, thin), outer(v, near) {}

    int take() {
        negated = room<Real>(4 * v.voxels());
        if ((inner.take() | outer.take()) || !negated) return 1;
        prefer_huge_pages(negated, 4 * v.bytes());
        true_edge = negated + v.voxels();
        edge = true_edge + v.voxels();
        scratch = edge + v.voxels();
        return 0;
    }

    void give() {
        inner.give();
        outer.give();
        free(negated);
    }

    /* What erosion takes off both maps; whether a value that counts is not finite. */
    int find(const Real *input, const Real *target) const {
        return boundary(target, true_edge) | boundary(input, edge);
    }

    /* What erosion takes off a map, minus infinity where nothing counts; `negated` keeps the map that it was taken
     * from. */
    int boundary(const Real *map, Real *out) const {
        const int odd = copy_counted(map, weight, (Real)-1, v.voxels(), negated);
        for (int64_t z = 0; z < v.depth; ++z) {
            inner.look(negated, z);
            subtract(inner.wide, negated + z * v.plane(), v.plane(), out + z * v.plane());
        }
        return odd;
    }

    static MEDLOSS_APART void subtract(const Real *wide, const Real *own, int64_t n, Real *__restrict to) {
        for (int64_t i = 0; i < n; ++i) to[i] = own[i] == -INF<Real> ? -INF<Real> : wide[i] - own[i];
    }

    /* Four sums: of the boundary of the prediction near that of the target, of all of it, and the other way round. */
    void sums(double *found) const {
        within(edge, true_edge, found);
        within(true_edge, edge, found + 2);
    }

    /* Sums of the boundary `thin` where the other one, dilated, is, and of all of it. */
    void within(const Real *thin, const Real *other, double *found) const {
        found[0] = found[1] = 0;
        for (int64_t z = 0; z < v.depth; ++z) {
            Overlap overlap;
            outer.look(other, z);
            for (int64_t at = 0, n = v.width; at < v.plane(); at += n) {
                const int64_t start = z * v.plane() + at;
                overlap.add(thin + start, outer.wide + at, at_or_null(weight, start), n, outer.left);
            }
            found[0] += overlap.hit.total();
            found[1] += overlap.thin.total();
        }
    }

    /* The gradient of the prediction from the cotangents of the four sums. */
    void gradient(const double *grad, Real *out) const {
        const int64_t plane = v.plane();
        const Real hit = (Real)grad[0], all = (Real)grad[1], found = (Real)grad[2];
        for (int64_t z = 0, at = 0; z < v.depth; ++z, at += plane) {
            outer.look(true_edge, z);
            slope_row(outer.wide, at_or_null(weight, at), hit, all, plane, scratch + at);
        }
        for (int64_t z = 0, at = 0; z < v.depth && found != 0; ++z, at += plane) {
            slope_row(true_edge + at, at_or_null(weight, at), found, (Real)0, plane, outer.left);
            if (!any(outer.left, plane)) continue;
            outer.look(edge, z);
            outer.adjoint(edge, z, scratch);
        }
        memcpy(out, scratch, v.bytes());
        for (int64_t z = 0; z < v.depth; ++z) {
            for (int64_t i = 0; i < plane; ++i) inner.left[i] = -scratch[z * plane + i];
            inner.look(negated, z);
            inner.adjoint(negated, z, out);
        }
    }
};

} // namespace
