/* From the slopes of the distances back to the image: they are gathered by step around the patches' centres,
 * shared out over the patches, and multiplied by the differences that were squared. Each in a ring of planes.
 */

typedef struct {
    const DISTANCES *distances;
    int64_t depth, row, plane; /* of the slopes around centres, as wide as the distances */
    int64_t shared, area;      /* of the sums over patches: planes, and entries of a plane of one step */
    REAL *centres, *patches, *rows, *padded;
} ADJOINT;

static int NAME(adjoint_alloc)(ADJOINT *a, const DISTANCES *d) {
    const Patches *p = d->patches;
    const size_t one = sizeof(REAL);
    memset(a, 0, sizeof *a);
    a->distances = d;
    a->depth = 2 * p->radius[0] + 2 * p->reach[0] + 1;
    a->plane = d->plane;
    a->shared = 2 * p->reach[0] + 1;
    a->area = p->size[1] * d->pitch + 64 / (int64_t)one;
    a->centres = malloc(one * (size_t)(a->depth * p->steps * a->plane));
    a->patches = malloc(one * (size_t)(a->shared * p->steps * a->area));
    a->rows = calloc((size_t)(d->pitch * p->wide[1]), one);
    a->padded = calloc((size_t)(d->pitch + 2 * p->radius[2] + 2 * p->reach[2]), one);
    return !a->centres || !a->patches || !a->rows || !a->padded;
}

static void NAME(adjoint_free)(ADJOINT *a) {
    free(a->centres);
    free(a->patches);
    free(a->rows);
    free(a->padded);
}

/* Row (z, y) of a step around a centre, both counted from -reach. */
static inline REAL *NAME(centre_row)(const ADJOINT *a, int64_t s, int64_t z, int64_t y) {
    return a->centres + (z % a->depth * a->distances->patches->steps + s) * a->plane +
           y * a->distances->pitch;
}

static inline REAL *NAME(patch_row)(const ADJOINT *a, int64_t s, int64_t z, int64_t y) {
    return a->patches + (z % a->shared * a->distances->patches->steps + s) * a->area +
           y * a->distances->pitch;
}

/* Nothing yet around the centres of plane z, counted from -reach. */
static void NAME(clear_centres)(const ADJOINT *a, int64_t z) {
    const int64_t steps = a->distances->patches->steps;
    memset(NAME(centre_row)(a, 0, z, 0), 0, sizeof(REAL) * (size_t)(steps * a->plane));
}

/* The slopes of `size` voxels of row (z, y) from x on, by pair, to the centres that the pairs start from. */
static void NAME(scatter)(const ADJOINT *a, int64_t z, int64_t y, int64_t x, int64_t size,
                          const REAL *slopes) {
    const Patches *p = a->distances->patches;
    for (int64_t k = 0; k < p->pairs; ++k) {
        const int64_t *from = p->from[k], *reach = p->reach;
        REAL *restrict to =
            NAME(centre_row)(a, p->step_of[k], z + from[0] + reach[0], y + from[1] + reach[1]);
        const REAL *restrict slope = slopes + k * size;
        to += x + from[2] + reach[2];
        for (int64_t i = 0; i < size; ++i) to[i] += slope[i];
    }
}

/* The slopes around the centres of plane z, counted from -reach, over what each mean was divided by. */
static void NAME(divide)(const ADJOINT *a, int64_t z, int masked) {
    const DISTANCES *d = a->distances;
    const Patches *p = d->patches;
    for (int64_t s = 0; s < p->steps; ++s)
        for (int64_t y = 0; y < p->wide[1]; ++y) {
            const double slice = p->count[s][0][z] * p->count[s][1][y];
            const REAL over = masked ? 1 : (REAL)(slice > 0 ? 1 / slice : 0);
            const REAL *restrict inverse =
                masked ? NAME(distance_row)(d, 2 * p->steps + s, z, y) : d->inverse[s];
            REAL *restrict to = NAME(centre_row)(a, s, z, y);
#pragma GCC ivdep
            for (int64_t i = 0; i < p->wide[2]; ++i) to[i] = inverse[i] > 0 ? to[i] * (over * inverse[i]) : 0;
        }
}

/* The sums over the patches around the voxels of plane z. */
static void NAME(patches_of_plane)(const ADJOINT *a, int64_t z) {
    const DISTANCES *d = a->distances;
    const Patches *p = d->patches;
    const int64_t *reach = p->reach, *radius = p->radius, *size = p->size;
    const REAL *rows[2 * (radius[0] + radius[1] + radius[2]) + 1];
    for (int64_t s = 0; s < p->steps; ++s) {
        for (int64_t y = 0; y < p->wide[1]; ++y) { /* along z */
            int64_t count = 0;
            const int64_t low = larger(-reach[0], z - radius[0]),
                          high = smaller(size[0] + reach[0], z + radius[0] + 1);
            for (int64_t at = low; at < high; ++at) rows[count++] = NAME(centre_row)(a, s, at + reach[0], y);
            NAME(add_rows)(rows, count, d->pitch, a->rows + y * d->pitch);
        }
        for (int64_t y = 0; y < size[1]; ++y) { /* along y, then x */
            int64_t count = 0;
            const int64_t low = larger(-reach[1], y - radius[1]),
                          high = smaller(size[1] + reach[1], y + radius[1] + 1);
            for (int64_t at = low; at < high; ++at) rows[count++] = a->rows + (at + reach[1]) * d->pitch;
            REAL *start =
                a->padded + (radius[2] > reach[2] ? radius[2] - reach[2] : 0); /* of the centres' row */
            NAME(add_rows)(rows, count, d->pitch, start);
            for (int64_t j = 0; j <= 2 * radius[2]; ++j) rows[j] = start + reach[2] - radius[2] + j;
            NAME(add_rows)(rows, 2 * radius[2] + 1, d->pitch, NAME(patch_row)(a, s, z, y));
        }
    }
}

/* What the differences along one step to a row `far` away add to the gradient of a row of voxels, of which
 * `low` up to `high` have such a voxel. */
static inline void NAME(add_differences)(const REAL *image, const REAL *weight, int64_t far, const REAL *sums,
                                         int64_t low, int64_t high, REAL *restrict out) {
    const REAL *restrict here = image, *restrict there = image + far, *restrict sum = sums;
    if (!weight) {
#pragma GCC ivdep
        for (int64_t i = low; i < high; ++i) out[i] += 2 * (here[i] - there[i]) * sum[i];
        return;
    }
    const REAL *restrict one = weight, *restrict two = weight + far;
#pragma GCC ivdep
    for (int64_t i = low; i < high; ++i) {
        const REAL w = one[i] * two[i], slope = 2 * w * (here[i] - there[i]) * sum[i];
        out[i] += w > 0 ? slope : 0;
    }
}

/* The gradient of plane z of the first image. */
static void NAME(gradient_of_plane)(const ADJOINT *a, const PAIR *pair, int64_t z, REAL *restrict out) {
    const Patches *p = a->distances->patches;
    const int64_t *size = p->size;
    for (int64_t y = 0; y < size[1]; ++y) {
        const int64_t at = (z * size[1] + y) * size[2];
        REAL *restrict to = out + at;
        for (int64_t i = 0; i < size[2]; ++i) to[i] = 0;
        for (int64_t s = 0; s < p->steps; ++s)
            for (int sign = 1; sign >= -1; sign -= 2) {
                const int64_t dz = sign * p->step[s][0], dy = sign * p->step[s][1], dx = sign * p->step[s][2];
                if (z + dz < 0 || z + dz >= size[0] || y + dy < 0 || y + dy >= size[1]) continue;
                /* the patches around the voxel that the step starts from */
                const REAL *sums =
                    sign > 0 ? NAME(patch_row)(a, s, z, y) : NAME(patch_row)(a, s, z + dz, y + dy) + dx;
                NAME(add_differences)(pair->image[0] + at, pair->weight ? pair->weight + at : NULL,
                                      (dz * size[1] + dy) * size[2] + dx, sums, larger(0, -dx),
                                      smaller(size[2], size[2] - dx), to);
            }
    }
}
