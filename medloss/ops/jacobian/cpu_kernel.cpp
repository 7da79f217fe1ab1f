/* jacobian on the CPU: what a deformation does to volumes (and, for hyperelasticity, to lengths and areas), what that
 * costs, and the gradient in the field.
 *
 * A row of stencils at a time: the growth of each simplex (simplices.hpp), what it costs (penalties.hpp), and on the
 * way back what each of the stencil's points is given, which is added to the points' rows. The stencils of a voxel come
 * in the order of their planes and rows, however the planes are shared among threads: a thread computes the stencils at
 * its border again, and keeps of them what falls on its side. */
#include "penalties.hpp"

namespace {

enum { LEAST_PLANES = 8, FOUND = 3 };

/* A plane of stencils into the map, and what it adds up to: a sum, or mass, mean and squared deviations. */
template <typename Real>
void add_plane(Work<Real> *w, int64_t z, Real *map, double *found) {
    const Field<Real> &f = w->f;
    const int64_t n = w->n;
    Sum total;
    for (int64_t y = 0; y < f.frame.inner[1]; ++y) {
        w->point_rows(z, y);
        const Real *weight = w->row_weight(z, y);
        Real *to = map ? map + (z * f.frame.inner[1] + y) * n : nullptr;
        f.mode == HYPERELASTIC ? w->energies() : w->growths();
        if (f.mode == DETERMINANT) {
            for (int64_t s = 0; s < f.simplices; ++s) {
                const Real *growth = w->growth + s * w->pitch;
                Real *simplex = to + s * f.frame.stencils();
                for (int64_t x = 0; x < n; ++x) simplex[x] = !weight || weight[x] > 0 ? growth[x] : 1;
            }
        } else if (f.mode == SDLOG) {
            add_moments(w, weight, found);
        } else {
            weighed_costs(w, weight);
            if (to) memcpy(to, w->cost, (size_t)n * sizeof(Real));
            else total.add(w->cost, n);
        }
    }
    if (f.mode != SDLOG) found[0] = total.total();
}

/* Gives the map, or of each volume three numbers: its sum; for SDLOG weight, mean and variance. */
template <typename Real>
int values(const Field<Real> &f, int64_t volumes, Real *map, double *found, int threads) {
    const int64_t depth = f.frame.inner[0], entries = (f.mode == DETERMINANT ? f.simplices : 1) * f.frame.stencils();
    if (map) prefer_huge_pages(map, (size_t)(volumes * entries) * sizeof(Real));
    for (int64_t i = 0; found && i < FOUND * volumes; ++i) found[i] = 0;
    const int failed = add_in_order(
        volumes * depth, FOUND, threads, Work<Real>(f, 0),
        [&](Work<Real> *w, int64_t at, double *numbers) {
            w->f = f.of(at / depth);
            add_plane(w, at % depth, map ? map + at / depth * entries : nullptr, numbers);
        },
        [&](int64_t at, const double *numbers) {
            if (!found) return;
            double *total = found + at / depth * FOUND;
            if (f.mode == SDLOG) join_moments(total, numbers[0], numbers[1], numbers[2]);
            else total[0] += numbers[0];
        });
    for (int64_t v = 0; found && f.mode == SDLOG && v < volumes; ++v)
        if (found[FOUND * v] > 0) found[FOUND * v + 2] /= found[FOUND * v];
    return failed;
}

/* The gradient of planes low to high, from an upstream map or, without one, one number for the volume; and into
 * `costs`, where there are any, what each of their planes of stencils costs. */
template <typename Real>
void add_slab(Work<Real> *w, int64_t low, int64_t high, const Real *grad, Real all, double centre, double *costs,
              Real *out) {
    const Field<Real> &f = w->f;
    const Frame &g = f.frame;
    const int64_t behind = g.span[0] - 1 - g.pad[0], shift = g.before[0] - g.pad[0], plane = g.size[1] * g.size[2];
    const int64_t last = least(high + g.pad[0], g.inner[0]);
    int64_t ready = low;
    for (int64_t z = most(low - behind, 0); z < last || ready < high; ++z) {
        for (; ready < least(z + behind + 1, high); ++ready)
            for (int64_t c = 0; c < f.rank; ++c)
                memset(out + (c * g.size[0] + ready) * plane, 0, (size_t)plane * sizeof(Real));
        for (int64_t y = 0; z < last && y < g.inner[1]; ++y) {
            w->point_rows(z, y);
            const Real *weight = w->row_weight(z, y), *above = grad ? grad + (z * g.inner[1] + y) * w->n : nullptr;
            if (f.mode == HYPERELASTIC) {
                upstream(w, weight, above, all);
                w->energies_back();
            } else {
                if (f.mode != DETERMINANT) {
                    w->growths();
                    if (costs && low <= z + shift && z + shift < high) {
                        weighed_costs(w, weight);
                        costs[z] += row_sum(w->cost, w->n);
                    }
                    upstream(w, weight, above, all);
                }
                rates(w, above, centre);
                if (idle(w)) continue; /* as most rows of a field that hardly folds */
                w->growths_back();
            }
            w->give_points(z, y, low, high, out);
        }
    }
}

/* The gradient of the field. `grad`: of the map; `all`: of each volume's sum; `centre`: for SDLOG, the mean of each
 * volume. `costs`: for each volume and plane of stencils zero, to which its cost is added, or null. */
template <typename Real>
int gradients(const Field<Real> &f, int64_t volumes, const Real *grad, const Real *all, const double *centre,
              double *costs, Real *out, int threads) {
    const Frame &g = f.frame;
    const int64_t depth = g.size[0], voxels = f.rank * g.voxels();
    const int64_t entries = (f.mode == DETERMINANT ? f.simplices : 1) * g.stencils();
    const int64_t slabs = most(1, least((2 * threads + volumes - 1) / volumes, depth / LEAST_PLANES));
    prefer_huge_pages(out, (size_t)(volumes * voxels) * sizeof(Real));
    return share_out(volumes * slabs, threads, Work<Real>(f, 1), [&](Work<Real> *w, int64_t at) {
        const int64_t v = at / slabs, slab = at % slabs;
        w->f = f.of(v);
        add_slab(w, depth * slab / slabs, depth * (slab + 1) / slabs, grad ? grad + v * entries : nullptr,
                 all ? all[v] : 1, centre ? centre[v] : 0, costs ? costs + v * g.inner[0] : nullptr, out + v * voxels);
    });
}

} // namespace

#define OPERANDS                                                                                              \
    const Real *u, const Real *mask, int64_t volumes, const int64_t *size, const int64_t *options,            \
        const int64_t *offset, const double *numbers, int64_t mode
#define FIELD Field<Real>(u, mask, size, options, offset, numbers, mode)

MEDLOSS_ENTRY(jacobian_forward, (OPERANDS, Real *map, double *found, int threads),
              return values(FIELD, volumes, map, found, threads);)

MEDLOSS_ENTRY(jacobian_backward,
              (OPERANDS, const Real *grad, const Real *all, const double *centre, double *costs, Real *out,
               int threads),
              return gradients(FIELD, volumes, grad, all, centre, costs, out, threads);)
