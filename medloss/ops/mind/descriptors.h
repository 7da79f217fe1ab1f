/* The descriptors of a few voxels of a row, so few that all is at hand: from the distances of their pairs to
 * the noise, the entries, and back. A distance below zero is of a pair that is not there. */

typedef struct {
    const REAL *distance[MOST_PAIRS]; /* rows, by pair */
    REAL *above, *entry;              /* rows by pair: what a distance has above the least, and the entries */
    REAL *least, *noise, *over;       /* rows; over: one over the noise within its range */
    const REAL *count;                /* pairs that are there */
} DESCRIPTOR;

/* Least distance, and the mean above it. `count` is written, too. */
static void NAME(excess)(const DESCRIPTOR *d, int64_t pairs, int64_t size, REAL *restrict count) {
    REAL *restrict least = d->least, *restrict noise = d->noise;
#pragma GCC ivdep
    for (int64_t i = 0; i < size; ++i) least[i] = (REAL)INFINITY, noise[i] = 0, count[i] = 0;
    for (int64_t k = 0; k < pairs; ++k) {
        const REAL *restrict distance = d->distance[k];
#pragma GCC ivdep
        for (int64_t i = 0; i < size; ++i) {
            const REAL here = distance[i] < 0 ? least[i] : distance[i];
            least[i] = here < least[i] ? here : least[i];
            count[i] += distance[i] < 0 ? 0 : 1;
        }
    }
    for (int64_t k = 0; k < pairs; ++k) {
        const REAL *restrict distance = d->distance[k];
        REAL *restrict above = d->above + k * size;
#pragma GCC ivdep
        for (int64_t i = 0; i < size; ++i) {
            const REAL found = distance[i] - least[i];
            above[i] = distance[i] < 0 ? 0 : found;
            noise[i] += above[i];
        }
    }
#pragma GCC ivdep
    for (int64_t i = 0; i < size; ++i) noise[i] /= count[i] > 1 ? count[i] : 1;
}

/* The entries, for a noise within a range around its mean. */
static void NAME(entries)(const DESCRIPTOR *d, int64_t pairs, int64_t size, REAL mean) {
    const REAL lowest = mean * (REAL)LEAST_NOISE, highest = mean * (REAL)MOST_NOISE;
    REAL *restrict over = d->over;
#pragma GCC ivdep
    for (int64_t i = 0; i < size; ++i) {
        REAL noise = d->noise[i];
        noise = noise < lowest ? lowest : noise;
        noise = noise > highest ? highest : noise;
        noise = noise < TINY ? TINY : noise;
        over[i] = 1 / (mean == mean ? noise : mean);
    }
    for (int64_t k = 0; k < pairs; ++k) {
        const REAL *restrict above = d->above + k * size;
        REAL *restrict entry = d->entry + k * size;
#pragma GCC ivdep
        for (int64_t i = 0; i < size; ++i) entry[i] = EXP(-above[i] * over[i]);
    }
}

/* The mean penalty of the differences of the entries of two images. */
static void NAME(penalties)(const DESCRIPTOR *x, const DESCRIPTOR *y, int64_t pairs, int64_t size,
                            int absolute, REAL *restrict value) {
#pragma GCC ivdep
    for (int64_t i = 0; i < size; ++i) value[i] = 0;
    for (int64_t k = 0; k < pairs; ++k) {
        const REAL *restrict one = x->entry + k * size, *restrict two = y->entry + k * size;
#pragma GCC ivdep
        for (int64_t i = 0; i < size; ++i) {
            const REAL difference = one[i] - two[i];
            value[i] += absolute ? ABS(difference) : difference * difference;
        }
    }
#pragma GCC ivdep
    for (int64_t i = 0; i < size; ++i) value[i] /= x->count[i] > 1 ? x->count[i] : 1;
}

/* The slopes of the values in the distances of x, by pair over its `above`, for upstream gradients. A least
 * distance that several pairs have shares its slope among them. */
static void NAME(distance_slopes)(const DESCRIPTOR *x, const DESCRIPTOR *y, int64_t pairs, int64_t size,
                                  int absolute, REAL mean, const REAL *restrict upstream,
                                  REAL *restrict spare) {
    const REAL lowest = mean * (REAL)LEAST_NOISE, highest = mean * (REAL)MOST_NOISE;
    REAL *restrict shared = spare, *restrict ties = spare + size, *restrict total = x->least;
#pragma GCC ivdep
    for (int64_t i = 0; i < size; ++i) shared[i] = ties[i] = total[i] = 0;
    for (int64_t k = 0; k < pairs; ++k) {
        const REAL *restrict above = x->above + k * size, *restrict two = y->entry + k * size;
        const REAL *restrict over = x->over, *restrict count = x->count, *restrict distance = x->distance[k];
        REAL *restrict entry = x->entry + k * size;
#pragma GCC ivdep
        for (int64_t i = 0; i < size; ++i) {
            const REAL difference = entry[i] - two[i], sign = difference > 0   ? 1
                                                              : difference < 0 ? -1
                                                                               : difference;
            const REAL g = upstream[i] / (count[i] > 1 ? count[i] : 1) * (absolute ? sign : 2 * difference);
            const REAL steep = g * entry[i] * over[i],
                       slope = over[i] >= 1 / TINY ? 0 : steep; /* nothing varies */
            entry[i] = -slope; /* in what is above the least, at a fixed noise */
            shared[i] += slope * above[i] * over[i];
            const REAL there = distance[i] < 0 ? 0 : 1;
            ties[i] += above[i] > 0 ? 0 : there;
        }
    }
#pragma GCC ivdep
    for (int64_t i = 0; i < size; ++i) { /* the noise is the mean of what is above, where it is free */
        const REAL noise = x->noise[i];
        REAL free = shared[i] / (x->count[i] > 1 ? x->count[i] : 1);
        free = noise < lowest ? 0 : free;
        free = noise > highest ? 0 : free;
        shared[i] = noise < TINY ? 0 : free;
        ties[i] = ties[i] > 1 ? ties[i] : 1;
    }
    for (int64_t k = 0; k < pairs; ++k) {
        const REAL *restrict entry = x->entry + k * size, *restrict distance = x->distance[k];
#pragma GCC ivdep
        for (int64_t i = 0; i < size; ++i) total[i] += distance[i] < 0 ? 0 : entry[i] + shared[i];
    }
    for (int64_t k = 0; k < pairs; ++k) {
        const REAL *restrict entry = x->entry + k * size, *restrict distance = x->distance[k];
        REAL *restrict above = x->above + k * size;
#pragma GCC ivdep
        for (int64_t i = 0; i < size; ++i) {
            const REAL lost = above[i] > 0 ? 0 : total[i] / ties[i], slope = entry[i] + shared[i] - lost;
            above[i] = distance[i] < 0 ? 0 : slope;
        }
    }
}
