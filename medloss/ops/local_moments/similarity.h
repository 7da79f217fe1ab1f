/* What a window's sums say, and the three maps its gradient is made of.
 *
 * A window whose variance is no more than the rounding of its sums is constant. `value` is the statistic
 * times the weight; with `upstream` the maps a, b, c are those of the gradient y K*a + x K*b - K*c. */

typedef struct {
    const REAL *sums;     /* a row of each map, at a pitch */
    const REAL *inverse;  /* one over the mass of each window; not where there are weights */
    const REAL *weight;   /* of each voxel, or NULL */
    const REAL *upstream; /* or NULL */
    REAL *value, *a, *b, *c;
} ROW;

/* The squared correlation, or the correlation itself. */
static inline __attribute__((always_inline)) void NAME(correlate)(const PLAN *plan, const PAIR *p,
                                                                  const ROW *row, int masked, int gradient,
                                                                  int root) {
    const int64_t pitch = plan->pitch;
    const REAL *restrict sx = row->sums, *restrict sy = sx + Y * pitch, *restrict sxx = sx + XX * pitch;
    const REAL *restrict syy = sx + YY * pitch, *restrict sxy = sx + XY * pitch,
                         *restrict mass = sx + MASS * pitch;
    const REAL *restrict inverse = row->inverse, *restrict weight = row->weight,
                         *restrict upstream = row->upstream;
    REAL *restrict value = row->value, *restrict to_a = row->a, *restrict to_b = row->b,
                   *restrict to_c = row->c;
    const REAL flat = ROUNDING * EPSILON, nr = plan->nr, dr = plan->dr;
    (void)p;
#pragma GCC ivdep
    for (int64_t i = 0; i < plan->axes[2].size; ++i) {
        const REAL over_mass = masked ? 1 / (mass[i] > 0 ? mass[i] : 1) : inverse[i];
        const REAL mean_x = sx[i] * over_mass, mean_y = sy[i] * over_mass;
        const REAL found_x = sxx[i] - sx[i] * mean_x, found_y = syy[i] - sy[i] * mean_y;
        const REAL limit_x = flat * sxx[i], limit_y = flat * syy[i];
        const REAL var_x = found_x <= limit_x ? 0 : found_x, var_y = found_y <= limit_y ? 0 : found_y;
        REAL cross = sxy[i] - sx[i] * mean_y;
        cross = found_x <= limit_x ? 0 : cross;
        cross = found_y <= limit_y ? 0 : cross;
        const REAL b = var_x < dr ? dr : var_x, c = var_y < dr ? dr : var_y;
        const REAL over = root ? ROOT(1 / (b * c)) : 1 / (b * c), w = masked ? weight[i] : 1;
        const REAL result = root ? cross * over : (cross * cross + nr) * over;
        value[i] = result * w;
        if (gradient) {
            const REAL g = upstream[i] * w;
            REAL slope = root ? g * over : 2 * g * cross * over, curve = (root ? -g : -2 * g) * result / b;
            slope = found_x <= limit_x ? 0 : slope;
            slope = found_y <= limit_y ? 0 : slope;
            curve = found_x <= limit_x ? 0 : curve;
            curve = var_x < dr ? 0 : curve;
            to_a[i] = slope;
            to_b[i] = curve;
            to_c[i] = slope * mean_y + curve * mean_x;
        }
    }
}

/* One minus SSIM, with its luminance or without; its constants c1 and c2 lie in nr and dr. */
static inline __attribute__((always_inline)) void
NAME(dissimilate)(const PLAN *plan, const PAIR *p, const ROW *row, int masked, int gradient, int lit) {
    const int64_t pitch = plan->pitch;
    const REAL *restrict sum_x = row->sums, *restrict sum_d = sum_x + Y * pitch,
                         *restrict sxx = sum_x + XX * pitch;
    const REAL *restrict syy = sum_x + YY * pitch, *restrict sdd = sum_x + XY * pitch;
    const REAL *restrict mass = sum_x + MASS * pitch;
    const REAL *restrict inverse = row->inverse, *restrict weight = row->weight,
                         *restrict upstream = row->upstream;
    REAL *restrict value = row->value, *restrict to_a = row->a, *restrict to_b = row->b,
                   *restrict to_c = row->c;
    const REAL flat = ROUNDING * EPSILON, c1 = plan->nr, c2 = plan->dr;
    const int plain = plan->plain;
    const REAL level_x = p->mean_x, level_d = p->mean_x - p->mean_y;
#pragma GCC ivdep
    for (int64_t i = 0; i < plan->axes[2].size; ++i) {
        const REAL over = masked ? 1 / (mass[i] > 0 ? mass[i] : 1) : inverse[i];
        const REAL sx = sum_x[i], sd = sum_d[i], sy = sx - sd, xx = sxx[i], yy = syy[i], dd = sdd[i];
        const REAL found_x = xx - sx * sx * over, found_y = yy - sy * sy * over,
                   found_d = dd - sd * sd * over;
        const REAL var_x = found_x <= flat * xx ? 0 : found_x * over,
                   var_d = found_d <= flat * dd ? 0 : found_d * over;
        const REAL var_y = found_y <= flat * yy ? 0 : found_y * over;
        const REAL spread = var_x + var_y + c2, part = 1 / (spread != 0 ? spread : 1);
        const REAL structure = spread != 0 ? var_d * part : 0;
        const REAL mean_x = sx * over + level_x, mean_d = sd * over + level_d, mean_y = mean_x - mean_d;
        const REAL energy = mean_x * mean_x + mean_y * mean_y + c1, share = 1 / (energy != 0 ? energy : 1);
        const REAL luminance = lit && energy != 0 ? mean_d * mean_d * share : 0;
        const REAL result = structure + luminance - structure * luminance;
        const REAL w = masked && !plain ? weight[i] : 1;
        REAL held = result < 0 ? 0 : result;
        held = held > 2 ? 2 : held;
        value[i] = w * held;
        if (gradient) {
            REAL g = upstream[i] * w * over * 2;
            g = result != held && result == result ? 0 : g;
            REAL a = g * (1 - luminance) * part, b = -a * structure;
            a = found_d <= flat * dd ? 0 : a;
            a = spread != 0 ? a : 0;
            b = found_x <= flat * xx ? 0 : b;
            b = spread != 0 ? b : 0;
            REAL m = g * (1 - structure) * (mean_d - luminance * mean_x) * share;
            m = lit && energy != 0 ? m : 0;
            to_a[i] = a;
            to_b[i] = b;
            to_c[i] = a * sd * over + b * sx * over - m;
        }
    }
}

/* The mean absolute difference. */
static void NAME(mean_errors)(const PLAN *plan, const ROW *row) {
    const REAL *restrict sum = row->sums, *restrict mass = sum + ERROR_MASS * plan->pitch;
    const REAL *restrict inverse = row->inverse, *restrict weight = row->weight, *restrict upstream = row->upstream;
    REAL *restrict value = row->value, *restrict slope = row->a;
    for (int64_t i = 0; i < plan->axes[2].size; ++i) {
        const REAL over = weight ? weight[i] / (mass[i] > 0 ? mass[i] : 1) : inverse[i];
        value[i] = sum[i] * over;
        if (upstream) slope[i] = upstream[i] * over;
    }
}

static void NAME(evaluate)(const PLAN *plan, const PAIR *p, const ROW *row) {
    const int masked = row->weight != NULL, gradient = row->upstream != NULL;
    if (plan->statistic == ERROR) {
        NAME(mean_errors)(plan, row);
    } else if (plan->statistic == SIGNED) {
        if (masked && gradient) NAME(correlate)(plan, p, row, 1, 1, 1);
        else if (masked) NAME(correlate)(plan, p, row, 1, 0, 1);
        else if (gradient) NAME(correlate)(plan, p, row, 0, 1, 1);
        else NAME(correlate)(plan, p, row, 0, 0, 1);
    } else if (plan->statistic == SSIM) {
        if (masked && gradient) NAME(dissimilate)(plan, p, row, 1, 1, 1);
        else if (masked) NAME(dissimilate)(plan, p, row, 1, 0, 1);
        else if (gradient) NAME(dissimilate)(plan, p, row, 0, 1, 1);
        else NAME(dissimilate)(plan, p, row, 0, 0, 1);
    } else if (plan->statistic == STRUCTURE) {
        if (masked && gradient) NAME(dissimilate)(plan, p, row, 1, 1, 0);
        else if (masked) NAME(dissimilate)(plan, p, row, 1, 0, 0);
        else if (gradient) NAME(dissimilate)(plan, p, row, 0, 1, 0);
        else NAME(dissimilate)(plan, p, row, 0, 0, 0);
    } else {
        if (masked && gradient) NAME(correlate)(plan, p, row, 1, 1, 0);
        else if (masked) NAME(correlate)(plan, p, row, 1, 0, 0);
        else if (gradient) NAME(correlate)(plan, p, row, 0, 1, 0);
        else NAME(correlate)(plan, p, row, 0, 0, 0);
    }
}
