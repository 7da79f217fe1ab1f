/* local_moments, local_correlation, local_ssim and local_error on the CPU: the local correlation, squared or
 * not, the dissimilarity or the mean absolute difference of two images, and its gradient in the first.
 *
 * Windows are separable: products of the images are summed along z, then y, then x, and no map of the whole
 * volume is ever made (windows.hpp). The gradient is y K*a + x K*b - K*c with three maps a, b, c of the
 * windows, kept in a ring of as many planes as four windows are deep. */
#include "windows.hpp"

namespace {

/* The images of a call, of which `shared` volumes have one weight; a task's `sums` are of volumes here, as is `all`. */
template <typename Real>
struct Call {
    Task<Real> task;
    int64_t volumes, shared;
    const Real *all;

    Task<Real> of(int64_t volume, int64_t voxels) const {
        Task<Real> t = task;
        const int64_t at = volume * voxels;
        t.pair.x += at;
        t.pair.y += at;
        if (t.pair.weight) t.pair.weight += volume / shared * voxels;
        if (t.map) t.map += at;
        if (t.grad) t.grad += at;
        if (t.out) t.out += at;
        t.all = all ? all[volume] : 1;
        return t;
    }
};

/* Values of a task's planes. */
template <typename Real>
void forward_planes(const Windows<Real> &w) {
    const Span planes = w.t.planes, counted = common(planes, w.plan.axes[0].counted);
    for (int64_t z = planes.low; z < planes.high; z += GROUP)
        if (z + GROUP > counted.low && z < counted.high) w.template make<VALUES>(z, counted);
}

/* The gradient of a task's planes. Gradient maps are made a group at a time, and a group ends where the
 * gradient's looks no further. */
template <typename Real>
void backward_planes(const Windows<Real> &w) {
    const Axis &depth = w.plan.axes[0], &width = w.plan.axes[2];
    const Span planes = w.t.planes;
    const int64_t low = most(planes.low - depth.reach, depth.counted.low), phase = depth.reach % GROUP;
    int64_t made = low - (low - phase + GROUP) % GROUP;
    for (int64_t i = 0; i < w.plan.pitch; ++i)
        w.upstream[i] = width.counted.low <= i && i < width.counted.high && !w.t.grad ? w.t.all : 0;
    for (int64_t z = planes.low; z < planes.high; z += GROUP) {
        for (; made < z + GROUP + depth.reach && made < depth.counted.high; made += GROUP)
            w.template make<SLOPES>(made, {low, depth.counted.high});
        w.template make<GRADIENT>(z, planes);
    }
}

/* Weighted sums of a plane's x and y, and of its weights. */
template <typename Real>
void add_levels(const Real *x, const Real *y, const Real *weight, int64_t size, double *sums) {
    if (!weight) {
        sums[0] = row_sum(x, size);
        sums[1] = row_sum(y, size);
        sums[2] = (double)size;
        return;
    }
    for (int64_t i = 0; i < size; ++i) {
        const double w = weight[i] > 0 ? (double)weight[i] : 0;
        sums[0] += w > 0 ? w * (double)x[i] : 0;
        sums[1] += w > 0 ? w * (double)y[i] : 0;
        sums[2] += w;
    }
}

/* Work without scratch. */
struct Nothing {
    int take() { return 0; }
    void give() {}
};

/* The constants that are taken off the images of each volume, two for each. A difference owes nothing to them. */
template <typename Real>
int find_levels(const Plan<Real> &plan, const Call<Real> &c, int threads, double *levels) {
    const int64_t depth = plan.axes[0].size, area = plan.at(1, 0);
    return plan.statistic != ERROR &&
           add_in_order(
               c.volumes * depth, 3, threads, Nothing(),
               [&](Nothing *, int64_t part, double *sums) {
                   const Pair<Real> p = c.of(part / depth, plan.voxels()).pair;
                   const int64_t at = part % depth * area;
                   add_levels(p.x + at, p.y + at, p.weight ? p.weight + at : nullptr, area, sums);
               },
               [&](int64_t part, const double *sums) {
                   double *level = levels + part / depth * 3;
                   for (int i = 0; i < 3; ++i) level[i] += sums[i];
               });
}

/* Groups of planes start at the same planes however many threads there are, and sums are added plane by plane: the
 * result does not depend on their number. */
template <typename Real>
int sweep(const Plan<Real> &plan, const Call<Real> &c, int threads) {
    const Axis &depth = plan.axes[0];
    const int64_t volumes = c.volumes, groups = (depth.size + GROUP - 1) / GROUP;
    /* runs of planes that a volume is cut into: as many as keep the threads busy */
    const int64_t runs = most(1, least((threads + volumes - 1) / volumes, depth.size / (depth.length + GROUP - 1)));
    double *levels = cleared<double>(volumes * 3);
    int failed = !levels || find_levels(plan, c, threads, levels);
    failed = failed || add_in_order(
        volumes * runs, depth.size, threads, Windows<Real>(plan, c.task.out != nullptr),
        [&](Windows<Real> *w, int64_t part, double *sums) {
            const int64_t v = part / runs, run = part % runs;
            const double *level = levels + 3 * v;
            w->t = c.of(v, plan.voxels());
            w->t.pair.mean_x = (Real)(level[2] > 0 ? level[0] / level[2] : 0);
            w->t.pair.mean_y = (Real)(level[2] > 0 ? level[1] / level[2] : 0);
            w->t.planes = common(depth.all, {groups * run / runs * GROUP, groups * (run + 1) / runs * GROUP});
            w->t.sums = c.task.sums ? sums : nullptr;
            w->backward ? backward_planes(*w) : forward_planes(*w);
        },
        [&](int64_t part, const double *sums) {
            double *to = c.task.sums ? c.task.sums + part / runs : nullptr;
            if (to && part % runs == 0) *to = 0;
            for (int64_t z = 0; to && z < depth.size; ++z) *to += sums[z];
        });
    free(levels);
    return failed;
}

template <typename Real>
int run(Plan<Real> plan, const Call<Real> &c, int threads) {
    if (c.task.out) prefer_huge_pages(c.task.out, sizeof(Real) * (size_t)(c.volumes * plan.voxels()));
    const int failed = plan.take() || sweep(plan, c, threads);
    plan.give();
    return failed;
}

} // namespace

/* Values where `out` is null, else the gradient, and the `sums` beside it where asked for. `skip_`: windows that do
 * not count, at either end of an axis; `plain`: a mask weighs the windows' voxels, but no value. */
MEDLOSS_ENTRY(local_moments,
              (const Real *x, const Real *y, const Real *weight, int64_t volumes, int64_t shared, int64_t depth,
               int64_t height, int64_t width, const double *kz, int64_t nz, const double *ky, int64_t ny,
               const double *kx, int64_t nx, int64_t border, int64_t statistic, int64_t skip_z, int64_t skip_y,
               int64_t skip_x, int64_t plain, double nr, double dr, Real *map, double *sums, const Real *grad,
               const Real *all, Real *out, int threads),
              const int mirrors = border == REFLECT;
              const Plan<Real> plan(Axis(depth, nz, kz, skip_z, mirrors), Axis(height, ny, ky, skip_y, mirrors),
                                    Axis(width, nx, kx, skip_x, mirrors), (int)border, (int)statistic,
                                    weight != nullptr, (int)plain, nr, dr);
              const Task<Real> task = {{x, y, weight, 0, 0}, {0, 0}, map, sums, grad, 0, out};
              return run(plan, Call<Real>{task, volumes, shared, all}, threads);)
