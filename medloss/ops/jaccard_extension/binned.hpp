/* The sweeps that count, collect and, from the steps, write the gradient; and when they serve. A block of voxels has
 * its probabilities of all classes in a near cache, filled tile by tile; then one class after the other meets its
 * table. */
namespace {

enum { COUNTS, COLLECT, STEPS };
enum { UNFIT = 2 }; /* too many voxels would have to be collected: a plain sort is cheaper */
constexpr int64_t BLOCK_BYTES = 1 << 18, LEAST_BLOCK = 256;

/* Whether bins can tell: errors in [0, 1], hard labels, all of one weight, and enough voxels for the tables to pay.
 */
inline int is_binned(const Work *work, int64_t b, int threads) {
    const Volume<float> *v = &work->v;
    const int64_t voxels = work->group * v->voxels;
    int uneven = 0;
    if (!work->unit || v->kind < 0 || voxels < LEAST_BINNED || voxels > INT32_MAX) return 0;
    const float *mask = v->mask ? v->mask + b * v->voxels : nullptr;
#pragma omp parallel for num_threads(threads) schedule(static) reduction(| : uneven)
    for (int64_t i = 0; i < (mask ? voxels : 0); ++i) uneven |= mask[i] > 0 && mask[i] != 1;
    return !uneven;
}

/* Voxels that are worked on class by class. */
inline int64_t span_of(int64_t classes, int rows) {
    int64_t span = BLOCK;
    while (span > LEAST_BLOCK && span * classes * rows * (int64_t)sizeof(float) > BLOCK_BYTES) span /= 2;
    return span;
}

/* The scaled probabilities, in a loop of its own: a product that another loop may fuse with what it does next would
 * give a voxel one bin when it is counted and another when its step is looked up. */
inline void scale_tile(const Volume<float> *v, Tile<float> *t) {
    float *__restrict scale = t->scale;
    for (int64_t c = 0; v->activation == SOFTMAX && c < v->classes; ++c) {
        float *__restrict p = t->p + c * t->step;
        for (int64_t i = 0; i < t->n; ++i) p[i] *= scale[i];
    }
    for (int64_t i = 0; i < t->n; ++i) scale[i] = 1;
}

/* Fills the tile of a block with probabilities, in pieces that stay nearer still. */
inline void load_block(const Volume<float> *v, Tile<float> *t) {
    const int64_t size = tile_size(v->classes, sizeof(float));
    Tile<float> piece = *t;
    piece.size = size;
    for (int64_t off = 0; off < t->n; off += size) {
        piece.p = t->p + off;
        piece.q = t->q ? t->q + off : nullptr;
        piece.weight = t->weight + off;
        piece.scale = t->scale + off;
        piece.top = t->top + off;
        piece.label = t->label + off;
        piece.keep = t->keep + off;
        piece.start = t->start + off;
        piece.n = t->n - off < size ? t->n - off : size;
        load_tile(v, &piece);
        scale_tile(v, &piece);
    }
    t->careful = piece.careful;
}

inline int64_t piece_of(int64_t n, int64_t from) { return n - from < CHUNK ? n - from : (int64_t)CHUNK; }

inline void count_block(const Work *work, const Tile<float> *t, Counter *k) {
    for (int64_t c = work->first; c < work->v.classes; ++c)
        for (int64_t i = 0; i < t->n; i += CHUNK)
            count_chunk(k, c, t->p + c * t->step + i, t->label + i, t->weighted ? t->weight + i : nullptr,
                        piece_of(t->n, i));
}

/* A block's voxels of coarse bins, behind what this part of the volume has collected. */
inline void collect_block(const Work *work, const Tile<float> *t, const Binned *g, int64_t place, Ranked *ranked,
                          int64_t *fill) {
    for (int64_t c = work->first; c < work->v.classes; ++c) {
        const Line *lines = g->lines + (c - work->first) * LINES;
        const int64_t start = g->starts[c - work->first];
        const float *p = t->p + c * t->step;
        if (start == g->starts[c - work->first + 1]) continue;
        for (int64_t i = 0; i < t->n; ++i) {
            const int own = t->label[i] == (int32_t)c;
            const float e = error_of_voxel(p[i], own);
            if (is_coarse(lines, bin_of(raised(e))) && (!t->weighted || t->weight[i] > 0))
                ranked[start + fill[c - work->first]++] = (Ranked){(uint32_t)(place + i), key_of_error(e, own)};
        }
    }
}

/* A thread's counts, the rows of its gradient, and which part of the volume it is at. */
struct BinScratch {
    Counter counter;
    Rows<float> slopes;
    int64_t blocks; /* counted since the last flush */
    int part;

    template <typename Statistic>
    int take(const Statistic &s, const Tile<float> *t) {
        const int failed = counter_alloc(&counter, s.volume.classes, s.what == COUNTS);
        return failed || (s.what == STEPS && slopes.take(s, t));
    }
    void give() {
        slopes.give();
        counter_free(&counter);
    }
};

/* One sweep over a group of samples. */
struct BinSweep : Statistic<float> {
    using Scratch = BinScratch;
    const Work *work;
    int64_t sample; /* the first of the group */
    int what;
    Binned *g;
    int64_t *fill; /* how many voxels of a class each part has collected */
    const double *grad;

    BinSweep(const Work *work, int64_t sample, int what, Binned *g, int64_t *fill, const double *grad)
        : Statistic<float>{work->v}, work(work), sample(sample), what(what), g(g), fill(fill), grad(grad) {
        streams = work->streams;
    }

    int64_t rows() const { return volume.classes; }
    int64_t tile_length() const { return span_of(volume.classes, what == STEPS ? 2 : 1); }
    int64_t place_of(const Tile<float> *t) const { return (t->b - sample) * volume.voxels + t->start; }

    void begin(Tile<float> *, BinScratch *k, const Block &block) const { k->part = block.part; }

    void load(Tile<float> *t, BinScratch *) const {
        load_block(&volume, t);
        if (what == STEPS) seek_certain(&volume, t, 0);
    }

    void add(Tile<float> *t, BinScratch *k, double *) const {
        const int64_t counted = volume.classes - work->first, total = g->starts ? g->starts[counted] : 0;
        if (what == COUNTS)
            count_block(work, t, &k->counter);
        else
            collect_block(work, t, g, place_of(t), g->ranked + k->part * total, fill + k->part * counted);
    }

    void write(Tile<float> *t, BinScratch *k, void *out) const {
        write_slopes(*this, t, k->slopes, out, [&](int64_t c, float *row) {
            const float factor = c < work->first ? 0 : (float)grad[3 * (c - work->first)];
            for (int64_t i = 0; factor != 0 && i < t->n; i += CHUNK)
                step_chunk(g, &k->counter, c, work->first, place_of(t) + i, t->p + c * t->step + i, t->label + i,
                           piece_of(t->n, i), factor, row + i);
            return factor != 0;
        });
    }

    void end(Tile<float> *, BinScratch *k, double *) const {
        if (what == COUNTS && ++k->blocks == BLOCKS_PER_FLUSH) leave(k);
    }

    void leave(BinScratch *k) const {
        if (what != COUNTS || k->blocks == 0) return;
        k->blocks = 0;
#pragma omp critical
        flush(&k->counter, volume.classes, g);
    }
};

inline int binned_sweep(const Work *work, int64_t b, int what, Binned *g, int64_t *fill, const double *grad,
                        void *out, int threads) {
    return sweep(BinSweep(work, b, what, g, fill, grad), b, work->group, nullptr, out, threads);
}

/* Counts, and of them the sums where `sums` is given, and the lines where `lines` is. */
inline int binned_forward(const Work *work, int64_t b, double *sums, Line *lines, int threads) {
    Binned g = {};
    const int64_t classes = work->v.classes;
    g.counts = cleared<uint32_t>(classes * 2 * BINS);
    g.sums = cleared<uint64_t>(classes * 2 * BINS);
    g.largest = cleared<int32_t>(classes);
    int failed =
        !g.counts || !g.sums || !g.largest || binned_sweep(work, b, COUNTS, &g, nullptr, nullptr, nullptr, threads);
#pragma omp parallel num_threads(threads) reduction(| : failed)
    {
        Columns *columns = room<Columns>(1);
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
inline int rank_coarse(const Work *work, int64_t b, Binned *g, int threads) {
    const int64_t counted = work->v.classes - work->first, total = g->starts[counted];
    int failed = 0;
    if (total > work->group * work->v.voxels * work->v.classes / 16 + BLOCK) return UNFIT;
    if (!total) return 0;
    int64_t *fill = cleared<int64_t>(threads * counted);
    g->ranked = room<Ranked>(total * threads);
    if (!fill || !g->ranked || binned_sweep(work, b, COLLECT, g, fill, nullptr, nullptr, threads)) {
        free(fill);
        return 1;
    }
    for (int64_t c = 0; c < counted; ++c)
        for (int part = 1; part < threads; ++part) {
            Ranked *to = g->ranked + g->starts[c] + fill[c];
            memcpy(to, g->ranked + part * total + g->starts[c], sizeof *to * (size_t)fill[part * counted + c]);
            fill[c] += fill[part * counted + c];
        }
    free(fill);
    Ranked *fewer = (Ranked *)realloc(g->ranked, sizeof *g->ranked * (size_t)total);
    g->ranked = fewer ? fewer : g->ranked;
#pragma omp parallel for num_threads(threads) schedule(static, 1) reduction(| : failed)
    for (int64_t c = 0; c < counted; ++c) failed |= rank_collected(g, c);
    return failed;
}

/* `lines` are those that the forward pass kept, or nullptr. */
inline int binned_backward(const Work *work, int64_t b, const double *grad, Line *lines, void *out, int threads) {
    const int64_t counted = work->v.classes - work->first;
    Line *found = lines ? nullptr : room<Line>(counted * LINES);
    Binned g = {};
    g.lines = lines ? lines : found;
    g.starts = cleared<int64_t>(counted + 1);
    int failed = !g.lines || !g.starts || (found && binned_forward(work, b, nullptr, found, threads));
    for (int64_t c = 0; c < counted && !failed; ++c)
        g.starts[c + 1] = g.starts[c] + (grad[3 * c] != 0 ? (int64_t)g.lines[c * LINES + 2 * BINS].whole[0] : 0);
    if (!failed) failed = rank_coarse(work, b, &g, threads);
    if (!failed) failed = binned_sweep(work, b, STEPS, &g, nullptr, grad, out, threads);
    free(found);
    binned_free(&g);
    return failed;
}

} // namespace
