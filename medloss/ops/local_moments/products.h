/* The products of two images whose window sums a statistic is made of, summed along z as they are formed.
 *
 * For SSIM the second is the difference and the last its square: neither an offset nor two images that are
 * nearly equal cost digits. With weights every product is weighted, and their sum is the window's mass. */

/* Two volumes and what weighs them; a constant is taken off each. */
typedef struct {
    const REAL *x, *y, *weight;
    REAL mean_x, mean_y;
} PAIR;

/* Row y of the planes that a group of windows looks at, without the constant; nothing where the weight is
 * zero. */
static inline void NAME(stage)(const PLAN *plan, const PAIR *p, int64_t first, Span there, int64_t y,
                               REAL *restrict staged) {
    const Axis *a = plan->axes;
    for (int64_t j = there.low; j < there.high; ++j) {
        const int64_t at = (mirror(a, first - a[0].reach + j) * a[1].size + y) * a[2].size;
        const REAL *restrict x_row = p->x + at, *restrict y_row = p->y + at;
        fetch(x_row + a[2].size, sizeof(REAL) * (size_t)a[2].size);
        fetch(y_row + a[2].size, sizeof(REAL) * (size_t)a[2].size);
        REAL *restrict u = staged + j * 3 * plan->pitch, *restrict v = u + plan->pitch,
                       *restrict w = v + plan->pitch;
        if (!p->weight) {
#pragma GCC ivdep
            for (int64_t i = 0; i < a[2].size; ++i) u[i] = x_row[i] - p->mean_x, v[i] = y_row[i] - p->mean_y;
            continue;
        }
        const REAL *restrict weight = p->weight + at;
#pragma GCC ivdep
        for (int64_t i = 0; i < a[2].size; ++i) {
            const REAL one = x_row[i] - p->mean_x,
                       other = y_row[i] - p->mean_y; /* the choice needs no branch */
            w[i] = weight[i];
            u[i] = weight[i] > 0 ? one : 0;
            v[i] = weight[i] > 0 ? other : 0;
        }
    }
}

/* The products of one vector of a staged row. */
static inline __attribute__((always_inline)) void NAME(products)(const REAL *row, int64_t pitch, int64_t x,
                                                                 int ssim, int masked, VECTOR *product) {
    const VECTOR u = FROM(row, x), v = FROM(row, x + pitch);
    VECTOR wu = u, wv = v, second = v;
    if (ssim) second = u - v;
    VECTOR ws = second;
    if (masked) {
        const VECTOR w = FROM(row, x + 2 * pitch);
        wu *= w, wv *= w, ws *= w;
        product[MASS] = w;
    }
    product[X] = wu, product[Y] = ws, product[XX] = wu * u, product[YY] = wv * v;
    product[XY] = wu * v;
    if (ssim) product[XY] = ws * second;
}

/* Their sums over four windows of equal weights along z: `out` holds the maps of the first window, then the
 * next's. */
static inline __attribute__((always_inline)) void NAME(product_boxes)(const REAL *staged, int64_t length,
                                                                      Span there, int64_t pitch, int ssim,
                                                                      int masked, REAL *restrict out) {
    const int maps = masked ? MAPS : MASS;
    const Span shared = common(there, (Span){GROUP - 1, length});
    const int64_t row = 3 * pitch;
    for (int64_t x = 0; x < pitch; x += LANES) {
        VECTOR sum[MAPS] = {{0}}, one[MAPS];
        for (int64_t j = shared.low; j < shared.high; ++j) {
            NAME(products)(staged + j * row, pitch, x, ssim, masked, one);
            for (int m = 0; m < maps; ++m) sum[m] += one[m];
        }
        for (int64_t j = GROUP - 1; j >= 0; --j) {
            if (j < GROUP - 1 && there.low <= j && j < there.high) {
                NAME(products)(staged + j * row, pitch, x, ssim, masked, one);
                for (int m = 0; m < maps; ++m) sum[m] += one[m];
            }
            for (int m = 0; m < maps; ++m) AT(out + (j * maps + m) * pitch, x) = sum[m];
        }
        for (int m = 0; m < maps; ++m) sum[m] = (VECTOR){0};
        for (int64_t j = 1; j < GROUP; ++j) {
            const int64_t behind = length + j - 1;
            if (there.low <= behind && behind < there.high) {
                NAME(products)(staged + behind * row, pitch, x, ssim, masked, one);
                for (int m = 0; m < maps; ++m) sum[m] += one[m];
            }
            for (int m = 0; m < maps; ++m) AT(out + (j * maps + m) * pitch, x) += sum[m];
        }
    }
}

/* The same for any weights, the maps from `low` to `high` alone: more sums than these do not fit the
 * registers. */
static inline __attribute__((always_inline)) void NAME(product_sums)(const REAL *staged, const REAL *taps,
                                                                     int64_t length, Span there,
                                                                     int64_t pitch, int ssim, int masked,
                                                                     int low, int high, REAL *restrict out) {
    const int maps = masked ? MAPS : MASS;
    for (int64_t x = 0; x < pitch; x += LANES) {
        VECTOR sum[GROUP][3] = {{{0}}}, one[MAPS];
        for (int64_t j = there.low; j < there.high; ++j) {
            NAME(products)(staged + j * 3 * pitch, pitch, x, ssim, masked, one);
#pragma GCC unroll 4
            for (int64_t g = 0; g < GROUP; ++g)
                if (g <= j && j - g < length)
                    for (int m = low; m < high; ++m) sum[g][m - low] += taps[j - g] * one[m];
        }
#pragma GCC unroll 4
        for (int64_t g = 0; g < GROUP; ++g)
            for (int m = low; m < high; ++m) AT(out + (g * maps + m) * pitch, x) = sum[g][m - low];
    }
}

static inline __attribute__((always_inline)) void NAME(product_group)(const PLAN *plan, const REAL *staged,
                                                                      Span there, int ssim, int masked,
                                                                      REAL *restrict out) {
    const Axis *depth = plan->axes;
    if (depth->box) {
        NAME(product_boxes)(staged, depth->length, there, plan->pitch, ssim, masked, out);
        return;
    }
    NAME(product_sums)(staged, plan->taps[0], depth->length, there, plan->pitch, ssim, masked, X, XX, out);
    NAME(product_sums)(staged, plan->taps[0], depth->length, there, plan->pitch, ssim, masked, XX, MASS, out);
    if (masked)
        NAME(product_sums)(staged, plan->taps[0], depth->length, there, plan->pitch, ssim, masked, MASS, MAPS,
                           out);
}

/* Row y of the absolute differences of the planes that a group of windows looks at, and of the weights, summed
 * along z. */
static void NAME(errors_row)(const PLAN *plan, const PAIR *p, REAL *staged, int64_t first, Span there, int64_t y,
                             REAL *out) {
    const Axis *a = plan->axes;
    const int64_t pitch = plan->pitch;
    const REAL *rows[LONGEST + GROUP];
    REAL *to[GROUP];
    NAME(stage)(plan, p, first, there, y, staged);
    for (int64_t j = there.low; j < there.high; ++j) {
        REAL *restrict u = staged + j * 3 * pitch;
        const REAL *restrict v = u + pitch, *restrict w = v + pitch;
        for (int64_t i = 0; i < a[2].size; ++i) u[i] = u[i] < v[i] ? v[i] - u[i] : u[i] - v[i];
        for (int64_t i = 0; p->weight && i < a[2].size; ++i) u[i] *= w[i];
    }
    for (int64_t m = 0; m < plan->maps; ++m) {
        for (int64_t j = there.low; j < there.high; ++j) rows[j] = staged + (3 * j + (m ? 2 : 0)) * pitch;
        for (int64_t g = 0; g < GROUP; ++g) to[g] = out + (g * plan->maps + m) * pitch;
        NAME(filter_group)(a, plan->taps[0], rows, there, pitch, to);
    }
}

/* Row y of the products, summed along z for the windows of a group of planes. */
static void NAME(moments_row)(const PLAN *plan, const PAIR *p, REAL *staged, int64_t first, int64_t y,
                              REAL *out) {
    const Span there = seen(plan->axes, first, (Span){0, plan->axes[0].size});
    const int ssim = is_ssim(plan->statistic), masked = p->weight != NULL;
    if (plan->statistic == ERROR) {
        NAME(errors_row)(plan, p, staged, first, there, y, out);
        return;
    }
    NAME(stage)(plan, p, first, there, y, staged);
    if (ssim && masked) NAME(product_group)(plan, staged, there, 1, 1, out);
    else if (ssim) NAME(product_group)(plan, staged, there, 1, 0, out);
    else if (masked) NAME(product_group)(plan, staged, there, 0, 1, out);
    else NAME(product_group)(plan, staged, there, 0, 0, out);
}
