/* Ranks from counts: what the Jaccard loss needs of a voxel is how many voxels of the class, and how many others,
 * have a larger error. A sweep counts them in bins of the error; before and behind a bin both are known exactly, and
 * within it they rise along a line through the bin's mean error (so that equal errors share what they cost). Where
 * that is too coarse beside the largest gradient of the class (few voxels make large steps), a second sweep collects
 * the bin's voxels, which are sorted: for most volumes there are few such or none.
 *
 * Bins are even in the root of the error: in a trained network most errors are near zero. Counts and sums are whole
 * numbers: no order of adding changes them.
 */
enum { BINS = 8192, SLOTS = 2 * BINS, SPARE = SLOTS, PITCH = SLOTS + 8, COUNT_AT = 42 };
enum { LEAST_BINNED = 1 << 15, BLOCKS_PER_FLUSH = 63 }; /* 63 blocks: 2^20 errors of 22 bits fill 42 bits */
static const float ERROR_UNIT = 4194304.0f;
static const double STEEP = 0.01;     /* others in a bin over the union before it, from which on steps fall within */
static const double TOLERANCE = 1e-4; /* of a step, beside the class's largest, both as they reach the logits */

typedef struct { float at, slope; } LINE; /* steps of a bin: at its lower end, and from end to end */
typedef struct { uint32_t place, key; } RANKED; /* key: an error's bits above that of its membership, then its step */

/* One group of samples. Slots of a class: others and members of the class, bin by bin. */
typedef struct {
    uint32_t *counts; /* classes x SLOTS */
    uint64_t *sums;   /* of errors, in units of 1 / ERROR_UNIT */
    int32_t *largest; /* bits of the largest error of each class */
    LINE *lines;
    uint8_t *coarse; /* classes x BINS: the lines do not do */
    RANKED *ranked;  /* those of coarse bins, class by class, by place */
    int64_t *starts; /* of each class in there, and the end */
} BINNED;

/* A thread's tile and counts. */
typedef struct {
    uint64_t *cells; /* classes x PITCH: counts above sums */
    float *error, *part;
    int32_t *slot, *largest;
    uint32_t *amount;
} COUNTER;

static void binned_free(BINNED *b) {
    free(b->counts);
    free(b->sums);
    free(b->largest);
    free(b->lines);
    free(b->coarse);
    free(b->ranked);
    free(b->starts);
    memset(b, 0, sizeof *b);
}

static void counter_free(COUNTER *k) {
    free(k->cells);
    free(k->error);
    free(k->slot);
}

static int counter_alloc(COUNTER *k, int64_t classes, int64_t size, int counts) {
    memset(k, 0, sizeof *k);
    k->error = malloc(sizeof(float) * (size_t)(2 * size));
    k->slot = malloc(sizeof(int32_t) * (size_t)(2 * size + classes));
    if (counts) k->cells = calloc((size_t)(classes * PITCH), sizeof(uint64_t));
    if (!k->error || !k->slot || (counts && !k->cells)) return 1;
    k->part = k->error + size;
    k->amount = (uint32_t *)k->slot + size;
    k->largest = k->slot + 2 * size;
    memset(k->largest, 0, sizeof(int32_t) * (size_t)classes);
    return 0;
}

static inline int32_t bin_of(float root) {
    const int32_t bin = (int32_t)root;
    return bin < BINS - 1 ? bin : BINS - 1;
}

static inline float root_of(float error) { return sqrtf(error < 1 ? error : 1) * BINS; } /* of a NaN as of 1 */

/* Errors of n probabilities p (still to be scaled) in class c, their slots, and where between its ends a bin's error
 * lies. */
static void find_slots(const float *restrict p, const float *restrict scale, const int32_t *restrict label, int64_t c,
                       int64_t n, float *restrict error, int32_t *restrict slot, float *restrict part) {
    for (int64_t i = 0; i < n; ++i) {
        const int32_t own = label[i] == (int32_t)c;
        const float e = fabsf((float)own - p[i] * scale[i]), root = root_of(e);
        const int32_t bin = bin_of(root);
        error[i] = e;
        slot[i] = 2 * bin + own;
        part[i] = root - (float)bin;
    }
}

static void count_tile(COUNTER *k, int64_t c, const float *weight, int64_t n) {
    const float *restrict error = k->error;
    int32_t *restrict slot = k->slot;
    uint32_t *restrict amount = k->amount;
    uint64_t *restrict cells = k->cells + c * PITCH;
    int32_t largest = 0; /* the bits of an error rise with it, and a NaN has the largest */
    for (int64_t i = 0; weight && i < n; ++i) slot[i] = weight[i] > 0 ? slot[i] : SPARE;
    for (int64_t i = 0; i < n; ++i) {
        const union { float f; int32_t i; } e = {.f = error[i]};
        const int32_t bits = slot[i] == SPARE ? 0 : e.i;
        largest = bits > largest ? bits : largest;
        amount[i] = (uint32_t)(int32_t)((e.f < 1 ? e.f : 1) * ERROR_UNIT + 0.5f);
    }
    for (int64_t i = 0; i < n; ++i) cells[slot[i]] += (uint64_t)1 << COUNT_AT | amount[i];
    k->largest[c] = largest > k->largest[c] ? largest : k->largest[c];
}

/* Into the group's counts, of one thread at a time. */
static void flush(COUNTER *k, int64_t classes, BINNED *b) {
    for (int64_t c = 0; c < classes; ++c) {
        uint64_t *cells = k->cells + c * PITCH;
        for (int64_t s = 0; s < SLOTS; ++s) {
            b->counts[c * SLOTS + s] += (uint32_t)(cells[s] >> COUNT_AT);
            b->sums[c * SLOTS + s] += cells[s] & (((uint64_t)1 << COUNT_AT) - 1);
        }
        memset(cells, 0, sizeof(uint64_t) * PITCH);
        b->largest[c] = k->largest[c] > b->largest[c] ? k->largest[c] : b->largest[c];
    }
}

/* A bin on the way from the largest errors down. */
typedef struct {
    int64_t bin;
    double others, members;        /* in it */
    double other_sum, member_sum;  /* of errors */
    double before, left;           /* size of the union, and members left, before it */
} BIN;

static void masses(const uint32_t *counts, double *hits, double *mass) {
    uint64_t inside = 0, all = 0;
    for (int64_t s = 0; s < SLOTS; ++s) {
        inside += s & 1 ? counts[s] : 0;
        all += counts[s];
    }
    *hits = (double)inside;
    *mass = (double)all;
}

/* To the next bin with voxels in it; 0 behind the last. */
static int next_bin(const uint32_t *counts, const uint64_t *sums, BIN *b) {
    b->before += b->others;
    b->left -= b->members;
    while (--b->bin >= 0) {
        const int64_t s = 2 * b->bin;
        if (!counts[s] && !counts[s + 1]) continue;
        b->others = counts[s];
        b->members = counts[s + 1];
        b->other_sum = (double)sums[s] / ERROR_UNIT;
        b->member_sum = (double)sums[s + 1] / ERROR_UNIT;
        return 1;
    }
    return 0;
}

/* How far errors of a bin scatter: as even as their mean allows. */
static double scatter(const BIN *b, double sum, double count) {
    const double mean = sum / count, low = (double)(b->bin * b->bin) / ((double)BINS * BINS);
    const double high = low + (double)(2 * b->bin + 1) / ((double)BINS * BINS);
    const double half = mean - low < high - mean ? mean - low : high - mean;
    return half > 0 ? 2 * half * (count - 1) / count : 0; /* a single one is known */
}

/* Where steps fall within a bin: what its members' sum to, for errors spread evenly, and what the value gains from
 * larger steps being those of larger errors. Both are integrals of 1 / union and of its square. */
static double steep_bin(const BIN *b, double *of_members) {
    const double growth = log1p(b->others / b->before), end = b->before + b->others, left = b->left - b->members / 2;
    double gain = left * scatter(b, b->other_sum, b->others) *
                  (b->others / (2 * b->before * end) - (growth - b->others / end) / b->others);
    if (b->members > 0) {
        *of_members = b->members * growth / b->others;
        gain += b->members * scatter(b, b->member_sum, b->members) *
                ((0.5 + b->before / b->others) * growth - 1) / b->others;
    }
    return gain;
}

/* Value, mass of the class and mass of all voxels. */
static void binned_value(const BINNED *g, int64_t c, double *out) {
    const uint32_t *counts = g->counts + c * SLOTS;
    double value = 0;
    masses(counts, out + 1, out + 2);
    BIN b = {.bin = BINS, .before = out[1], .left = out[1]};
    while (out[1] > 0 && next_bin(counts, g->sums + c * SLOTS, &b)) {
        const double rise = (b.left * b.others + b.members * b.before) / (b.before * (b.before + b.others));
        double of_members = b.members / (b.before + b.others / 2);
        if (b.others > STEEP * b.before) value += steep_bin(&b, &of_members);
        value += b.members > 0 ? of_members * b.member_sum / b.members : 0;
        value += b.others > 0 ? (rise - of_members) * b.other_sum / b.others : 0;
    }
    const union { int32_t i; float f; } largest = {.i = g->largest[c]};
    out[0] = out[1] > 0 && largest.f == largest.f ? value : largest.f;
}
