/* The value and the steps of the Jaccard loss from the counts of bins.hpp: lines through each bin, and where they do
 * not do, exact ranks of the voxels that were collected.
 */
namespace {

/* Bins as columns, so that what is made of them is computed for several at once. */
struct Columns {
    double others[BINS], members[BINS];       /* in the bin */
    double others_at[BINS], members_at[BINS]; /* where in the bin, 0 to 1, their errors lie in the mean */
    double before[BINS], left[BINS];          /* size of the union, and members left, before the bin */
    double low[BINS], width[BINS];            /* of the bin */
    double lack[BINS], weight[BINS];          /* how far a step may lie beside its line; what it is to the logits */
    double hits, mass;
};

inline void fill_columns(const Binned *g, int64_t c, Columns *k) {
    const uint32_t *counts = g->counts + 2 * c * BINS;
    const uint64_t *sums = g->sums + 2 * c * BINS;
    uint64_t inside = 0, outside = 0;
    for (int64_t b = 0; b < BINS; ++b) {
        const double n = counts[b], m = counts[BINS + b];
        k->others[b] = n;
        k->members[b] = m;
        k->others_at[b] = ((double)sums[b] / (n > 0 ? n : 1) + 0.5) / FINEST;
        k->members_at[b] = ((double)sums[BINS + b] / (m > 0 ? m : 1) + 0.5) / FINEST;
        k->low[b] = low_end(b);
        k->width[b] = low_end(b + 1) - low_end(b);
        inside += counts[BINS + b];
        outside += counts[b];
    }
    k->hits = (double)inside;
    k->mass = (double)(inside + outside);
    for (int64_t b = BINS - 1, left = (int64_t)inside, before = left; b >= 0; --b) {
        k->before[b] = (double)before;
        k->left[b] = (double)left;
        before += counts[b];
        left -= counts[BINS + b];
    }
}

/* How far errors of a bin scatter: as even as their mean allows. */
inline double scatter(double at, double width, double count) {
    const double half = at < 0.5 ? at : 1 - at;
    return 2 * half * width * (count - 1) / count; /* a single one is known */
}

/* Where steps fall within a bin: what its members' sum to, for errors spread evenly, and what the value gains from
 * larger steps being those of larger errors. Both are integrals of 1 / union and of its square. */
inline double steep_bin(const Columns *k, int64_t b, double *of_members) {
    const double n = k->others[b], m = k->members[b], before = k->before[b], end = before + n;
    const double left = k->left[b] - m / 2;
    const double growth = log1p(n / before);
    double gain = left * scatter(k->others_at[b], k->width[b], n) * (n / (2 * before * end) - (growth - n / end) / n);
    if (m > 0) {
        *of_members = m * growth / n;
        gain += m * scatter(k->members_at[b], k->width[b], m) * ((0.5 + before / n) * growth - 1) / n;
    }
    return gain;
}

/* Value, mass of the class and mass of all voxels. */
inline void binned_value(const Columns *k, int32_t largest, double *out) {
    double value = 0;
    const Bits most = {.i = largest};
    out[1] = k->hits;
    out[2] = k->mass;
    if (k->hits > 0 && most.f == most.f) {
#pragma omp simd reduction(+ : value)
        for (int64_t b = 0; b < BINS; ++b) {
            const double n = k->others[b], m = k->members[b], before = k->before[b], end = before + n;
            const double rise = (k->left[b] * n + m * before) / (before * end), of_members = m / (before + n / 2);
            value += rise * (k->low[b] + k->width[b] * k->others_at[b]) +
                     of_members * k->width[b] * (k->members_at[b] - k->others_at[b]);
        }
        for (int64_t b = 0; b < BINS; ++b) {
            if (k->others[b] <= STEEP * k->before[b]) continue;
            const double even = k->members[b] / (k->before[b] + k->others[b] / 2);
            double of_members = even;
            value += steep_bin(k, b, &of_members);
            value += (of_members - even) * k->width[b] * (k->members_at[b] - k->others_at[b]);
        }
    }
    out[0] = k->hits > 0 && most.f == most.f ? value : most.f;
}

/* The step of a voxel that is not of the class behind a union and with members left. */
inline double other_step(double left, double before) { return left / (before * (before + 1)); }

/* Lines of all bins, and how far a step may lie beside them: counts scatter around a line as the root of their number
 * does. Returns the largest step as it reaches the logits. */
inline double fit_lines(Columns *k, Line *__restrict lines) {
    double most = 0;
#pragma omp simd reduction(max : most)
    for (int64_t b = 0; b < BINS; ++b) {
        const double n = k->others[b], m = k->members[b], before = k->before[b], end = before + n;
        const double few_n = n > 0 ? n : 1, few_m = m > 0 ? m : 1, per_error = 1 / k->width[b];
        const double centre = n > 0 ? k->others_at[b] : 0, member_centre = m > 0 ? k->members_at[b] : 0;
        /* members: 1 / union */
        const double fall = 1 / before - 1 / end, mean = 1 / (before + n / 2);
        lines[BINS + b].at = (float)(mean - fall * centre);
        lines[BINS + b].slope = (float)(fall * per_error);
        /* others: members left over the union's square */
        const double middle = before + (few_n - 1) / 2, scale = 1 / (middle * (middle + 1));
        const double other_mean = (k->left[b] - m / 2) * scale, gone = m * scale;
        const double other_fall = other_step(k->left[b] - m / 2, before) - other_step(k->left[b] - m / 2, end - 1);
        lines[b].at = (float)(other_mean - other_fall * centre - gone * member_centre);
        lines[b].slope = (float)((other_fall + gone) * per_error);
        const double root = 1 / sqrt(few_n), of_members = m > 0 && n > 0 ? fall * root : 0;
        const double of_others = n > 0 ? other_fall * root + gone / sqrt(few_m) : 0;
        const double e = k->low[b] + k->width[b] * (m > 0 ? k->members_at[b] : k->others_at[b]);
        const double step = m > 0 ? 1 / before : n > 0 ? other_step(k->left[b], before) : 0;
        k->weight[b] = e * (1 - e);
        k->lack[b] = (of_members > of_others ? of_members : of_others) / 2;
        most = step * k->weight[b] > most ? step * k->weight[b] : most;
    }
    return most;
}

/* Lines of a class, and which bins they are too coarse for. */
inline void fit_class(Columns *k, Line *lines) {
    const double most = k->hits > 0 ? fit_lines(k, lines) : 0;
    uint32_t found = 0;
    if (k->hits == 0) memset(lines, 0, sizeof(Line) * LINES);
    for (int64_t b = BINS - 1; b >= 0; --b) {
        const double here = k->others[b] + k->members[b];
        if (k->hits > 0 ? !(k->lack[b] * k->weight[b] > TOLERANCE * most) : here == 0) continue;
        lines[BINS + b].at = NAN;
        lines[b].whole[0] = (uint32_t)k->before[b];
        lines[b].whole[1] = (uint32_t)k->left[b];
        found += (uint32_t)here;
        if (k->hits == 0) break; /* the largest error alone counts */
    }
    lines[2 * BINS].whole[0] = found;
}

inline int is_coarse(const Line *lines, int64_t bin) { return lines[BINS + bin].at != lines[BINS + bin].at; }

inline float error_of_key(uint32_t key) {
    union {
        uint32_t i;
        float f;
    } bits = {.i = key >> 1};
    return bits.f;
}

inline uint32_t key_of_error(float error, int own) {
    union {
        uint32_t i;
        float f;
    } bits = {.f = error < 1 ? error : 1};
    return bits.i << 1 | (uint32_t)own;
}

/* Items of complemented key and index, largest error first, ties by place, in `one`; `two` is scratch. */
inline void sort_ranked(const Ranked *ranked, int64_t n, uint64_t *one, uint64_t *two) {
    enum { PASSES = 4, BITS_PER_PASS = 8 };
    for (int64_t k = 0; k < n; ++k) one[k] = (uint64_t)~ranked[k].key << 32 | (uint64_t)k;
    for (int p = 0; p < PASSES; ++p) {
        int64_t starts[1 << BITS_PER_PASS] = {0}, sum = 0;
        const int shift = 32 + p * BITS_PER_PASS;
        for (int64_t k = 0; k < n; ++k) ++starts[one[k] >> shift & ((1 << BITS_PER_PASS) - 1)];
        for (int d = 0; d < 1 << BITS_PER_PASS; ++d) {
            const int64_t here = starts[d];
            starts[d] = sum;
            sum += here;
        }
        for (int64_t k = 0; k < n; ++k) two[starts[one[k] >> shift & ((1 << BITS_PER_PASS) - 1)]++] = one[k];
        uint64_t *swap = one;
        one = two;
        two = swap;
    }
}

/* In place of the keys the steps, exactly. `c` counts from the first class that counts. */
inline int rank_collected(Binned *g, int64_t c) {
    Ranked *ranked = g->ranked + g->starts[c];
    const Line *lines = g->lines + c * LINES;
    const int64_t n = g->starts[c + 1] - g->starts[c];
    uint64_t *items = n ? room<uint64_t>(2 * n) : nullptr;
    if (!n || !items) return n > 0;
    double before = 0, left = 0;
    int32_t held = BINS;
    sort_ranked(ranked, n, items, items + n);
    for (int64_t k = 0; k < n; ++k) {
        Ranked *own = ranked + (items[k] & 0xffffffffu);
        const double member = own->key & 1;
        const int32_t bin = bin_of(raised(error_of_key(own->key)));
        union {
            float f;
            uint32_t i;
        } step;
        if (bin != held) {
            before = lines[bin].whole[0];
            left = lines[bin].whole[1];
            held = bin;
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
const Ranked *ranked_from(const Binned *g, int64_t c, int64_t place) {
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

/* Steps of n <= CHUNK voxels, which begin at `place` of the group, from their bins: up for others, down for members,
 * times `factor`. `first` is the class from which on there are lines. */
inline void step_chunk(const Binned *g, Counter *k, int64_t c, int64_t first, int64_t place,
                       const float *__restrict p, const int32_t *__restrict label, int64_t n, float factor,
                       float *__restrict out) {
    const Line *__restrict lines = g->lines + (c - first) * LINES;
    int32_t *__restrict slot = k->slot;
    float *__restrict rest = k->rest;
    Line *__restrict line = k->line;
    for (int64_t i = 0; i < n; ++i) {
        const int own = label[i] == (int32_t)c;
        const Bits r = raised(error_of_voxel(p[i], own)), low = {.i = r.i >> BEHIND << BEHIND};
        slot[i] = bin_of(r) + (own ? BINS : 0);
        rest[i] = r.f - low.f;
    }
    for (int64_t i = 0; i < n; ++i) line[i] = lines[slot[i]];
    if (g->starts[c - first] < g->starts[c - first + 1]) {
        const Ranked *end = g->ranked + g->starts[c - first + 1];
        for (const Ranked *at = ranked_from(g, c - first, place); at < end && at->place < place + n; ++at) {
            line[at->place - place].whole[0] = at->key;
            line[at->place - place].slope = 0;
        }
    }
    for (int64_t i = 0; i < n; ++i) {
        const float s = line[i].at + line[i].slope * rest[i], up = s > 0 ? s * factor : 0;
        out[i] = label[i] == (int32_t)c ? -up : up;
    }
}

} // namespace
