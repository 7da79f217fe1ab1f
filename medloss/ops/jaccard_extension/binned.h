/* The sweeps that count, collect and, from the steps, write the gradient; and when they serve. A block of voxels has
 * its probabilities of all classes in a near cache, filled tile by tile; then one class after the other meets its
 * table. */
enum { COUNTS, COLLECT, STEPS };
enum { UNFIT = 2 }; /* too many voxels would have to be collected: a plain sort is cheaper */
enum { BLOCK_BYTES = 1 << 18, LEAST_BLOCK = 256 };

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

/* Voxels that are worked on class by class. */
static int64_t span_of(int64_t classes, int rows) {
    int64_t span = BLOCK;
    while (span > LEAST_BLOCK && span * classes * rows * (int64_t)sizeof(float) > BLOCK_BYTES) span /= 2;
    return span;
}

/* The scaled probabilities, in a loop of its own: a product that another loop may fuse with what it does next would
 * give a voxel one bin when it is counted and another when its step is looked up. */
static void scale_tile(const VOLUME *v, TILE *t) {
    float *restrict scale = t->scale;
    for (int64_t c = 0; v->activation == SOFTMAX && c < v->classes; ++c) {
        float *restrict p = t->p + c * t->step;
        for (int64_t i = 0; i < t->n; ++i) p[i] *= scale[i];
    }
    for (int64_t i = 0; i < t->n; ++i) scale[i] = 1;
}

/* Fills the tile of a block with probabilities, in pieces that stay nearer still. */
static void load_block(const VOLUME *v, TILE *t, int64_t b, int64_t start, int64_t n, int64_t size) {
    TILE piece = *t;
    piece.size = size;
    for (int64_t off = 0; off < n; off += size) {
        piece.p = t->p + off;
        piece.q = t->q ? t->q + off : NULL;
        piece.weight = t->weight + off;
        piece.scale = t->scale + off;
        piece.top = t->top + off;
        piece.label = t->label + off;
        piece.keep = t->keep + off;
        NAME(load_tile)(v, &piece, b, start + off, n - off < size ? n - off : size);
        scale_tile(v, &piece);
    }
    t->careful = piece.careful;
    t->weighted = piece.weighted;
    t->b = b;
    t->start = start;
    t->n = n;
}

static inline int64_t piece_of(int64_t n, int64_t from) { return n - from < CHUNK ? n - from : CHUNK; }

static void count_block(const WORK *work, const TILE *t, COUNTER *k) {
    for (int64_t c = work->first; c < work->v.classes; ++c)
        for (int64_t i = 0; i < t->n; i += CHUNK)
            count_chunk(k, c, t->p + c * t->step + i, t->label + i, t->weighted ? t->weight + i : NULL,
                        piece_of(t->n, i));
}

/* A block's voxels of coarse bins, behind what this part of the volume has collected. */
static void collect_block(const WORK *work, const TILE *t, const BINNED *g, int64_t place, RANKED *ranked,
                          int64_t *fill) {
    for (int64_t c = work->first; c < work->v.classes; ++c) {
        const LINE *lines = g->lines + (c - work->first) * LINES;
        const int64_t start = g->starts[c - work->first];
        const float *p = t->p + c * t->step;
        if (start == g->starts[c - work->first + 1]) continue;
        for (int64_t i = 0; i < t->n; ++i) {
            const int own = t->label[i] == (int32_t)c;
            const float e = error_of_voxel(p[i], own);
            if (is_coarse(lines, bin_of(raised(e))) && (!t->weighted || t->weight[i] > 0))
                ranked[start + fill[c - work->first]++] = (RANKED){(uint32_t)(place + i), key_of_error(e, own)};
        }
    }
}

/* The gradient of a block. With s = dL/dp it is p (s - sum of p s) for the softmax. */
static void write_block(const WORK *work, TILE *t, const BINNED *g, COUNTER *k, int64_t place, const double *grad,
                        float *slopes, void *out) {
    const VOLUME *v = &work->v;
    const int64_t n = t->n;
    float *restrict total = t->top;
    NAME(seek_certain)(v, t, 0);
    memset(total, 0, sizeof(float) * (size_t)n);
    for (int64_t c = 0; c < v->classes; ++c) {
        float *restrict s = slopes + c * t->step;
        const float *restrict p = t->p + c * t->step;
        const float factor = c < work->first ? 0 : (float)grad[3 * (c - work->first)];
        if (factor == 0) {
            memset(s, 0, sizeof(float) * (size_t)n);
            continue;
        }
        for (int64_t i = 0; i < n; i += CHUNK)
            step_chunk(g, k, c, work->first, place + i, p + i, t->label + i, piece_of(n, i), factor, s + i);
        for (int64_t i = 0; i < n; ++i) total[i] += p[i] * s[i];
    }
    for (int64_t c = 0; c < v->classes; ++c) {
        float *own = NAME(own_row)(v, t, c, out), *s = slopes + c * t->step, *to = own && !work->streams ? own : s;
        const float *restrict p = t->p + c * t->step, *restrict q = t->q ? t->q + c * t->step : NULL;
        to = t->sure ? s : to;
        if (v->activation == SOFTMAX)
            SIMD for (int64_t i = 0; i < n; ++i) to[i] = p[i] * (s[i] - total[i]);
        else
            SIMD for (int64_t i = 0; i < n; ++i) to[i] = s[i] * (p[i] * q[i]);
        for (int64_t i = 0; t->weighted && i < n; ++i) to[i] = t->weight[i] > 0 ? to[i] : 0;
        if (t->sure)
            continue;
        if (!own)
            NAME(store_row)(v, t, c, to, out);
        else if (work->streams)
            stream_copy(own, to, sizeof(float) * (size_t)n);
    }
    if (!t->sure) return;
    NAME(settle)(v, t, slopes, t->step);
    NAME(store_rows)(v, t, slopes, t->step, out);
}

/* One sweep over the samples from `b` on, in as many parts as there are threads, each a run of whole blocks. */
static int binned_sweep(const WORK *work, int64_t b, int what, BINNED *g, int64_t *fill, const double *grad, void *out,
                        int threads) {
    const VOLUME *v = &work->v;
    const int64_t size = tile_size(v->classes, sizeof(float)), blocks = (v->voxels + BLOCK - 1) / BLOCK;
    const int64_t span = span_of(v->classes, what == STEPS ? 2 : 1), counted = v->classes - work->first;
    const int64_t all = work->group * blocks, total = g->starts ? g->starts[counted] : 0;
    int failed = 0;
#pragma omp parallel num_threads(threads) reduction(| : failed)
    {
        TILE tile;
        COUNTER k;
        failed |= NAME(tile_alloc)(&tile, v, span);
        failed |= counter_alloc(&k, v->classes, what == COUNTS);
        float *slopes = what == STEPS ? malloc(sizeof(float) * (size_t)(v->classes * tile.step)) : NULL;
        failed |= what == STEPS && !slopes;
#pragma omp for schedule(static, 1)
        for (int part = 0; part < threads; ++part)
            for (int64_t at = all * part / threads, last = all * (part + 1) / threads; at < last && !failed; ++at) {
                const int64_t from = at % blocks * BLOCK;
                const int64_t end = from + BLOCK < v->voxels ? from + BLOCK : v->voxels;
                for (int64_t start = from; start < end; start += span) {
                    const int64_t place = at / blocks * v->voxels + start;
                    load_block(v, &tile, b + at / blocks, start, end - start < span ? end - start : span, size);
                    if (what == COUNTS) count_block(work, &tile, &k);
                    if (what == COLLECT)
                        collect_block(work, &tile, g, place, g->ranked + part * total, fill + part * counted);
                    if (what == STEPS) write_block(work, &tile, g, &k, place, grad, slopes, out);
                }
                if (what == COUNTS && (at + 1 == last || (at + 1) % BLOCKS_PER_FLUSH == 0))
#pragma omp critical
                    flush(&k, v->classes, g);
            }
        if (work->streams) streamed();
        free(slopes);
        counter_free(&k);
        NAME(tile_free)(&tile);
    }
    return failed;
}

/* Counts, and of them the sums where `sums` is given, and the lines where `lines` is. */
static int binned_forward(const WORK *work, int64_t b, double *sums, LINE *lines, int threads) {
    BINNED g = {0};
    const int64_t classes = work->v.classes;
    int failed = 0;
    g.counts = calloc((size_t)(classes * 2 * BINS), sizeof *g.counts);
    g.sums = calloc((size_t)(classes * 2 * BINS), sizeof *g.sums);
    g.largest = calloc((size_t)classes, sizeof *g.largest);
    failed = !g.counts || !g.sums || !g.largest || binned_sweep(work, b, COUNTS, &g, NULL, NULL, NULL, threads);
#pragma omp parallel num_threads(threads) reduction(| : failed)
    {
        COLUMNS *columns = malloc(sizeof *columns);
        failed |= !columns;
#pragma omp for schedule(static, 1)
        for (int64_t c = work->first; c < classes; ++c) {
            if (failed) continue;
            fill_columns(&g, c, columns);
            if (sums) binned_value(columns, g.largest[c], sums + 3 * (c - work->first));
            if (lines) fit_class(columns, lines + (c - work->first) * LINES);
        }
        free(columns);
    }
    binned_free(&g);
    return failed;
}

/* Exact steps where lines do not do: UNFIT where that would be of most voxels. */
static int rank_coarse(const WORK *work, int64_t b, BINNED *g, int threads) {
    const int64_t counted = work->v.classes - work->first, total = g->starts[counted];
    int failed = 0;
    if (total > work->group * work->v.voxels * work->v.classes / 16 + BLOCK) return UNFIT;
    if (!total) return 0;
    int64_t *fill = calloc((size_t)(threads * counted), sizeof *fill);
    g->ranked = malloc(sizeof *g->ranked * (size_t)(total * threads));
    if (!fill || !g->ranked || binned_sweep(work, b, COLLECT, g, fill, NULL, NULL, threads)) {
        free(fill);
        return 1;
    }
    for (int64_t c = 0; c < counted; ++c)
        for (int part = 1; part < threads; ++part) {
            RANKED *to = g->ranked + g->starts[c] + fill[c];
            memcpy(to, g->ranked + part * total + g->starts[c], sizeof *to * (size_t)fill[part * counted + c]);
            fill[c] += fill[part * counted + c];
        }
    free(fill);
    RANKED *fewer = realloc(g->ranked, sizeof *g->ranked * (size_t)total);
    g->ranked = fewer ? fewer : g->ranked;
#pragma omp parallel for num_threads(threads) schedule(static, 1) reduction(| : failed)
    for (int64_t c = 0; c < counted; ++c) failed |= rank_collected(g, c);
    return failed;
}

/* `lines` are those that the forward pass kept, or NULL. */
static int binned_backward(const WORK *work, int64_t b, const double *grad, LINE *lines, void *out, int threads) {
    const int64_t counted = work->v.classes - work->first;
    LINE *found = lines ? NULL : malloc(sizeof *found * (size_t)(counted * LINES));
    BINNED g = {.lines = lines ? lines : found};
    g.starts = calloc((size_t)counted + 1, sizeof *g.starts);
    int failed = !g.lines || !g.starts || (found && binned_forward(work, b, NULL, found, threads));
    for (int64_t c = 0; c < counted && !failed; ++c)
        g.starts[c + 1] = g.starts[c] + (grad[3 * c] != 0 ? (int64_t)g.lines[c * LINES + 2 * BINS].whole[0] : 0);
    if (!failed) failed = rank_coarse(work, b, &g, threads);
    if (!failed) failed = binned_sweep(work, b, STEPS, &g, NULL, grad, out, threads);
    free(found);
    binned_free(&g);
    return failed;
}
