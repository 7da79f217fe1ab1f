/* The soft skeleton, plane by plane: a plane of the map goes in, and a few planes behind it one of the skeleton comes
 * out. Each erosion and each ridge keeps only the planes that are still needed, in a ring.
 *
 * At step t erosion j is at plane t - j, ridge j at plane t - j - 2, and the skeleton at plane t - count - 2.
 */
#define STREAM NAME(Stream)
#define RING NAME(Ring)

/* Planes of one kind: plane z lies in place z modulo `length`. */
typedef struct {
    int64_t length;
    REAL *planes;
} RING;

typedef struct {
    int64_t depth, height, width, pitch, plane; /* pitch and plane: entries of a row and a plane with their margins */
    int64_t count;                              /* of erosions; there are count + 1 ridges */
    int64_t low, high;                          /* the planes whose skeleton is made */
    const REAL *map, *weight;                   /* weight: NULL where every voxel counts */
    int64_t odd;                                /* whether a voxel that counts is NaN or infinite */
    RING *level, *ridge, *cotangent;
    REAL **ridges; /* of the plane that is looked at, the first row of each */
    REAL *rows, *memory;
    int64_t row_count;
} STREAM;

enum { NAME(MARGIN) = 8 };

static inline REAL *NAME(row_of)(const STREAM *s, const RING *ring, int64_t z, int64_t y) {
    return ring->planes + z % ring->length * s->plane + y * s->pitch + NAME(MARGIN);
}

static inline REAL *NAME(scratch)(const STREAM *s, int64_t row) { return s->rows + row * s->pitch + NAME(MARGIN); }

/* `adjoint`: with the longer rings that the way back needs, and those of its own. */
static int NAME(stream_alloc)(STREAM *s, int adjoint) {
    const int64_t count = s->count, depth = s->depth;
    int64_t planes = 0;
    s->pitch = (s->width + 1 + 7) / 8 * 8 + NAME(MARGIN);
    s->plane = s->pitch * s->height + NAME(MARGIN);
    s->level = calloc((size_t)(3 * (count + 2)), sizeof(RING));
    s->ridges = malloc(sizeof(REAL *) * (size_t)(count + 1));
    if (!s->level || !s->ridges) return 1;
    s->ridge = s->level + count + 2;
    s->cotangent = s->ridge + count + 2;
    for (int64_t j = 0; j <= count + 1; ++j) {
        const int64_t longer = 2 * count + 5 - 2 * j > count + 4 - j ? 2 * count + 5 - 2 * j : count + 4 - j;
        const int64_t lengths[3] = {adjoint ? longer : 3, j <= count ? count + 1 - j : 0,
                                    adjoint && j ? count + 4 - j : 0};
        RING *rings[3] = {s->level + j, s->ridge + j, s->cotangent + j};
        for (int k = 0; k < 3; ++k) planes += rings[k]->length = lengths[k] < depth ? lengths[k] : depth;
    }
    s->row_count = count + 20;
    s->memory = malloc(sizeof(REAL) * (size_t)(planes * s->plane + s->row_count * s->pitch));
    if (!s->memory) return 1;
    REAL *next = s->memory;
    for (int64_t i = 0; i < 3 * (count + 2); ++i) {
        s->level[i].planes = next;
        next += s->level[i].length * s->plane;
        const REAL margin = i < count + 2 ? INF : 0;
        for (REAL *at = s->level[i].planes; at < next; ++at) *at = margin;
    }
    s->rows = next;
    memset(s->rows, 0, sizeof(REAL) * (size_t)(s->row_count * s->pitch));
    return 0;
}

static void NAME(stream_free)(STREAM *s) {
    free(s->level);
    free(s->ridges);
    free(s->memory);
}

/* Whether erosion j of plane z is there, or will be: the further from the map, the fewer planes. */
static inline int NAME(has_level)(const STREAM *s, int64_t j, int64_t z) {
    const int64_t reach = s->count + 2 - j;
    return z >= 0 && z < s->depth && z >= s->low - reach && z < s->high + reach;
}

static void NAME(load_plane)(STREAM *s, int64_t z) {
    int odd = 0;
    for (int64_t y = 0; y < s->height; ++y) {
        const int64_t start = (z * s->height + y) * s->width;
        const REAL *from = s->map + start, *weight = s->weight ? s->weight + start : NULL;
        REAL *restrict to = NAME(row_of)(s, s->level, z, y);
        for (int64_t x = 0; x < s->width; ++x) {
            const int counts = !weight || weight[x] > 0;
            odd |= counts & !(from[x] - from[x] == 0);
            to[x] = counts ? from[x] : INF;
        }
    }
    s->odd |= odd;
}

/* A plane and the planes around it; at a border the plane itself, which changes no extreme. */
typedef struct {
    const REAL *own, *front, *back;
} NAME(Around);

static NAME(Around) NAME(around)(const STREAM *s, const RING *ring, int64_t z) {
    const REAL *own = NAME(row_of)(s, ring, z, 0);
    NAME(Around) a = {own, own, own};
    if (z) a.front = NAME(row_of)(s, ring, z - 1, 0);
    if (z + 1 < s->depth) a.back = NAME(row_of)(s, ring, z + 1, 0);
    return a;
}

static void NAME(erode_plane)(STREAM *s, int64_t j, int64_t z) {
    const NAME(Around) a = NAME(around)(s, s->level + j, z);
    REAL *out = NAME(row_of)(s, s->level + j + 1, z, 0);
    for (int64_t y = 0; y < s->height; ++y) {
        const int64_t at = y * s->pitch, above = y ? at - s->pitch : at, below = y + 1 < s->height ? at + s->pitch : at;
        if (s->weight)
            NAME(erode_row)(a.own + at, a.own + above, a.own + below, a.front + at, a.back + at, 1, s->width, out + at);
        else
            NAME(erode_row)(a.own + at, a.own + above, a.own + below, a.front + at, a.back + at, 0, s->width, out + at);
    }
}

/* Row y of the largest of three planes of an erosion, in its place among four rows of scratch. */
static inline REAL *NAME(wide_row)(const STREAM *s, const NAME(Around) * a, int64_t y) {
    REAL *out = NAME(scratch)(s, y & 3);
    const int64_t at = y * s->pitch;
    if (s->weight)
        NAME(larger_of_planes)(a->own + at, a->front + at, a->back + at, 1, s->width, out);
    else
        NAME(larger_of_planes)(a->own + at, a->front + at, a->back + at, 0, s->width, out);
    return out;
}

/* Row y of the largest of three by three, with a margin of -infinity; its neighbours' `wide_row`s come first. */
static inline REAL *NAME(wider_row)(const STREAM *s, const NAME(Around) * a, int64_t y) {
    const REAL *own = NAME(scratch)(s, y & 3);
    const REAL *above = y ? NAME(scratch)(s, (y - 1) & 3) : own;
    const REAL *below = y + 1 < s->height ? NAME(wide_row)(s, a, y + 1) : own;
    REAL *out = NAME(scratch)(s, 4);
    NAME(larger_of_rows)(own, above, below, s->width, out);
    out[-1] = out[s->width] = -INF;
    return out;
}

static void NAME(ridge_plane)(STREAM *s, int64_t j, int64_t z) {
    const NAME(Around) eroded = NAME(around)(s, s->level + j + 1, z);
    const REAL *level = NAME(row_of)(s, s->level + j, z, 0);
    REAL *out = NAME(row_of)(s, s->ridge + j, z, 0);
    NAME(wide_row)(s, &eroded, 0);
    for (int64_t y = 0; y < s->height; ++y) {
        const REAL *wide = NAME(wider_row)(s, &eroded, y);
        if (s->weight)
            NAME(ridge_row)(level + y * s->pitch, wide, 1, s->width, out + y * s->pitch);
        else
            NAME(ridge_row)(level + y * s->pitch, wide, 0, s->width, out + y * s->pitch);
    }
}

/* One step: then plane t - count - 2 of all ridges is there, where the skeleton is asked for. */
static void NAME(advance)(STREAM *s, int64_t t) {
    if (NAME(has_level)(s, 0, t)) NAME(load_plane)(s, t);
    for (int64_t j = 0; j <= s->count; ++j) {
        if (NAME(has_level)(s, j + 1, t - j - 1)) NAME(erode_plane)(s, j, t - j - 1);
        const int64_t z = t - j - 2;
        if (z >= s->low && z < s->high) NAME(ridge_plane)(s, j, z);
    }
}

static void NAME(look_at)(STREAM *s, int64_t z) {
    for (int64_t j = 0; j <= s->count; ++j) s->ridges[j] = NAME(row_of)(s, s->ridge + j, z, 0);
}

/* One more ridge joined to the skeleton, as probabilities are: s + r - s r. */
static inline void NAME(join)(const REAL *joined, const REAL *ridge, int64_t n, REAL *to) {
    for (int64_t x = 0; x < n; ++x) {
        const REAL more = ridge[x] - joined[x] * ridge[x];
        to[x] = joined[x] + (more > 0 ? more : 0);
    }
}

/* Row y of the skeleton of the plane that is looked at. */
static void NAME(join_row)(const STREAM *s, int64_t y, REAL *out) {
    memcpy(out, s->ridges[0] + y * s->pitch, sizeof(REAL) * (size_t)s->width);
    for (int64_t j = 1; j <= s->count; ++j) NAME(join)(out, s->ridges[j] + y * s->pitch, s->width, out);
}

static inline int64_t NAME(first_step)(const STREAM *s) {
    return s->low - s->count - 2 > 0 ? s->low - s->count - 2 : 0;
}
