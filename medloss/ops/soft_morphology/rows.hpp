/* Rows of voxels: least and largest of neighbours, and the way back from a winner to where it stood.
 *
 * The way back needs no memory of who won: the winner is the one that equals the result, and among several the one that
 * the reference looks at last. What a row still has to hand out lies in `left`, and each candidate in turn takes its
 * part. Every loop is over single rows, so that the compiler makes vectors of it. */
#ifndef MEDLOSS_SOFT_MORPHOLOGY_ROWS_HPP
#define MEDLOSS_SOFT_MORPHOLOGY_ROWS_HPP

#include "../ordered_sums.hpp"
#include "../vector.hpp"

namespace {

template <typename Real>
constexpr Real INF = (Real)INFINITY;

/* One call's volumes. `weight`: one volume for `shared` of them, or null where every voxel counts. */
template <typename Real>
struct Volumes {
    const Real *weight;
    int64_t count, shared, depth, height, width;

    int64_t plane() const { return height * width; }
    int64_t voxels() const { return depth * plane(); }
    size_t bytes() const { return (size_t)voxels() * sizeof(Real); }
    const Real *weight_of(int64_t volume) const { return weight ? weight + volume / shared * voxels() : nullptr; }
};

/* `odd` of the caller is set where a value that counts is not finite. */
inline void report(int found, int64_t *odd) {
    if (!found) return;
#pragma omp atomic write
    *odd = 1;
}

template <typename T>
MEDLOSS_INLINE T *at_or_null(T *start, int64_t at) {
    return start ? start + at : nullptr;
}

template <typename Real>
MEDLOSS_INLINE Real lesser(Real a, Real b) {
    return a < b ? a : b;
}
template <typename Real>
MEDLOSS_INLINE Real larger(Real a, Real b) {
    return a > b ? a : b;
}

/* `value(i)` of the voxels that count, and `blank` of the others. Returns whether one that counts is not finite. */
template <typename Real, typename Value>
MEDLOSS_INLINE int fill_counted(const Real *weight, int64_t n, Real blank, Real *__restrict out, Value value) {
    int odd = 0;
    for (int64_t i = 0; i < n; ++i) {
        const Real found = value(i);
        const int counts = !weight || weight[i] > 0;
        odd |= counts & !(found - found == 0);
        out[i] = counts ? found : blank;
    }
    return odd;
}

/* `value(i)` of the voxels that count, and zero of the others. */
template <typename Real, typename Value>
MEDLOSS_INLINE void keep_counted(const Real *weight, int64_t n, Real *__restrict out, Value value) {
    if (weight)
        for (int64_t i = 0; i < n; ++i) out[i] = weight[i] > 0 ? value(i) : 0;
    else
        for (int64_t i = 0; i < n; ++i) out[i] = value(i);
}

/* Least of a voxel and its neighbours along the axes. Before and behind a row of `own` stands infinity, and so it does
 * where a voxel does not count. */
template <int masked, typename Real>
void erode_row(const Real *own, const Real *above, const Real *below, const Real *front,
                             const Real *back, int64_t n, Real *__restrict out) {
    for (int64_t x = 0; x < n; ++x) {
        Real least = lesser(own[x - 1], own[x]);
        least = lesser(own[x + 1], least);
        least = lesser(above[x], least);
        least = lesser(below[x], least);
        least = lesser(front[x], least);
        least = lesser(back[x], least);
        out[x] = masked && own[x] == INF<Real> ? INF<Real> : least;
    }
}

/* Largest of three rows; infinite is what does not count, and becomes the least of all. */
template <int masked, typename Real>
void larger_of_planes(const Real *own, const Real *front, const Real *back, int64_t n,
                                    Real *__restrict out) {
    const auto counted = [](Real a) MEDLOSS_INLINED { return masked && a == INF<Real> ? -INF<Real> : a; };
    for (int64_t x = 0; x < n; ++x) out[x] = larger(larger(counted(own[x]), counted(front[x])), counted(back[x]));
}

template <typename Real>
void larger_of_rows(const Real *own, const Real *above, const Real *below, int64_t n,
                                  Real *__restrict out) {
    for (int64_t x = 0; x < n; ++x) out[x] = larger(larger(own[x], above[x]), below[x]);
}

/* What opening takes off: the level less the largest of three in a row of `wide`, which has a margin of -infinity. */
template <int masked, typename Real>
void ridge_row(const Real *level, const Real *wide, int64_t n, Real *__restrict out) {
    for (int64_t x = 0; x < n; ++x) {
        Real ridge = level[x] - larger(larger(wide[x - 1], wide[x]), wide[x + 1]);
        ridge = ridge > 0 ? ridge : 0;
        out[x] = masked && level[x] == INF<Real> ? 0 : ridge;
    }
}

/* Where `candidate` is the winner, what is left of the gradient goes to it. */
template <typename Real>
MEDLOSS_APART void pass_back(const Real *candidate, const Real *winner, Real *__restrict left, Real *__restrict to,
                        int64_t n) {
    for (int64_t x = 0; x < n; ++x) {
        const int won = candidate[x] == winner[x];
        to[x] += won ? left[x] : 0;
        left[x] = won ? 0 : left[x];
    }
}

/* The same along the row itself, for the winners behind, here and before, in this order: what they get is put into
 * three rows with margins, from which `along` then gathers. */
template <typename Real>
MEDLOSS_APART void pass_back_along(const Real *candidates, const Real *winner, Real *__restrict left,
                              Real *__restrict behind, Real *__restrict here, Real *__restrict before, int64_t n) {
    for (int64_t x = 0; x < n; ++x) {
        const Real value = winner[x], g = left[x];
        const int is_behind = candidates[x + 1] == value, is_here = candidates[x] == value;
        const int is_before = candidates[x - 1] == value;
        const Real second = is_behind ? 0 : g, third = is_here ? 0 : second;
        behind[x] = is_behind ? g : 0;
        here[x] = is_here ? second : 0;
        before[x] = is_before ? third : 0;
        left[x] = is_before ? 0 : third;
    }
}

/* Slopes of sums that weigh a voxel by another map: of the weighed sum, and of the plain one. */
template <typename Real>
MEDLOSS_APART void slope_row(const Real *map, const Real *weight, Real factor, Real all, int64_t n,
                             Real *__restrict to) {
    if (weight)
        for (int64_t i = 0; i < n; ++i) to[i] = weight[i] > 0 ? weight[i] * (factor * map[i] + all) : 0;
    else
        for (int64_t i = 0; i < n; ++i) to[i] = factor * map[i] + all;
}

/* Two sums of a row of what is thin: within the other map, and all of it. */
struct Overlap {
    Sum hit, thin;

    template <typename Real>
    void add(const Real *row, const Real *other, const Real *weight, int64_t n, Real *product) {
        if (weight)
            keep_counted(weight, n, product, [=](int64_t x) MEDLOSS_INLINED { return row[x] * weight[x]; });
        const Real *weighed_row = weight ? product : row;
        thin.add(weighed_row, n);
        meet(weighed_row, other, n, product);
        hit.add(product, n);
    }

    template <typename Real>
    static void meet(const Real *row, const Real *other, int64_t n, Real *product) {
#pragma omp simd
        for (int64_t x = 0; x < n; ++x) product[x] = row[x] == 0 ? 0 : row[x] * other[x];
    }
};

} // namespace

#endif
