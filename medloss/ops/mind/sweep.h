/* A volume's planes, in runs for the threads. A run looks as far beyond its planes as it needs, and sums are
 * added plane by plane: the result does not depend on the number of threads. */

typedef struct {
    DISTANCES distances;
    ADJOINT adjoint;
    REAL *rows; /* of a few voxels: of both descriptors, and spare ones */
} SCRATCH;

static int NAME(scratch_alloc)(SCRATCH *s, const Patches *p, int masked, int gradient) {
    memset(s, 0, sizeof *s);
    int failed = NAME(distances_alloc)(&s->distances, p, masked);
    if (gradient) failed |= NAME(adjoint_alloc)(&s->adjoint, &s->distances);
    s->rows = calloc((4 * MOST_PAIRS + 12) * FEW, sizeof(REAL));
    return failed || !s->rows;
}

static void NAME(scratch_free)(SCRATCH *s) {
    NAME(distances_free)(&s->distances);
    NAME(adjoint_free)(&s->adjoint);
    free(s->rows);
}

/* Where the descriptors of an image in row (z, y) look from voxel x on, and their scratch. */
static DESCRIPTOR NAME(descriptor)(const SCRATCH *s, int64_t image, int64_t z, int64_t y, int64_t x) {
    const Patches *p = s->distances.patches;
    REAL *own = s->rows + image * (2 * MOST_PAIRS + 3) * FEW;
    DESCRIPTOR d = {.above = own,
                    .entry = own + MOST_PAIRS * FEW,
                    .least = own + 2 * MOST_PAIRS * FEW,
                    .noise = own + (2 * MOST_PAIRS + 1) * FEW,
                    .over = own + (2 * MOST_PAIRS + 2) * FEW,
                    .count = s->rows + (4 * MOST_PAIRS + 6) * FEW};
    for (int64_t k = 0; k < p->pairs; ++k) {
        const REAL *row =
            NAME(distance_row)(&s->distances, image * p->steps + p->step_of[k],
                               z + p->from[k][0] + p->reach[0], y + p->from[k][1] + p->reach[1]);
        d.distance[k] = row + x + p->from[k][2] + p->reach[2];
        /* the next row is asked for: these are more streams than a processor sees coming */
        for (int64_t i = 0; i < FEW; i += 64 / (int64_t)sizeof(REAL))
            __builtin_prefetch(d.distance[k] + s->distances.pitch + i);
    }
    return d;
}

/* Spare rows: the pairs that are there, and three more. */
static inline REAL *NAME(spare)(const SCRATCH *s, int64_t row) {
    return s->rows + (4 * MOST_PAIRS + 6 + row) * FEW;
}

/* What is wanted of a volume: `noise`, three sums of each plane (of both images, and of the weights); or, for
 * known `means` of the noise, values as a `map` or `sums` of each plane; or the gradient `out` for an
 * upstream `grad` map or, without one, `all` for each value. */
typedef struct {
    const Patches *patches;
    const PAIR *pair;
    SCRATCH *scratch;
    int absolute;
    double *noise;
    REAL mean[2];
    REAL *map;
    double *sums;
    const REAL *grad;
    REAL all;
    REAL *out;
} TASK;

static double NAME(weighed)(const REAL *value, const REAL *weight, int64_t size) {
    double lane[8] = {0}, total = 0; /* in a fixed order that vectors can take */
    for (int64_t i = 0; i < size; i += 8)
        for (int64_t l = 0; l < smaller(8, size - i); ++l) {
            const double one = (double)value[i + l] * (weight ? (double)weight[i + l] : 1);
            lane[l] += !weight || weight[i + l] > 0 ? one : 0;
        }
    for (int l = 0; l < 8; ++l) total += lane[l];
    return total;
}

/* `size` voxels of row (z, y) from x on: the noise, the values, or the slopes of the distances. */
static void NAME(voxels)(const TASK *t, int64_t z, int64_t y, int64_t x, int64_t size) {
    const Patches *p = t->patches;
    const int64_t at = (z * p->size[1] + y) * p->size[2] + x;
    const REAL *weight = t->pair->weight ? t->pair->weight + at : NULL;
    REAL *count = NAME(spare)(t->scratch, 0), *value = t->map ? t->map + at : NAME(spare)(t->scratch, 1);
    DESCRIPTOR d[2];
    for (int image = 0; image < 2; ++image) {
        d[image] = NAME(descriptor)(t->scratch, image, z, y, x);
        NAME(excess)(d + image, p->pairs, size, count);
        if (t->noise) t->noise[3 * z + image] += NAME(weighed)(d[image].noise, weight, size);
        else NAME(entries)(d + image, p->pairs, size, t->mean[image]);
    }
    if (t->noise) {
        for (int64_t i = 0; weight && i < size; ++i) t->noise[3 * z + 2] += (double)weight[i];
        if (!weight) t->noise[3 * z + 2] += (double)size;
    } else if (!t->out) {
        NAME(penalties)(d, d + 1, p->pairs, size, t->absolute, value);
        for (int64_t i = 0; weight && i < size; ++i) value[i] = weight[i] > 0 ? value[i] * weight[i] : 0;
        if (t->sums) t->sums[z] += NAME(weighed)(value, NULL, size);
    } else {
        for (int64_t i = 0; i < size; ++i) {
            const REAL g = (t->grad ? t->grad[at + i] : t->all) * (weight ? weight[i] : 1);
            value[i] = weight && !(weight[i] > 0) ? 0 : g;
        }
        NAME(distance_slopes)(d, d + 1, p->pairs, size, t->absolute, t->mean[0], value,
                              NAME(spare)(t->scratch, 2));
        NAME(scatter)(&t->scratch->adjoint, z, y, x, size, d[0].above);
    }
}

static void NAME(row)(const TASK *t, int64_t z, int64_t y) {
    const int64_t size = t->patches->size[2];
    for (int64_t x = 0; x < size; x += FEW) NAME(voxels)(t, z, y, x, smaller(FEW, size - x));
}

/* Noise or values of the planes from `low` up to `high`. */
static void NAME(forward_planes)(const TASK *t, int64_t low, int64_t high) {
    const Patches *p = t->patches;
    int64_t next = low - p->reach[0];
    for (int64_t z = low; z < high; ++z) {
        for (; next <= z + p->reach[0]; ++next)
            NAME(distances_of_plane)(&t->scratch->distances, t->pair, next);
        for (int64_t y = 0; y < p->size[1]; ++y) NAME(row)(t, z, y);
    }
}

/* The gradient of the planes from `low` up to `high`. */
static void NAME(backward_planes)(const TASK *t, int64_t low, int64_t high) {
    const Patches *p = t->patches;
    const ADJOINT *a = &t->scratch->adjoint;
    const int64_t depth = p->size[0], reach = p->reach[0], radius = p->radius[0];
    int64_t summed = larger(0, low - reach), voxel = larger(0, summed - radius - reach), next = voxel - reach;
    for (int64_t z = voxel - reach; z < voxel + reach; ++z) NAME(clear_centres)(a, z + reach);
    for (int64_t z = low; z < high; ++z) {
        for (; summed <= z + reach && summed < depth; ++summed) {
            for (; voxel <= summed + radius + reach && voxel < depth; ++voxel) {
                for (; next <= voxel + reach; ++next)
                    NAME(distances_of_plane)(&t->scratch->distances, t->pair, next);
                NAME(clear_centres)(a, voxel + 2 * reach);
                for (int64_t y = 0; y < p->size[1]; ++y) NAME(row)(t, voxel, y);
                const int64_t last =
                    voxel + 1 < depth ? voxel - reach : voxel + reach; /* that hears of no more */
                for (int64_t done = voxel - reach; done <= last; ++done)
                    NAME(divide)(a, done + reach, t->pair->weight != NULL);
            }
            NAME(patches_of_plane)(a, summed);
        }
        NAME(gradient_of_plane)(a, t->pair, z, t->out);
    }
}
