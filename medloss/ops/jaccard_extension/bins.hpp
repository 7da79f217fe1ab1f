/* Ranks from counts: what the Jaccard loss needs of a voxel is how many voxels of the class, and how many others,
 * have a larger error. A sweep counts them in bins of the error; before and behind a bin both are known exactly, and
 * within it they rise along a line through the bin's mean error (so that equal errors share what they cost). Where
 * that is too coarse beside the largest gradient of the class (few voxels make large steps), a second sweep collects
 * the bin's voxels, which are sorted: for most volumes there are few such or none.
 *
 * A bin is the first bits of the float error + 1/4: bins are 2^-13 wide below an error of 1/4, 2^-12 below 3/4 and
 * 2^-11 above; the bits behind say where in its bin an error lies. Counts and sums are whole numbers: no order of
 * adding changes them.
 */
namespace {

enum { BEHIND = 12, FIRST_BIN = 0x3e800, BINS = 4609, LINES = 2 * BINS + 1 }; /* 0x3e800000 are the bits of 1/4 */
enum { FINEST = 4096, COUNT_BITS = 20 };                                      /* places in a bin; a cell's count */
/* Cells of others, then those of members. The first bin has eight cells, of which neighbours take turns: in a trained
 * network most errors are there, and no addition should wait for the one before. */
enum { LANES = 8, HALF = (BINS + LANES + 7) / 8 * 8, SPARE = 2 * HALF, PITCH = 2 * HALF + 8 };
enum { CHUNK = 256, LEAST_BINNED = 1 << 15 };
enum { BLOCKS_PER_FLUSH = 63 }; /* a cell's count holds their voxels */
const float LEAST = 0.25f;
const double STEEP = 0.01;     /* others in a bin over the union before it, from which on steps fall within */
const double TOLERANCE = 1e-4; /* of a step, beside the class's largest, both as they reach the logits */

/* Steps of a bin: at its lower end, and how they rise with the error. Of each class those of others, those of
 * members, and one that holds the number of voxels in coarse bins. A coarse bin has a NaN for its members' line, and
 * for its others' what is larger: the union and the members left, as whole numbers. */
union Line {
    struct {
        float at, slope;
    };
    uint32_t whole[2];
};
struct Ranked { /* key: an error's bits above that of its membership, then its step */
    uint32_t place, key;
};

/* One group of samples. */
struct Binned {
    uint32_t *counts; /* classes x 2 x BINS: others, members */
    uint64_t *sums;   /* of places in the bin */
    int32_t *largest; /* bits of the largest error of each class */
    Line *lines;      /* classes from the first on x LINES */
    Ranked *ranked;   /* those of coarse bins, class by class, by place */
    int64_t *starts;  /* of each class in there, and the end */
};

/* A thread's counts, and room for a piece of a tile. */
struct Counter {
    uint64_t *cells; /* classes x PITCH: sums above counts */
    int32_t *slot, *largest;
    uint32_t *amount;
    float *rest;
    Line *line;
};

inline void binned_free(Binned *b) {
    free(b->counts);
    free(b->sums);
    free(b->largest);
    free(b->ranked);
    free(b->starts);
    memset(b, 0, sizeof *b);
}

inline void counter_free(Counter *k) {
    free(k->cells);
    free(k->slot);
}

inline int counter_alloc(Counter *k, int64_t classes, int counts) {
    memset(k, 0, sizeof *k);
    k->slot =
        (int32_t *)malloc((size_t)CHUNK * (3 * sizeof(int32_t) + sizeof(Line)) + sizeof(int32_t) * (size_t)classes);
    if (counts) k->cells = cleared<uint64_t>(classes * PITCH);
    if (!k->slot || (counts && !k->cells)) return 1;
    k->line = (Line *)(void *)(k->slot + CHUNK);
    k->amount = (uint32_t *)(k->line + CHUNK);
    k->rest = (float *)(k->amount + CHUNK);
    k->largest = (int32_t *)(k->rest + CHUNK);
    memset(k->largest, 0, sizeof(int32_t) * (size_t)classes);
    return 0;
}

union Bits {
    float f;
    int32_t i;
};

/* The bits of an error raised by 1/4; of a NaN those of an error of 1. */
inline Bits raised(float error) {
    const Bits found = {.f = (error < 1 ? error : 1) + LEAST};
    return found;
}

inline int32_t bin_of(Bits raised) { return (raised.i >> BEHIND) - FIRST_BIN; }

/* The lower end of a bin. */
inline double low_end(int64_t bin) {
    const Bits found = {.i = (int32_t)(bin + FIRST_BIN) << BEHIND};
    return (double)found.f - (double)LEAST;
}

inline float error_of_voxel(float p, int own) { return fabsf((float)own - p); }

/* Counts n <= CHUNK probabilities p of class c. Voxels of both halves take turns: neighbours are alike, and
 * additions to one cell wait for each other. */
inline void count_chunk(Counter *k, int64_t c, const float *__restrict p, const int32_t *__restrict label,
                        const float *__restrict weight, int64_t n) {
    int32_t *__restrict slot = k->slot, largest = k->largest[c];
    uint32_t *__restrict amount = k->amount;
    uint64_t *__restrict cells = k->cells + c * PITCH;
    for (int64_t i = 0; i < n; ++i) {
        const int own = label[i] == (int32_t)c;
        const Bits e = {.f = error_of_voxel(p[i], own)}, r = raised(e.f);
        const int32_t bin = bin_of(r);
        largest = e.i > largest ? e.i : largest; /* the bits of an error rise with it, and a NaN has the largest */
        slot[i] = (bin ? bin + LANES - 1 : (int32_t)(i % LANES)) + (own ? HALF : 0);
        amount[i] = (uint32_t)r.i % FINEST << COUNT_BITS | 1;
    }
    if (weight) {
        largest = k->largest[c];
        for (int64_t i = 0; i < n; ++i) {
            const Bits e = {.f = error_of_voxel(p[i], label[i] == (int32_t)c)};
            const int32_t bits = weight[i] > 0 ? e.i : 0;
            largest = bits > largest ? bits : largest;
            slot[i] = weight[i] > 0 ? slot[i] : SPARE;
        }
    }
    k->largest[c] = largest;
    const int64_t half = n / 2;
    for (int64_t i = 0; i < half; ++i) {
        cells[slot[i]] += amount[i];
        cells[slot[i + half]] += amount[i + half];
    }
    if (n % 2) cells[slot[n - 1]] += amount[n - 1];
}

/* Into the group's counts, of one thread at a time. */
inline void flush(Counter *k, int64_t classes, Binned *b) {
    const uint64_t count = ((uint64_t)1 << COUNT_BITS) - 1;
    for (int64_t c = 0; c < classes; ++c) {
        for (int own = 0; own < 2; ++own) {
            uint64_t *__restrict cells = k->cells + c * PITCH + own * HALF;
            uint32_t *__restrict counts = b->counts + (2 * c + own) * BINS;
            uint64_t *__restrict sums = b->sums + (2 * c + own) * BINS;
            for (int64_t lane = 0; lane < LANES - 1; ++lane) {
                counts[0] += (uint32_t)(cells[lane] & count);
                sums[0] += cells[lane] >> COUNT_BITS;
            }
            for (int64_t s = 0; s < BINS; ++s) {
                counts[s] += (uint32_t)(cells[s + LANES - 1] & count);
                sums[s] += cells[s + LANES - 1] >> COUNT_BITS;
            }
        }
        memset(k->cells + c * PITCH, 0, sizeof(uint64_t) * PITCH);
        b->largest[c] = k->largest[c] > b->largest[c] ? k->largest[c] : b->largest[c];
    }
}

} // namespace
