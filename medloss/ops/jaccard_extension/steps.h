/* Steps of the Jaccard loss from the counts of bins.h: lines through each bin, and where they do not do, exact ranks of
 * the voxels that were collected.
 */
static double within(const BIN *b, double sum, double count) {
    const double part = sqrt(sum / count) * BINS - (double)b->bin;
    return part < 0 ? 0 : part < 1 ? part : 1;
}

/* The step of a voxel that is not of the class behind a union and with members left. */
static inline double other_step(double left, double before) { return left / (before * (before + 1)); }

/* Lines of a bin; returns how far a step may lie beside its line: counts scatter around a line as the root of their
 * number does. */
static double fit_lines(const BIN *b, LINE *lines) {
    double member_error = 0, other_error = 0;
    const double end = b->before + b->others;
    if (b->members > 0) {
        const double fall = 1 / b->before - 1 / end, mean = 1 / (b->before + b->others / 2);
        const double centre = b->others > 0 ? within(b, b->other_sum, b->others) : 0;
        lines[1] = (LINE){(float)(mean - fall * centre), (float)fall};
        member_error = b->others > 0 ? fall / sqrt(b->others) : 0;
    }
    if (b->others > 0) {
        const double left = b->left - b->members / 2, middle = b->before + (b->others - 1) / 2;
        const double mean = other_step(left, middle), fall = other_step(left, b->before) - other_step(left, end - 1);
        const double gone = other_step(b->members, middle), centre = within(b, b->other_sum, b->others);
        const double members = b->members > 0 ? within(b, b->member_sum, b->members) : 0;
        lines[0] = (LINE){(float)(mean - fall * centre - gone * members), (float)(fall + gone)};
        other_error = fall / sqrt(b->others) + (b->members > 0 ? gone / sqrt(b->members) : 0);
    }
    return (member_error > other_error ? member_error : other_error) / 2;
}

/* Lines of a class, and which bins they are too coarse for; returns the voxels in these. */
static int64_t fit_class(BINNED *g, int64_t c) {
    const uint32_t *counts = g->counts + c * SLOTS;
    const uint64_t *sums = g->sums + c * SLOTS;
    double hits, mass, most = 0;
    int64_t found = 0;
    masses(counts, &hits, &mass);
    for (int last = 0; last < 2; ++last) {
        BIN b = {.bin = BINS, .before = hits, .left = hits};
        while (next_bin(counts, sums, &b)) {
            LINE *lines = g->lines + c * SLOTS + 2 * b.bin;
            const double e = (b.other_sum + b.member_sum) / (b.others + b.members), slope = e * (1 - e);
            const double step = b.members > 0 ? 1 / b.before : b.left / (b.before * (b.before + 1));
            if (hits == 0) { /* the largest error alone counts */
                g->coarse[c * BINS + b.bin] = 1;
                return (int64_t)b.others;
            }
            if (!last) {
                most = step * slope > most ? step * slope : most;
            } else if (fit_lines(&b, lines) * slope > TOLERANCE * most) {
                g->coarse[c * BINS + b.bin] = 1;
                found += (int64_t)(b.others + b.members);
            }
        }
    }
    return found;
}

static inline float error_of_key(uint32_t key) {
    union { uint32_t i; float f; } bits = {.i = key >> 1};
    return bits.f;
}

static inline uint32_t key_of_error(float error, int32_t slot) {
    union { uint32_t i; float f; } bits = {.f = error < 1 ? error : 1};
    return bits.i << 1 | (uint32_t)(slot & 1);
}

/* Items of complemented key and index, largest error first, ties by place, in `one`; `two` is scratch. */
static void sort_ranked(const RANKED *ranked, int64_t n, uint64_t *one, uint64_t *two) {
    enum { PASSES = 4, BITS = 8 };
    for (int64_t k = 0; k < n; ++k) one[k] = (uint64_t)~ranked[k].key << 32 | (uint64_t)k;
    for (int p = 0; p < PASSES; ++p) {
        int64_t starts[1 << BITS] = {0}, sum = 0;
        const int shift = 32 + p * BITS;
        for (int64_t k = 0; k < n; ++k) ++starts[one[k] >> shift & ((1 << BITS) - 1)];
        for (int d = 0; d < 1 << BITS; ++d) {
            const int64_t here = starts[d];
            starts[d] = sum;
            sum += here;
        }
        for (int64_t k = 0; k < n; ++k) two[starts[one[k] >> shift & ((1 << BITS) - 1)]++] = one[k];
        uint64_t *swap = one;
        one = two;
        two = swap;
    }
}

/* In place of the keys the steps, exactly. */
static int rank_collected(BINNED *g, int64_t c) {
    RANKED *ranked = g->ranked + g->starts[c];
    const int64_t n = g->starts[c + 1] - g->starts[c];
    const uint32_t *counts = g->counts + c * SLOTS;
    uint64_t *items = n ? malloc(2 * sizeof(uint64_t) * (size_t)n) : NULL;
    double hits, mass;
    if (!n || !items) return n > 0;
    masses(counts, &hits, &mass);
    BIN b = {.bin = BINS, .before = hits, .left = hits};
    double before = 0, left = 0;
    sort_ranked(ranked, n, items, items + n);
    for (int64_t k = 0; k < n; ++k) {
        RANKED *own = ranked + (items[k] & 0xffffffffu);
        const double member = own->key & 1;
        const int32_t bin = bin_of(root_of(error_of_key(own->key)));
        union { float f; uint32_t i; } step;
        while (b.bin > bin && next_bin(counts, g->sums + c * SLOTS, &b)) {
            before = b.before;
            left = b.left;
        }
        step.f = (float)(!(before > 0) ? 1 : member > 0 ? 1 / before : other_step(left, before));
        left -= member;
        before += 1 - member;
        own->key = step.i;
    }
    free(items);
    return 0;
}

/* The first of a class's collected voxels from a place on. */
static const RANKED *ranked_from(const BINNED *g, int64_t c, int64_t place) {
    int64_t low = g->starts[c], high = g->starts[c + 1];
    while (low < high) {
        const int64_t middle = (low + high) / 2;
        if (g->ranked[middle].place < place)
            low = middle + 1;
        else
            high = middle;
    }
    return g->ranked + low;
}

/* Steps of a tile's voxels, which begin at `place` of the group, from their slots. */
static void binned_steps(const BINNED *g, int64_t c, int64_t place, const COUNTER *k, int64_t n,
                         float *restrict step) {
    const LINE *restrict lines = g->lines + c * SLOTS;
    const int32_t *restrict slot = k->slot;
    const float *restrict part = k->part;
    for (int64_t i = 0; i < n; ++i) {
        const LINE line = lines[slot[i]];
        const float s = line.at + line.slope * part[i];
        step[i] = s > 0 ? s : 0;
    }
    if (!g->ranked || g->starts[c] == g->starts[c + 1]) return;
    const RANKED *end = g->ranked + g->starts[c + 1];
    for (const RANKED *at = ranked_from(g, c, place); at < end && at->place < place + n; ++at) {
        union { uint32_t i; float f; } exact = {.i = at->key};
        step[at->place - place] = exact.f;
    }
}
