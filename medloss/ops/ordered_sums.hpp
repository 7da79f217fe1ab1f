/* Parts of volumes shared out among threads, and sums that are added in the order of the parts: no result depends on
 * the number of threads, nor on their timing. */
#ifndef MEDLOSS_ORDERED_SUMS_HPP
#define MEDLOSS_ORDERED_SUMS_HPP

#include "native.hpp"

namespace {

/* `body(work, part)` for each part. Each thread has scratch of its own, a copy of `like`, which has `take` (true where
 * there is no memory) and `give`. Returns whether there was none. */
template <typename Work, typename Body>
int share_out(int64_t parts, int threads, const Work &like, Body body) {
    int failed = 0;
    const int64_t taken = 1 + parts / (32 * threads); /* at once: to ask for the next waits for what is being written */
#pragma omp parallel num_threads(threads) reduction(| : failed)
    {
        Work work = like;
        failed |= work.take();
#pragma omp for schedule(dynamic, taken)
        for (int64_t part = 0; part < parts; ++part)
            if (!failed) body(&work, part);
        work.give();
    }
    return failed;
}

/* The same for parts that each give some numbers, `body(work, part, numbers)`; they come to `join(part, numbers)` in
 * order, unless a thread had no memory. */
template <typename Work, typename Body, typename Join>
int add_in_order(int64_t parts, int64_t width, int threads, const Work &like, Body body, Join join) {
    double *numbers = cleared<double>(parts * width);
    if (!numbers) return 1;
    const int failed =
        share_out(parts, threads, like, [&](Work *work, int64_t part) { body(work, part, numbers + part * width); });
    for (int64_t part = 0; part < parts && !failed; ++part) join(part, numbers + part * width);
    free(numbers);
    return failed;
}

/* A sum of rows in double, in eight parts. */
struct Sum {
    double part[8] = {0};

    template <typename Real>
    MEDLOSS_APART void add(const Real *row, int64_t n) {
        double own[8];
        int64_t x = 0;
        memcpy(own, part, sizeof own);
        for (; x + 8 <= n; x += 8)
            for (int i = 0; i < 8; ++i) own[i] += (double)row[x + i];
        memcpy(part, own, sizeof own);
        for (int i = 0; x + i < n; ++i) part[i] += (double)row[x + i];
    }

    double total() const {
        double sum = 0;
        for (int i = 0; i < 8; ++i) sum += part[i];
        return sum;
    }
};

template <typename Real>
double row_sum(const Real *row, int64_t n) {
    Sum sum;
    sum.add(row, n);
    return sum.total();
}

/* A row of scratch that begins at a line of the cache. */
template <typename Real>
struct Row {
    int64_t length;
    Real *first = nullptr;

    int take() { return !(first = lines<Real>(length)); }
    void give() { free(first); }
};

} // namespace

#endif
