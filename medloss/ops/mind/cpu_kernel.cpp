/* mind on the CPU: how unlike the self-similarity descriptors of two images are, and the gradient in the
 * first.
 *
 * Nothing of the size of the volume is made but the result. Distances of patches are kept in a ring of the
 * planes that a voxel's neighbours lie in (distances.hpp); the descriptors of a row of voxels are formed,
 * compared and forgotten (descriptors.hpp); the gradient has two rings more (adjoint.hpp). The mean noise takes a
 * pass of its own. */
#include "sweep.hpp"

namespace {

/* A task of volumes, which share weights `shared` at a time; `sums` and `all` are of volumes, too. */
template <typename Real>
struct Call {
    Task<Real> task;
    int64_t volumes, shared;
    double *sums;
    const Real *all;
};

/* The task of a volume, from the noise of its planes; that of the noise itself in the first `pass`. */
template <typename Real>
Task<Real> task_of(const Call<Real> &c, int pass, int64_t v, int64_t depth, int64_t voxels, double *noise,
                   double *sums) {
    Task<Real> t = c.task;
    for (const Real *&image : t.images.image) image += v * voxels;
    if (t.images.weight) t.images.weight += v / c.shared * voxels;
    t.map = pass && t.map ? t.map + v * voxels : nullptr;
    t.sums = pass && c.sums ? sums : nullptr;
    if (t.grad) t.grad += v * voxels;
    if (c.all) t.all = c.all[v];
    t.out = pass && t.out ? t.out + v * voxels : nullptr;
    t.noise = pass ? nullptr : noise;
    double total[3] = {0};
    for (int64_t z = 0; pass && z < depth; ++z)
        for (int i = 0; i < 3; ++i) total[i] += noise[3 * z + i];
    for (int i = 0; i < 2; ++i) t.mean[i] = (Real)(total[i] / (total[2] > 0 ? total[2] : 1));
    return t;
}

template <typename Real>
int compare(Patches patches, const Call<Real> &c, int threads) {
    const int64_t depth = patches.size[0], voxels = depth * patches.area(), volumes = c.volumes;
    const int64_t runs = most(1, least((threads + volumes - 1) / volumes, depth / 8));
    const int masked = c.task.images.weight != nullptr, gradient = c.task.out != nullptr;
    double *noise = cleared<double>(4 * volumes * depth), *sums = noise + 3 * volumes * depth;
    int failed = patches.take() || !noise;
    if (gradient) prefer_huge_pages(c.task.out, sizeof(Real) * (size_t)(volumes * voxels));
    for (int pass = 0; pass < 2 && !failed; ++pass)
        failed = share_out(volumes * runs, threads, Sweep<Real>(patches, masked, pass && gradient),
                           [&](Sweep<Real> *sweep, int64_t part) {
                               const int64_t v = part / runs, run = part % runs;
                               const int64_t low = depth * run / runs, high = depth * (run + 1) / runs;
                               sweep->t = task_of(c, pass, v, depth, voxels, noise + 3 * v * depth, sums + v * depth);
                               if (pass && gradient) sweep->backward(low, high);
                               else sweep->forward(low, high);
                           });
    for (int64_t v = 0; c.sums && v < volumes && !failed; ++v) {
        c.sums[v] = 0;
        for (int64_t z = 0; z < depth; ++z) c.sums[v] += sums[v * depth + z];
    }
    patches.give();
    free(noise);
    return failed;
}

} // namespace

/* Values as a `map` or as the `sums` of each volume; the gradient `out` for an upstream map `grad` or,
 * without one, `all` for each volume. `shared`: volumes that have one weight. `told`: see patches.hpp. */
MEDLOSS_ENTRY(mind,
              (const Real *x, const Real *y, const Real *weight, int64_t volumes, int64_t shared, int64_t depth,
               int64_t height, int64_t width, const int64_t *told, int64_t steps, int64_t pairs, int64_t absolute,
               Real *map, double *sums, const Real *grad, const Real *all, Real *out, int threads),
              const int64_t size[3] = {depth, height, width};
              const Task<Real> task = {{{x, y}, weight}, (int)absolute, nullptr, {0, 0}, map, nullptr, grad, 0, out};
              return compare(Patches(size, told, steps, pairs), Call<Real>{task, volumes, shared, sums, all}, threads);)
