/* Derivatives along each axis of a row of voxels, and their adjoint.
 *
 * A derivative is half the difference of both neighbours, the whole one to one where the other is not there, beyond the
 * border or under the mask, and 0 without any. */
#include "../vector.hpp"

namespace {

/* One call's images, or those of one volume, which has three axes, of which the first ones may have one voxel. */
template <typename Real>
struct Images {
    const Real *x, *y, *mask;
    int64_t shared, size[3]; /* shared: volumes that share a mask */
    Real scale[3];

    int64_t voxels() const { return size[0] * size[1] * size[2]; }
    int64_t at(int64_t plane, int64_t line) const { return (plane * size[1] + line) * size[2]; }

    Images of(int64_t volume) const {
        Images f = *this;
        f.x += volume * voxels();
        f.y += volume * voxels();
        if (mask) f.mask += volume / shared * voxels();
        return f;
    }
};

/* A row's neighbours along one axis, itself where there is none. `at`: where it lies among `size`; `step` and `w_step`:
 * how far the next row of the image and of the mask are. */
template <typename Real>
struct Reach {
    int has_next, has_last;
    const Real *here, *next, *last;  /* of the image */
    const Real *w, *w_next, *w_last; /* of the mask, or null */

    Reach(const Real *row, int64_t step, const Real *mask, int64_t w_step, int64_t at, int64_t size)
        : has_next(at + 1 < size), has_last(at > 0), here(row), next(row + has_next * step),
          last(row - has_last * step), w(mask), w_next(mask ? mask + has_next * w_step : nullptr),
          w_last(mask ? mask - has_last * w_step : nullptr) {}
};

/* Along the row itself: `body(reach, from, end)` of the first voxel, of those between, of the last. */
template <typename Real, typename Body>
MEDLOSS_INLINE void each_reach_along(const Real *row, const Real *w, int64_t n, Body body) {
    for (int64_t from = 0, end; from < n; from = end) {
        end = from == 0 || from + 1 >= n ? from + 1 : n - 1;
        body(Reach<Real>(row, 1, w, 1, from, n), from, end);
    }
}

/* Voxels from to end of the derivative, and its factor on each difference. `here` less itself is 0, and NaN where the
 * voxel itself is no number, which the difference of its neighbours does not see. */
template <typename Real>
inline void differ(const Reach<Real> &r, Real scale, int64_t from, int64_t end, Real *__restrict out,
                   Real *__restrict factor) {
    const Real *__restrict next = r.next, *__restrict last = r.last, *__restrict here = r.here;
    const Real *__restrict w = r.w, *__restrict w_next = r.w_next, *__restrict w_last = r.w_last;
    const Real whole = r.has_next && r.has_last ? scale / 2 : scale;
    const int has_next = r.has_next, has_last = r.has_last;
    if (!w) {
        for (int64_t i = from; i < end; ++i) out[i] = whole * (next[i] - last[i]) + (here[i] - here[i]);
        if (factor)
            for (int64_t i = from; i < end; ++i) factor[i] = whole;
        return;
    }
    for (int64_t i = from; i < end; ++i) {
        const int on = has_next & (w_next[i] > 0), back = has_last & (w_last[i] > 0);
        const Real a = on ? next[i] : here[i], b = back ? last[i] : here[i], share = on & back ? scale / 2 : scale;
        out[i] = w[i] > 0 ? share * (a - b) + (here[i] - here[i]) : 0;
        if (factor) factor[i] = share;
    }
}

/* Adds what comes back: every difference gives to one of its voxels what it takes from the other. `here` and its like
 * are rows of what goes with each derivative's differences. */
template <typename Real>
inline void differ_back(const Reach<Real> &r, int64_t from, int64_t end, Real *__restrict out) {
    const Real *__restrict next = r.next, *__restrict last = r.last, *__restrict here = r.here;
    const Real *__restrict w = r.w, *__restrict w_next = r.w_next, *__restrict w_last = r.w_last;
    const int has_next = r.has_next, has_last = r.has_last;
    if (!w) {
        if (has_last)
            for (int64_t i = from; i < end; ++i) out[i] += last[i] + here[i];
        if (has_next)
            for (int64_t i = from; i < end; ++i) out[i] -= here[i] + next[i];
        return;
    }
    for (int64_t i = from; i < end; ++i) {
        const int on = has_next & (w_next[i] > 0), back = has_last & (w_last[i] > 0);
        const Real sum = (back ? last[i] + here[i] : 0) - (on ? here[i] + next[i] : 0);
        out[i] += w[i] > 0 ? sum : 0;
    }
}

/* The derivatives of one of the images in a row: three rows from `out` on, and their factors, where asked for. */
template <typename Real>
void derive(const Images<Real> &f, const Real *image, int64_t plane, int64_t line, Real *out, Real *factor) {
    const int64_t n = f.size[2], far = f.size[1] * n, at = f.at(plane, line);
    const Real *here = image + at, *w = f.mask ? f.mask + at : nullptr;
    differ(Reach<Real>(here, far, w, far, plane, f.size[0]), f.scale[0], 0, n, out, factor);
    differ(Reach<Real>(here, n, w, n, line, f.size[1]), f.scale[1], 0, n, out + n, factor ? factor + n : nullptr);
    each_reach_along(here, w, n, [&](const Reach<Real> &r, int64_t from, int64_t end) {
        differ(r, f.scale[2], from, end, out + 2 * n, factor ? factor + 2 * n : nullptr);
    });
}

} // namespace
