/* What holds for all volumes of a call, and a thread's scratch. */

typedef struct {
    const Axis *axes; /* depth, height, width */
    REAL taps[3][LONGEST], *inverse;
    REAL scale,
        volume; /* what the axes of equal weights owe, which are summed as ones; the weight of a window */
    REAL nr, dr;
    int64_t pitch, margin; /* entries of a row, in whole vectors, and of the zeros around it */
    int border, statistic, maps, slopes; /* maps that windows sum up, and those of the gradient */
    int plain; /* values are not weighted: they enter a product first */
} PLAN;

static void NAME(plan)(PLAN *plan, const Axis *axes, int border, int statistic, int masked, double nr,
                       double dr) {
    const int64_t step = 64 / (int64_t)sizeof(REAL);
    *plan = (PLAN){.axes = axes, .nr = (REAL)nr, .dr = (REAL)dr, .border = border, .statistic = statistic};
    plan->maps = statistic == ERROR ? 1 + masked : masked ? MAPS : MASS;
    plan->slopes = statistic == ERROR ? 1 : 3;
    plan->pitch = (axes[2].size + step - 1) / step * step;
    plan->margin = (axes[2].reach + step - 1) / step * step;
    double scale = 1, volume = 1;
    for (int a = 0; a < 3; ++a) {
        double sum = 0;
        for (int64_t j = 0; j < axes[a].length; ++j) {
            sum += axes[a].window[j];
            plan->taps[a][j] = (REAL)axes[a].window[j];
        }
        volume *= sum;
        if (axes[a].box) scale *= axes[a].window[0];
    }
    for (int64_t j = 0; j < axes[2].length && !axes[2].box; ++j)
        plan->taps[2][j] = (REAL)(axes[2].window[j] * scale);
    plan->scale = (REAL)scale;
    plan->volume = (REAL)volume;
}

/* Some maps of four planes, as their rows pass through the window: summed along z they enter a ring, those
 * are summed along y into rows with a margin, and these along x. */
typedef struct {
    int64_t maps, slot; /* entries of a row of all maps of the four planes */
    REAL *ring, *padded, *sums;
} STAGE;

static int NAME(stage_alloc)(STAGE *s, const PLAN *plan, int64_t maps) {
    const size_t one = sizeof(REAL), rows = (size_t)(plan->axes[1].length + GROUP - 1);
    s->maps = maps;
    s->slot =
        GROUP * maps * plan->pitch + 64 / (int64_t)one; /* off a power of two: rows share no cache set */
    s->ring = calloc(rows * (size_t)s->slot, one);
    s->padded = calloc((size_t)(GROUP * maps * (plan->pitch + 2 * plan->margin)), one);
    s->sums = calloc((size_t)(maps * plan->pitch), one);
    return !s->ring || !s->padded || !s->sums;
}

static void NAME(stage_free)(STAGE *s) {
    free(s->ring);
    free(s->padded);
    free(s->sums);
}

typedef struct {
    STAGE moments, adjoint;
    REAL *staged;                     /* rows of the images, of the planes that a group looks at */
    REAL *slopes;                     /* ring of planes of the three gradient maps */
    int64_t plane;                    /* entries of a plane of one of these maps */
    REAL *value, *upstream, *inverse; /* rows */
} SCRATCH;

static int NAME(scratch_alloc)(SCRATCH *s, const PLAN *plan, int gradient) {
    const size_t one = sizeof(REAL), planes = (size_t)(plan->axes[0].length + GROUP - 1);
    const size_t row = (size_t)plan->pitch;
    memset(s, 0, sizeof *s);
    int failed = NAME(stage_alloc)(&s->moments, plan, plan->maps);
    s->staged = calloc(planes * 3 * row, one);
    s->value = calloc(3 * row, one);
    s->upstream = s->value + row;
    s->inverse = s->value + 2 * row;
    for (size_t i = 0; s->value && i < row; ++i)
        s->inverse[i] = 1 / plan->volume; /* of a window that misses nothing */
    if (gradient) {
        s->plane = plan->pitch * plan->axes[1].size + 64 / (int64_t)one;
        failed |= NAME(stage_alloc)(&s->adjoint, plan, plan->slopes);
        s->slopes = calloc(planes * (size_t)(plan->slopes * s->plane), one);
    }
    return failed || !s->staged || !s->value || (gradient && !s->slopes);
}

static void NAME(scratch_free)(SCRATCH *s) {
    NAME(stage_free)(&s->moments);
    NAME(stage_free)(&s->adjoint);
    free(s->staged);
    free(s->slopes);
    free(s->value);
}
