/* A volume's planes, in runs for the threads. A run looks as far beyond its planes as it needs, and sums are
 * added plane by plane: the result does not depend on the number of threads. */
#include "../ordered_sums.hpp"
#include "adjoint.hpp"
#include "descriptors.hpp"

namespace {

/* What is wanted of volumes, or of one: `noise`, three sums of each plane (of both images, and of the weights); or, for
 * known means of the noise, values as a `map` or `sums` of each plane; or the gradient `out` for an upstream `grad` map
 * or, without one, `all` for each value. */
template <typename Real>
struct Task {
    Images<Real> images;
    int absolute;
    double *noise;
    Real mean[2];
    Real *map;
    double *sums;
    const Real *grad;
    Real all;
    Real *out;
};

/* The sum of a row times its weights, in eight parts as that without them. */
template <typename Real>
double weighed(const Real *value, const Real *weight, int64_t size) {
    double lane[8] = {0}, total = 0; /* in a fixed order that vectors can take */
    for (int64_t i = 0; i < size; i += 8)
        for (int64_t l = 0; l < least(8, size - i); ++l)
            lane[l] += weight[i + l] > 0 ? (double)value[i + l] * (double)weight[i + l] : 0;
    for (int l = 0; l < 8; ++l) total += lane[l];
    return total;
}

/* A thread's scratch, and the task it is at. */
template <typename Real>
struct Sweep {
    enum { ROWS = 2 * MOST_PAIRS + 3 }; /* of a descriptor, each FEW entries */
    const Patches &p;
    int gradient;
    Distances<Real> distances;
    Adjoint<Real> adjoint;
    Real *rows = nullptr, *spare; /* of both descriptors, and three spare ones */
    Task<Real> t;

    Sweep(const Patches &patches, int masked, int backward)
        : p(patches), gradient(backward), distances(patches, masked), adjoint(distances) {}

    int take() {
        int failed = distances.take();
        if (gradient) failed |= adjoint.take();
        rows = cleared<Real>((2 * ROWS + 4) * FEW);
        spare = rows + (2 * ROWS + 1) * FEW;
        return failed || !rows;
    }
    void give() {
        distances.give();
        adjoint.give();
        free(rows);
    }

    /* Where the descriptors of an image in row (z, y) look from voxel x on, and their scratch. */
    Descriptor<Real> descriptor(int64_t image, int64_t z, int64_t y, int64_t x, int64_t size) const {
        Real *own = rows + image * ROWS * FEW, *entry = own + MOST_PAIRS * FEW, *few = entry + MOST_PAIRS * FEW;
        Descriptor<Real> d = {p.pairs, size, {}, own, entry, few, few + FEW, few + 2 * FEW, spare - FEW};
        for (int64_t k = 0; k < p.pairs; ++k) {
            const int64_t *from = p.from[k], *reach = p.reach, map = image * p.steps + p.step_of[k];
            d.distance[k] = distances.row(map, z + from[0] + reach[0], y + from[1] + reach[1]) + x + from[2] + reach[2];
            /* the next row is asked for: these are more streams than a processor sees coming */
            for (int64_t i = 0; i < FEW; i += 64 / (int64_t)sizeof(Real))
                __builtin_prefetch(d.distance[k] + distances.pitch + i);
        }
        return d;
    }

    /* `size` voxels of row (z, y) from x on: the noise, the values, or the slopes of the distances. */
    void voxels(int64_t z, int64_t y, int64_t x, int64_t size) const {
        const int64_t at = z * p.area() + y * p.size[2] + x;
        const Real *weight = t.images.weight ? t.images.weight + at : nullptr;
        Real *value = t.map ? t.map + at : spare;
        Descriptor<Real> d[2];
        for (int image = 0; image < 2; ++image) {
            d[image] = descriptor(image, z, y, x, size);
            d[image].measure();
            const Real *noise = d[image].noise;
            if (t.noise) t.noise[3 * z + image] += weight ? weighed(noise, weight, size) : row_sum(noise, size);
            else d[image].describe(t.mean[image]);
        }
        if (t.noise) {
            if (!weight) t.noise[3 * z + 2] += (double)size;
            for (int64_t i = 0; weight && i < size; ++i) t.noise[3 * z + 2] += (double)weight[i];
        } else if (!t.out) {
            penalties(d[0], d[1], t.absolute, value);
            if (weight) each_entry(size, [=](int64_t i) { value[i] = weight[i] > 0 ? value[i] * weight[i] : 0; });
            if (t.sums) t.sums[z] += row_sum(value, size);
        } else {
            const Real *grad = t.grad ? t.grad + at : nullptr, all = t.all;
            each_entry(size, [=](int64_t i) {
                const Real g = (grad ? grad[i] : all) * (weight ? weight[i] : 1);
                value[i] = weight && !(weight[i] > 0) ? 0 : g;
            });
            distance_slopes(d[0], d[1], t.absolute, t.mean[0], value, spare + FEW);
            adjoint.scatter(z, y, x, size, d[0].above);
        }
    }

    void voxels_of_plane(int64_t z) const {
        for (int64_t y = 0; y < p.size[1]; ++y)
            for (int64_t x = 0; x < p.size[2]; x += FEW) voxels(z, y, x, least(FEW, p.size[2] - x));
    }

    /* Noise or values of the planes from `low` up to `high`. */
    void forward(int64_t low, int64_t high) const {
        int64_t next = low - p.reach[0];
        for (int64_t z = low; z < high; ++z) {
            for (; next <= z + p.reach[0]; ++next) distances.add_plane(t.images, next);
            voxels_of_plane(z);
        }
    }

    /* The gradient of the planes from `low` up to `high`. */
    void backward(int64_t low, int64_t high) const {
        const int64_t depth = p.size[0], reach = p.reach[0], radius = p.radius[0];
        int64_t summed = most(0, low - reach), voxel = most(0, summed - radius - reach), next = voxel - reach;
        for (int64_t z = voxel - reach; z < voxel + reach; ++z) adjoint.clear(z + reach);
        for (int64_t z = low; z < high; ++z) {
            for (; summed <= z + reach && summed < depth; ++summed) {
                for (; voxel <= summed + radius + reach && voxel < depth; ++voxel) {
                    for (; next <= voxel + reach; ++next) distances.add_plane(t.images, next);
                    adjoint.clear(voxel + 2 * reach);
                    voxels_of_plane(voxel);
                    const int64_t last = voxel + 1 < depth ? voxel - reach : voxel + reach; /* that hears of no more */
                    for (int64_t done = voxel - reach; done <= last; ++done)
                        adjoint.divide(distances, done + reach, t.images.weight != nullptr);
                }
                adjoint.add_plane(summed);
            }
            adjoint.gradient_of_plane(t.images, z, t.out);
        }
    }
};

} // namespace
