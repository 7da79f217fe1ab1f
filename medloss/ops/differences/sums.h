/* Weighted sums of rows, four vectors at a time. Included by cpu_kernel.c once per precision.
 *
 * The last block of a row overlaps the one before it. A row shorter than a block is taken by single
 * vectors, one shorter than these voxel by voxel.
 */
#define VECTOR NAME(Vector)
#define WHOLE NAME(Whole)

/* 32 bytes that may lie anywhere, and as many as integers of their size, for masks. */
typedef REAL VECTOR __attribute__((vector_size(32), aligned(sizeof(REAL)), may_alias));
typedef INTEGER WHOLE __attribute__((vector_size(32), aligned(sizeof(REAL)), may_alias));
enum { NAME(LANES) = 32 / sizeof(REAL), NAME(BLOCK) = 4 * NAME(LANES) };

/* The volume (or the components that an energy joins) that is differentiated. */
typedef struct {
    const REAL *u, *mask;
    int64_t size[3], pad[3], frame[3], inner[3]; /* depth, height, width; frame = size + what is replicated */
    const Stencils *s;
    const REAL *weight, *factor; /* of the taps; of the terms' energies */
    REAL scale;                  /* of all of them */
} FIELD;

#define INLINE static inline __attribute__((always_inline))

INLINE void NAME(sum)(const REAL *weight, const REAL *const *from, const int64_t taps, int64_t x, const int count,
                      VECTOR *out) {
    for (int i = 0; i < count; ++i) out[i] = (VECTOR){0};
    for (int64_t t = 0; t < taps; ++t) {
        const REAL *at = from[t] + x, w = weight[t];
        for (int i = 0; i < count; ++i) out[i] += w * *(const VECTOR *)(at + i * NAME(LANES));
    }
}

static inline REAL NAME(sum_one)(const REAL *weight, const REAL *const *from, int64_t taps, int64_t x) {
    REAL total = 0;
    for (int64_t t = 0; t < taps; ++t) total += weight[t] * from[t][x];
    return total;
}

/* The sign; NaN stays. */
INLINE VECTOR NAME(sign)(VECTOR x) {
    const VECTOR one = (VECTOR){0} + 1;
    const VECTOR up = (VECTOR)((WHOLE)one & (x > 0)), down = (VECTOR)((WHOLE)one & (x < 0));
    return (VECTOR)((WHOLE)(up - down) | (x != x));
}

/* The usual numbers of taps are compiled for their own sake. */
#define MEDLOSS_BY_TAPS(taps, function, ...)         \
    switch (taps) {                                  \
    case 2: NAME(function)(2, __VA_ARGS__); break;   \
    case 3: NAME(function)(3, __VA_ARGS__); break;   \
    case 4: NAME(function)(4, __VA_ARGS__); break;   \
    default: NAME(function)(taps, __VA_ARGS__);      \
    }

/* One term's energies on top of `count` vectors of them. */
INLINE void NAME(add_term)(const int64_t taps, const FIELD *f, int64_t k, const int absolute, const REAL *const *from,
                           int64_t x, const int count, VECTOR *energy) {
    const int64_t start = f->s->start[k];
    const REAL factor = f->factor[k];
    VECTOR slope[4];
    NAME(sum)(f->weight + start, from + start, taps, x, count, slope);
    for (int i = 0; i < count; ++i)
        energy[i] += factor * slope[i] * (absolute ? NAME(sign)(slope[i]) : slope[i]);
}

/* `count` vectors of a row's energies, whose sum begins with lane `fresh`. */
INLINE VECTOR NAME(energy_block)(const FIELD *f, const int absolute, const REAL *const *from, const REAL *weight,
                                 int64_t x, const int count, const int64_t fresh, REAL *out) {
    VECTOR energy[4], total = {0};
    for (int i = 0; i < count; ++i) energy[i] = (VECTOR){0};
    for (int64_t k = 0; k < f->s->terms; ++k) {
        const int64_t taps = f->s->start[k + 1] - f->s->start[k];
        MEDLOSS_BY_TAPS(taps, add_term, f, k, absolute, from, x, count, energy)
    }
    for (int i = 0; i < count; ++i) {
        const int64_t to = x + i * NAME(LANES);
        energy[i] *= f->scale;
        if (weight) energy[i] *= *(const VECTOR *)(weight + to);
        if (out) *(VECTOR *)(out + to) = energy[i];
        for (int64_t lane = 0; lane < least(fresh - i * NAME(LANES), NAME(LANES)); ++lane) energy[i][lane] = 0;
        total += energy[i];
    }
    return total;
}

/* The energies of a row, times a weight (where there is one), into `out` (where there is one); returns
 * their sum. */
INLINE double NAME(energy_row)(const FIELD *f, const int absolute, const REAL *const *from, const REAL *weight,
                               int64_t n, REAL *out) {
    const Stencils *s = f->s;
    VECTOR total = {0};
    double sum = 0;
    int64_t x = 0;
    for (; x + NAME(BLOCK) <= n; x += NAME(BLOCK))
        total += NAME(energy_block)(f, absolute, from, weight, x, 4, 0, out);
    if (x && x < n) {
        const int64_t at = n - NAME(BLOCK);
        total += NAME(energy_block)(f, absolute, from, weight, at, 4, x - at, out);
        x = n;
    }
    for (; x < n && n >= NAME(LANES); x += NAME(LANES)) {
        const int64_t at = least(x, n - NAME(LANES));
        total += NAME(energy_block)(f, absolute, from, weight, at, 1, x - at, out);
    }
    for (; x < n; ++x) {
        REAL each = 0;
        for (int64_t k = 0; k < s->terms; ++k) {
            const int64_t taps = s->start[k + 1] - s->start[k];
            const REAL slope = NAME(sum_one)(f->weight + s->start[k], from + s->start[k], taps, x);
            each += f->factor[k] * (absolute ? (REAL)fabs((double)slope) : slope * slope);
        }
        each *= f->scale * (weight ? weight[x] : 1);
        if (out) out[x] = each;
        sum += (double)each;
    }
    for (int i = 0; i < NAME(LANES); ++i) sum += (double)total[i];
    return sum;
}

/* How a term passes a row back: the slope of its energy, times what comes from above and the weight. */
typedef struct {
    int64_t start;
    REAL factor;
    const REAL *weight, *grad; /* of each stencil, or none */
} NAME(Back);

INLINE void NAME(slope_block)(const int64_t taps, const FIELD *f, const NAME(Back) * b, const int absolute,
                              const REAL *const *from, int64_t x, const int count, REAL *out) {
    VECTOR slope[4];
    NAME(sum)(f->weight + b->start, from + b->start, taps, x, count, slope);
    for (int i = 0; i < count; ++i) {
        const int64_t to = x + i * NAME(LANES);
        VECTOR each = (absolute ? NAME(sign)(slope[i]) : slope[i]) * b->factor;
        if (b->grad) each *= *(const VECTOR *)(b->grad + to);
        if (b->weight) each *= *(const VECTOR *)(b->weight + to);
        *(VECTOR *)(out + to) = each;
    }
}

INLINE void NAME(slope_row)(const int64_t taps, const FIELD *f, const NAME(Back) * b, const int absolute,
                            const REAL *const *from, int64_t n, REAL *out) {
    int64_t x = 0;
    for (; x < n && n >= NAME(BLOCK); x += NAME(BLOCK))
        NAME(slope_block)(taps, f, b, absolute, from, least(x, n - NAME(BLOCK)), 4, out);
    for (; x < n && n >= NAME(LANES); x += NAME(LANES))
        NAME(slope_block)(taps, f, b, absolute, from, least(x, n - NAME(LANES)), 1, out);
    for (; x < n; ++x) {
        REAL each = NAME(sum_one)(f->weight + b->start, from + b->start, taps, x);
        if (absolute) each = each == each ? (REAL)((each > 0) - (each < 0)) : each;
        out[x] = each * b->factor * (b->grad ? b->grad[x] : 1) * (b->weight ? b->weight[x] : 1);
    }
}

INLINE void NAME(sum_block)(const REAL *weight, const REAL *const *from, int64_t taps, int64_t x, const int count,
                            REAL *out) {
    VECTOR total[4];
    NAME(sum)(weight, from, taps, x, count, total);
    for (int i = 0; i < count; ++i) *(VECTOR *)(out + x + i * NAME(LANES)) = total[i];
}

/* A row of the adjoint. */
static void NAME(sum_row)(const REAL *weight, const REAL *const *from, int64_t taps, int64_t n, REAL *out) {
    int64_t x = 0;
    for (; x < n && n >= NAME(BLOCK); x += NAME(BLOCK))
        NAME(sum_block)(weight, from, taps, least(x, n - NAME(BLOCK)), 4, out);
    for (; x < n && n >= NAME(LANES); x += NAME(LANES))
        NAME(sum_block)(weight, from, taps, least(x, n - NAME(LANES)), 1, out);
    for (; x < n; ++x) out[x] = NAME(sum_one)(weight, from, taps, x);
}

#undef VECTOR
#undef WHOLE
