/* mind on the CPU: how unlike the self-similarity descriptors of two images are, and the gradient in the
 * first.
 *
 * Nothing of the size of the volume is made but the result. Distances of patches are kept in a ring of the
 * planes that a voxel's neighbours lie in (distances.h); the descriptors of a row of voxels are formed,
 * compared and forgotten (descriptors.h); the gradient has two rings more (adjoint.h). The mean noise takes a
 * pass of its own.
 */
#ifndef REAL

#include "patches.h"

/* least and largest noise of a voxel over the mean, as in reference.py */
#define LEAST_NOISE 1e-3
#define MOST_NOISE 1e3

#define NAME(stem) MEDLOSS_PASTE(stem, SUFFIX, MEDLOSS_LEVEL)
#define PAIR NAME(Pair)
#define VECTOR NAME(Vector)
#define DISTANCES NAME(Distances)
#define DESCRIPTOR NAME(Descriptor)
#define ADJOINT NAME(Adjoint)
#define SCRATCH NAME(Scratch)
#define TASK NAME(Task)

#define REAL float
#define SUFFIX f32
#define EXP exp_f32
#define ABS fabsf
#define TINY 1.1754943508222875e-38f
#include "cpu_kernel.c"
#undef REAL
#undef SUFFIX
#undef EXP
#undef ABS
#undef TINY
#undef LANES
#define REAL double
#define SUFFIX f64
#define EXP exp_f64
#define ABS fabs
#define TINY 2.2250738585072014e-308
#include "cpu_kernel.c"

#else

#include "distances.h"

#include "descriptors.h"

#include "adjoint.h"

#include "sweep.h"

/* The mean noise of both images of a volume, from the sums of its planes. */
static void NAME(mean_noise)(TASK *task, const double *noise, int64_t depth) {
    double total[3] = {0};
    for (int64_t z = 0; z < depth; ++z)
        for (int i = 0; i < 3; ++i) total[i] += noise[3 * z + i];
    for (int i = 0; i < 2; ++i) task->mean[i] = (REAL)(total[i] / (total[2] > 0 ? total[2] : 1));
}

/* Values as a `map` or as the `sums` of each volume; the gradient `out` for an upstream map `grad` or,
 * without one, `all` for each volume. `shared`: volumes that have one weight. `told`: see patches.h. */
MEDLOSS_EXPORT int NAME(mind)(const REAL *x, const REAL *y, const REAL *weight, int64_t volumes,
                              int64_t shared, int64_t depth, int64_t height, int64_t width,
                              const int64_t *told, int64_t steps, int64_t pairs, int64_t absolute, REAL *map,
                              double *sums, const REAL *grad, const REAL *all, REAL *out, int threads) {
    const int64_t size[3] = {depth, height, width}, voxels = depth * height * width;
    int64_t runs = (threads + volumes - 1) / volumes;
    runs = runs < depth / 8 ? runs : depth / 8 > 1 ? depth / 8 : 1;
    Patches patches;
    double *noise = calloc((size_t)(volumes * depth) * 4, sizeof(double)),
           *values = noise + 3 * volumes * depth;
    int failed = patches_alloc(&patches, size, told, steps, pairs) || !noise;
    if (out) prefer_huge_pages(out, sizeof(REAL) * (size_t)(volumes * voxels));
    if (!failed) {
#pragma omp parallel num_threads(threads) reduction(| : failed)
        {
            SCRATCH scratch;
            failed |= NAME(scratch_alloc)(&scratch, &patches, weight != NULL, out != NULL);
            for (int pass = 0; pass < 2; ++pass) {
#pragma omp for collapse(2) schedule(dynamic)
                for (int64_t v = 0; v < volumes; ++v)
                    for (int64_t run = 0; run < runs; ++run) {
                        if (failed) continue;
                        const PAIR pair = {{x + v * voxels, y + v * voxels},
                                           weight ? weight + v / shared * voxels : NULL};
                        TASK task = {.patches = &patches, .pair = &pair, .scratch = &scratch};
                        task.absolute = (int)absolute;
                        if (pass == 0) {
                            task.noise = noise + 3 * v * depth;
                        } else {
                            NAME(mean_noise)(&task, noise + 3 * v * depth, depth);
                            task.map = map ? map + v * voxels : NULL;
                            task.sums = sums ? values + v * depth : NULL;
                            task.grad = grad ? grad + v * voxels : NULL;
                            task.all = all ? all[v] : 0;
                            task.out = out ? out + v * voxels : NULL;
                        }
                        const int64_t low = depth * run / runs, high = depth * (run + 1) / runs;
                        if (pass && out) NAME(backward_planes)(&task, low, high);
                        else NAME(forward_planes)(&task, low, high);
                    }
            }
            NAME(scratch_free)(&scratch);
        }
    }
    for (int64_t v = 0; sums && v < volumes && !failed; ++v) {
        sums[v] = 0;
        for (int64_t z = 0; z < depth; ++z) sums[v] += values[v * depth + z];
    }
    patches_free(&patches);
    free(noise);
    return failed;
}

#endif
