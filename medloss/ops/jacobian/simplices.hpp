/* The simplices of a row of stencils: their edges after the deformation, what they grow by, and what their points are
 * given in return.
 *
 * The points of a simple scheme are the low end of each axis and then the high ends; those of a cell its corners, the
 * first axis in the highest bit. Everything but the sizes is known at compile time. */
#include "../vector.hpp"

namespace {

enum { MOST_ENDS = 24 };

/* `body(s)` for each simplex by its number, which an index of a loop becomes too late. */
template <int end, int s = 0, typename Body>
MEDLOSS_INLINE void each_simplex(Body body) {
    if constexpr (s < end) {
        body(Number<s>{});
        each_simplex<end, s + 1>(body);
    }
}

template <typename Real, int rank, int cell>
struct Simplices {
    using V = Vector<Real>;
    enum { POINTS = cell ? 1 << rank : 2 * rank, ENDS = rank * POINTS, ALL = !cell ? 1 : rank == 3 ? 10 : 1 << rank };

    const Real *const *at; /* component c of point p at p rank + c */
    const Real *scale;     /* of component k along axis i at 3 i + k */
    int64_t n, pitch;      /* stencils of a row; entries of one simplex or point component in the results */

    /* The point where edge i of simplex s begins (`high` 0) or ends. Of a corner's simplex each edge runs upwards along
     * its axis, which turns its matrix and its volume over alike. */
    static constexpr int end_of(int s, int i, int high) {
        const int bit = 1 << (rank - 1 - i);
        if (!cell) return high ? rank + i : i;
        if (s < 1 << rank) return high ? s | bit : s & ~bit;
        if (s == 1 << rank) return high ? 7 ^ 1 << i : 0; /* the two inside a cube */
        return high ? 1 << i : 7;
    }

    /* Component k of edge i before the deformation. */
    static constexpr int rest_of(int s, int i, int k) {
        if (!cell || s < 1 << rank) return i == k;
        const int bit = 1 << (rank - 1 - k);
        return ((end_of(s, i, 1) & bit) != 0) - ((end_of(s, i, 0) & bit) != 0);
    }

    /* One over the volume of a simplex, in parallelepipeds. */
    static constexpr Real inverse_size(int s) { return (Real)(s < 1 << rank ? 1.0 : s == 1 << rank ? -0.5 : 0.5); }

    /* What the points of a vector of stencils hold: loops of known length must be none, or the points lie in memory. */
    MEDLOSS_INLINE void load_points(int64_t x, V *u) const {
#pragma GCC unroll 24
        for (int i = 0; i < ENDS; ++i) u[i] = load(at[i] + x);
    }

    /* The derivatives of a simplex: of component k along edge i, times the scale. */
    MEDLOSS_INLINE void slopes(const int s, const V *u, V e[3][3]) const {
        for (int i = 0; i < rank; ++i)
            for (int k = 0; k < rank; ++k)
                e[i][k] = scale[3 * i + k] * (u[end_of(s, i, 1) * rank + k] - u[end_of(s, i, 0) * rank + k]);
    }

    /* On top of the derivatives the edges as they were. */
    static MEDLOSS_INLINE void add_rest(const int s, V e[3][3]) {
        for (int i = 0; i < rank; ++i)
            for (int k = 0; k < rank; ++k)
                if (rest_of(s, i, k)) e[i][k] += (Real)rest_of(s, i, k);
    }

    static MEDLOSS_INLINE void cross(const V *a, const V *b, V *out) {
        out[0] = a[1] * b[2] - a[2] * b[1];
        out[1] = a[2] * b[0] - a[0] * b[2];
        out[2] = a[0] * b[1] - a[1] * b[0];
    }

    /* The derivative of the determinant in each entry. */
    static MEDLOSS_INLINE void cofactors(V e[3][3], V c[3][3]) {
        if (rank == 1) c[0][0] = V{} + 1;
        if (rank == 2) {
            c[0][0] = e[1][1];
            c[0][1] = -e[1][0];
            c[1][0] = -e[0][1];
            c[1][1] = e[0][0];
        }
        if (rank == 3)
            for (int i = 0; i < 3; ++i) cross(e[(i + 1) % 3], e[(i + 2) % 3], c[i]);
    }

    static MEDLOSS_INLINE V determinant(V e[3][3]) {
        if (rank == 1) return e[0][0];
        if (rank == 2) return e[0][0] * e[1][1] - e[0][1] * e[1][0];
        V normal[3];
        cross(e[1], e[2], normal);
        return e[0][0] * normal[0] + e[0][1] * normal[1] + e[0][2] * normal[2];
    }

    /* What each simplex grows by. */
    MEDLOSS_APART void growths(Real *growth) const {
        by_vectors<Real>(n, [=, *this](int64_t x) MEDLOSS_INLINED {
            V u[MOST_ENDS];
            load_points(x, u);
            each_simplex<ALL>([&](auto s) MEDLOSS_INLINED {
                V e[3][3];
                slopes(s, u, e);
                add_rest(s, e);
                store(growth + s * pitch + x, inverse_size(s) * determinant(e));
            });
        });
    }

    /* What the points are given: from the rate of each simplex, times its share. */
    MEDLOSS_APART void growths_back(const Real *rate, Real *given) const {
        by_vectors<Real>(n, [=, *this](int64_t x) MEDLOSS_INLINED {
            V u[MOST_ENDS], total[MOST_ENDS];
            load_points(x, u);
#pragma GCC unroll 24
            for (int i = 0; i < ENDS; ++i) total[i] = V{};
            each_simplex<ALL>([&](auto s) MEDLOSS_INLINED {
                const V each = inverse_size(s) * load(rate + s * pitch + x);
                V e[3][3], c[3][3];
                slopes(s, u, e);
                add_rest(s, e);
                cofactors(e, c);
                for (int i = 0; i < rank; ++i)
                    for (int k = 0; k < rank; ++k) {
                        const V part = each * c[i][k] * scale[3 * i + k];
                        total[end_of(s, i, 1) * rank + k] += part;
                        total[end_of(s, i, 0) * rank + k] -= part;
                    }
            });
#pragma GCC unroll 24
            for (int i = 0; i < ENDS; ++i) store(given + i * pitch + x, total[i]);
        });
    }

    /* Where the square of an area is above one: what is beyond. */
    static MEDLOSS_INLINE V larger(const V *c) { return positive<Real>(c[0] * c[0] + c[1] * c[1] + c[2] * c[2] - 1); }

    /* Hyperelastic energies: `price` of length, area and volume; `fall` is the slope below the floor. */
    MEDLOSS_APART void energies(const Real *price, Real floor, Real fall, Real *out) const {
        by_vectors<Real>(n, [=, *this](int64_t x) MEDLOSS_INLINED {
            V u[MOST_ENDS], e[3][3], c[3][3], length = {};
            load_points(x, u);
            slopes(0, u, e);
            for (int i = 0; i < rank; ++i)
                for (int k = 0; k < rank; ++k) length += e[i][k] * e[i][k];
            V energy = price[0] / 2 * length;
            add_rest(0, e);
            cofactors(e, c);
            for (int i = 0; rank == 3 && i < 3; ++i) energy += price[1] * larger(c[i]) * larger(c[i]);
            const V growth = determinant(e), inside = at_least(growth, floor);
            const V root = (inside - 1) * (inside - 1) / inside;
            energy += price[2] * (root * root + fall * (growth - inside));
            store(out + x, energy);
        });
    }

    /* What the points are given by hyperelastic energies, times `above`. */
    MEDLOSS_APART void energies_back(const Real *price, Real floor, const Real *above, Real *given) const {
        by_vectors<Real>(n, [=, *this](int64_t x) MEDLOSS_INLINED {
            const V factor = load(above + x);
            V u[MOST_ENDS], e[3][3], c[3][3], d[3][3], m[3][3], turned[3];
            load_points(x, u);
            slopes(0, u, e);
            for (int i = 0; i < rank; ++i)
                for (int k = 0; k < rank; ++k) d[i][k] = price[0] * e[i][k];
            add_rest(0, e);
            cofactors(e, c);
            const V inside = at_least(determinant(e), floor), change = (inside - 1) / inside;
            const V swelling = 2 * price[2] * change * change * change * (inside + 1);
            for (int i = 0; rank == 3 && i < 3; ++i)
                for (int k = 0; k < 3; ++k) m[i][k] = 4 * price[1] * larger(c[i]) * c[i][k];
            for (int i = 0; rank == 3 && i < 3; ++i) { /* edge i is in the faces of the two others */
                const int next = (i + 1) % 3, last = (i + 2) % 3;
                cross(e[next], m[last], turned);
                for (int k = 0; k < 3; ++k) d[i][k] += turned[k];
                cross(m[next], e[last], turned);
                for (int k = 0; k < 3; ++k) d[i][k] += turned[k];
            }
            for (int i = 0; i < rank; ++i)
                for (int k = 0; k < rank; ++k) {
                    const V part = factor * (d[i][k] + swelling * c[i][k]) * scale[3 * i + k];
                    store(given + ((rank + i) * rank + k) * pitch + x, part);
                    store(given + (i * rank + k) * pitch + x, -part);
                }
        });
    }
};

} // namespace
