/* Rows of voxels: least and largest of neighbours, and the way back from a winner to where it stood.
 *
 * The way back needs no memory of who won: the winner is the one that equals the result, and among several the one that
 * the reference looks at last. What a row still has to hand out lies in `left`, and each candidate in turn takes its
 * part. Every loop is over single rows, so that the compiler makes vectors of it.
 */
#define INF ((REAL)INFINITY)

static inline REAL NAME(lesser)(REAL a, REAL b) { return a < b ? a : b; }
static inline REAL NAME(larger)(REAL a, REAL b) { return a > b ? a : b; }

/* Least of a voxel and its neighbours along the axes. Before and behind a row of `own` stands infinity, and so it does
 * where a voxel does not count. */
static void NAME(erode_row)(const REAL *own, const REAL *above, const REAL *below, const REAL *front, const REAL *back,
                            int masked, int64_t n, REAL *restrict out) {
    for (int64_t x = 0; x < n; ++x) {
        REAL least = NAME(lesser)(own[x - 1], own[x]);
        least = NAME(lesser)(own[x + 1], least);
        least = NAME(lesser)(above[x], least);
        least = NAME(lesser)(below[x], least);
        least = NAME(lesser)(front[x], least);
        least = NAME(lesser)(back[x], least);
        if (masked) least = own[x] == INF ? INF : least;
        out[x] = least;
    }
}

/* Largest of three rows; infinite is what does not count, and becomes the least of all. */
static void NAME(larger_of_planes)(const REAL *own, const REAL *front, const REAL *back, int masked, int64_t n,
                                   REAL *restrict out) {
    for (int64_t x = 0; x < n; ++x) {
        REAL a = own[x], b = front[x], c = back[x];
        if (masked) a = a == INF ? -INF : a;
        if (masked) b = b == INF ? -INF : b;
        if (masked) c = c == INF ? -INF : c;
        out[x] = NAME(larger)(NAME(larger)(a, b), c);
    }
}

static void NAME(larger_of_rows)(const REAL *own, const REAL *above, const REAL *below, int64_t n, REAL *restrict out) {
    for (int64_t x = 0; x < n; ++x) out[x] = NAME(larger)(NAME(larger)(own[x], above[x]), below[x]);
}

/* What opening takes off: the level less the largest of three in a row of `wide`, which has a margin of -infinity. */
static void NAME(ridge_row)(const REAL *level, const REAL *wide, int masked, int64_t n, REAL *restrict out) {
    for (int64_t x = 0; x < n; ++x) {
        const REAL opened = NAME(larger)(NAME(larger)(wide[x - 1], wide[x]), wide[x + 1]);
        REAL ridge = level[x] - opened;
        ridge = ridge > 0 ? ridge : 0;
        if (masked) ridge = level[x] == INF ? 0 : ridge;
        out[x] = ridge;
    }
}

/* Where `candidate` is the winner, what is left of the gradient goes to it. */
static void NAME(take)(const REAL *candidate, const REAL *winner, REAL *restrict left, REAL *restrict to, int64_t n) {
    for (int64_t x = 0; x < n; ++x) {
        const int won = candidate[x] == winner[x];
        to[x] += won ? left[x] : 0;
        left[x] = won ? 0 : left[x];
    }
}

/* The same along the row itself, for the winners behind, here and before, in this order: what they get is put into
 * three rows with margins, from which the row of the gradient then gathers. */
static void NAME(take_along)(const REAL *candidates, const REAL *winner, REAL *restrict left, REAL *restrict behind,
                             REAL *restrict here, REAL *restrict before, int64_t n) {
    for (int64_t x = 0; x < n; ++x) {
        const REAL value = winner[x], g = left[x];
        const int is_behind = candidates[x + 1] == value, is_here = candidates[x] == value;
        const int is_before = candidates[x - 1] == value;
        const REAL second = is_behind ? 0 : g, third = is_here ? 0 : second;
        behind[x] = is_behind ? g : 0;
        here[x] = is_here ? second : 0;
        before[x] = is_before ? third : 0;
        left[x] = is_before ? 0 : third;
    }
}

static void NAME(add_along)(const REAL *behind, const REAL *here, const REAL *before, REAL *restrict to, int64_t n) {
    for (int64_t x = 0; x < n; ++x) to[x] += (behind[x - 1] + here[x]) + before[x + 1];
}

/* Sums in eight lanes, a fixed order whatever the vectors' width. */
enum { NAME(SUM_LANES) = 8 };

static double NAME(total)(const double *lanes) {
    return ((lanes[0] + lanes[4]) + (lanes[2] + lanes[6])) + ((lanes[1] + lanes[5]) + (lanes[3] + lanes[7]));
}

static void NAME(add_row)(const REAL *row, int64_t n, double *restrict lanes) {
    int64_t x = 0;
    for (; x + NAME(SUM_LANES) <= n; x += NAME(SUM_LANES))
        for (int i = 0; i < NAME(SUM_LANES); ++i) lanes[i] += (double)row[x + i];
    for (; x < n; ++x) lanes[0] += (double)row[x];
}

/* Lanes of the sums of a row of what is thin: within the other map, and all of it. */
static void NAME(sum_row)(const REAL *row, const REAL *other, const REAL *weight, int64_t n, REAL *restrict product,
                          double *hit, double *thin) {
    for (int64_t x = 0; x < n; ++x) product[x] = weight ? (weight[x] > 0 ? row[x] * weight[x] : 0) : row[x];
    NAME(add_row)(product, n, thin);
    for (int64_t x = 0; x < n; ++x) product[x] = product[x] == 0 ? 0 : product[x] * other[x];
    NAME(add_row)(product, n, hit);
}
