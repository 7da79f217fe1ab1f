/* A call: its volumes and their planes, shared out among the threads. Groups of planes start at the same
 * planes however many threads there are, and sums are added plane by plane: the result is the same. */

/* Values of a task's planes. */
static void NAME(forward_planes)(const TASK *t) {
    const Axis *depth = t->plan->axes;
    const Span planes = t->planes, counted = common(planes, (Span){depth->low, depth->high});
    for (int64_t z = planes.low; z < planes.high; z += GROUP)
        if (z + GROUP > counted.low && z < counted.high) NAME(windows)(t, z, counted, VALUES);
}

/* The gradient of a task's planes. Gradient maps are made a group at a time, and a group ends where the
 * gradient's looks no further. */
static void NAME(backward_planes)(const TASK *t) {
    const Axis *depth = t->plan->axes;
    const Span planes = t->planes;
    const int64_t low = planes.low - depth->reach > depth->low ? planes.low - depth->reach : depth->low;
    const int64_t phase = depth->reach % GROUP;
    int64_t made = low - (low - phase + GROUP) % GROUP;
    for (int64_t i = 0; i < t->plan->pitch; ++i)
        t->scratch->upstream[i] = depth[2].low <= i && i < depth[2].high && !t->grad ? t->all : 0;
    for (int64_t z = planes.low; z < planes.high; z += GROUP) {
        for (; made < z + GROUP + depth->reach && made < depth->high; made += GROUP)
            NAME(windows)(t, made, (Span){low, depth->high}, SLOPES);
        NAME(windows)(t, z, planes, GRADIENT);
    }
}

/* Weighted sums of a plane's x and y, and of its weights. */
static void NAME(plane_sums)(const REAL *restrict x, const REAL *restrict y, const REAL *restrict weight,
                             int64_t size, double *sums) {
    if (!weight) {
        sums[0] = NAME(total)(x, size);
        sums[1] = NAME(total)(y, size);
        sums[2] = (double)size;
        return;
    }
    sums[0] = sums[1] = sums[2] = 0;
    for (int64_t i = 0; i < size; ++i) {
        const double w = weight[i] > 0 ? (double)weight[i] : 0;
        sums[0] += w > 0 ? w * (double)x[i] : 0;
        sums[1] += w > 0 ? w * (double)y[i] : 0;
        sums[2] += w;
    }
}

static PAIR NAME(pair)(const REAL *x, const REAL *y, const REAL *weight, int64_t depth, const double *sums) {
    double x_sum = 0, y_sum = 0, mass = 0;
    for (int64_t z = 0; z < depth; ++z)
        x_sum += sums[3 * z], y_sum += sums[3 * z + 1], mass += sums[3 * z + 2];
    return (PAIR){x, y, weight, (REAL)(mass > 0 ? x_sum / mass : 0), (REAL)(mass > 0 ? y_sum / mass : 0)};
}

/* The images of a call, and what is wanted of them: values as a `map` or as the `sums` of each volume, the
 * gradient `out` for an upstream map `grad` or, without one, `all` for each volume. */
typedef struct {
    const REAL *x, *y, *weight;
    int64_t volumes, shared; /* volumes that have one weight */
    REAL *map;
    double *sums;
    const REAL *grad, *all;
    REAL *out;
} CALL;

/* Runs of planes that a volume is cut into: as many as keep the threads busy. */
static int64_t NAME(runs)(int64_t volumes, const Axis *depth, int threads) {
    int64_t runs = (threads + volumes - 1) / volumes, most = depth->size / (depth->length + GROUP - 1);
    return runs < most ? runs : (most > 1 ? most : 1);
}

static int NAME(sweep)(const PLAN *plan, const CALL *call, int threads) {
    const Axis *a = plan->axes;
    const int64_t depth = a[0].size, groups = (depth + GROUP - 1) / GROUP, plane = a[1].size * a[2].size;
    const int64_t runs = NAME(runs)(call->volumes, a, threads), voxels = depth * plane;
    double *planes = calloc((size_t)(call->volumes * depth) * 4, sizeof(double)), *values = planes;
    int failed = !planes;
    if (failed) return failed;
    planes += call->volumes * depth;
#pragma omp parallel num_threads(threads) reduction(| : failed)
    {
        SCRATCH scratch;
        failed |= NAME(scratch_alloc)(&scratch, plan, call->out != NULL);
#pragma omp for schedule(static)
        for (int64_t z = 0; z < call->volumes * depth; ++z) {
            if (plan->statistic == ERROR) continue; /* a difference owes nothing to the level */
            const REAL *own =
                call->weight ? call->weight + (z / depth / call->shared * depth + z % depth) * plane : NULL;
            NAME(plane_sums)(call->x + z * plane, call->y + z * plane, own, plane, planes + 3 * z);
        }
#pragma omp for collapse(2) schedule(dynamic)
        for (int64_t v = 0; v < call->volumes; ++v)
            for (int64_t run = 0; run < runs; ++run) {
                if (failed) continue;
                const int64_t at = v * voxels;
                const REAL *own = call->weight ? call->weight + v / call->shared * voxels : NULL;
                const PAIR pair = NAME(pair)(call->x + at, call->y + at, own, depth, planes + 3 * v * depth);
                Span part = {groups * run / runs * GROUP, groups * (run + 1) / runs * GROUP};
                if (part.high > depth) part.high = depth;
                TASK task = {plan,
                             &pair,
                             &scratch,
                             part,
                             call->grad ? call->grad + at : NULL,
                             call->all ? call->all[v] : 1,
                             call->map ? call->map + at : NULL,
                             call->sums ? values + v * depth : NULL,
                             call->out ? call->out + at : NULL};
                if (call->out) NAME(backward_planes)(&task);
                else NAME(forward_planes)(&task);
            }
        NAME(scratch_free)(&scratch);
    }
    for (int64_t v = 0; call->sums && v < call->volumes && !failed; ++v) {
        call->sums[v] = 0;
        for (int64_t z = 0; z < depth; ++z) call->sums[v] += values[v * depth + z];
    }
    free(values);
    return failed;
}
