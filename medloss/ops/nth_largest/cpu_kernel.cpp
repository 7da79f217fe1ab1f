/* nth_largest on the CPU: the digits of the n-th largest value of each row, the leading ones first.
 *
 * A number's bits, with those of the negative ones turned round, are in the order of the numbers. A sweep counts
 * the values by their next digit, among those that share the digits found so far; so there are three sweeps for a
 * float, and six for a double. Rows are shared out among the threads, or the values of each where there are fewer rows:
 * counts are whole numbers, and the same in any order. */
#include "../vector.hpp"

namespace {

enum { DIGIT = 11, BINS = 1 << DIGIT };

template <typename Real>
struct BitsOf {
    using Type = uint64_t;
};
template <>
struct BitsOf<float> {
    using Type = uint32_t;
};

/* Numbers as what their order is read from. */
template <typename Real>
struct Key {
    using Bits = typename BitsOf<Real>::Type;
    static constexpr int WIDTH = 8 * sizeof(Bits);
    static constexpr Bits SIGN = (Bits)1 << (WIDTH - 1);

    /* The value's place in the order; a NaN is above all. */
    static Bits of(Real x) {
        Bits bits;
        memcpy(&bits, &x, sizeof bits);
        return x == x ? (bits & SIGN ? (Bits)~bits : bits | SIGN) : (Bits)-1;
    }

    static Real value(Bits key) {
        const Bits bits = key & SIGN ? key & ~SIGN : (Bits)~key;
        Real x;
        memcpy(&x, &bits, sizeof x);
        return key == (Bits)-1 ? (Real)NAN : x;
    }
};

template <typename Real>
Real select(const Real *values, const uint8_t *counted, int64_t length, int64_t n, int threads) {
    using Bits = typename Key<Real>::Bits;
    Bits found = 0, known = 0; /* the digits so far, and which bits they are */
    int64_t left = most(n, 1);
    for (int end = Key<Real>::WIDTH; end > 0;) {
        const int start = end > DIGIT ? end - DIGIT : 0;
        const Bits digits = ((Bits)1 << (end - start)) - 1;
        int64_t count[BINS] = {0};
#pragma omp parallel for schedule(static) num_threads(threads) if (threads > 1) reduction(+ : count[ : BINS])
        for (int64_t i = 0; i < length; ++i) {
            const Bits key = Key<Real>::of(values[i]);
            if (counted[i] && (key & known) == found) ++count[key >> start & digits];
        }
        int64_t digit = (int64_t)digits;
        while (digit >= 0 && left > count[digit]) left -= count[digit--];
        if (digit < 0) return -(Real)INFINITY; /* fewer than n count */
        found |= (Bits)digit << start;
        known |= digits << start;
        end = start;
    }
    return Key<Real>::value(found);
}

template <typename Real>
int select_all(const Real *values, const uint8_t *counted, const int64_t *n, int64_t rows, int64_t length, Real *found,
               int threads) {
    const int within = rows < threads ? threads : 1;
#pragma omp parallel for schedule(static) num_threads(threads) if (within == 1)
    for (int64_t r = 0; r < rows; ++r)
        found[r] = select(values + r * length, counted + r * length, length, n[r], within);
    return 0;
}

} // namespace

MEDLOSS_ENTRY(nth_largest,
              (const Real *values, const uint8_t *counted, const int64_t *n, int64_t rows, int64_t length,
               Real *found, int threads),
              return select_all(values, counted, n, rows, length, found, threads);)
