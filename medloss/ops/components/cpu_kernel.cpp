/* components on the CPU: union and find over the neighbours that come before each voxel, then one sweep for numbers.
 *
 * A parent is a voxel of the same component and of a lower index, or the voxel itself: the root of a component is its
 * first voxel, so that numbering roots as they come gives the order of first voxels. One volume is one thread's work.
 */
#include "../native.hpp"

namespace {

enum { MOST_NEIGHBOURS = 13 };

inline int64_t find(int64_t *parent, int64_t i) {
    while (parent[i] != i) {
        parent[i] = parent[parent[i]];
        i = parent[i];
    }
    return i;
}

/* The steps to neighbours of lower index, along at most `connectivity` axes at once. */
inline int steps_before(int64_t connectivity, int (*steps)[3]) {
    int count = 0;
    for (int code = 0; code < MOST_NEIGHBOURS; ++code) { /* the first half of the 27 steps in the order of indices */
        const int step[3] = {code / 9 - 1, code / 3 % 3 - 1, code % 3 - 1};
        if (abs(step[0]) + abs(step[1]) + abs(step[2]) > connectivity) continue;
        memcpy(steps[count++], step, sizeof step);
    }
    return count;
}

inline void number(const uint8_t *mask, const int64_t *sizes, const int (*steps)[3], int count, int64_t *labels) {
    const int64_t voxels = sizes[0] * sizes[1] * sizes[2];
    int64_t i = 0, found = 0;
    for (int64_t x = 0; x < sizes[0]; ++x)
        for (int64_t y = 0; y < sizes[1]; ++y)
            for (int64_t z = 0; z < sizes[2]; ++z, ++i) {
                if (!mask[i]) continue;
                int64_t root = labels[i] = i;
                for (int k = 0; k < count; ++k) {
                    const int64_t u = x + steps[k][0], v = y + steps[k][1], w = z + steps[k][2];
                    if (u < 0 || v < 0 || w < 0 || v >= sizes[1] || w >= sizes[2]) continue;
                    const int64_t j = (u * sizes[1] + v) * sizes[2] + w;
                    if (!mask[j]) continue;
                    const int64_t other = find(labels, j);
                    if (other < root) {
                        labels[root] = other;
                        root = other;
                    } else {
                        labels[other] = root;
                    }
                }
                labels[i] = root;
            }
    for (i = 0; i < voxels; ++i) /* what comes before i is numbered by now, and so is its parent */
        labels[i] = !mask[i] ? 0 : labels[i] == i ? ++found : labels[labels[i]];
}

inline int number_all(const uint8_t *mask, int64_t volumes, const int64_t (&sizes)[3], int64_t connectivity,
                      int64_t *labels, int threads) {
    const int64_t voxels = sizes[0] * sizes[1] * sizes[2];
    int steps[MOST_NEIGHBOURS][3];
    const int count = steps_before(connectivity, steps);
#pragma omp parallel for num_threads(threads) schedule(dynamic)
    for (int64_t v = 0; v < volumes; ++v) number(mask + v * voxels, sizes, steps, count, labels + v * voxels);
    return 0;
}

} // namespace

MEDLOSS_ENTRY_OF(components, f32,
                 (const uint8_t *mask, int64_t volumes, int64_t size0, int64_t size1, int64_t size2,
                  int64_t connectivity, int64_t *labels, int threads),
                 return number_all(mask, volumes, {size0, size1, size2}, connectivity, labels, threads);)
