/* Weighted sums of rows, four vectors at a time. Included by kernel.c once per precision.
 *
 * What is left of a row ends with a vector that overlaps the one before it; only a row shorter than a vector is taken
 * voxel by voxel.
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

INLINE void NAME(sum_of)(const REAL *weight, const REAL *const *from, const int64_t taps, int64_t x, const int count,
                         VECTOR *out) {
    for (int i = 0; i < count; ++i) out[i] = (VECTOR){0};
    for (int64_t t = 0; t < taps; ++t) {
        const REAL *at = from[t] + x, w = weight[t];
        for (int i = 0; i < count; ++i) out[i] += w * *(const VECTOR *)(at + i * NAME(LANES));
    }
}

/* `count` vectors of a row; the usual numbers of taps are compiled for their own sake. */
INLINE void NAME(sum)(const REAL *weight, const REAL *const *from, int64_t taps, int64_t x, const int count,
                      VECTOR *out) {
    switch (taps) {
    case 2: NAME(sum_of)(weight, from, 2, x, count, out); break;
    case 3: NAME(sum_of)(weight, from, 3, x, count, out); break;
    case 4: NAME(sum_of)(weight, from, 4, x, count, out); break;
    default: NAME(sum_of)(weight, from, taps, x, count, out);
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

/* Energies of `count` vectors. */
INLINE void NAME(energies)(const FIELD *f, const int absolute, const REAL *const *from, int64_t x, const int count,
                           VECTOR *energy) {
    const Stencils *s = f->s;
    for (int i = 0; i < count; ++i) energy[i] = (VECTOR){0};
    for (int64_t k = 0; k < s->terms; ++k) {
        VECTOR slope[4];
        NAME(sum)(f->weight + s->start[k], from + s->start[k], s->start[k + 1] - s->start[k], x, count, slope);
        for (int i = 0; i < count; ++i)
            energy[i] += f->factor[k] * slope[i] * (absolute ? NAME(sign)(slope[i]) : slope[i]);
    }
}

/* The energies of a row, times a weight (where there is one), into `out` (where there is one); returns their sum. */
INLINE double NAME(energy_row)(const FIELD *f, const int absolute, const REAL *const *from, const REAL *weight,
                               int64_t n, REAL *out) {
    const Stencils *s = f->s;
    VECTOR total = {0}, energy[4];
    double sum = 0;
    int64_t x = 0;
    while (x < n && n >= NAME(LANES)) {
        const int count = x + NAME(BLOCK) <= n ? 4 : 1;
        const int64_t at = least(x, n - NAME(LANES)); /* the last vector may overlap the one before it */
        if (count == 4) NAME(energies)(f, absolute, from, at, 4, energy);
        else NAME(energies)(f, absolute, from, at, 1, energy);
        for (int i = 0; i < count; ++i) {
            energy[i] *= f->scale;
            if (weight) energy[i] *= *(const VECTOR *)(weight + at + i * NAME(LANES));
            if (out) *(VECTOR *)(out + at + i * NAME(LANES)) = energy[i];
            for (int lane = 0; lane < x - at; ++lane) energy[i][lane] = 0;
            total += energy[i];
        }
        x = at + count * NAME(LANES);
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

/* What one stencil passes back along a row: its energy's slope, times what comes from above and the weight. */
INLINE void NAME(slope_row)(const FIELD *f, int64_t k, const int absolute, const REAL *const *from, const REAL *weight,
                            const REAL *grad, REAL all, int64_t n, REAL *out) {
    const int64_t start = f->s->start[k], taps = f->s->start[k + 1] - start;
    const REAL factor = (absolute ? 1 : 2) * f->factor[k] * f->scale;
    VECTOR slope[4];
    int64_t x = 0;
    while (x < n && n >= NAME(LANES)) {
        const int count = x + NAME(BLOCK) <= n ? 4 : 1;
        const int64_t at = least(x, n - NAME(LANES));
        if (count == 4) NAME(sum)(f->weight + start, from + start, taps, at, 4, slope);
        else NAME(sum)(f->weight + start, from + start, taps, at, 1, slope);
        for (int i = 0; i < count; ++i) {
            const int64_t to = at + i * NAME(LANES);
            VECTOR each = (absolute ? NAME(sign)(slope[i]) : slope[i]) * factor;
            if (grad) each *= *(const VECTOR *)(grad + to);
            else each *= all;
            if (weight) each *= *(const VECTOR *)(weight + to);
            *(VECTOR *)(out + to) = each;
        }
        x = at + count * NAME(LANES);
    }
    for (; x < n; ++x) {
        REAL each = NAME(sum_one)(f->weight + start, from + start, taps, x);
        if (absolute) each = each == each ? (REAL)((each > 0) - (each < 0)) : each;
        out[x] = each * factor * (grad ? grad[x] : all) * (weight ? weight[x] : 1);
    }
}

/* A row of the adjoint. */
static void NAME(sum_row)(const REAL *weight, const REAL *const *from, int64_t taps, int64_t n, REAL *out) {
    VECTOR total[4];
    int64_t x = 0;
    while (x < n && n >= NAME(LANES)) {
        const int count = x + NAME(BLOCK) <= n ? 4 : 1;
        const int64_t at = least(x, n - NAME(LANES));
        if (count == 4) NAME(sum)(weight, from, taps, at, 4, total);
        else NAME(sum)(weight, from, taps, at, 1, total);
        for (int i = 0; i < count; ++i) *(VECTOR *)(out + at + i * NAME(LANES)) = total[i];
        x = at + count * NAME(LANES);
    }
    for (; x < n; ++x) out[x] = NAME(sum_one)(weight, from, taps, x);
}

#undef VECTOR
#undef WHOLE
