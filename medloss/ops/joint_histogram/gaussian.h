/* Gaussian windows, a tile of voxels at a time: their weights side by side for the arithmetic, then, of
 * the target, bin by bin for the outer product. Included by cpu_kernel.c once per precision.
 *
 * With the distance d to the nearest centre, exp(-s (d - k)^2) is up to a common factor q^k exp(-s k^2),
 * where q = exp(2 s d): one exponential for all bins. What lies outside the bins weighs nothing, and the
 * rest sums to one.
 */
#define VECTOR NAME(Vector)
#define WHOLE NAME(Whole)
#define QUAD NAME(Quad)

/* 32 bytes that may lie anywhere, and as many as integers of their size, for masks. */
typedef REAL VECTOR __attribute__((vector_size(32), aligned(sizeof(REAL)), may_alias));
typedef INTEGER WHOLE __attribute__((vector_size(32), aligned(sizeof(REAL)), may_alias));
typedef double QUAD __attribute__((vector_size(32), aligned(8), may_alias));
enum { NAME(STEP) = 32 / sizeof(REAL) };

/* The windows of a tile's voxels: row k holds the weight (or its slope) of each voxel's bin k - reach from
 * its own. */
typedef struct {
    int32_t nearest[TILE];
    REAL q[TILE], own[TILE]; /* own: the nearest bin as a real */
    REAL row[2 * MOST_REACH + 1][TILE];
} NAME(Windows);

/* Nearest bins and the exponentials; the tile's rest gets the windows of the first bin. NaN: any bin, NaN
 * weights. */
static inline void NAME(place)(const CALL *c, const SCALE *s, const REAL *values, int n, NAME(Windows) * w) {
    const REAL last = (REAL)(c->bins - 1), steep = (REAL)(2 * c->sharpness), half = (REAL)0.5;
    for (int i = 0; i < n; ++i) {
        const REAL place = (NAME(clamp)(values[i], s->low, s->high) - s->low) * s->factor;
        REAL up = place + half;
        up = up >= 0 ? up : 0;
        up = up > last ? last : up;
        w->nearest[i] = (int32_t)up;
        w->own[i] = (REAL)w->nearest[i];
        w->q[i] = EXP(steep * (place - w->own[i]));
    }
    for (int i = n; i < TILE; ++i) w->nearest[i] = 0, w->own[i] = 0, w->q[i] = 1;
}

/* The weights of some voxels from their exponentials. */
static inline __attribute__((always_inline)) void NAME(weights)(const CALL *c, const int reach, const NAME(Windows) * w,
                                                                int i, VECTOR *out) {
    const VECTOR below = *(const VECTOR *)(w->own + i), above = (REAL)(c->bins - 1) - below;
    const VECTOR q = *(const VECTOR *)(w->q + i), r = 1 / q;
    VECTOR up = q, down = r, sum = (q - q) + 1; /* one, or NaN */
    out[reach] = sum;
    for (int k = 1; k <= reach; ++k) {
        const REAL fall = (REAL)c->fall[k], distance = (REAL)k;
        out[reach + k] = (VECTOR)((WHOLE)(fall * up) & (above >= distance));
        out[reach - k] = (VECTOR)((WHOLE)(fall * down) & (below >= distance));
        sum += out[reach + k] + out[reach - k];
        up *= q;
        down *= r;
    }
    sum = 1 / sum;
    for (int k = 0; k <= 2 * reach; ++k) out[k] *= sum;
}

/* The weights of a tile, times what each voxel weighs. */
static inline __attribute__((always_inline)) void NAME(weigh)(const CALL *c, const int reach, const REAL *mass,
                                                              NAME(Windows) * w) {
    for (int i = 0; i < TILE; i += NAME(STEP)) {
        VECTOR each[2 * MOST_REACH + 1];
        NAME(weights)(c, reach, w, i, each);
        for (int k = 0; k <= 2 * reach; ++k) {
            if (mass) each[k] *= *(const VECTOR *)(mass + i);
            *(VECTOR *)(w->row[k] + i) = each[k];
        }
    }
}

/* The slopes of the weights, 2 s w_k (k - mean of k), added up from the first bin on: they meet the
 * differences of the cotangents, whose common part would cost digits. */
static inline __attribute__((always_inline)) void NAME(slopes)(const CALL *c, const int reach, NAME(Windows) * w) {
    const REAL steep = (REAL)(2 * c->sharpness);
    for (int i = 0; i < TILE; i += NAME(STEP)) {
        VECTOR each[2 * MOST_REACH + 1], mean, total;
        NAME(weights)(c, reach, w, i, each);
        mean = each[0] * (REAL)-reach;
        for (int k = 1; k <= 2 * reach; ++k) mean += each[k] * (REAL)(k - reach);
        total = each[0] - each[0];
        for (int k = 0; k < 2 * reach; ++k) {
            total += steep * each[k] * ((REAL)(k - reach) - mean);
            *(VECTOR *)(w->row[k] + i) = total;
        }
    }
}

/* The weights of each voxel together, and zeros up to a whole number of lanes. */
static inline __attribute__((always_inline)) void NAME(turn)(const int rows, const int columns, int n,
                                                             const NAME(Windows) * w, REAL *restrict out) {
    for (int i = 0; i < n; ++i) {
        for (int k = 0; k < rows; ++k) out[i * columns + k] = w->row[k][i];
        for (int k = rows; k < columns; ++k) out[i * columns + k] = 0;
    }
}

static inline __attribute__((always_inline)) void NAME(count_gaussian)(const CALL *c, const int reach, const SCALE *sx,
                                                                       const SCALE *sy, int64_t start, int64_t end,
                                                                       double *counts) {
    const int rows = 2 * reach + 1, columns = (rows + LANES - 1) / LANES * LANES;
    NAME(Windows) wx, wy;
    REAL mass[TILE], bins[TILE * columns];
    for (int64_t first = start; first < end; first += TILE) {
        const int n = end - first < TILE ? (int)(end - first) : TILE;
        if (c->mask)
            for (int i = 0; i < TILE; ++i) mass[i] = i < n ? c->mask[first + i] : 0;
        NAME(place)(c, sx, c->x + first, n, &wx);
        NAME(place)(c, sy, c->y + first, n, &wy);
        NAME(weigh)(c, reach, c->mask ? mass : NULL, &wx);
        NAME(weigh)(c, reach, NULL, &wy);
        NAME(turn)(rows, columns, n, &wy, bins);
        for (int i = 0; i < n; ++i) {
            if (c->mask && !(mass[i] > 0)) continue;
            double *corner = counts + wx.nearest[i] * c->side + wy.nearest[i];
            for (int k = 0; k < columns; k += LANES) {
                const REAL *part = bins + i * columns + k;
                const QUAD low = {part[0], part[1], part[2], part[3]}, high = {part[4], part[5], part[6], part[7]};
                double *to = corner + k;
                for (int a = 0; a < rows; ++a, to += c->side) {
                    const double wa = (double)wx.row[a][i];
                    *(QUAD *)to += wa * low;
                    *(QUAD *)(to + 4) += wa * high;
                }
            }
        }
    }
}

/* `table`: each bin's cotangent less that of the next row. */
static inline __attribute__((always_inline)) void NAME(slope_gaussian)(const CALL *c, const int reach, const SCALE *sx,
                                                                       const SCALE *sy, int64_t start, int64_t end,
                                                                       const REAL *table, REAL *out) {
    const int rows = 2 * reach + 1, columns = (rows + LANES - 1) / LANES * LANES;
    NAME(Windows) wx, wy;
    REAL bins[TILE * columns];
    for (int64_t first = start; first < end; first += TILE) {
        const int n = end - first < TILE ? (int)(end - first) : TILE;
        NAME(place)(c, sx, c->x + first, n, &wx);
        NAME(place)(c, sy, c->y + first, n, &wy);
        NAME(slopes)(c, reach, &wx);
        NAME(weigh)(c, reach, NULL, &wy);
        NAME(turn)(rows, columns, n, &wy, bins);
        for (int i = 0; i < n; ++i) {
            const REAL weight = c->mask ? c->mask[first + i] : 1, x = c->x[first + i];
            out[first + i] = 0;
            if (!(weight > 0) || x < sx->low || x > sx->high) continue;
            const REAL *corner = table + wx.nearest[i] * c->side + wy.nearest[i];
            REAL sum[LANES] = {0};
            for (int k = 0; k < columns; k += LANES) {
                REAL part[LANES] = {0};
                for (int a = 0; a < 2 * reach; ++a) {
                    const REAL slope = wx.row[a][i];
                    for (int lane = 0; lane < LANES; ++lane) part[lane] += slope * corner[a * c->side + k + lane];
                }
                for (int lane = 0; lane < LANES; ++lane) sum[lane] += part[lane] * bins[i * columns + k + lane];
            }
            const REAL total = ((sum[0] + sum[4]) + (sum[1] + sum[5])) + ((sum[2] + sum[6]) + (sum[3] + sum[7]));
            out[first + i] = weight * sx->factor * total;
        }
    }
}

#undef VECTOR
#undef WHOLE
#undef QUAD
