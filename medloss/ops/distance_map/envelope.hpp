/* The lower envelope of parabolas along each axis in turn, in time linear in the voxels (Felzenszwalb and Huttenlocher,
 * Distance transforms of sampled functions, 2012).
 *
 * Axes go from the last to the first, and the first candidate of a line wins among equals: it is the source of the
 * lowest index. */
#include "../ordered_sums.hpp"
#include "../vector.hpp"

namespace {

/* The last axis, whose values are sources or not: the nearer of the last source before and the first behind. */
inline void scan_line(const uint8_t *sources, int64_t size, double square, int64_t base, double *squared,
                      int64_t *nearest) {
    int64_t last = -1;
    for (int64_t i = 0; i < size; ++i) {
        if (sources[i]) last = i;
        squared[i] = last < 0 ? INFINITY : square * (double)((i - last) * (i - last));
        if (nearest) nearest[i] = last < 0 ? -1 : base + last;
    }
    last = -1;
    for (int64_t i = size - 1; i >= 0; --i) {
        if (sources[i]) last = i;
        if (last < 0) continue;
        const double found = square * (double)((last - i) * (last - i));
        if (found < squared[i]) {
            squared[i] = found;
            if (nearest) nearest[i] = base + last;
        }
    }
}

/* Scratch of one thread: lines across the memory as they were, some side by side, and the envelope's parabolas with
 * their left ends. */
struct Lines {
    enum { COLUMNS = 8 }; /* a cache line holds eight doubles */

    int64_t size;
    double *value = nullptr, *left = nullptr;
    int64_t *index = nullptr, *apex = nullptr;

    int take() {
        value = room<double>((COLUMNS + 1) * size);
        index = room<int64_t>((COLUMNS + 1) * size);
        left = value + COLUMNS * size;
        apex = index + COLUMNS * size;
        return !value || !index;
    }

    void give() {
        free(value);
        free(index);
    }

    /* Lines across the memory, copied out and written back. */
    void across(double *squared, int64_t *nearest, int64_t stride, int64_t columns, double square) {
        for (int64_t i = 0; i < size; ++i)
            for (int64_t c = 0; c < columns; ++c) {
                value[c * size + i] = squared[i * stride + c];
                if (nearest) index[c * size + i] = nearest[i * stride + c];
            }
        for (int64_t c = 0; c < columns; ++c)
            envelope(value + c * size, index + c * size, square, squared + c, nearest ? nearest + c : nullptr, stride);
    }

    /* One line of values: the envelope of values[j] + square (x - j)^2, read at every x, into a line of some stride. */
    void envelope(const double *values, const int64_t *indices, double square, double *squared, int64_t *nearest,
                  int64_t stride) const {
        int64_t count = 0;
        for (int64_t j = 0; j < size; ++j) {
            if (values[j] == INFINITY) continue;
            double meeting = -INFINITY;
            while (count) {
                const int64_t k = apex[count - 1];
                const double rise = (values[j] + square * (double)(j * j)) - (values[k] + square * (double)(k * k));
                meeting = rise / (2 * square * (double)(j - k));
                if (meeting > left[count - 1]) break;
                meeting = -INFINITY;
                --count;
            }
            apex[count] = j;
            left[count++] = meeting;
        }
        if (!count) return; /* no source on the line: it stays infinite */
        for (int64_t x = 0, k = 0; x < size; ++x) {
            while (k + 1 < count && left[k + 1] < (double)x) ++k;
            const int64_t j = apex[k];
            squared[x * stride] = values[j] + square * (double)((x - j) * (x - j));
            if (nearest) nearest[x * stride] = indices[j];
        }
    }
};

/* One volume: squares of distances (infinite without a source), and the index of the nearest source where asked for. */
inline int transform(const uint8_t *sources, const int64_t *sizes, const double *steps, double *squared,
                     int64_t *nearest, int threads) {
    const int64_t last = sizes[2];
    int failed = 0;
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t line = 0; line < sizes[0] * sizes[1]; ++line)
        scan_line(sources + line * last, last, steps[2] * steps[2], line * last, squared + line * last,
                  nearest ? nearest + line * last : nullptr);
    for (int axis = 1; axis >= 0; --axis) {
        const int64_t size = sizes[axis], stride = axis ? last : sizes[1] * last, outer = axis ? sizes[0] : 1;
        const int64_t blocks = (stride + Lines::COLUMNS - 1) / Lines::COLUMNS;
        if (size == 1) continue;
        failed |= share_out(outer * blocks, threads, Lines{size}, [=](Lines *lines, int64_t at) {
            const int64_t first = at % blocks * Lines::COLUMNS, start = at / blocks * size * stride + first;
            lines->across(squared + start, nearest ? nearest + start : nullptr, stride,
                          least(stride - first, Lines::COLUMNS), steps[axis] * steps[axis]);
        });
    }
    return failed;
}

} // namespace
