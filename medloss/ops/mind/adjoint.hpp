/* From the slopes of the distances back to the image: they are gathered by step around the patches' centres,
 * shared out over the patches, and multiplied by the differences that were squared. Each in a ring of planes. */
#include "distances.hpp"

namespace {

/* What the differences along one step to a row `far` away add to the gradient of a row of voxels, of which
 * `low` up to `high` have such a voxel. */
template <typename Real>
inline void add_differences(const Real *__restrict here, const Real *__restrict weight, int64_t far,
                     const Real *__restrict sum, int64_t low, int64_t high, Real *__restrict out) {
    const Real *__restrict there = here + far;
    if (!weight) {
#pragma GCC ivdep
        for (int64_t i = low; i < high; ++i) out[i] += 2 * (here[i] - there[i]) * sum[i];
        return;
    }
    const Real *__restrict other = weight + far;
#pragma GCC ivdep
    for (int64_t i = low; i < high; ++i) {
        const Real w = weight[i] * other[i], slope = 2 * w * (here[i] - there[i]) * sum[i];
        out[i] += w > 0 ? slope : 0;
    }
}

template <typename Real>
struct Adjoint {
    const Patches &p;
    int64_t pitch, depth, plane; /* of the slopes around centres, as wide as the distances */
    int64_t shared, area;        /* of the sums over patches: planes, and entries of a plane of one step */
    Real *centres = nullptr, *patches, *rows, *padded;

    explicit Adjoint(const Distances<Real> &d)
        : p(d.p), pitch(d.pitch), depth(2 * p.radius[0] + 2 * p.reach[0] + 1), plane(d.plane),
          shared(2 * p.reach[0] + 1), area(p.size[1] * pitch + 2 * LANES<Real>) {}

    int take() {
        const int64_t slopes = depth * p.steps * plane, sums = shared * p.steps * area;
        const int64_t others = pitch * (p.wide[1] + 1) + 2 * (p.radius[2] + p.reach[2]);
        centres = lines<Real>(slopes + sums + others);
        if (!centres) return 1;
        patches = centres + slopes;
        rows = patches + sums;
        padded = rows + pitch * p.wide[1];
        memset(rows, 0, sizeof(Real) * (size_t)others);
        return 0;
    }
    void give() { free(centres); }

    /* Row (z, y) of a step around a centre, both counted from -reach. */
    Real *centre_row(int64_t s, int64_t z, int64_t y) const {
        return centres + (z % depth * p.steps + s) * plane + y * pitch;
    }

    Real *patch_row(int64_t s, int64_t z, int64_t y) const {
        return patches + (z % shared * p.steps + s) * area + y * pitch;
    }

    /* Nothing yet around the centres of plane z, counted from -reach. */
    void clear(int64_t z) const { memset(centre_row(0, z, 0), 0, sizeof(Real) * (size_t)(p.steps * plane)); }

    /* The slopes of `size` voxels of row (z, y) from x on, by pair, to the centres that the pairs start from. */
    void scatter(int64_t z, int64_t y, int64_t x, int64_t size, const Real *slopes) const {
        for (int64_t k = 0; k < p.pairs; ++k, slopes += size) {
            const int64_t *from = p.from[k], *reach = p.reach;
            Real *to = centre_row(p.step_of[k], z + from[0] + reach[0], y + from[1] + reach[1]);
            to += x + from[2] + reach[2];
            each_entry(size, [=](int64_t i) MEDLOSS_INLINED { to[i] += slopes[i]; });
        }
    }

    /* The slopes around the centres of plane z, counted from -reach, over what each mean was divided by. */
    void divide(const Distances<Real> &d, int64_t z, int masked) const {
        for (int64_t s = 0; s < p.steps; ++s)
            for (int64_t y = 0; y < p.wide[1]; ++y) {
                const Real over = masked ? 1 : d.over(s, z, y);
                const Real *inverse = masked ? d.row(2 * p.steps + s, z, y) : d.inverse + s * pitch;
                Real *to = centre_row(s, z, y);
                each_entry(p.wide[2], [=](int64_t i) MEDLOSS_INLINED {
                    to[i] = inverse[i] > 0 ? to[i] * (over * inverse[i]) : 0;
                });
            }
    }

    /* The sum of the rows that patches around centre `at` hold along an axis: `row(i)` for those that are there. */
    template <typename RowOf>
    void add_patches(int axis, int64_t at, RowOf row, Real *out) const {
        const Real *from[2 * p.radius[axis] + 1];
        const int64_t low = most(-p.reach[axis], at - p.radius[axis]);
        const int64_t high = least(p.size[axis] + p.reach[axis], at + p.radius[axis] + 1);
        for (int64_t i = low; i < high; ++i) from[i - low] = row(i + p.reach[axis]);
        add_rows(from, high - low, pitch, out);
    }

    /* The sums over the patches around the voxels of plane z. */
    void add_plane(int64_t z) const {
        const int64_t radius = p.radius[2], reach = p.reach[2];
        const Real *from[2 * radius + 1];
        for (int64_t s = 0; s < p.steps; ++s) {
            for (int64_t y = 0; y < p.wide[1]; ++y)
                add_patches(0, z, [=](int64_t i) { return centre_row(s, i, y); }, rows + y * pitch);
            for (int64_t y = 0; y < p.size[1]; ++y) {
                Real *start = padded + most(radius - reach, 0); /* of the centres' row */
                add_patches(1, y, [=](int64_t i) { return rows + i * pitch; }, start);
                for (int64_t j = 0; j <= 2 * radius; ++j) from[j] = start + reach - radius + j;
                add_rows(from, 2 * radius + 1, pitch, patch_row(s, z, y));
            }
        }
    }

    /* The gradient of plane z of the first image. */
    void gradient_of_plane(const Images<Real> &images, int64_t z, Real *out) const {
        const int64_t *size = p.size;
        for (int64_t y = 0; y < size[1]; ++y) {
            const int64_t at = z * p.area() + y * size[2];
            memset(out + at, 0, sizeof(Real) * (size_t)size[2]);
            for (int64_t s = 0; s < p.steps; ++s)
                for (int sign = 1; sign >= -1; sign -= 2) {
                    const int64_t dz = sign * p.step[s][0], dy = sign * p.step[s][1], dx = sign * p.step[s][2];
                    if (z + dz < 0 || z + dz >= size[0] || y + dy < 0 || y + dy >= size[1]) continue;
                    /* the patches around the voxel that the step starts from */
                    const Real *sums = sign > 0 ? patch_row(s, z, y) : patch_row(s, z + dz, y + dy) + dx;
                    add_differences(images.image[0] + at, images.weight ? images.weight + at : nullptr,
                                    sign * p.away(s), sums, most(0, -dx), least(size[2], size[2] - dx), out + at);
                }
        }
    }
};

} // namespace
