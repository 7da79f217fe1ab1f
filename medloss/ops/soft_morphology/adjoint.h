/* The way back through the soft skeleton, in the same stream: count + 2 planes behind the map all ridges of a plane
 * are there, and with them their cotangents. A ridge hands its own to its level and, with the other sign, to the winner
 * of each opened voxel; each erosion hands what it got to its winners in the erosion before, which is what one chain of
 * pools gives. Erosion j is complete at plane t - 2 count - 4 + j.
 *
 * Every voxel of the result gets its parts in an order that follows from its place alone: where runs of planes begin
 * and end changes nothing.
 */
#define ADJOINT NAME(Adjoint)

typedef struct {
    STREAM s;
    int64_t low, high;           /* the planes of the result that this run is for */
    const REAL *grad;            /* the cotangent of the skeleton as a map, or */
    const REAL *other;           /* the other map of the sums, whose */
    REAL hit, thin;              /* cotangents these are */
    REAL *out;                   /* is added to */
} ADJOINT;

/* Rows of scratch, behind the five of the stream. */
enum { NAME(SPREAD) = 5, NAME(LEFT) = 9, NAME(BEHIND), NAME(HERE), NAME(BEFORE), NAME(ALONG), NAME(UPSTREAM),
       NAME(NOWHERE), NAME(PREFIX) };

/* Row y of plane z of the gradient of erosion j; a row that nobody reads where the plane is not this run's. */
static REAL *NAME(gradient_row)(const ADJOINT *a, int64_t j, int64_t z, int64_t y) {
    if (z < 0 || z >= a->s.depth || z < a->low - j || z >= a->high + j) return NAME(scratch)(&a->s, NAME(NOWHERE));
    if (!j) return a->out + (z * a->s.height + y) * a->s.width;
    return NAME(row_of)(&a->s, a->s.cotangent + j, z, y);
}

/* The cotangent of row y of the skeleton; zero where nothing counts. */
static void NAME(upstream_row)(const ADJOINT *a, int64_t z, int64_t y, REAL *restrict to) {
    const STREAM *s = &a->s;
    const int64_t start = (z * s->height + y) * s->width, n = s->width;
    const REAL *weight = s->weight ? s->weight + start : NULL;
    if (a->grad)
        memcpy(to, a->grad + start, sizeof(REAL) * (size_t)n);
    else
        for (int64_t x = 0; x < n; ++x) to[x] = a->hit * a->other[start + x] + a->thin;
    for (int64_t x = 0; weight && x < n; ++x)
        to[x] = weight[x] > 0 ? (a->grad ? to[x] : to[x] * weight[x]) : 0;
}

/* Ridges of row y into their cotangents, in their place. */
static void NAME(ridge_cotangents)(const ADJOINT *a, int64_t z, int64_t y) {
    const STREAM *s = &a->s;
    const int64_t n = s->width;
    REAL *restrict up = NAME(scratch)(s, NAME(UPSTREAM));
    NAME(upstream_row)(a, z, y, up);
    memcpy(NAME(scratch)(s, NAME(PREFIX)), NAME(row_of)(s, s->ridge, z, y), sizeof(REAL) * (size_t)n);
    for (int64_t j = 1; j < s->count; ++j) { /* what was joined before each ridge */
        const REAL *ridge = NAME(row_of)(s, s->ridge + j, z, y), *from = NAME(scratch)(s, NAME(PREFIX) + j - 1);
        REAL *restrict to = NAME(scratch)(s, NAME(PREFIX) + j);
        for (int64_t x = 0; x < n; ++x) {
            const REAL more = ridge[x] - from[x] * ridge[x];
            to[x] = from[x] + (more > 0 ? more : 0);
        }
    }
    for (int64_t j = s->count; j > 0; --j) {
        const REAL *joined = NAME(scratch)(s, NAME(PREFIX) + j - 1);
        REAL *restrict ridge = NAME(row_of)(s, s->ridge + j, z, y);
        for (int64_t x = 0; x < n; ++x) {
            const REAL r = ridge[x], g = up[x], more = r - joined[x] * r;
            ridge[x] = more > 0 ? g - g * joined[x] : 0;
            up[x] = more > 0 ? g - g * r : g;
        }
    }
    REAL *restrict ridge = NAME(row_of)(s, s->ridge, z, y);
    for (int64_t x = 0; x < n; ++x) ridge[x] = ridge[x] > 0 ? up[x] : 0;
}

/* From the opened row y back along it: to the largest of three by three. */
static REAL *NAME(back_along)(const ADJOINT *a, int64_t j, int64_t z, int64_t y, const REAL *wider) {
    const STREAM *s = &a->s;
    const int64_t n = s->width;
    REAL *restrict left = NAME(scratch)(s, NAME(LEFT)), *restrict opened = NAME(scratch)(s, NAME(ALONG));
    REAL *behind = NAME(scratch)(s, NAME(BEHIND)), *here = NAME(scratch)(s, NAME(HERE));
    REAL *before = NAME(scratch)(s, NAME(BEFORE));
    const REAL *cotangent = NAME(row_of)(s, s->ridge + j, z, y);
    for (int64_t x = 0; x < n; ++x) {
        left[x] = -cotangent[x];
        opened[x] = NAME(larger)(NAME(larger)(wider[x - 1], wider[x]), wider[x + 1]);
    }
    NAME(take_along)(wider, opened, left, behind, here, before, n);
    memset(left, 0, sizeof(REAL) * (size_t)n);
    NAME(add_along)(behind, here, before, left, n);
    return left;
}

/* From row y of the largest of three planes back to the planes themselves. */
static void NAME(back_across)(const ADJOINT *a, int64_t j, int64_t z, int64_t y) {
    const STREAM *s = &a->s;
    REAL *left = NAME(scratch)(s, NAME(SPREAD) + (y & 3));
    const REAL *winner = NAME(scratch)(s, y & 3);
    for (int64_t at = z + 1; at >= z - 1; --at)
        if (at >= 0 && at < s->depth)
            NAME(take)(NAME(row_of)(s, s->level + j + 1, at, y), winner, left, NAME(gradient_row)(a, j + 1, at, y),
                       s->width);
}

/* The cotangents of ridges j of plane z: to their level, and from what was opened to the erosion. */
static void NAME(back_from_ridges)(const ADJOINT *a, int64_t j, int64_t z) {
    const STREAM *s = &a->s;
    const RING *eroded = s->level + j + 1;
    const size_t row = sizeof(REAL) * (size_t)s->width;
    NAME(wide_row)(s, eroded, z, 0);
    memset(NAME(scratch)(s, NAME(SPREAD)), 0, row);
    for (int64_t y = 0; y < s->height; ++y) {
        const REAL *cotangent = NAME(row_of)(s, s->ridge + j, z, y), *wider = NAME(wider_row)(s, eroded, z, y);
        REAL *restrict own = NAME(gradient_row)(a, j, z, y);
        for (int64_t x = 0; x < s->width; ++x) own[x] += cotangent[x];
        memset(NAME(scratch)(s, NAME(SPREAD) + ((y + 1) & 3)), 0, row);
        REAL *left = NAME(back_along)(a, j, z, y, wider);
        for (int64_t at = y + 1; at >= y - 1; --at)
            if (at >= 0 && at < s->height)
                NAME(take)(NAME(scratch)(s, at & 3), wider, left, NAME(scratch)(s, NAME(SPREAD) + (at & 3)), s->width);
        if (y) NAME(back_across)(a, j, z, y - 1);
    }
    NAME(back_across)(a, j, z, s->height - 1);
}

/* The gradient of erosion j at plane z, which is complete, back to the erosion before; its place is then free. */
static void NAME(back_from_erosion)(const ADJOINT *a, int64_t j, int64_t z) {
    const STREAM *s = &a->s;
    REAL *behind = NAME(scratch)(s, NAME(BEHIND)), *here = NAME(scratch)(s, NAME(HERE));
    REAL *before = NAME(scratch)(s, NAME(BEFORE));
    for (int64_t y = 0; y < s->height; ++y) {
        REAL *left = NAME(row_of)(s, s->cotangent + j, z, y);
        const REAL *winner = NAME(row_of)(s, s->level + j, z, y), *own = NAME(row_of)(s, s->level + j - 1, z, y);
        NAME(take_along)(own, winner, left, behind, here, before, s->width);
        NAME(add_along)(behind, here, before, NAME(gradient_row)(a, j - 1, z, y), s->width);
        for (int64_t at = y + 1; at >= y - 1; at -= 2)
            if (at >= 0 && at < s->height)
                NAME(take)(NAME(row_of)(s, s->level + j - 1, z, at), winner, left,
                           NAME(gradient_row)(a, j - 1, z, at), s->width);
        for (int64_t at = z + 1; at >= z - 1; at -= 2)
            if (at >= 0 && at < s->depth)
                NAME(take)(NAME(row_of)(s, s->level + j - 1, at, y), winner, left,
                           NAME(gradient_row)(a, j - 1, at, y), s->width);
        memset(left, 0, sizeof(REAL) * (size_t)s->width);
    }
}

/* Adds the gradient of planes low to high. */
static int NAME(skeleton_adjoint)(ADJOINT *a) {
    STREAM *s = &a->s;
    const int64_t count = s->count, reach = count + 2;
    s->low = a->low - reach > 0 ? a->low - reach : 0;
    s->high = a->high + reach < s->depth ? a->high + reach : s->depth;
    if (NAME(stream_alloc)(s, 1)) {
        NAME(stream_free)(s);
        return 1;
    }
    for (int64_t t = NAME(first_step)(s); t <= a->high + 2 * count + 3; ++t) {
        NAME(advance)(s, t);
        const int64_t z = t - reach;
        for (int64_t y = 0; z >= s->low && z < s->high && y < s->height; ++y) NAME(ridge_cotangents)(a, z, y);
        for (int64_t j = 0; z >= s->low && z < s->high && j <= count; ++j) NAME(back_from_ridges)(a, j, z);
        for (int64_t j = count + 1; j > 0; --j) {
            const int64_t at = t - 2 * count - 4 + j;
            if (at >= 0 && at < s->depth && at >= a->low - j && at < a->high + j) NAME(back_from_erosion)(a, j, at);
        }
    }
    NAME(stream_free)(s);
    return 0;
}
