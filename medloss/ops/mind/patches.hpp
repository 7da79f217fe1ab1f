/* Which patches are compared: the pairs of neighbours, and the steps from one to the other. Axes are z, y, x. */
#ifndef MEDLOSS_PATCHES_HPP
#define MEDLOSS_PATCHES_HPP

#include "../vector.hpp"

namespace {

enum { MOST_PAIRS = 12, MOST_STEPS = 6 };
enum { FEW = 64 }; /* voxels that are looked at together */

struct Patches {
    int64_t steps, pairs;
    int64_t size[3], radius[3], reach[3]; /* reach: how far the neighbours lie, and so the patches' centres */
    int64_t wide[3];                      /* centres along an axis: from -reach up to size + reach */
    int64_t step_of[MOST_PAIRS], from[MOST_PAIRS][3]; /* a pair's step, and where it starts from the voxel */
    int64_t step[MOST_STEPS][3];
    double *count[MOST_STEPS][3]; /* voxels along an axis that the patch around each centre compares */
    double *counts = nullptr;

    /* `told`: radius and reach of the axes; the steps; each pair's step and start. */
    Patches(const int64_t *voxels, const int64_t *told, int64_t all_steps, int64_t all_pairs)
        : steps(all_steps), pairs(all_pairs) {
        for (int a = 0; a < 3; ++a) {
            size[a] = voxels[a];
            radius[a] = *told++;
            reach[a] = *told++;
            wide[a] = size[a] + 2 * reach[a];
        }
        for (int64_t s = 0; s < steps; ++s)
            for (int a = 0; a < 3; ++a) step[s][a] = *told++;
        for (int64_t k = 0; k < pairs; ++k) {
            step_of[k] = *told++;
            for (int a = 0; a < 3; ++a) from[k][a] = *told++;
        }
    }

    int take() {
        double *to = counts = cleared<double>(steps * (wide[0] + wide[1] + wide[2]));
        for (int64_t s = 0; to && s < steps; ++s)
            for (int a = 0; a < 3; to += wide[a++]) {
                count[s][a] = to;
                for (int64_t i = 0; i < wide[a]; ++i)
                    for (int64_t o = -radius[a]; o <= radius[a]; ++o) {
                        const int64_t at = i - reach[a] + o, other = at + step[s][a];
                        if (at >= 0 && at < size[a] && other >= 0 && other < size[a]) to[i] += 1;
                    }
            }
        return !to;
    }
    void give() { free(counts); }

    int64_t area() const { return size[1] * size[2]; }
    /* Where the voxel a step away lies. */
    int64_t away(int64_t s) const { return (step[s][0] * size[1] + step[s][1]) * size[2] + step[s][2]; }
};

/* Two volumes, and what weighs them (or null). */
template <typename Real>
struct Images {
    const Real *image[2], *weight;
};

} // namespace

#endif
