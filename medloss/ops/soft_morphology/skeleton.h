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
    if (!s->level) return 1;
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

/* The rows around row y of plane z; at a border the row itself, which changes no extreme. */
static void NAME(around)(const STREAM *s, const RING *ring, int64_t z, int64_t y, const REAL **rows) {
    const REAL *own = NAME(row_of)(s, ring, z, y);
    rows[0] = own;
    rows[1] = y ? own - s->pitch : own;
    rows[2] = y + 1 < s->height ? own + s->pitch : own;
    rows[3] = z ? NAME(row_of)(s, ring, z - 1, y) : own;
    rows[4] = z + 1 < s->depth ? NAME(row_of)(s, ring, z + 1, y) : own;
}

static void NAME(erode_plane)(STREAM *s, int64_t j, int64_t z) {
    const REAL *r[5];
    for (int64_t y = 0; y < s->height; ++y) {
        NAME(around)(s, s->level + j, z, y, r);
        REAL *out = NAME(row_of)(s, s->level + j + 1, z, y);
        if (s->weight)
            NAME(erode_row)(r[0], r[1], r[2], r[3], r[4], 1, s->width, out);
        else
            NAME(erode_row)(r[0], r[1], r[2], r[3], r[4], 0, s->width, out);
    }
}

/* Row y of the largest of three planes of an erosion, in its place among four rows of scratch. */
static REAL *NAME(wide_row)(const STREAM *s, const RING *ring, int64_t z, int64_t y) {
    const REAL *r[5];
    REAL *out = NAME(scratch)(s, y & 3);
    NAME(around)(s, ring, z, y, r);
    if (s->weight)
        NAME(larger_of_planes)(r[0], r[3], r[4], 1, s->width, out);
    else
        NAME(larger_of_planes)(r[0], r[3], r[4], 0, s->width, out);
    return out;
}

/* Row y of the largest of three by three, with a margin of -infinity; its neighbours' `wide_row`s come first. */
static REAL *NAME(wider_row)(const STREAM *s, const RING *ring, int64_t z, int64_t y) {
    const REAL *own = NAME(scratch)(s, y & 3);
    const REAL *above = y ? NAME(scratch)(s, (y - 1) & 3) : own;
    const REAL *below = y + 1 < s->height ? NAME(wide_row)(s, ring, z, y + 1) : own;
    REAL *out = NAME(scratch)(s, 4);
    NAME(larger_of_rows)(own, above, below, s->width, out);
    out[-1] = out[s->width] = -INF;
    return out;
}

static void NAME(ridge_plane)(STREAM *s, int64_t j, int64_t z) {
    const RING *eroded = s->level + j + 1;
    NAME(wide_row)(s, eroded, z, 0);
    for (int64_t y = 0; y < s->height; ++y) {
        const REAL *wide = NAME(wider_row)(s, eroded, z, y), *level = NAME(row_of)(s, s->level + j, z, y);
        REAL *out = NAME(row_of)(s, s->ridge + j, z, y);
        if (s->weight)
            NAME(ridge_row)(level, wide, 1, s->width, out);
        else
            NAME(ridge_row)(level, wide, 0, s->width, out);
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

/* Row y of the skeleton of plane z: the ridges joined as probabilities are. */
static void NAME(join_row)(const STREAM *s, int64_t z, int64_t y, REAL *restrict out) {
    memcpy(out, NAME(row_of)(s, s->ridge, z, y), sizeof(REAL) * (size_t)s->width);
    for (int64_t j = 1; j <= s->count; ++j) {
        const REAL *ridge = NAME(row_of)(s, s->ridge + j, z, y);
        for (int64_t x = 0; x < s->width; ++x) {
            const REAL more = ridge[x] - out[x] * ridge[x];
            out[x] += more > 0 ? more : 0;
        }
    }
}

static inline int64_t NAME(first_step)(const STREAM *s) {
    return s->low - s->count - 2 > 0 ? s->low - s->count - 2 : 0;
}
