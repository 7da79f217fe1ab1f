/* One axis of a separable window: its weights, and what they hold of the volume. */
#ifndef MEDLOSS_AXIS_H
#define MEDLOSS_AXIS_H

#include "../native.h"

enum { LONGEST = 255 }; /* weights of a window, as cpu.py says */
enum { GROUP = 4 };     /* windows that are summed together, and share what they have in common */

typedef struct {
    int64_t size, length, reach;
    int64_t low, high; /* the windows that count: all, or those that lie within the volume */
    int mirrored;      /* the volume goes on beyond its border, mirrored at the outermost voxels */
    int box;           /* all weights are alike */
    const double *window;
    double *inside; /* the weight within the volume around each voxel */
} Axis;

static int axis_alloc(Axis *axis, int64_t size, int64_t length, const double *window, int64_t skipped,
                      int mirrored) {
    *axis = (Axis){.size = size, .length = length, .reach = length / 2};
    axis->low = skipped;
    axis->high = size - skipped;
    axis->mirrored = mirrored && length > 1;
    axis->box = length >= 3;
    axis->window = window;
    axis->inside = malloc(sizeof(double) * (size_t)size);
    for (int64_t j = 1; j < length; ++j) axis->box &= window[j] == window[0];
    if (axis->high < axis->low) axis->high = axis->low;
    if (!axis->inside) return 1;
    for (int64_t i = 0; i < size; ++i) {
        axis->inside[i] = 0;
        for (int64_t j = 0; j < length; ++j) {
            int64_t at = i + j - length / 2;
            if (at >= 0 && at < size) axis->inside[i] += window[j];
        }
    }
    return 0;
}

/* Places `low` up to `high` of a list. */
typedef struct {
    int64_t low, high;
} Span;

static inline Span common(Span a, Span b) {
    Span both = {a.low > b.low ? a.low : b.low, a.high < b.high ? a.high : b.high};
    if (both.high < both.low) both.high = both.low;
    return both;
}

/* Of the entries that a group of windows from `first` on looks at, those that lie in `there`, or of a mirrored
 * axis those that some window looks at. */
static inline Span seen(const Axis *axis, int64_t first, Span there) {
    const int64_t start = first - axis->reach;
    if (axis->mirrored) there = (Span){-axis->reach, axis->size + axis->reach};
    return common((Span){0, axis->length + GROUP - 1}, (Span){there.low - start, there.high - start});
}

/* Where an entry beyond the border stands, which is as far within it. */
static inline int64_t mirror(const Axis *axis, int64_t at) {
    return at < 0 ? -at : at < axis->size ? at : 2 * (axis->size - 1) - at;
}

/* The gradient through windows over a mirrored axis is that through the same windows, between a doubling of the
 * outermost entries, which have no image, and a halving. */
static inline int doubled(const Axis *axis, int64_t at) {
    return axis->mirrored && (at == 0 || at == axis->size - 1) ? 2 : 1;
}

/* Asks for the row that is needed next: the rows of a dozen planes are more streams than a processor sees
 * coming. */
static inline void fetch(const void *start, size_t bytes) {
    for (size_t at = 0; at < bytes; at += 64) __builtin_prefetch((const char *)start + at);
}

#endif
