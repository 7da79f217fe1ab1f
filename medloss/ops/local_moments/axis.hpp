/* One axis of a separable window: its weights, and what they hold of the volume. */
#include "../vector.hpp"

namespace {

enum { LONGEST = 255 }; /* weights of a window, as cpu.py says */
enum { GROUP = 4 };     /* windows that are summed together, and share what they have in common */

/* Places `low` up to `high` of a list. */
struct Span {
    int64_t low, high;
};

inline Span common(Span a, Span b) {
    const int64_t low = most(a.low, b.low);
    return {low, most(low, least(a.high, b.high))};
}

struct Axis {
    int64_t size, length, reach;
    Span all, counted; /* windows; those that count: all, or those that lie within the volume */
    int mirrored;      /* the volume goes on beyond its border, mirrored at the outermost voxels */
    int box;           /* all weights are alike */
    const double *window;
    double *inside = nullptr; /* the weight within the volume around each voxel */

    Axis(int64_t voxels, int64_t taps, const double *weights, int64_t skipped, int mirrors)
        : size(voxels), length(taps), reach(taps / 2), all{0, size}, counted{skipped, most(skipped, size - skipped)},
          mirrored(mirrors && taps > 1), box(taps >= 3), window(weights) {
        for (int64_t j = 1; j < length; ++j) box &= window[j] == window[0];
    }

    int take() {
        inside = cleared<double>(size);
        for (int64_t i = 0; inside && i < size; ++i)
            for (int64_t j = 0; j < length; ++j) {
                const int64_t at = i + j - reach;
                if (at >= 0 && at < size) inside[i] += window[j];
            }
        return !inside;
    }
    void give() { free(inside); }

    /* Of the entries that a group of windows from `first` on looks at, those that lie in `there`, or of a mirrored
     * axis those that some window looks at. */
    Span seen(int64_t first, Span there) const {
        const int64_t start = first - reach;
        if (mirrored) there = {-reach, size + reach};
        return common({0, length + GROUP - 1}, {there.low - start, there.high - start});
    }

    /* Where an entry beyond the border stands, which is as far within it. */
    int64_t place(int64_t at) const { return at < 0 ? -at : at < size ? at : 2 * (size - 1) - at; }

    /* The gradient through windows over a mirrored axis is that through the same windows, between a doubling of the
     * outermost entries, which have no image, and a halving. */
    int doubled(int64_t at) const { return mirrored && (at == 0 || at == size - 1) ? 2 : 1; }
};

/* Asks for the row that is needed next: the rows of a dozen planes are more streams than a processor sees
 * coming. */
template <typename Real>
inline void fetch(const Real *row, int64_t n) {
    for (int64_t i = 0; i < n; i += 64 / (int64_t)sizeof(Real)) __builtin_prefetch(row + i);
}

} // namespace
