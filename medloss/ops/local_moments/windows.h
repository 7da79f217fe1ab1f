/* The windows of four planes at a time: their sums are formed row by row, and handed to what is made of them.
 */

/* One volume's work: values without `slopes` wanted; else gradient maps, and from these the gradient. */
typedef struct {
    const PLAN *plan;
    const PAIR *pair;
    SCRATCH *scratch;
    Span planes;      /* of which values or gradient are wanted */
    const REAL *grad; /* upstream, or the same `all` for every window */
    REAL all;
    REAL *map;    /* of values, or NULL */
    double *sums; /* of each plane's values, or NULL */
    REAL *out;    /* the gradient */
} TASK;

/* A plane of a gradient map in the ring. */
static inline REAL *NAME(slope_plane)(const TASK *t, int64_t z, int map) {
    const int64_t planes = t->plan->axes[0].length + GROUP - 1;
    return t->scratch->slopes + (z % planes * t->plan->slopes + map) * t->scratch->plane;
}

/* Row y of the gradient maps, summed along z for the windows of a group of planes. */
static void NAME(adjoint_row)(const TASK *t, int64_t first, int64_t y, REAL *out) {
    const Axis *depth = t->plan->axes;
    const int64_t pitch = t->plan->pitch, start = first - depth->reach;
    const Span there = seen(depth, first, (Span){depth->low, depth->high});
    const REAL *rows[LONGEST + GROUP];
    REAL *to[GROUP];
    for (int m = 0; m < t->plan->slopes; ++m) {
        for (int64_t j = there.low; j < there.high; ++j) {
            rows[j] = NAME(slope_plane)(t, mirror(depth, start + j), m) + y * pitch;
            fetch(rows[j] + pitch, sizeof(REAL) * (size_t)pitch);
        }
        for (int64_t g = 0; g < GROUP; ++g) to[g] = out + (g * t->plan->slopes + m) * pitch;
        NAME(filter_group)(depth, t->plan->taps[0], rows, there, pitch, to);
    }
}

/* Under a border that windows know of: one over the mass of each of a row, and their zeros shifted as the
 * images are. */
static void NAME(border)(const TASK *t, int64_t z, int64_t y, REAL *restrict s) {
    const PLAN *plan = t->plan;
    const Axis *a = plan->axes;
    const int64_t pitch = plan->pitch;
    const double slice = a[0].inside[z] * a[1].inside[y];
    REAL *restrict inverse = t->scratch->inverse;
    if (plan->border == RENORMALISE) {
        const REAL over = (REAL)(1 / slice);
#pragma GCC ivdep
        for (int64_t i = 0; i < a[2].size; ++i) inverse[i] = over * plan->inverse[i];
        return;
    }
    if (plan->border == REFLECT || plan->statistic == ERROR) return;
    const int ssim = is_ssim(plan->statistic);
    const REAL mean_x = t->pair->mean_x, mean_y = t->pair->mean_y, mean_d = mean_x - mean_y;
    const REAL second = ssim ? mean_d : mean_y, product = ssim ? mean_d * mean_d : mean_x * mean_y;
    const int inner =
        a[0].reach <= z && z < a[0].size - a[0].reach && a[1].reach <= y && y < a[1].size - a[1].reach;
    const int64_t size = a[2].size, left = inner && 2 * a[2].reach < size ? a[2].reach : size;
    const Span parts[2] = {{0, left}, {left < size ? size - left : size, size}}; /* all of it, or both ends */
    for (int part = 0; part < 2; ++part)
#pragma GCC ivdep
        for (int64_t i = parts[part].low; i < parts[part].high; ++i) {
            const REAL beyond = plan->volume - (REAL)(slice * a[2].inside[i]);
            s[i] -= beyond * mean_x;
            s[i + Y * pitch] -= beyond * second;
            s[i + XX * pitch] += beyond * mean_x * mean_x;
            s[i + YY * pitch] += beyond * mean_y * mean_y;
            s[i + XY * pitch] += beyond * product;
        }
}

/* A sum in double, in a fixed order that vectors can take. */
static inline double NAME(total)(const REAL *restrict value, int64_t size) {
    double lane[8] = {0}, total = 0;
    int64_t i = 0;
    for (; i + 8 <= size; i += 8)
        for (int l = 0; l < 8; ++l) lane[l] += (double)value[i + l];
    for (; i < size; ++i) total += (double)value[i];
    for (int l = 0; l < 8; ++l) total += lane[l];
    return total;
}

/* The upstream gradients of row (z, y). */
static inline void NAME(upstream_row)(const TASK *t, int64_t z, int64_t y) {
    const Axis *a = t->plan->axes;
    const int64_t at = (z * a[1].size + y) * a[2].size;
    REAL *restrict to = t->scratch->upstream;
    if (t->grad)
        memcpy(to + a[2].low, t->grad + at + a[2].low, sizeof(REAL) * (size_t)(a[2].high - a[2].low));
    if (t->plan->border != REFLECT) return;
    const REAL factor = (REAL)(doubled(a, z) * doubled(a + 1, y)), ends = (REAL)doubled(a + 2, 0);
    const int64_t last = a[2].size - 1;
    for (int64_t i = 0; i <= last; ++i) to[i] = factor * (t->grad ? to[i] : t->all);
    to[0] *= ends;
    if (last) to[last] *= ends;
}

/* What is made of the window sums of row (z, y): values and, where these are wanted, gradient maps. */
static inline void NAME(statistic_row)(const TASK *t, int64_t z, int64_t y, int slopes) {
    const PLAN *plan = t->plan;
    const Axis *a = plan->axes;
    SCRATCH *s = t->scratch;
    const int64_t at = (z * a[1].size + y) * a[2].size;
    const REAL *weight = t->pair->weight ? t->pair->weight + at : NULL;
    if (!weight) NAME(border)(t, z, y, s->moments.sums);
    ROW row = {s->moments.sums, s->inverse, weight, NULL, t->map ? t->map + at : s->value, NULL, NULL, NULL};
    if (slopes) {
        NAME(upstream_row)(t, z, y);
        row.upstream = s->upstream;
        row.a = NAME(slope_plane)(t, z, 0) + y * plan->pitch;
        if (plan->slopes == 3) row.b = NAME(slope_plane)(t, z, 1) + y * plan->pitch;
        if (plan->slopes == 3) row.c = NAME(slope_plane)(t, z, 2) + y * plan->pitch;
    }
    NAME(evaluate)(plan, t->pair, &row);
    /* windows beyond the task's planes, whose slopes the gradient asks for, are another's to count */
    if (t->sums && t->planes.low <= z && z < t->planes.high)
        t->sums[z] += NAME(total)(row.value + a[2].low, a[2].high - a[2].low);
}

/* The gradient of row (z, y), from the window sums of the gradient maps. */
static inline void NAME(gradient_row)(const TASK *t, int64_t z, int64_t y) {
    const PLAN *plan = t->plan;
    const PAIR *p = t->pair;
    const int64_t size = plan->axes[2].size, at = (z * plan->axes[1].size + y) * size;
    const REAL *restrict a = t->scratch->adjoint.sums, *restrict b = a + plan->pitch,
                         *restrict c = b + plan->pitch;
    const REAL *restrict x_row = p->x + at, *restrict y_row = p->y + at, mean_x = p->mean_x,
                         mean_y = p->mean_y;
    const REAL *restrict w = p->weight ? p->weight + at : NULL;
    REAL *restrict to = t->out + at;
    if (plan->statistic == ERROR)
        for (int64_t i = 0; i < size; ++i)
            to[i] = x_row[i] > y_row[i] ? a[i] : x_row[i] < y_row[i] ? -a[i] : 0;
    else if (is_ssim(plan->statistic))
#pragma GCC ivdep
        for (int64_t i = 0; i < size; ++i) {
            const REAL u = x_row[i] - mean_x, v = y_row[i] - mean_y;
            to[i] = (u - v) * a[i] + u * b[i] - c[i];
        }
    else
#pragma GCC ivdep
        for (int64_t i = 0; i < size; ++i) {
            const REAL u = x_row[i] - mean_x, v = y_row[i] - mean_y;
            to[i] = v * a[i] + u * b[i] - c[i];
        }
    for (int64_t i = 0; w && i < size; ++i) to[i] = w[i] > 0 ? w[i] * to[i] : 0;
    if (plan->border != REFLECT) return;
    const REAL factor = 1 / (REAL)(doubled(plan->axes, z) * doubled(plan->axes + 1, y));
    const REAL ends = 1 / (REAL)doubled(plan->axes + 2, 0);
    for (int64_t i = 0; i < size; ++i) to[i] *= factor;
    to[0] *= ends;
    if (size > 1) to[size - 1] *= ends;
}

/* What lies beyond both ends of a row, mirrored. */
static inline void NAME(mirror_row)(const Axis *width, REAL *row) {
    for (int64_t i = 1; i <= width->reach; ++i) {
        row[-i] = row[i];
        row[width->size - 1 + i] = row[width->size - 1 - i];
    }
}

/* The windows of the group of planes from `first` on, of the planes in `planes`. */
static inline __attribute__((always_inline)) void NAME(windows)(const TASK *t, int64_t first, Span planes,
                                                                int made) {
    const PLAN *plan = t->plan;
    const Axis *height = plan->axes + 1, *width = plan->axes + 2;
    STAGE *s = made == GRADIENT ? &t->scratch->adjoint : &t->scratch->moments;
    const int64_t slots = height->length + GROUP - 1, pitch = plan->pitch, row = pitch + 2 * plan->margin;
    const Span all = {0, height->size}, counted = {height->low, height->high};
    const Span from = made == GRADIENT ? counted : all, to = made == GRADIENT ? all : counted;
    const REAL *rows[LONGEST + GROUP], *slot[LONGEST + GROUP];
    REAL *out[GROUP];
    const Span group = common(planes, (Span){first, first + GROUP});
    if (made == SLOPES && plan->statistic == ERROR && !t->pair->weight) { /* these ask for no window's sum */
        for (int64_t z = group.low; z < group.high; ++z)
            for (int64_t y = to.low; y < to.high; ++y) NAME(statistic_row)(t, z, y, 1);
        return;
    }
    int64_t next = common(from, (Span){to.low - height->reach, from.high}).low;
    for (int64_t y = to.low; y < to.high; y += GROUP) {
        for (; next < from.high && next < y + GROUP + height->reach; ++next) {
            REAL *sums = s->ring + next % slots * s->slot;
            if (made == GRADIENT) NAME(adjoint_row)(t, first, next, sums);
            else NAME(moments_row)(plan, t->pair, t->scratch->staged, first, next, sums);
        }
        const Span there = seen(height, y, from);
        for (int64_t j = there.low; j < there.high; ++j)
            slot[j] = s->ring + mirror(height, y - height->reach + j) % slots * s->slot;
        for (int64_t z = group.low; z < group.high; ++z) {
            for (int64_t m = 0; m < s->maps; ++m) {
                for (int64_t j = there.low; j < there.high; ++j)
                    rows[j] = slot[j] + ((z - first) * s->maps + m) * pitch;
                for (int64_t g = 0; g < GROUP; ++g)
                    out[g] = s->padded + (g * s->maps + m) * row + plan->margin;
                NAME(filter_group)(height, plan->taps[1], rows, there, pitch, out);
            }
            for (int64_t g = 0; g < GROUP && y + g < to.high; ++g) {
                for (int64_t m = 0; m < s->maps; ++m) {
                    REAL *padded = s->padded + (g * s->maps + m) * row + plan->margin;
                    if (width->mirrored) NAME(mirror_row)(width, padded);
                    NAME(filter_row)(width, plan->taps[2], plan->scale, padded - width->reach, pitch,
                                     s->sums + m * pitch);
                }
                if (made == GRADIENT) NAME(gradient_row)(t, z, y + g);
                else NAME(statistic_row)(t, z, y + g, made == SLOPES);
            }
        }
    }
}
