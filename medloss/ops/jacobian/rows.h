/* Rows of stencils: where their points lie, what they weigh, and how the points are given what is theirs.
 * Included by cpu_kernel.c once per precision.
 */
typedef struct {
    const REAL *u, *mask;
    const Scheme *s;
    int64_t mode, size[3], inner[3]; /* voxels, and stencils: depth, height, width */
    REAL scale[9], floor, log_floor, price[3], fall;
} FIELD;

/* Of one thread: rows of `pitch` entries. */
typedef struct {
    const FIELD *f;
    int64_t pitch;
    REAL *copies, *weight, *seen, *cost, *growth, *given;
    INTEGER *keep;             /* all bits of a stencil that counts */
    const REAL *at[MOST_ENDS]; /* component c of point p at p rank + c */
} WORK;

static int NAME(work_alloc)(WORK *w, const FIELD *f, int backward) {
    const int64_t ends = f->s->points * f->s->rank, pitch = f->size[2] + NAME(LANES);
    const int64_t rows = ends * (1 + backward) + 3 + f->s->simplices;
    *w = (WORK){.f = f, .pitch = pitch};
    w->copies = calloc((size_t)(rows * pitch), sizeof(REAL));
    w->keep = calloc((size_t)pitch, sizeof(INTEGER));
    if (!w->copies || !w->keep) return 1;
    w->weight = w->copies + ends * pitch;
    w->seen = w->weight + pitch;
    w->cost = w->seen + pitch;
    w->growth = w->cost + pitch;
    w->given = w->growth + f->s->simplices * pitch;
    return 0;
}

static void NAME(work_free)(WORK *w) {
    free(w->copies);
    free(w->keep);
}

/* A plane or row of the volume, some steps from a stencil's centre. */
static inline int64_t NAME(moved)(const FIELD *f, int axis, int64_t stencil, int64_t step) {
    if (!f->s->replicate) return stencil + f->s->before[axis] + step;
    return most(0, least(stencil + step, f->size[axis] - 1));
}

/* Voxels of a volume some steps from the centres of a row of stencils: where they lie, or a copy that is
 * continued beyond the border and has room behind. */
static const REAL *NAME(row_at)(const FIELD *f, const REAL *volume, int64_t z, int64_t y, const int64_t *step,
                                REAL *copy) {
    const int64_t n = f->inner[2], width = f->size[2];
    const int64_t plane = NAME(moved)(f, 0, z, step[0]);
    const REAL *row = volume + (plane * f->size[1] + NAME(moved)(f, 1, y, step[1])) * width;
    const int64_t shift = step[2] + (f->s->replicate ? 0 : f->s->before[2]);
    if (!f->s->replicate && n >= NAME(LANES)) return row + shift;
    const int64_t first = least(n, most(0, -shift)), last = most(first, least(n, width - shift));
    for (int64_t x = 0; x < first; ++x) copy[x] = row[0];
    memcpy(copy + first, row + first + shift, (size_t)(last - first) * sizeof(REAL));
    for (int64_t x = last; x < n; ++x) copy[x] = row[width - 1];
    return copy;
}

static void NAME(point_rows)(WORK *w, int64_t z, int64_t y) {
    const FIELD *f = w->f;
    const int64_t voxels = f->size[0] * f->size[1] * f->size[2], rank = f->s->rank;
    for (int64_t p = 0; p < f->s->points; ++p)
        for (int64_t c = 0; c < rank; ++c) {
            const int64_t end = p * rank + c;
            w->at[end] = NAME(row_at)(f, f->u + c * voxels, z, y, f->s->offset + 3 * p,
                                      w->copies + end * w->pitch);
        }
}

/* The weights of a row of stencils: each one's centre's, and zero where the mask is zero in its box. */
static const REAL *NAME(row_weight)(WORK *w, int64_t z, int64_t y) {
    const FIELD *f = w->f;
    const Scheme *s = f->s;
    const int64_t n = f->inner[2], centre[3] = {0};
    INTEGER *keep = w->keep;
    if (!f->mask) return NULL;
    for (int64_t x = 0; x < n; ++x) keep[x] = -1;
    int64_t step[3];
    for (step[0] = -s->before[0]; step[0] <= s->behind[0]; ++step[0])
        for (step[1] = -s->before[1]; step[1] <= s->behind[1]; ++step[1])
            for (step[2] = -s->before[2]; step[2] <= s->behind[2]; ++step[2]) {
                const REAL *seen = NAME(row_at)(f, f->mask, z, y, step, w->seen);
                for (int64_t x = 0; x < n; ++x) keep[x] = seen[x] > 0 ? keep[x] : 0;
            }
    const REAL *seen = NAME(row_at)(f, f->mask, z, y, centre, w->seen);
    for (int64_t x = 0; x < n; ++x) w->weight[x] = keep[x] ? seen[x] : 0;
    return w->weight;
}

/* By itself, since within a larger function the compiler keeps its pointers in memory. */
static __attribute__((noinline)) void NAME(add_row)(REAL *restrict to, const REAL *restrict from, int64_t n) {
    for (int64_t x = 0; x < n; ++x) to[x] += from[x];
}

/* Adds what a row of stencils gives to its points, where these lie in planes low to high. What lies beyond
 * the border comes on top of the border's, which it repeats. */
static void NAME(give_points)(WORK *w, int64_t z, int64_t y, int64_t low, int64_t high, int masked,
                              REAL *out) {
    const FIELD *f = w->f;
    const Scheme *s = f->s;
    const int64_t n = f->inner[2], width = f->size[2];
    for (int64_t p = 0; p < s->points; ++p) {
        const int64_t *step = s->offset + 3 * p, plane = NAME(moved)(f, 0, z, step[0]);
        const int64_t shift = step[2] + (s->replicate ? 0 : s->before[2]);
        const int64_t first = least(n, most(0, -shift)), last = most(first, least(n, width - shift));
        if (plane < low || plane >= high) continue;
        for (int64_t c = 0; c < s->rank; ++c) {
            REAL *given = w->given + (p * s->rank + c) * w->pitch;
            REAL *to = out + ((c * f->size[0] + plane) * f->size[1] + NAME(moved)(f, 1, y, step[1])) * width;
            if (masked)
                for (int64_t x = 0; x < n; ++x) given[x] = w->keep[x] ? given[x] : 0;
            for (int64_t x = 0; x < first; ++x) to[0] += given[x];
            NAME(add_row)(to + first + shift, given + first, last - first);
            for (int64_t x = last; x < n; ++x) to[width - 1] += given[x];
        }
    }
}

/* A sum in double, in eight parts. */
static double NAME(row_sum)(const REAL *row, int64_t n) {
    double part[8] = {0}, total = 0;
    int64_t x = 0;
    for (; x + 8 <= n; x += 8)
        for (int i = 0; i < 8; ++i) part[i] += (double)row[x + i];
    for (; x < n; ++x) total += (double)row[x];
    for (int i = 0; i < 8; ++i) total += part[i];
    return total;
}
