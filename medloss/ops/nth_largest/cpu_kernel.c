/* nth_largest on the CPU: the digits of the n-th largest value of each row, the leading ones first.
 *
 * A number's bits, with those of the negative ones turned round, are in the order of the numbers. A sweep counts
 * the values by their next digit, among those that share the digits found so far; so there are three sweeps for a
 * float, and six for a double. Rows are shared out among the threads, or the values of each where there are fewer rows:
 * counts are whole numbers, and the same in any order.
 */
#ifndef REAL

#include "../native.h"

enum { DIGIT = 11, BINS = 1 << DIGIT };

#define REAL float
#define BITS uint32_t
#define SUFFIX f32
#include "cpu_kernel.c"
#undef REAL
#undef BITS
#undef SUFFIX
#define REAL double
#define BITS uint64_t
#define SUFFIX f64
#include "cpu_kernel.c"

#else

#define NAME(stem) MEDLOSS_PASTE(stem, SUFFIX, MEDLOSS_LEVEL)
#define SIGN ((BITS)1 << (8 * sizeof(BITS) - 1))

/* The value's place in the order; a NaN is above all. */
static inline BITS NAME(key)(REAL x) {
    union { REAL x; BITS u; } bits = {.x = x};
    const BITS key = bits.u & SIGN ? (BITS)~bits.u : bits.u | SIGN;
    return x == x ? key : (BITS)-1;
}

static REAL NAME(value)(BITS key) {
    union { REAL x; BITS u; } bits = {.u = key & SIGN ? key & ~SIGN : (BITS)~key};
    return key == (BITS)-1 ? (REAL)NAN : bits.x;
}

static REAL NAME(select)(const REAL *values, const uint8_t *counted, int64_t length, int64_t n, int threads) {
    const int width = 8 * (int)sizeof(BITS);
    BITS found = 0, known = 0; /* the digits so far, and which bits they are */
    int64_t left = n < 1 ? 1 : n;
    for (int end = width; end > 0;) {
        const int start = end > DIGIT ? end - DIGIT : 0;
        const BITS digits = ((BITS)1 << (end - start)) - 1;
        int64_t count[BINS] = {0};
#pragma omp parallel for schedule(static) num_threads(threads) if (threads > 1) reduction(+ : count[ : BINS])
        for (int64_t i = 0; i < length; ++i) {
            const BITS key = NAME(key)(values[i]);
            if (counted[i] && (key & known) == found) ++count[key >> start & digits];
        }
        int64_t digit = (int64_t)digits;
        while (digit >= 0 && left > count[digit]) left -= count[digit--];
        if (digit < 0) return -(REAL)INFINITY; /* fewer than n count */
        found |= (BITS)digit << start;
        known |= digits << start;
        end = start;
    }
    return NAME(value)(found);
}

MEDLOSS_EXPORT int NAME(nth_largest)(const REAL *values, const uint8_t *counted, const int64_t *n, int64_t rows,
                                     int64_t length, REAL *found, int threads) {
    const int within = rows < threads ? threads : 1;
#pragma omp parallel for schedule(static) num_threads(threads) if (within == 1)
    for (int64_t r = 0; r < rows; ++r)
        found[r] = NAME(select)(values + r * length, counted + r * length, length, n[r], within);
    return 0;
}

#undef SIGN
#undef NAME
#endif
