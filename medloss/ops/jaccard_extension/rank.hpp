/* Ranks of one row of errors by a radix sort, and what each voxel adds to the Jaccard loss in that order.
 *
 * An entry of a row is an error's key, 31 bits that order as the errors do, above the bit of its membership;
 * an entry of ones is a voxel that does not count. Keys of errors within [0, 1] are sorted by their first 22
 * bits, a resolution of 2.4e-7 beside the 1.2e-7 to which a probability in float rounds, in two passes;
 * others are a float's own bits, sorted whole, in three.
 */
namespace {

enum { DIGIT = 11, RADIX = 1 << DIGIT, MOST_PASSES = 3 };
const uint32_t DROPPED = 0xffffffffu, NOT_A_NUMBER = 0x7ffffffeu;

typedef uint32_t __attribute__((may_alias)) entry_t; /* a row of entries becomes one of floats in place */
typedef float __attribute__((may_alias)) step_t;

inline uint32_t key_of(float error, int unit) {
    union {
        float f;
        uint32_t i;
    } bits = {.f = error};
    const float scaled = error < 0.9999999f ? error * 2147483648.0f : 2147483392.0f;
    const uint32_t key = unit ? (uint32_t)(int32_t)scaled : bits.i;
    return error == error ? key : NOT_A_NUMBER;
}

inline float error_of(uint32_t key, int unit) {
    union {
        uint32_t i;
        float f;
    } bits = {.i = key == NOT_A_NUMBER ? 0x7fc00000u : key};
    return unit && key != NOT_A_NUMBER ? (float)key * 4.656612873077393e-10f : bits.f;
}

/* One row: the same class in all samples of a group. */
struct Row {
    entry_t *entries; /* of its first sample; the next sample's lie `pitch` on */
    int64_t samples, voxels, pitch;
    const float *mask;    /* weights, samples x voxels, or nullptr where all are 1 */
    const float *members; /* memberships, or nullptr where the entries tell; `pitch` apart */
    int unit;
};

inline float weight_of(const Row *row, int64_t at) { return row->mask ? row->mask[at] : 1; }

inline float member_of(const Row *row, int64_t at, uint32_t entry) {
    if (!row->members) return (float)(entry & 1);
    return row->members[at / row->voxels * row->pitch + at % row->voxels];
}

/* Where each digit's voxels begin in each pass, and the masses of the class and of all voxels. Returns the
 * voxels. */
inline int64_t count_digits(const Row *row, int passes, int shift, uint32_t (*starts)[RADIX], double *hits,
                            double *mass) {
    int64_t counted = 0;
    double inside = 0, all = 0;
    memset(starts, 0, sizeof(uint32_t) * RADIX * (size_t)passes);
    for (int64_t s = 0; s < row->samples; ++s)
        for (int64_t i = 0; i < row->voxels; ++i) {
            const uint32_t entry = row->entries[s * row->pitch + i], digits = ~entry >> shift;
            if (entry == DROPPED) continue;
            const int64_t at = s * row->voxels + i;
            const double w = weight_of(row, at);
            inside += w * member_of(row, at, entry);
            all += w;
            ++counted;
            for (int p = 0; p < passes; ++p) ++starts[p][digits >> p * DIGIT & (RADIX - 1)];
        }
    for (int p = 0; p < passes; ++p)
        for (uint32_t digit = 0, sum = 0; digit < RADIX; ++digit) {
            const uint32_t here = starts[p][digit];
            starts[p][digit] = sum;
            sum += here;
        }
    *hits = inside;
    *mass = all;
    return counted;
}

/* Items of complemented entry and place, largest error first, ties as they lie. Two buffers of a row's
 * voxels. */
const uint64_t *sort_row(const Row *row, int64_t counted, int passes, int shift, uint32_t (*starts)[RADIX],
                         uint64_t *one, uint64_t *two) {
    for (int64_t s = 0; s < row->samples; ++s)
        for (int64_t i = 0; i < row->voxels; ++i) {
            const uint32_t entry = row->entries[s * row->pitch + i];
            if (entry == DROPPED) continue;
            const uint64_t place = (uint64_t)(s * row->voxels + i);
            one[starts[0][~entry >> shift & (RADIX - 1)]++] = (uint64_t)~entry << 32 | place;
        }
    for (int p = 1; p < passes; ++p) {
        for (int64_t k = 0; k < counted; ++k)
            two[starts[p][one[k] >> (32 + shift + p * DIGIT) & (RADIX - 1)]++] = one[k];
        uint64_t *swap = one;
        one = two;
        two = swap;
    }
    return one;
}

/* The extension of one row, or, where asked for, the step of each voxel in place of its entry (anything where it
 * does not count). A step is written as one quotient: the difference of two Jaccard losses would have no digits left.
 */
inline void rank_any(const Row *row, uint64_t *scratch, double *out, int with_steps) {
    uint32_t starts[MOST_PASSES][RADIX];
    const int passes = row->unit ? 2 : 3, shift = row->unit ? 10 : 1;
    double hits, mass, value = 0, gone = 0, beyond = 0;
    step_t *steps = (step_t *)row->entries;
    const int64_t counted = count_digits(row, passes, shift, starts, &hits, &mass);
    const uint64_t *items =
        sort_row(row, counted, passes, shift, starts, scratch, scratch + row->samples * row->voxels);
    for (int64_t k = 0; k < counted; ++k) {
        const uint32_t entry = ~(uint32_t)(items[k] >> 32);
        const int64_t at = (int64_t)(items[k] & 0xffffffffu);
        const double w = weight_of(row, at), t = member_of(row, at, entry), before = hits + beyond;
        gone += w * t;
        beyond += w * (1 - t);
        const double overlap = hits > gone ? hits - gone : 0, after = hits + beyond;
        double step = (w * t + w * (1 - t) * (overlap / after)) / before;
        if (!(before > 0)) step = after > 0 ? 1 : 0;
        value += step * error_of(entry >> 1, row->unit);
        if (with_steps) steps[at / row->voxels * row->pitch + at % row->voxels] = (float)step;
    }
    out[0] = value;
    out[1] = hits;
    out[2] = mass;
}

/* The same for the common row: hard labels within [0, 1] of one sample, all of one weight. Its items have 32
 * bits: the entry itself where no step is asked for, else the digit of the pass to come, the place and the
 * membership. They go from the row to the scratch and, sorted, back; the steps to the scratch and back. */
enum { LOW = 12, HIGH = 10, PLACE = 21, SHIFT = 10 };

inline int is_plain(const Row *row) {
    const int few = row->samples == 1 && row->voxels <= (int64_t)1 << PLACE;
    return few && row->unit && !row->mask && !row->members;
}

inline uint32_t low_of(uint32_t entry) { return ~entry >> SHIFT & ((1u << LOW) - 1); }
inline uint32_t high_of(uint32_t entry) { return ~entry >> (SHIFT + LOW); }

inline void add_up(uint32_t *counts, uint32_t length) {
    for (uint32_t digit = 0, sum = 0; digit < length; ++digit) {
        const uint32_t here = counts[digit];
        counts[digit] = sum;
        sum += here;
    }
}

/* Voxels of the class; fills where each digit's voxels begin. */
inline int64_t count_plain(const Row *row, uint32_t *low, uint32_t *high, int64_t *counted) {
    const entry_t *__restrict entries = row->entries;
    int64_t inside = 0, dropped = 0;
    memset(low, 0, sizeof(uint32_t) << LOW);
    memset(high, 0, sizeof(uint32_t) << HIGH);
    for (int64_t i = 0; i < row->voxels; ++i) {
        inside += entries[i] & 1;
        dropped += entries[i] == DROPPED;
        ++low[low_of(entries[i])];
        ++high[high_of(entries[i])];
    }
    low[low_of(DROPPED)] -= (uint32_t)dropped;
    high[high_of(DROPPED)] -= (uint32_t)dropped;
    add_up(low, 1u << LOW);
    add_up(high, 1u << HIGH);
    *counted = row->voxels - dropped;
    return inside - dropped;
}

inline void sort_plain(const Row *row, int64_t counted, uint32_t *low, uint32_t *high, uint32_t *__restrict scratch,
                       int with_steps) {
    entry_t *__restrict entries = row->entries;
    for (int64_t i = 0; i < row->voxels; ++i) {
        const uint32_t entry = entries[i];
        if (entry == DROPPED) continue;
        const uint32_t item = high_of(entry) << (PLACE + 1) | (uint32_t)i << 1 | (entry & 1);
        scratch[low[low_of(entry)]++] = with_steps ? item : entry;
    }
    if (with_steps)
        for (int64_t k = 0; k < counted; ++k) entries[high[scratch[k] >> (PLACE + 1)]++] = scratch[k];
    else
        for (int64_t k = 0; k < counted; ++k) entries[high[high_of(scratch[k])]++] = scratch[k];
}

inline void rank_plain(const Row *row, uint32_t *scratch, double *out, int with_steps) {
    uint32_t low[1 << LOW], high[1 << HIGH];
    const entry_t *items = row->entries;
    const uint32_t places = ((uint32_t)1 << PLACE) - 1;
    step_t *steps = (step_t *)scratch;
    int64_t counted;
    const double hits = (double)count_plain(row, low, high, &counted);
    double value = 0, overlap = hits, before = hits;
    sort_plain(row, counted, low, high, scratch, with_steps);
    for (int64_t k = 0; k < counted; ++k) {
        const double inside = (double)(items[k] & 1), after = before + 1 - inside;
        overlap -= inside;
        /* one of the class: 1 / before; another: overlap / (before after), or 1 for an empty class's first */
        const double step = before > 0 ? (inside > 0 ? after : overlap) / (before * after) : 1;
        before = after;
        if (with_steps)
            steps[items[k] >> 1 & places] = (float)step;
        else
            value += step * error_of(items[k] >> 1, 1);
    }
    if (with_steps) memcpy(row->entries, scratch, sizeof(uint32_t) * (size_t)row->voxels);
    out[0] = value;
    out[1] = hits;
    out[2] = (double)counted;
}

inline void rank_row(const Row *row, void *scratch, double *out, int with_steps) {
    if (is_plain(row))
        rank_plain(row, (uint32_t *)scratch, out, with_steps);
    else
        rank_any(row, (uint64_t *)scratch, out, with_steps);
}

/* Bytes of scratch that a row takes. */
inline size_t rank_scratch(const Row *row) {
    return (size_t)(row->samples * row->voxels) * (is_plain(row) ? sizeof(uint32_t) : 2 * sizeof(uint64_t));
}

} // namespace
