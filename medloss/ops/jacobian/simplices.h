/* The simplices of a row of stencils: their edges after the deformation, what they grow by, and what their
 * points are given in return. Included by cpu_kernel.c once per precision.
 *
 * The points of a simple scheme are the low end of each axis and then the high ends; those of a cell its
 * corners, the first axis in the highest bit. Everything but the sizes is known at compile time.
 */
#define VECTOR NAME(Vector)
#define WHOLE NAME(Whole)
#define INLINE static inline __attribute__((always_inline))

/* 32 bytes that may lie anywhere, and as many as integers of their size, for masks. */
typedef REAL VECTOR __attribute__((vector_size(32), aligned(sizeof(REAL)), may_alias));
typedef INTEGER WHOLE __attribute__((vector_size(32), aligned(sizeof(REAL)), may_alias));
enum { NAME(LANES) = 32 / sizeof(REAL) };

#ifndef MEDLOSS_JACOBIAN_ENDS
#define MEDLOSS_JACOBIAN_ENDS
/* The point where edge i of a simplex begins (`high` 0) or ends. Of a corner's simplex each edge runs
 * upwards along its axis, which turns its matrix and its volume over alike. */
static inline __attribute__((always_inline)) int end_of(const int rank, const int cell, const int s,
                                                        const int i, const int high) {
    const int bit = 1 << (rank - 1 - i);
    if (!cell) return high ? rank + i : i;
    if (s < 1 << rank) return high ? s | bit : s & ~bit;
    if (s == 1 << rank) return high ? 7 ^ 1 << i : 0; /* the two inside a cube */
    return high ? 1 << i : 7;
}

/* Component k of edge i before the deformation. */
static inline __attribute__((always_inline)) int rest_of(const int rank, const int cell, const int s,
                                                         const int i, const int k) {
    if (!cell || s < 1 << rank) return i == k;
    const int bit = 1 << (rank - 1 - k);
    return ((end_of(rank, cell, s, i, 1) & bit) != 0) - ((end_of(rank, cell, s, i, 0) & bit) != 0);
}

/* One over the volume of a simplex, in parallelepipeds. */
static inline __attribute__((always_inline)) double inverse_size(const int rank, const int s) {
    return s < 1 << rank ? 1.0 : s == 1 << rank ? -0.5 : 0.5;
}

#define MEDLOSS_BY_RANK(rank, cell, function, ...)                                               \
    switch ((cell) ? -(rank) : (rank)) {                                                         \
    case 1: NAME(function)(1, 0, __VA_ARGS__); break;                                            \
    case 2: NAME(function)(2, 0, __VA_ARGS__); break;                                            \
    case 3: NAME(function)(3, 0, __VA_ARGS__); break;                                            \
    case -1: NAME(function)(1, 1, __VA_ARGS__); break;                                           \
    case -2: NAME(function)(2, 1, __VA_ARGS__); break;                                           \
    default: NAME(function)(3, 1, __VA_ARGS__);                                                  \
    }

/* Each simplex by its literal number, which an index of a loop becomes too late. */
#define MEDLOSS_EACH_SIMPLEX(rank, cell, EACH)                                                   \
    EACH(0)                                                                                      \
    if (cell) { EACH(1) }                                                                        \
    if (cell && rank > 1) { EACH(2) EACH(3) }                                                    \
    if (cell && rank > 2) { EACH(4) EACH(5) EACH(6) EACH(7) EACH(8) EACH(9) }
#endif

/* The derivatives of simplex s: of component k along edge i, times the scale. */
INLINE void NAME(slopes)(const int rank, const int cell, const int s, const VECTOR *u, const REAL *scale,
                         VECTOR e[3][3]) {
    for (int i = 0; i < rank; ++i)
        for (int k = 0; k < rank; ++k) {
            const int from = end_of(rank, cell, s, i, 0), to = end_of(rank, cell, s, i, 1);
            e[i][k] = scale[3 * i + k] * (u[to * rank + k] - u[from * rank + k]);
        }
}

/* On top of the derivatives the edges as they were. */
INLINE void NAME(add_rest)(const int rank, const int cell, const int s, VECTOR e[3][3]) {
    for (int i = 0; i < rank; ++i)
        for (int k = 0; k < rank; ++k)
            if (rest_of(rank, cell, s, i, k)) e[i][k] += (REAL)rest_of(rank, cell, s, i, k);
}

INLINE void NAME(cross)(const VECTOR *a, const VECTOR *b, VECTOR *out) {
    out[0] = a[1] * b[2] - a[2] * b[1];
    out[1] = a[2] * b[0] - a[0] * b[2];
    out[2] = a[0] * b[1] - a[1] * b[0];
}

/* The derivative of the determinant in each entry. */
INLINE void NAME(cofactors)(const int rank, VECTOR e[3][3], VECTOR c[3][3]) {
    if (rank == 1) c[0][0] = (VECTOR){0} + 1;
    if (rank == 2) {
        c[0][0] = e[1][1];
        c[0][1] = -e[1][0];
        c[1][0] = -e[0][1];
        c[1][1] = e[0][0];
    }
    if (rank == 3) {
        NAME(cross)(e[1], e[2], c[0]);
        NAME(cross)(e[2], e[0], c[1]);
        NAME(cross)(e[0], e[1], c[2]);
    }
}

INLINE VECTOR NAME(determinant)(const int rank, VECTOR e[3][3]) {
    if (rank == 1) return e[0][0];
    if (rank == 2) return e[0][0] * e[1][1] - e[0][1] * e[1][0];
    VECTOR normal[3];
    NAME(cross)(e[1], e[2], normal);
    return e[0][0] * normal[0] + e[0][1] * normal[1] + e[0][2] * normal[2];
}

/* What the points of a vector of stencils hold: loops of known length must be none, or the points lie in
 * memory. */
INLINE void NAME(load)(const REAL *const *at, int64_t x, const int count, VECTOR *u) {
#pragma GCC unroll 24
    for (int i = 0; i < count; ++i) u[i] = *(const VECTOR *)(at[i] + x);
}

/* What each simplex of a row of n stencils grows by. The last vector overlaps the one before it; of a row
 * shorter than a vector `at` has room behind. */
INLINE void NAME(growth_rows)(const int rank, const int cell, const REAL *const *at, const REAL *scale,
                              int64_t n, int64_t pitch, REAL *growth) {
    const int ends = rank * (cell ? 1 << rank : 2 * rank);
    for (int64_t block = 0; block < n; block += NAME(LANES)) {
        const int64_t x = most(0, least(block, n - NAME(LANES)));
        VECTOR u[MOST_ENDS], e[3][3];
        NAME(load)(at, x, ends, u);
#define MEDLOSS_GROW(s)                                                                          \
    NAME(slopes)(rank, cell, s, u, scale, e);                                                    \
    NAME(add_rest)(rank, cell, s, e);                                                            \
    *(VECTOR *)(growth + s * pitch + x) = (REAL)inverse_size(rank, s) * NAME(determinant)(rank, e);
        MEDLOSS_EACH_SIMPLEX(rank, cell, MEDLOSS_GROW)
#undef MEDLOSS_GROW
    }
}

/* What the points of a row of stencils are given: from the rate of each simplex, times its share. */
INLINE void NAME(growth_back)(const int rank, const int cell, const REAL *const *at, const REAL *scale,
                              int64_t n, int64_t pitch, const REAL *rate, REAL *given) {
    const int ends = rank * (cell ? 1 << rank : 2 * rank);
    for (int64_t block = 0; block < n; block += NAME(LANES)) {
        const int64_t x = most(0, least(block, n - NAME(LANES)));
        VECTOR u[MOST_ENDS], total[MOST_ENDS], e[3][3], c[3][3];
        NAME(load)(at, x, ends, u);
#pragma GCC unroll 24
        for (int i = 0; i < ends; ++i) total[i] = (VECTOR){0};
#define MEDLOSS_GIVE(s)                                                                          \
    {                                                                                            \
        const VECTOR each = (REAL)inverse_size(rank, s) * *(const VECTOR *)(rate + s * pitch + x);\
        NAME(slopes)(rank, cell, s, u, scale, e);                                                \
        NAME(add_rest)(rank, cell, s, e);                                                        \
        NAME(cofactors)(rank, e, c);                                                             \
        for (int i = 0; i < rank; ++i)                                                           \
            for (int k = 0; k < rank; ++k) {                                                     \
                const VECTOR part = each * c[i][k] * scale[3 * i + k];                           \
                total[end_of(rank, cell, s, i, 1) * rank + k] += part;                           \
                total[end_of(rank, cell, s, i, 0) * rank + k] -= part;                           \
            }                                                                                    \
    }
        MEDLOSS_EACH_SIMPLEX(rank, cell, MEDLOSS_GIVE)
#undef MEDLOSS_GIVE
#pragma GCC unroll 24
        for (int i = 0; i < ends; ++i) *(VECTOR *)(given + i * pitch + x) = total[i];
    }
}

/* Where a number is above zero, or is none. */
INLINE VECTOR NAME(positive)(VECTOR x) { return (VECTOR)((WHOLE)x & ~(WHOLE)(x <= 0)); }

/* At least the floor; NaN stays. */
INLINE VECTOR NAME(at_least)(VECTOR x, REAL floor) {
    const WHOLE below = (WHOLE)(x < floor);
    return (VECTOR)(((WHOLE)((VECTOR){0} + floor) & below) | ((WHOLE)x & ~below));
}

/* Hyperelastic energies of a row: `price` of length, area and volume; `fall` is the slope below the floor. */
INLINE void NAME(energy_rows)(const int rank, const REAL *const *at, const REAL *scale, const REAL *price,
                              REAL floor, REAL fall, int64_t n, REAL *out) {
    for (int64_t block = 0; block < n; block += NAME(LANES)) {
        const int64_t x = most(0, least(block, n - NAME(LANES)));
        VECTOR u[18], e[3][3], c[3][3], length = {0}, energy;
        NAME(load)(at, x, 2 * rank * rank, u);
        NAME(slopes)(rank, 0, 0, u, scale, e);
        for (int i = 0; i < rank; ++i)
            for (int k = 0; k < rank; ++k) length += e[i][k] * e[i][k];
        energy = price[0] / 2 * length;
        NAME(add_rest)(rank, 0, 0, e);
        NAME(cofactors)(rank, e, c);
        for (int i = 0; rank == 3 && i < 3; ++i) {
            const VECTOR more = NAME(positive)(c[i][0] * c[i][0] + c[i][1] * c[i][1] + c[i][2] * c[i][2] - 1);
            energy += price[1] * more * more;
        }
        const VECTOR growth = NAME(determinant)(rank, e), inside = NAME(at_least)(growth, floor);
        const VECTOR root = (inside - 1) * (inside - 1) / inside;
        energy += price[2] * (root * root + fall * (growth - inside));
        *(VECTOR *)(out + x) = energy;
    }
}

/* What the points of a row are given by its hyperelastic energies, times `above`. */
INLINE void NAME(energy_back)(const int rank, const REAL *const *at, const REAL *scale, const REAL *price,
                              REAL floor, int64_t n, int64_t pitch, const REAL *above, REAL *given) {
    for (int64_t block = 0; block < n; block += NAME(LANES)) {
        const int64_t x = most(0, least(block, n - NAME(LANES)));
        const VECTOR factor = *(const VECTOR *)(above + x);
        VECTOR u[18], e[3][3], c[3][3], d[3][3], m[3][3], turned[3];
        NAME(load)(at, x, 2 * rank * rank, u);
        NAME(slopes)(rank, 0, 0, u, scale, e);
        for (int i = 0; i < rank; ++i)
            for (int k = 0; k < rank; ++k) d[i][k] = price[0] * e[i][k];
        NAME(add_rest)(rank, 0, 0, e);
        NAME(cofactors)(rank, e, c);
        const VECTOR inside = NAME(at_least)(NAME(determinant)(rank, e), floor);
        const VECTOR change = (inside - 1) / inside;
        const VECTOR swelling = 2 * price[2] * change * change * change * (inside + 1);
        for (int i = 0; rank == 3 && i < 3; ++i) {
            const VECTOR more = NAME(positive)(c[i][0] * c[i][0] + c[i][1] * c[i][1] + c[i][2] * c[i][2] - 1);
            for (int k = 0; k < 3; ++k) m[i][k] = 4 * price[1] * more * c[i][k];
        }
        for (int i = 0; rank == 3 && i < 3; ++i) { /* edge i is in the faces of the two others */
            const int next = (i + 1) % 3, last = (i + 2) % 3;
            NAME(cross)(e[next], m[last], turned);
            for (int k = 0; k < 3; ++k) d[i][k] += turned[k];
            NAME(cross)(m[next], e[last], turned);
            for (int k = 0; k < 3; ++k) d[i][k] += turned[k];
        }
        for (int i = 0; i < rank; ++i)
            for (int k = 0; k < rank; ++k) {
                const VECTOR part = factor * (d[i][k] + swelling * c[i][k]) * scale[3 * i + k];
                *(VECTOR *)(given + ((rank + i) * rank + k) * pitch + x) = part;
                *(VECTOR *)(given + (i * rank + k) * pitch + x) = -part;
            }
    }
}
