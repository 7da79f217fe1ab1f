/* Erosions of the squared error: means over crosses, less one half, stretched to run from 0 to 1.
 *
 * A stretch needs the extremes of the whole volume, so that erosions follow each other volume by volume. The way back
 * makes all of them again and keeps them, one volume at a time. The order of every mean's terms is the reference's: what
 * is just one half must be so here too. The gradient of an extreme is shared by all the voxels that have it.
 */
#define VOLUME NAME(ErosionVolume)

typedef struct {
    int64_t depth, height, width, voxels;
    const REAL *weight; /* NULL where every voxel counts */
    REAL terms;         /* of a mean */
    REAL *row;          /* scratch: zeros, then a row with a margin of zeros */
} VOLUME;

/* What the stretch of one erosion did: subtracted `low` and divided by `span`, where the map was not constant. */
typedef struct {
    REAL low, span;
    int varies;
    double lowest, highest; /* how many voxels had the extremes */
} NAME(Stretch);

static inline int NAME(is_there)(const VOLUME *v, int64_t i) { return !v->weight || v->weight[i] > 0; }

/* One row of the means over crosses. */
static void NAME(mean_row)(const VOLUME *v, const REAL *map, int64_t z, int64_t y, REAL *restrict out) {
    const int64_t n = v->width, plane = v->height * n;
    const REAL *own = map + z * plane + y * n, *zeros = v->row;
    const REAL *front = z ? own - plane : zeros, *back = z + 1 < v->depth ? own + plane : zeros;
    const REAL *above = y ? own - n : zeros, *below = y + 1 < v->height ? own + n : zeros;
    REAL *restrict centre = v->row + n + 1;
    memcpy(centre, own, sizeof(REAL) * (size_t)n);
    for (int64_t x = 0; x < n; ++x) {
        const REAL across = (((own[x] + front[x]) + back[x]) + above[x]) + below[x];
        out[x] = ((across + centre[x - 1]) + centre[x + 1]) / v->terms;
    }
}

/* Squared errors; whether all were finite. */
static int NAME(squared_errors)(const VOLUME *v, const REAL *p, const REAL *t, REAL *restrict out) {
    int odd = 0;
    for (int64_t i = 0; i < v->voxels; ++i) {
        const REAL error = (p[i] - t[i]) * (p[i] - t[i]);
        const int counts = NAME(is_there)(v, i);
        odd |= counts & !(error - error == 0);
        out[i] = counts ? error : 0;
    }
    return !odd;
}

/* One erosion of `from` into `to`; adds `factor` times it to `total` where there is one. False where nothing is left:
 * from then on all erosions are zero. */
static int NAME(erosion)(const VOLUME *v, const REAL *from, REAL *restrict to, NAME(Stretch) * stretch, REAL factor,
                         REAL *restrict total) {
    REAL low = INF, high = -INF;
    for (int64_t z = 0; z < v->depth; ++z)
        for (int64_t y = 0; y < v->height; ++y) {
            const int64_t start = (z * v->height + y) * v->width;
            REAL *restrict row = to + start, lanes[2][8];
            int64_t x = 0;
            NAME(mean_row)(v, from, z, y, row);
            for (int i = 0; i < 8; ++i) lanes[0][i] = low, lanes[1][i] = high;
            for (; x < v->width; ++x) {
                row[x] = row[x] < (REAL)0.5 ? 0 : row[x] - (REAL)0.5;
                row[x] = NAME(is_there)(v, start + x) ? row[x] : -1;
            }
            for (x = 0; x + 8 <= v->width; x += 8)
                for (int i = 0; i < 8; ++i) {
                    lanes[0][i] = NAME(lesser)(row[x + i] < 0 ? INF : row[x + i], lanes[0][i]);
                    lanes[1][i] = NAME(larger)(row[x + i], lanes[1][i]);
                }
            for (; x < v->width; ++x) {
                lanes[0][0] = NAME(lesser)(row[x] < 0 ? INF : row[x], lanes[0][0]);
                lanes[1][0] = NAME(larger)(row[x], lanes[1][0]);
            }
            for (int i = 0; i < 8; ++i) low = NAME(lesser)(lanes[0][i], low), high = NAME(larger)(lanes[1][i], high);
        }
    stretch->varies = high > low;
    stretch->low = stretch->varies ? low : 0;
    stretch->span = stretch->varies ? high - low : 1;
    for (int64_t i = 0; i < v->voxels; ++i) {
        to[i] = to[i] < 0 ? 0 : (to[i] - stretch->low) / stretch->span;
        if (total) total[i] += factor * to[i];
    }
    return high > 0;
}

/* The sum of the erosions of one volume into `out`. */
static int NAME(eroded_errors)(const VOLUME *v, const REAL *p, const REAL *t, double alpha, int64_t k,
                               REAL *scratch, REAL *out) {
    REAL *from = scratch, *to = scratch + v->voxels;
    NAME(Stretch) stretch;
    memset(out, 0, sizeof(REAL) * (size_t)v->voxels);
    if (!NAME(squared_errors)(v, p, t, from)) return 0;
    for (int64_t j = 1; j <= k; ++j) {
        if (!NAME(erosion)(v, from, to, &stretch, (REAL)pow((double)j, alpha), out)) break;
        REAL *swapped = from;
        from = to;
        to = swapped;
    }
    return 1;
}

/* What the cotangent `g` of a stretched map is for the map itself, in place, but for the mean's own slope. */
static void NAME(stretch_back)(const VOLUME *v, const REAL *stretched, const NAME(Stretch) * stretch, REAL *restrict g) {
    double whole[8] = {0}, product[8] = {0}, lowest[8] = {0}, highest[8] = {0};
    if (!stretch->varies) return;
    int64_t i = 0;
    for (; i + 8 <= v->voxels; i += 8)
        for (int l = 0; l < 8; ++l) {
            const double there = NAME(is_there)(v, i + l) ? 1 : 0;
            whole[l] += (double)g[i + l];
            product[l] += (double)(g[i + l] * stretched[i + l]);
            lowest[l] += stretched[i + l] == 0 ? there : 0;
            highest[l] += stretched[i + l] == 1 ? there : 0;
        }
    for (; i < v->voxels; ++i) {
        const double there = NAME(is_there)(v, i) ? 1 : 0;
        whole[0] += (double)g[i];
        product[0] += (double)(g[i] * stretched[i]);
        lowest[0] += stretched[i] == 0 ? there : 0;
        highest[0] += stretched[i] == 1 ? there : 0;
    }
    const double span = (double)stretch->span, sum = NAME(total)(whole), inner = NAME(total)(product);
    const REAL to_low = (REAL)((inner - sum) / span / NAME(total)(lowest));
    const REAL to_high = (REAL)(-inner / span / NAME(total)(highest));
    for (i = 0; i < v->voxels; ++i) {
        const REAL shared = stretched[i] == 0 ? to_low : stretched[i] == 1 ? to_high : 0;
        g[i] = NAME(is_there)(v, i) ? g[i] / stretch->span + shared : 0;
    }
}

/* The gradient of p, times `sign`; false where a value is not finite. `kept`: k + 3 volumes of scratch. */
static int NAME(eroded_errors_back)(const VOLUME *v, const REAL *p, const REAL *t, double alpha, int64_t k,
                                    NAME(Stretch) * stretches, REAL *kept, const REAL *grad, REAL sign, REAL *out) {
    const int64_t n = v->voxels;
    REAL *restrict g = kept + (k + 1) * n, *restrict mean = g + n;
    int64_t last = k;
    if (!NAME(squared_errors)(v, p, t, kept)) return 0;
    for (int64_t j = 1; j <= last; ++j)
        if (!NAME(erosion)(v, kept + (j - 1) * n, kept + j * n, stretches + j, 0, NULL)) last = j;
    memset(g, 0, sizeof(REAL) * (size_t)n);
    for (int64_t j = last; j > 0; --j) {
        const REAL factor = (REAL)pow((double)j, alpha);
        for (int64_t i = 0; i < n; ++i) g[i] = NAME(is_there)(v, i) ? g[i] + factor * grad[i] : 0;
        NAME(stretch_back)(v, kept + j * n, stretches + j, g);
        for (int64_t row = 0; row < v->depth * v->height; ++row) {
            NAME(mean_row)(v, kept + (j - 1) * n, row / v->height, row % v->height, mean + row * v->width);
            for (int64_t i = row * v->width; i < (row + 1) * v->width; ++i)
                g[i] = mean[i] < (REAL)0.5 ? 0 : g[i]; /* with a slope of 1 at one half */
        }
        for (int64_t row = 0; row < v->depth * v->height; ++row)
            NAME(mean_row)(v, g, row / v->height, row % v->height, mean + row * v->width);
        memcpy(g, mean, sizeof(REAL) * (size_t)n);
    }
    for (int64_t i = 0; i < n; ++i) out[i] = NAME(is_there)(v, i) ? sign * 2 * (p[i] - t[i]) * g[i] : 0;
    return 1;
}
