/* The sweeps of the tiles that count, collect and, from the steps, write the gradient; and when they serve. */
enum { COUNTS, COLLECT, STEPS };
enum { UNFIT = 2 }; /* too many voxels would have to be collected: a plain sort is cheaper */

/* Whether bins can tell: errors in [0, 1], hard labels, all of one weight, and enough voxels for the tables to pay. */
static int is_binned(const WORK *work, int64_t b, int threads) {
    const VOLUME *v = &work->v;
    const int64_t voxels = work->group * v->voxels;
    int uneven = 0;
    if (!work->unit || v->kind < 0 || voxels < LEAST_BINNED || voxels > INT32_MAX) return 0;
    const float *mask = v->mask ? v->mask + b * v->voxels : NULL;
#pragma omp parallel for num_threads(threads) schedule(static) reduction(| : uneven)
    for (int64_t i = 0; i < (mask ? voxels : 0); ++i) uneven |= mask[i] > 0 && mask[i] != 1;
    return !uneven;
}

static int binned_alloc(BINNED *g, int64_t classes) {
    memset(g, 0, sizeof *g);
    g->counts = calloc((size_t)(classes * SLOTS), sizeof *g->counts);
    g->sums = calloc((size_t)(classes * SLOTS), sizeof *g->sums);
    g->largest = calloc((size_t)classes, sizeof *g->largest);
    return !g->counts || !g->sums || !g->largest;
}

/* A tile's voxels of coarse bins, behind what this part of the volume has collected. */
static void collect_tile(const WORK *work, const TILE *t, const BINNED *g, int64_t place, COUNTER *k, RANKED *ranked,
                         int64_t *fill) {
    for (int64_t c = work->first; c < work->v.classes; ++c) {
        const uint8_t *coarse = g->coarse + c * BINS;
        if (g->starts[c] == g->starts[c + 1]) continue;
        prepare_row(t, c, k);
        for (int64_t i = 0; i < t->n; ++i)
            if (coarse[k->slot[i] >> 1] && (!t->weighted || t->weight[i] > 0))
                ranked[g->starts[c] + fill[c]++] =
                    (RANKED){(uint32_t)(place + i), key_of_error(k->error[i], k->slot[i])};
    }
}

/* One sweep over the samples from `b` on, in as many parts as there are threads, each a run of whole blocks. */
static int binned_sweep(const WORK *work, int64_t b, int what, BINNED *g, int64_t *fill, const double *grad, void *out,
                        int threads) {
    const VOLUME *v = &work->v;
    const int64_t size = tile_size(v->classes, sizeof(float)), blocks = (v->voxels + BLOCK - 1) / BLOCK;
    const int64_t all = work->group * blocks, total = g->starts ? g->starts[v->classes] : 0;
    int failed = 0;
#pragma omp parallel num_threads(threads) reduction(| : failed)
    {
        TILE tile;
        COUNTER k;
        failed |= NAME(tile_alloc)(&tile, v, size);
        failed |= counter_alloc(&k, v->classes, size, what == COUNTS);
        float *spare = malloc(sizeof(float) * (size_t)((v->classes + 2) * tile.step));
        failed |= !spare;
#pragma omp for schedule(static, 1)
        for (int part = 0; part < threads; ++part)
            for (int64_t at = all * part / threads, last = all * (part + 1) / threads; at < last && !failed; ++at) {
                const int64_t from = at % blocks * BLOCK;
                const int64_t end = from + BLOCK < v->voxels ? from + BLOCK : v->voxels;
                for (int64_t start = from; start < end; start += size) {
                    const int64_t place = at / blocks * v->voxels + start;
                    NAME(load_tile)(v, &tile, b + at / blocks, start, end - start < size ? end - start : size);
                    for (int64_t c = work->first; what == COUNTS && c < v->classes; ++c) {
                        prepare_row(&tile, c, &k);
                        count_tile(&k, c, tile.weighted ? tile.weight : NULL, tile.n);
                    }
                    if (what == COLLECT)
                        collect_tile(work, &tile, g, place, &k, g->ranked + part * total, fill + part * v->classes);
                    if (what == STEPS)
                        write_gradient(work, &tile, NULL, g, &k, grad, spare, spare + tile.step, out);
                }
                if (what == COUNTS && (at + 1 == last || (at + 1) % BLOCKS_PER_FLUSH == 0))
#pragma omp critical
                    flush(&k, v->classes, g);
            }
        free(spare);
        counter_free(&k);
        NAME(tile_free)(&tile);
    }
    return failed;
}

static int binned_forward(const WORK *work, int64_t b, double *sums, int threads) {
    BINNED g;
    const int failed =
        binned_alloc(&g, work->v.classes) || binned_sweep(work, b, COUNTS, &g, NULL, NULL, NULL, threads);
    if (!failed) {
#pragma omp parallel for num_threads(threads) schedule(static, 1)
        for (int64_t c = work->first; c < work->v.classes; ++c) binned_value(&g, c, sums + 3 * (c - work->first));
    }
    binned_free(&g);
    return failed;
}

/* Exact steps where lines do not do: UNFIT where that would be of most voxels. */
static int rank_coarse(const WORK *work, int64_t b, BINNED *g, int threads) {
    const int64_t classes = work->v.classes, total = g->starts[classes];
    int failed = 0;
    if (total > work->group * work->v.voxels * classes / 16 + BLOCK) return UNFIT;
    if (!total) return 0;
    int64_t *fill = calloc((size_t)(threads * classes), sizeof *fill);
    g->ranked = malloc(sizeof *g->ranked * (size_t)(total * threads));
    if (!fill || !g->ranked || binned_sweep(work, b, COLLECT, g, fill, NULL, NULL, threads)) {
        free(fill);
        return 1;
    }
    for (int64_t c = work->first; c < classes; ++c)
        for (int part = 1; part < threads; ++part) {
            RANKED *to = g->ranked + g->starts[c] + fill[c];
            memcpy(to, g->ranked + part * total + g->starts[c], sizeof *to * (size_t)fill[part * classes + c]);
            fill[c] += fill[part * classes + c];
        }
    free(fill);
    RANKED *fewer = realloc(g->ranked, sizeof *g->ranked * (size_t)total);
    g->ranked = fewer ? fewer : g->ranked;
#pragma omp parallel for num_threads(threads) schedule(static, 1) reduction(| : failed)
    for (int64_t c = work->first; c < classes; ++c) failed |= rank_collected(g, c);
    return failed;
}

static int binned_backward(const WORK *work, int64_t b, const double *grad, void *out, int threads) {
    BINNED g;
    const int64_t classes = work->v.classes;
    int failed = binned_alloc(&g, classes) || binned_sweep(work, b, COUNTS, &g, NULL, NULL, NULL, threads);
    g.lines = calloc((size_t)(classes * SLOTS), sizeof *g.lines);
    g.coarse = calloc((size_t)(classes * BINS), sizeof *g.coarse);
    g.starts = calloc((size_t)classes + 1, sizeof *g.starts);
    failed |= !g.lines || !g.coarse || !g.starts;
    if (!failed) {
#pragma omp parallel for num_threads(threads) schedule(static, 1)
        for (int64_t c = work->first; c < classes; ++c)
            g.starts[c + 1] = grad[3 * (c - work->first)] != 0 ? fit_class(&g, c) : 0;
        for (int64_t c = 0; c < classes; ++c) g.starts[c + 1] += g.starts[c];
        failed = rank_coarse(work, b, &g, threads);
    }
    free(g.counts);
    free(g.sums);
    g.counts = NULL;
    g.sums = NULL;
    if (!failed) failed = binned_sweep(work, b, STEPS, &g, NULL, grad, out, threads);
    binned_free(&g);
    return failed;
}
