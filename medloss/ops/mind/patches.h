/* Which patches are compared: the pairs of neighbours, and the steps from one to the other. Axes are z, y, x.
 */
#ifndef MEDLOSS_PATCHES_H
#define MEDLOSS_PATCHES_H

#include "../native.h"

enum { MOST_PAIRS = 12, MOST_STEPS = 6 };
enum { FEW = 64 }; /* voxels that are looked at together */

typedef struct {
    int64_t size[3], radius[3], reach[3]; /* reach: how far the neighbours lie, and so the patches' centres */
    int64_t wide[3];                      /* centres along an axis: from -reach up to size + reach */
    int64_t pairs, steps;
    int64_t step_of[MOST_PAIRS], from[MOST_PAIRS][3]; /* a pair's step, and where it starts from the voxel */
    int64_t step[MOST_STEPS][3];
    double *count[MOST_STEPS][3]; /* voxels along an axis that the patch around each centre compares */
} Patches;

static void patches_free(Patches *p) {
    for (int64_t s = 0; s < p->steps; ++s)
        for (int a = 0; a < 3; ++a) free(p->count[s][a]);
}

/* `told`: radius and reach of the axes; the steps; each pair's step and start. */
static int patches_alloc(Patches *p, const int64_t *size, const int64_t *told, int64_t steps, int64_t pairs) {
    memset(p, 0, sizeof *p);
    p->steps = steps;
    p->pairs = pairs;
    for (int a = 0; a < 3; ++a) {
        p->size[a] = size[a];
        p->radius[a] = *told++;
        p->reach[a] = *told++;
        p->wide[a] = size[a] + 2 * p->reach[a];
    }
    for (int64_t s = 0; s < steps; ++s)
        for (int a = 0; a < 3; ++a) p->step[s][a] = *told++;
    for (int64_t k = 0; k < pairs; ++k) {
        p->step_of[k] = *told++;
        for (int a = 0; a < 3; ++a) p->from[k][a] = *told++;
    }
    for (int64_t s = 0; s < steps; ++s)
        for (int a = 0; a < 3; ++a) {
            double *count = p->count[s][a] = calloc((size_t)p->wide[a], sizeof(double));
            if (!count) return 1;
            for (int64_t i = 0; i < p->wide[a]; ++i)
                for (int64_t o = -p->radius[a]; o <= p->radius[a]; ++o) {
                    const int64_t at = i - p->reach[a] + o, other = at + p->step[s][a];
                    if (at >= 0 && at < size[a] && other >= 0 && other < size[a]) count[i] += 1;
                }
        }
    return 0;
}

static inline int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }
static inline int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

#endif
