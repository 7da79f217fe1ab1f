/* What growths cost, and at which rate: rows of one number for each stencil. Included by cpu_kernel.c once per
 * precision.
 */
#ifndef MEDLOSS_JACOBIAN_PENALTIES
#define MEDLOSS_JACOBIAN_PENALTIES
/* log of a normal number above zero: the exponent of what lies nearest to it, and the area tangent of the
 * rest, which is exact where the number is near one. */
static inline float log_positive_f32(float x) {
    union { float f; uint32_t i; } bits = {.f = x};
    bits.i += 0x3f800000u - 0x3f3504f3u;
    const float exponent = (float)((int32_t)(bits.i >> 23) - 127);
    bits.i = (bits.i & 0x007fffffu) + 0x3f3504f3u;
    const float rest = bits.f - 1.0f, u = rest / (2.0f + rest), s = u * u;
    float q = 1.0f / 9.0f;
    q = q * s + 1.0f / 7.0f;
    q = q * s + 1.0f / 5.0f;
    q = q * s + 1.0f / 3.0f;
    const float value = exponent * 0.693147181f + (2.0f * u + 2.0f * u * s * q);
    return x < 3.0e38f ? value : x; /* NaN and Inf stay */
}
static inline double log_positive_f64(double x) { return log(x); }

/* Weight, mean and squared deviations of two sets as those of one. */
static void join_moments(double *total, double weight, double mean, double squares) {
    const double sum = total[0] + weight, apart = mean - total[1];
    if (weight == 0) return;
    total[2] += squares + apart * apart * total[0] / sum * weight;
    total[1] += apart * weight / sum;
    total[0] = sum;
}
#endif

/* As log, and below the floor as its tangent there. */
static inline REAL NAME(logarithm)(REAL growth, REAL floor, REAL log_floor) {
    const REAL above = growth > floor ? growth : floor;
    const REAL value = MEDLOSS_PASTE(log, positive, SUFFIX)(above);
    return growth >= floor ? value : log_floor + (growth - floor) / floor;
}

static void NAME(growths)(WORK *w, int64_t n) {
    const FIELD *f = w->f;
    MEDLOSS_BY_RANK(f->s->rank, f->s->simplices > 1, growth_rows, w->at, f->scale, n, w->pitch, w->growth)
}

static void NAME(growths_back)(WORK *w, int64_t n) {
    const FIELD *f = w->f;
    MEDLOSS_BY_RANK(f->s->rank, f->s->simplices > 1, growth_back, w->at, f->scale, n, w->pitch, w->growth,
                    w->given)
}

static void NAME(energies)(WORK *w, int64_t n) {
    const FIELD *f = w->f;
    if (f->s->rank == 1) NAME(energy_rows)(1, w->at, f->scale, f->price, f->floor, f->fall, n, w->cost);
    else if (f->s->rank == 2) NAME(energy_rows)(2, w->at, f->scale, f->price, f->floor, f->fall, n, w->cost);
    else NAME(energy_rows)(3, w->at, f->scale, f->price, f->floor, f->fall, n, w->cost);
}

static void NAME(energies_back)(WORK *w, int64_t n) {
    const FIELD *f = w->f;
    const int64_t pitch = w->pitch;
    const REAL *cost = w->cost, floor = f->floor;
    REAL *given = w->given;
    if (f->s->rank == 1) NAME(energy_back)(1, w->at, f->scale, f->price, floor, n, pitch, cost, given);
    else if (f->s->rank == 2) NAME(energy_back)(2, w->at, f->scale, f->price, floor, n, pitch, cost, given);
    else NAME(energy_back)(3, w->at, f->scale, f->price, floor, n, pitch, cost, given);
}

/* The costs of a row, from its growths. */
static void NAME(costs)(WORK *w, int64_t n) {
    const FIELD *f = w->f;
    const REAL floor = f->floor, log_floor = f->log_floor;
    REAL *restrict cost = w->cost;
    for (int64_t x = 0; x < n; ++x) cost[x] = 0;
    for (int64_t s = 0; s < f->s->simplices; ++s) {
        const REAL *restrict growth = w->growth + s * w->pitch, share = (REAL)share_of(f->s, s);
        if (f->mode == FOLDING)
            for (int64_t x = 0; x < n; ++x) cost[x] += growth[x] >= 0 ? 0 : -growth[x] * share;
        else if (f->mode == HINGE)
            for (int64_t x = 0; x < n; ++x) {
                const REAL below = growth[x] >= floor ? 0 : floor - growth[x]; /* NaN stays */
                cost[x] += share * below * below;
            }
        else if (f->mode == VOLUME)
            for (int64_t x = 0; x < n; ++x)
                cost[x] += share * (growth[x] < 1 ? 1 - growth[x] : growth[x] - 1);
        else
            for (int64_t x = 0; x < n; ++x) {
                const REAL value = NAME(logarithm)(growth[x], floor, log_floor);
                cost[x] += share * value * value;
            }
    }
}

/* Weight, mean and squared deviations of the logarithms of a row, on top of those of the rows before. */
static void NAME(add_moments)(WORK *w, const REAL *weight, int64_t n, double *total) {
    const FIELD *f = w->f;
    double mass = weight ? NAME(row_sum)(weight, n) : (double)n, mean = 0, squares = 0;
    if (mass == 0) return;
    for (int64_t s = 0; s < f->s->simplices; ++s) {
        REAL *restrict growth = w->growth + s * w->pitch;
        for (int64_t x = 0; x < n; ++x) growth[x] = NAME(logarithm)(growth[x], f->floor, f->log_floor);
        for (int64_t x = 0; x < n; ++x)
            w->cost[x] = !weight ? growth[x] : w->keep[x] ? growth[x] * weight[x] : 0;
        mean += share_of(f->s, s) * NAME(row_sum)(w->cost, n) / mass;
    }
    for (int64_t s = 0; s < f->s->simplices; ++s) {
        const REAL *growth = w->growth + s * w->pitch;
        for (int64_t x = 0; x < n; ++x) {
            const REAL apart = growth[x] - (REAL)mean;
            w->cost[x] = !weight ? apart * apart : w->keep[x] ? apart * apart * weight[x] : 0;
        }
        squares += share_of(f->s, s) * NAME(row_sum)(w->cost, n);
    }
    join_moments(total, mass, mean, squares);
}

/* What comes from above for each stencil of a row, times its weight. */
static void NAME(upstream)(const REAL *weight, const REAL *above, REAL all, int64_t n, REAL *restrict to) {
    for (int64_t x = 0; x < n; ++x) to[x] = (above ? above[x] : all) * (weight ? weight[x] : 1);
}

/* The rate of each simplex in place of its growth: the slope of the penalty, times what comes from above.
 * Without a penalty that is all there is. */
static void NAME(rates)(WORK *w, const REAL *above, int64_t inner, int64_t n, double centre) {
    const FIELD *f = w->f;
    const REAL floor = f->floor, log_floor = f->log_floor, *factor = w->cost;
    for (int64_t s = 0; s < f->s->simplices; ++s) {
        REAL *restrict rate = w->growth + s * w->pitch;
        const REAL share = (REAL)share_of(f->s, s);
        if (f->mode == DETERMINANT)
            memcpy(rate, above + s * inner, (size_t)n * sizeof(REAL));
        else if (f->mode == FOLDING)
            for (int64_t x = 0; x < n; ++x) rate[x] = rate[x] >= 0 ? 0 : -share * factor[x];
        else if (f->mode == HINGE)
            for (int64_t x = 0; x < n; ++x)
                rate[x] = rate[x] >= floor ? 0 : -2 * share * factor[x] * (floor - rate[x]);
        else if (f->mode == VOLUME)
            for (int64_t x = 0; x < n; ++x) {
                const REAL sign = rate[x] > 1 ? 1 : rate[x] < 1 ? -1 : rate[x] - 1; /* NaN stays */
                rate[x] = share * factor[x] * sign;
            }
        else
            for (int64_t x = 0; x < n; ++x) {
                const REAL value = NAME(logarithm)(rate[x], floor, log_floor);
                const REAL below = rate[x] > floor ? rate[x] : floor;
                rate[x] = share * factor[x] * (f->mode == SDLOG ? value - (REAL)centre : 2 * value) / below;
            }
    }
}

/* Whether a row of stencils passes nothing on: every rate is zero, and none is NaN. */
static int NAME(idle)(const WORK *w, int64_t n) {
    INTEGER any = 0;
    for (int64_t s = 0; s < w->f->s->simplices; ++s) {
        const REAL *rate = w->growth + s * w->pitch;
        for (int64_t x = 0; x < n; ++x) any |= !(rate[x] == 0);
    }
    return !any;
}
