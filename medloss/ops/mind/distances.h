/* Mean squared differences of patches, plane by plane into a ring; -1 where a patch has no pair of voxels. */

/* Two volumes, and what weighs them (or NULL). */
typedef struct {
    const REAL *image[2], *weight;
} PAIR;

/* 32 bytes that may lie anywhere. */
typedef REAL VECTOR __attribute__((vector_size(32), aligned(sizeof(REAL)), may_alias));
#define LANES (32 / (int64_t)sizeof(REAL))

/* Rows added up. Written with vectors, as compilers fuse the two loops of the plain form into a scalar one.
 */
static inline void NAME(add_rows)(const REAL *const *rows, int64_t count, int64_t pitch, REAL *restrict out) {
    for (int64_t x = 0; x < pitch; x += 2 * LANES) {
        VECTOR a = {0}, b = {0};
        for (int64_t j = 0; j < count; ++j) {
            a += *(const VECTOR *)(rows[j] + x);
            b += *(const VECTOR *)(rows[j] + x + LANES);
        }
        *(VECTOR *)(out + x) = a;
        *(VECTOR *)(out + x + LANES) = b;
    }
}

/* Maps: the steps of the first image, of the second, and with weights what the patches weigh. */
typedef struct {
    const Patches *patches;
    int64_t maps, pitch, plane, depth; /* entries of a row and of a plane of one map; planes of the ring */
    REAL *ring, *rows, *padded, *totals, *inverse[MOST_STEPS];
} DISTANCES;

static int NAME(distances_alloc)(DISTANCES *d, const Patches *p, int masked) {
    memset(d, 0, sizeof *d);
    d->patches = p;
    d->maps = (masked ? 3 : 2) * p->steps;
    d->pitch = (p->wide[2] + 2 * LANES - 1) / (2 * LANES) * (2 * LANES);
    d->plane = d->pitch * p->wide[1] +
               64 / (int64_t)sizeof(REAL); /* off a power of two: planes share no cache set */
    d->depth = 2 * p->reach[0] + 1;
    const size_t one = sizeof(REAL), row = (size_t)d->pitch;
    d->ring = malloc(one * (size_t)(d->maps * d->plane * d->depth));
    d->rows = calloc(row * (size_t)(d->maps * (2 * p->radius[1] + 1)), one);
    d->padded = calloc(row + 4 * (size_t)(p->radius[2] + p->reach[2]), one);
    d->totals = calloc(row * 2, one);
    int failed = !d->ring || !d->rows || !d->padded || !d->totals;
    for (int64_t s = 0; s < p->steps; ++s) {
        d->inverse[s] = malloc(one * row);
        if (!d->inverse[s]) return 1;
        for (int64_t i = 0; i < p->wide[2]; ++i)
            d->inverse[s][i] = p->count[s][2][i] > 0 ? (REAL)(1 / p->count[s][2][i]) : 0;
    }
    return failed;
}

static void NAME(distances_free)(DISTANCES *d) {
    free(d->ring);
    free(d->rows);
    free(d->padded);
    free(d->totals);
    for (int s = 0; s < MOST_STEPS; ++s) free(d->inverse[s]);
}

/* Row (z, y) of a map around a centre, both counted from -reach. */
static inline REAL *NAME(distance_row)(const DISTANCES *d, int64_t map, int64_t z, int64_t y) {
    return d->ring + (z % d->depth * d->maps + map) * d->plane + y * d->pitch;
}

/* Row y of one step, summed over the planes from `low` up to `high`, all of which have a partner: squared
 * differences of both images from `left` up to `right`. */
static inline void NAME(add_squares)(const Patches *p, const PAIR *pair, int64_t s, int64_t low, int64_t high,
                                     int64_t y, int64_t left, int64_t right, REAL *restrict one,
                                     REAL *restrict two) {
    const int64_t *step = p->step[s], *size = p->size, area = size[1] * size[2],
                  at = low * area + y * size[2];
    const int64_t far = (step[0] * size[1] + step[1]) * size[2] + step[2];
    const REAL *a = pair->image[0] + at, *b = pair->image[1] + at;
    int64_t x = left;
    for (; x + LANES <= right; x += LANES) {
        VECTOR first = {0}, second = {0};
        for (int64_t j = 0; j < high - low; ++j) {
            const REAL *here = a + j * area + x, *there = b + j * area + x;
            const VECTOR u = *(const VECTOR *)here - *(const VECTOR *)(here + far);
            const VECTOR v = *(const VECTOR *)there - *(const VECTOR *)(there + far);
            first += u * u, second += v * v;
        }
        *(VECTOR *)(one + x) = first;
        *(VECTOR *)(two + x) = second;
    }
    for (; x < right; ++x)
        for (int64_t j = 0; j < high - low; ++j) {
            const REAL *here = a + j * area + x, *there = b + j * area + x;
            const REAL u = here[0] - here[far], v = there[0] - there[far];
            one[x] += u * u, two[x] += v * v;
        }
}

/* The same for plane z alone, weighted, with the weights. */
static inline void NAME(add_weighted)(const Patches *p, const PAIR *pair, int64_t s, int64_t z, int64_t y,
                                      int64_t left, int64_t right, REAL *restrict one, REAL *restrict two,
                                      REAL *restrict mass) {
    const int64_t *step = p->step[s], *size = p->size, at = (z * size[1] + y) * size[2];
    const int64_t far = at + (step[0] * size[1] + step[1]) * size[2] + step[2];
    const REAL *restrict a = pair->image[0] + at, *restrict b = pair->image[0] + far;
    const REAL *restrict c = pair->image[1] + at, *restrict d = pair->image[1] + far;
    const REAL *restrict near_weight = pair->weight + at, *restrict far_weight = pair->weight + far;
#pragma GCC ivdep
    for (int64_t i = left; i < right; ++i) {
        const REAL w = near_weight[i] * far_weight[i], first = a[i] - b[i], second = c[i] - d[i];
        const REAL u = w > 0 ? first : 0, v = w > 0 ? second : 0;
        one[i] += w * u * u, two[i] += w * v * v, mass[i] += w;
    }
}

/* Row y of the images, every map summed along z around centre z, into its place among the rows. */
static void NAME(squares_row)(const DISTANCES *d, const PAIR *pair, int64_t z, int64_t y) {
    const Patches *p = d->patches;
    REAL *rows = d->rows + y % (2 * p->radius[1] + 1) * d->maps * d->pitch;
    memset(rows, 0, sizeof(REAL) * (size_t)(d->maps * d->pitch));
    for (int64_t s = 0; s < p->steps; ++s) {
        const int64_t *step = p->step[s], *size = p->size;
        const int64_t low = larger(z - p->radius[0], larger(0, -step[0]));
        const int64_t high = smaller(z + p->radius[0] + 1, smaller(size[0], size[0] - step[0]));
        const int64_t left = larger(0, -step[2]), right = smaller(size[2], size[2] - step[2]);
        REAL *one = rows + s * d->pitch, *two = one + p->steps * d->pitch, *mass = two + p->steps * d->pitch;
        if (y + step[1] < 0 || y + step[1] >= size[1] || low >= high) continue;
        if (!pair->weight) NAME(add_squares)(p, pair, s, low, high, y, left, right, one, two);
        for (int64_t at = low; pair->weight && at < high; ++at)
            NAME(add_weighted)(p, pair, s, at, y, left, right, one, two, mass);
    }
}

/* The row of a map, summed along y around centre y and then along x. */
static void NAME(total_row)(const DISTANCES *d, int64_t map, int64_t y, REAL *restrict out) {
    const Patches *p = d->patches;
    const int64_t slots = 2 * p->radius[1] + 1, margin = p->radius[2] + p->reach[2];
    const int64_t low = larger(0, y - p->radius[1]), high = smaller(p->size[1], y + p->radius[1] + 1);
    const REAL *rows[slots + 2 * p->radius[2] + 1];
    int64_t count = 0;
    for (int64_t at = low; at < high; ++at) rows[count++] = d->rows + (at % slots * d->maps + map) * d->pitch;
    NAME(add_rows)(rows, count, d->pitch, d->padded + margin);
    for (int64_t j = 0; j <= 2 * p->radius[2]; ++j) rows[j] = d->padded + j;
    NAME(add_rows)(rows, 2 * p->radius[2] + 1, d->pitch, out);
}

/* The plane of the ring around centre z, in voxels. */
static void NAME(distances_of_plane)(const DISTANCES *d, const PAIR *pair, int64_t z) {
    const Patches *p = d->patches;
    int64_t next = 0;
    for (int64_t y = -p->reach[1]; y < p->size[1] + p->reach[1]; ++y) {
        for (; next <= y + p->radius[1] && next < p->size[1]; ++next) NAME(squares_row)(d, pair, z, next);
        for (int64_t s = 0; s < p->steps; ++s) {
            const double slice = p->count[s][0][z + p->reach[0]] * p->count[s][1][y + p->reach[1]];
            REAL *restrict inverse = d->totals, *restrict total = d->totals + d->pitch;
            const REAL over = (REAL)(slice > 0 ? 1 / slice : 0), *restrict along = d->inverse[s];
            if (pair->weight) {
                NAME(total_row)(d, 2 * p->steps + s, y, inverse);
                for (int64_t i = 0; i < p->wide[2]; ++i) inverse[i] = inverse[i] > 0 ? 1 / inverse[i] : 0;
                memcpy(NAME(distance_row)(d, 2 * p->steps + s, z + p->reach[0], y + p->reach[1]), inverse,
                       sizeof(REAL) * (size_t)p->wide[2]);
            } else {
                for (int64_t i = 0; i < p->wide[2]; ++i) inverse[i] = over * along[i];
            }
            for (int64_t image = 0; image < 2; ++image) {
                REAL *restrict to =
                    NAME(distance_row)(d, image * p->steps + s, z + p->reach[0], y + p->reach[1]);
                NAME(total_row)(d, image * p->steps + s, y, total);
#pragma GCC ivdep
                for (int64_t i = 0; i < p->wide[2]; ++i) to[i] = inverse[i] > 0 ? total[i] * inverse[i] : -1;
            }
        }
    }
}
