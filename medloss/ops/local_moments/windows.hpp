/* The windows of four planes at a time: their sums are formed row by row, and handed to what is made of them. */
#include "../ordered_sums.hpp"
#include "similarity.hpp"

namespace {

enum { VALUES, SLOPES, GRADIENT }; /* what is made of windows */

/* What is wanted of volumes, or of planes of one: values as a `map` or as `sums`, of each plane of one; the gradient
 * `out` for an upstream map `grad` or, without one, the same `all` for every window. */
template <typename Real>
struct Task {
    Pair<Real> pair;
    Span planes;
    Real *map;
    double *sums;
    const Real *grad;
    Real all;
    Real *out;
};

/* A thread's scratch, and the task it is at. */
template <typename Real>
struct Windows {
    const Plan<Real> &plan;
    int backward;
    int64_t planes, plane; /* of the ring of the gradient maps; entries of a plane of one of them */
    Stage<Real> moments, adjoint;
    Real *staged = nullptr; /* rows of the images, of the planes that a group looks at */
    Real *slopes = nullptr; /* ring of planes of the gradient maps */
    Real *value, *upstream, *inverse; /* rows */
    Task<Real> t;

    Windows(const Plan<Real> &of, int gradient)
        : plan(of), backward(gradient), planes(plan.axes[0].length + GROUP - 1),
          plane(plan.pitch * plan.axes[1].size + 2 * LANES<Real>) {}

    int take() {
        const int64_t pitch = plan.pitch;
        int failed = moments.take(plan, plan.maps);
        staged = blank_lines<Real>((3 * planes + 3) * pitch);
        if (backward) {
            failed |= adjoint.take(plan, plan.slopes);
            slopes = blank_lines<Real>(planes * plan.slopes * plane);
        }
        if (failed || !staged || (backward && !slopes)) return 1;
        value = staged + 3 * planes * pitch;
        upstream = value + pitch;
        inverse = upstream + pitch;
        for (int64_t i = 0; i < pitch; ++i) inverse[i] = 1 / plan.volume; /* of a window that misses nothing */
        return 0;
    }
    void give() {
        moments.give();
        adjoint.give();
        free(staged);
        free(slopes);
    }

    /* A row of a gradient map in the ring. */
    Real *slope_row(int64_t z, int64_t y, int map) const {
        return slopes + (z % planes * plan.slopes + map) * plane + y * plan.pitch;
    }

    /* Row y of the gradient maps, summed along z for the windows of a group of planes. */
    void adjoint_row(int64_t first, int64_t y, Real *out) const {
        const Axis &depth = plan.axes[0];
        const Span there = depth.seen(first, depth.counted);
        const Real *rows[LONGEST + GROUP];
        Real *to[GROUP];
        for (int m = 0; m < plan.slopes; ++m) {
            for (int64_t j = there.low; j < there.high; ++j) {
                rows[j] = slope_row(depth.place(first - depth.reach + j), y, m);
                fetch(rows[j] + plan.pitch, plan.pitch);
            }
            for (int64_t g = 0; g < GROUP; ++g) to[g] = out + (g * plan.slopes + m) * plan.pitch;
            filter_group(depth, plan.taps[0], rows, there, plan.pitch, to);
        }
    }

    /* Under a border that windows know of: one over the mass of each of a row, and their zeros shifted as the
     * images are. */
    void border(int64_t z, int64_t y) const {
        const Axis *a = plan.axes;
        const double slice = a[0].inside[z] * a[1].inside[y];
        if (plan.border == RENORMALISE) {
            const Real over = (Real)(1 / slice), *along = plan.inverse;
            Real *to = inverse;
            each_entry(a[2].size, [=](int64_t i) MEDLOSS_INLINED { to[i] = over * along[i]; });
        }
        if (plan.border != ZERO || plan.statistic == ERROR) return;
        const int middle = a[0].reach <= z && z < a[0].size - a[0].reach;
        const int inner = middle && a[1].reach <= y && y < a[1].size - a[1].reach;
        const int64_t size = a[2].size, left = inner && 2 * a[2].reach < size ? a[2].reach : size;
        take_off_level(slice, {0, left}); /* all of it, or both ends */
        take_off_level(slice, {left < size ? size - left : size, size});
    }

    void take_off_level(double slice, Span part) const {
        const int64_t pitch = plan.pitch;
        const Real mean_x = t.pair.mean_x, mean_y = t.pair.mean_y, mean_d = mean_x - mean_y, volume = plan.volume;
        const Real second = plan.is_ssim() ? mean_d : mean_y;
        const Real product = plan.is_ssim() ? mean_d * mean_d : mean_x * mean_y;
        const double *inside = plan.axes[2].inside + part.low;
        Real *s = moments.sums + part.low;
        each_entry(part.high - part.low, [=](int64_t i) MEDLOSS_INLINED {
            const Real beyond = volume - (Real)(slice * inside[i]);
            s[i] -= beyond * mean_x;
            s[i + Y * pitch] -= beyond * second;
            s[i + XX * pitch] += beyond * mean_x * mean_x;
            s[i + YY * pitch] += beyond * mean_y * mean_y;
            s[i + XY * pitch] += beyond * product;
        });
    }

    /* A row times what the doublings of row (z, y) come to, or one over it. */
    void scale_ends(int64_t z, int64_t y, int halves, Real *row) const {
        const Axis *a = plan.axes;
        const Real doubling = (Real)(a[0].doubled(z) * a[1].doubled(y)), end = (Real)a[2].doubled(0);
        const Real factor = halves ? 1 / doubling : doubling, ends = halves ? 1 / end : end;
        each_entry(a[2].size, [=](int64_t i) MEDLOSS_INLINED { row[i] *= factor; });
        row[0] *= ends;
        if (a[2].size > 1) row[a[2].size - 1] *= ends;
    }

    /* The upstream gradients of row (z, y). */
    void upstream_row(int64_t z, int64_t y) const {
        const Span counted = plan.axes[2].counted;
        if (t.grad)
            memcpy(upstream + counted.low, t.grad + plan.at(z, y) + counted.low,
                   sizeof(Real) * (size_t)(counted.high - counted.low));
        if (plan.border != REFLECT) return;
        for (int64_t i = 0; !t.grad && i < plan.axes[2].size; ++i) upstream[i] = t.all;
        scale_ends(z, y, 0, upstream);
    }

    /* What is made of the window sums of row (z, y): values and, where these are wanted, gradient maps. */
    template <int made>
    void statistic_row(int64_t z, int64_t y) const {
        const int64_t at = plan.at(z, y);
        const Span counted = plan.axes[2].counted;
        const Real *weight = t.pair.weight ? t.pair.weight + at : nullptr;
        if (!weight) border(z, y);
        Result<Real> row = {moments.sums, inverse, weight, nullptr, t.map ? t.map + at : value};
        if (made == SLOPES) {
            upstream_row(z, y);
            row.upstream = upstream;
            row.a = slope_row(z, y, 0);
            if (plan.slopes == 3) row.b = slope_row(z, y, 1), row.c = slope_row(z, y, 2);
        }
        evaluate(plan, t.pair, row);
        /* windows beyond the task's planes, whose slopes the gradient asks for, are another's to count */
        if (t.sums && t.planes.low <= z && z < t.planes.high)
            t.sums[z] += row_sum(row.value + counted.low, counted.high - counted.low);
    }

    /* The gradient of row (z, y), from the window sums of the gradient maps. */
    void gradient_row(int64_t z, int64_t y) const {
        const Pair<Real> &p = t.pair;
        const int64_t size = plan.axes[2].size, at = plan.at(z, y);
        const Real *a = adjoint.sums, *b = a + plan.pitch, *c = b + plan.pitch;
        const Real *x_row = p.x + at, *y_row = p.y + at, mean_x = p.mean_x, mean_y = p.mean_y;
        const Real *w = p.weight ? p.weight + at : nullptr;
        Real *to = t.out + at;
        if (plan.statistic == ERROR)
            each_entry(size, [=](int64_t i) MEDLOSS_INLINED {
                to[i] = x_row[i] > y_row[i] ? a[i] : x_row[i] < y_row[i] ? -a[i] : 0;
            });
        else if (plan.is_ssim())
            each_entry(size, [=](int64_t i) MEDLOSS_INLINED {
                const Real u = x_row[i] - mean_x, v = y_row[i] - mean_y;
                to[i] = (u - v) * a[i] + u * b[i] - c[i];
            });
        else
            each_entry(size, [=](int64_t i) MEDLOSS_INLINED {
                const Real u = x_row[i] - mean_x, v = y_row[i] - mean_y;
                to[i] = v * a[i] + u * b[i] - c[i];
            });
        if (w) each_entry(size, [=](int64_t i) MEDLOSS_INLINED { to[i] = w[i] > 0 ? w[i] * to[i] : 0; });
        if (plan.border == REFLECT) scale_ends(z, y, 1, to);
    }

    /* What lies beyond both ends of a row, mirrored. */
    static void mirror_row(const Axis &width, Real *row) {
        for (int64_t i = 1; i <= width.reach; ++i) {
            row[-i] = row[i];
            row[width.size - 1 + i] = row[width.size - 1 - i];
        }
    }

    /* The rows that four windows look at, of all maps of one of a group's planes, summed along y into rows with a
     * margin. `slot`: of all planes of the group. */
    void sum_along_y(const Stage<Real> &s, const Real *const *slot, Span there, int64_t of_group) const {
        const Axis &height = plan.axes[1];
        const Real *rows[LONGEST + GROUP];
        Real *out[GROUP];
        for (int64_t m = 0; m < s.maps; ++m) {
            for (int64_t j = there.low; j < there.high; ++j) rows[j] = slot[j] + (of_group * s.maps + m) * plan.pitch;
            for (int64_t g = 0; g < GROUP; ++g) out[g] = s.padded + (g * s.maps + m) * s.row + plan.margin;
            filter_group(height, plan.taps[1], rows, there, plan.pitch, out);
        }
    }

    /* One of these four rows of all maps, summed along x. */
    void sum_along_x(const Stage<Real> &s, int64_t g) const {
        const Axis &width = plan.axes[2];
        for (int64_t m = 0; m < s.maps; ++m) {
            Real *padded = s.padded + (g * s.maps + m) * s.row + plan.margin;
            if (width.mirrored) mirror_row(width, padded);
            filter_row(width, plan.taps[2], plan.scale, padded - width.reach, plan.pitch, s.sums + m * plan.pitch);
        }
    }

    /* The windows of the group of planes from `first` on, of the planes in `wanted`. */
    template <int made>
    void make(int64_t first, Span wanted) const {
        const Axis &height = plan.axes[1];
        const Stage<Real> &s = made == GRADIENT ? adjoint : moments;
        const int64_t slots = height.length + GROUP - 1;
        const Span from = made == GRADIENT ? height.counted : height.all;
        const Span to = made == GRADIENT ? height.all : height.counted, group = common(wanted, {first, first + GROUP});
        const int summed = made != SLOPES || plan.statistic != ERROR || t.pair.weight; /* else no sum is needed */
        const Real *slot[LONGEST + GROUP];
        int64_t next = common(from, {to.low - height.reach, from.high}).low;
        for (int64_t y = to.low; y < to.high; y += GROUP) {
            for (; summed && next < from.high && next < y + GROUP + height.reach; ++next) {
                Real *sums = s.ring + next % slots * s.slot;
                if (made == GRADIENT) adjoint_row(first, next, sums);
                else moments_row(plan, t.pair, staged, first, next, sums);
            }
            const Span there = height.seen(y, from);
            for (int64_t j = there.low; j < there.high; ++j)
                slot[j] = s.ring + height.place(y - height.reach + j) % slots * s.slot;
            for (int64_t z = group.low; z < group.high; ++z) {
                if (summed) sum_along_y(s, slot, there, z - first);
                for (int64_t g = 0; g < least(GROUP, to.high - y); ++g) {
                    if (summed) sum_along_x(s, g);
                    if constexpr (made == GRADIENT) gradient_row(z, y + g);
                    else statistic_row<made>(z, y + g);
                }
            }
        }
    }
};

} // namespace
