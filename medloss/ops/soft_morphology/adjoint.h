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

/* The plane z of the gradient of erosion j, and the step to its next row: none where the plane is not this run's, whose
 * rows are then all one that nobody reads. */
typedef struct {
    REAL *rows;
    int64_t pitch;
} NAME(Target);

static NAME(Target) NAME(gradient_plane)(const ADJOINT *a, int64_t j, int64_t z) {
    const STREAM *s = &a->s;
    NAME(Target) nowhere = {NAME(scratch)(s, NAME(NOWHERE)), 0};
    NAME(Target) result = {a->out + z * s->height * s->width, s->width}, kept = {NULL, s->pitch};
    if (z < 0 || z >= s->depth || z < a->low - j || z >= a->high + j) return nowhere;
    if (!j) return result;
    kept.rows = NAME(row_of)(s, s->cotangent + j, z, 0);
    return kept;
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
    memcpy(NAME(scratch)(s, NAME(PREFIX)), s->ridges[0] + y * s->pitch, sizeof(REAL) * (size_t)n);
    for (int64_t j = 1; j < s->count; ++j) /* what was joined before each ridge */
        NAME(join)(NAME(scratch)(s, NAME(PREFIX) + j - 1), s->ridges[j] + y * s->pitch, n,
                   NAME(scratch)(s, NAME(PREFIX) + j));
    for (int64_t j = s->count; j > 0; --j) {
        const REAL *joined = NAME(scratch)(s, NAME(PREFIX) + j - 1);
        REAL *restrict ridge = s->ridges[j] + y * s->pitch;
        for (int64_t x = 0; x < n; ++x) {
            const REAL r = ridge[x], g = up[x], more = r - joined[x] * r;
            ridge[x] = more > 0 ? g - g * joined[x] : 0;
            up[x] = more > 0 ? g - g * r : g;
        }
    }
    REAL *restrict ridge = s->ridges[0] + y * s->pitch;
    for (int64_t x = 0; x < n; ++x) ridge[x] = ridge[x] > 0 ? up[x] : 0;
}

/* From the opened row y back along it: to the largest of three by three. */
static REAL *NAME(back_along)(const STREAM *s, const REAL *cotangent, const REAL *wider) {
    const int64_t n = s->width;
    REAL *restrict left = NAME(scratch)(s, NAME(LEFT)), *restrict opened = NAME(scratch)(s, NAME(ALONG));
    REAL *behind = NAME(scratch)(s, NAME(BEHIND)), *here = NAME(scratch)(s, NAME(HERE));
    REAL *before = NAME(scratch)(s, NAME(BEFORE));
    for (int64_t x = 0; x < n; ++x) {
        left[x] = -cotangent[x];
        opened[x] = NAME(larger)(NAME(larger)(wider[x - 1], wider[x]), wider[x + 1]);
    }
    NAME(take_along)(wider, opened, left, behind, here, before, n);
    for (int64_t x = 0; x < n; ++x) left[x] = (behind[x - 1] + here[x]) + before[x + 1];
    return left;
}

/* The cotangents of ridges j of plane z: to their level, and from what was opened to the erosion. */
static void NAME(back_from_ridges)(const ADJOINT *a, int64_t j, int64_t z) {
    const STREAM *s = &a->s;
    const int64_t n = s->width, pitch = s->pitch, last = s->height - 1;
    const NAME(Around) eroded = NAME(around)(s, s->level + j + 1, z);
    const REAL *planes[3] = {eroded.back, eroded.own, eroded.front}, *cotangent = NAME(row_of)(s, s->ridge + j, z, 0);
    const NAME(Target) own = NAME(gradient_plane)(a, j, z);
    NAME(Target) to[3];
    for (int k = 0; k < 3; ++k) to[k] = NAME(gradient_plane)(a, j + 1, z + 1 - k);
    const int first_plane = z < s->depth - 1 ? 0 : 1, last_plane = z ? 2 : 1;
    NAME(wide_row)(s, &eroded, 0);
    memset(NAME(scratch)(s, NAME(SPREAD)), 0, sizeof(REAL) * (size_t)n);
    for (int64_t y = 0; y <= last + 1; ++y) {
        if (y <= last) {
            const REAL *wider = NAME(wider_row)(s, &eroded, y), *from = cotangent + y * pitch;
            REAL *restrict level = own.rows + y * own.pitch, *left = NAME(back_along)(s, from, wider);
            for (int64_t x = 0; x < n; ++x) level[x] += from[x];
            memset(NAME(scratch)(s, NAME(SPREAD) + ((y + 1) & 3)), 0, sizeof(REAL) * (size_t)n);
            for (int64_t at = y < last ? y + 1 : y; at >= y - 1 && at >= 0; --at)
                NAME(take)(NAME(scratch)(s, at & 3), wider, left, NAME(scratch)(s, NAME(SPREAD) + (at & 3)), n);
        }
        for (int k = first_plane; y && k <= last_plane; ++k) /* row y - 1 of the largest of three planes is complete */
            NAME(take)(planes[k] + (y - 1) * pitch, NAME(scratch)(s, (y - 1) & 3),
                       NAME(scratch)(s, NAME(SPREAD) + ((y - 1) & 3)), to[k].rows + (y - 1) * to[k].pitch, n);
    }
}

/* The gradient of erosion j at plane z, which is complete, back to the erosion before; its place is then free. */
static void NAME(back_from_erosion)(const ADJOINT *a, int64_t j, int64_t z) {
    const STREAM *s = &a->s;
    const int64_t n = s->width, pitch = s->pitch;
    const NAME(Around) level = NAME(around)(s, s->level + j - 1, z);
    const REAL *winners = NAME(row_of)(s, s->level + j, z, 0);
    REAL *gradient = NAME(row_of)(s, s->cotangent + j, z, 0);
    REAL *behind = NAME(scratch)(s, NAME(BEHIND)), *here = NAME(scratch)(s, NAME(HERE));
    REAL *before = NAME(scratch)(s, NAME(BEFORE));
    const NAME(Target) own = NAME(gradient_plane)(a, j - 1, z), back = NAME(gradient_plane)(a, j - 1, z + 1),
                       front = NAME(gradient_plane)(a, j - 1, z - 1);
    for (int64_t y = 0; y < s->height; ++y) {
        const int64_t at = y * pitch;
        const REAL *winner = winners + at;
        REAL *left = gradient + at;
        NAME(take_along)(level.own + at, winner, left, behind, here, before, n);
        NAME(add_along)(behind, here, before, own.rows + y * own.pitch, n);
        if (y + 1 < s->height) NAME(take)(level.own + at + pitch, winner, left, own.rows + (y + 1) * own.pitch, n);
        if (y) NAME(take)(level.own + at - pitch, winner, left, own.rows + (y - 1) * own.pitch, n);
        if (z + 1 < s->depth) NAME(take)(level.back + at, winner, left, back.rows + y * back.pitch, n);
        if (z) NAME(take)(level.front + at, winner, left, front.rows + y * front.pitch, n);
        memset(left, 0, sizeof(REAL) * (size_t)n);
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
        if (z >= s->low && z < s->high) {
            NAME(look_at)(s, z);
            for (int64_t y = 0; y < s->height; ++y) NAME(ridge_cotangents)(a, z, y);
            for (int64_t j = 0; j <= count; ++j) NAME(back_from_ridges)(a, j, z);
        }
        for (int64_t j = count + 1; j > 0; --j) {
            const int64_t at = t - 2 * count - 4 + j;
            if (at >= 0 && at < s->depth && at >= a->low - j && at < a->high + j) NAME(back_from_erosion)(a, j, at);
        }
    }
    NAME(stream_free)(s);
    return 0;
}
