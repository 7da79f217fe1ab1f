/* Mean squared differences of patches, plane by plane into a ring; -1 where a patch has no pair of voxels. */
#include "patches.hpp"

namespace {

/* Rows added up. Written with vectors, as compilers fuse the two loops of the plain form into a scalar one. */
template <typename Real>
inline void add_rows(const Real *const *rows, int64_t count, int64_t pitch, Real *__restrict out) {
    constexpr int64_t lanes = LANES<Real>;
    for (int64_t x = 0; x < pitch; x += 2 * lanes) {
        Vector<Real> a = {}, b = {};
        for (int64_t j = 0; j < count; ++j) {
            a += load(rows[j] + x);
            b += load(rows[j] + x + lanes);
        }
        store(out + x, a);
        store(out + x + lanes, b);
    }
}

/* Squares of rows of both images, summed over `planes` of them, between entries left and right; `far`: to what the
 * entries are compared with. */
template <typename Real>
inline void add_squares(const Images<Real> &images, int64_t at, int64_t far, int64_t planes, int64_t area, int64_t left,
                 int64_t right, Real *__restrict one, Real *__restrict two) {
    const Real *a = images.image[0] + at, *b = images.image[1] + at;
    int64_t x = left;
    for (; x + LANES<Real> <= right; x += LANES<Real>) {
        Vector<Real> first = {}, second = {};
        for (int64_t j = 0; j < planes; ++j) {
            const Real *here = a + j * area + x, *there = b + j * area + x;
            const Vector<Real> u = load(here) - load(here + far), v = load(there) - load(there + far);
            first += u * u, second += v * v;
        }
        store(one + x, first);
        store(two + x, second);
    }
    for (; x < right; ++x)
        for (int64_t j = 0; j < planes; ++j) {
            const Real *here = a + j * area + x, *there = b + j * area + x;
            const Real u = here[0] - here[far], v = there[0] - there[far];
            one[x] += u * u, two[x] += v * v;
        }
}

/* The same of one plane, weighted, with the weights. */
template <typename Real>
inline void add_weighted(const Images<Real> &images, int64_t at, int64_t far, int64_t left, int64_t right,
                  Real *__restrict one, Real *__restrict two, Real *__restrict mass) {
    const Real *__restrict a = images.image[0] + at, *__restrict b = a + far;
    const Real *__restrict c = images.image[1] + at, *__restrict d = c + far;
    const Real *__restrict near_weight = images.weight + at, *__restrict far_weight = near_weight + far;
#pragma GCC ivdep
    for (int64_t i = left; i < right; ++i) {
        const Real w = near_weight[i] * far_weight[i], first = a[i] - b[i], second = c[i] - d[i];
        const Real u = w > 0 ? first : 0, v = w > 0 ? second : 0;
        one[i] += w * u * u, two[i] += w * v * v, mass[i] += w;
    }
}

/* Maps: the steps of the first image, of the second, and with weights what the patches weigh. */
template <typename Real>
struct Distances {
    const Patches &p;
    int64_t maps, pitch, plane, depth; /* entries of a row and of a plane of one map; planes of the ring */
    Real *ring = nullptr, *rows, *totals, *inverse, *padded;

    Distances(const Patches &patches, int masked) : p(patches), maps((masked ? 3 : 2) * p.steps) {
        const int64_t step = 2 * LANES<Real>;
        pitch = (p.wide[2] + step - 1) / step * step;
        plane = pitch * p.wide[1] + step; /* off a power of two: planes share no cache set */
        depth = 2 * p.reach[0] + 1;
    }

    int take() {
        const int64_t planes = maps * plane * depth, slots = maps * (2 * p.radius[1] + 1);
        const int64_t others = pitch * (slots + 2 + p.steps + 1) + 4 * (p.radius[2] + p.reach[2]);
        ring = lines<Real>(planes + others);
        if (!ring) return 1;
        rows = ring + planes;
        totals = rows + pitch * slots;
        inverse = totals + 2 * pitch;
        padded = inverse + p.steps * pitch;
        memset(rows, 0, sizeof(Real) * (size_t)others);
        for (int64_t s = 0; s < p.steps; ++s)
            for (int64_t i = 0; i < p.wide[2]; ++i)
                inverse[s * pitch + i] = p.count[s][2][i] > 0 ? (Real)(1 / p.count[s][2][i]) : 0;
        return 0;
    }
    void give() { free(ring); }

    /* Row (z, y) of a map around a centre, both counted from -reach. */
    Real *row(int64_t map, int64_t z, int64_t y) const { return ring + (z % depth * maps + map) * plane + y * pitch; }

    /* One over the voxels that a step compares along the axes but the last, around centre (z, y), and along that. */
    Real over(int64_t s, int64_t z, int64_t y) const {
        const double slice = p.count[s][0][z] * p.count[s][1][y];
        return (Real)(slice > 0 ? 1 / slice : 0);
    }

    /* Row y of the images, every map summed along z around centre z, into its place among the rows. */
    void squares_row(const Images<Real> &images, int64_t z, int64_t y) const {
        Real *to = rows + y % (2 * p.radius[1] + 1) * maps * pitch;
        memset(to, 0, sizeof(Real) * (size_t)(maps * pitch));
        for (int64_t s = 0; s < p.steps; ++s) {
            const int64_t *step = p.step[s], *size = p.size, far = p.away(s);
            const int64_t low = most(z - p.radius[0], most(0, -step[0]));
            const int64_t high = least(z + p.radius[0] + 1, least(size[0], size[0] - step[0]));
            const int64_t left = most(0, -step[2]), right = least(size[2], size[2] - step[2]);
            Real *one = to + s * pitch, *two = one + p.steps * pitch, *mass = two + p.steps * pitch;
            if (y + step[1] < 0 || y + step[1] >= size[1] || low >= high) continue;
            const int64_t at = low * p.area() + y * size[2];
            if (!images.weight) add_squares(images, at, far, high - low, p.area(), left, right, one, two);
            for (int64_t j = 0; images.weight && j < high - low; ++j)
                add_weighted(images, at + j * p.area(), far, left, right, one, two, mass);
        }
    }

    /* The row of a map, summed along y around centre y and then along x. */
    void total_row(int64_t map, int64_t y, Real *out) const {
        const int64_t slots = 2 * p.radius[1] + 1, margin = p.radius[2] + p.reach[2];
        const int64_t low = most(0, y - p.radius[1]), high = least(p.size[1], y + p.radius[1] + 1);
        const Real *from[slots + 2 * p.radius[2] + 1];
        for (int64_t at = low; at < high; ++at) from[at - low] = rows + (at % slots * maps + map) * pitch;
        add_rows(from, most(0, high - low), pitch, padded + margin);
        for (int64_t j = 0; j <= 2 * p.radius[2]; ++j) from[j] = padded + j;
        add_rows(from, 2 * p.radius[2] + 1, pitch, out);
    }

    /* The plane of the ring around centre z, in voxels. */
    void add_plane(const Images<Real> &images, int64_t z) const {
        int64_t next = 0;
        for (int64_t y = -p.reach[1]; y < p.size[1] + p.reach[1]; ++y) {
            const int64_t depth_at = z + p.reach[0], line = y + p.reach[1];
            for (; next <= y + p.radius[1] && next < p.size[1]; ++next) squares_row(images, z, next);
            for (int64_t s = 0; s < p.steps; ++s) {
                const Real here = over(s, depth_at, line), *along = inverse + s * pitch;
                Real *share = totals, *total = totals + pitch;
                if (images.weight) {
                    share = row(2 * p.steps + s, depth_at, line);
                    total_row(2 * p.steps + s, y, share);
                    each_entry(p.wide[2], [=](int64_t i) MEDLOSS_INLINED {
                        share[i] = share[i] > 0 ? 1 / share[i] : 0;
                    });
                } else {
                    each_entry(p.wide[2], [=](int64_t i) MEDLOSS_INLINED { share[i] = here * along[i]; });
                }
                for (int64_t image = 0; image < 2; ++image) {
                    Real *to = row(image * p.steps + s, depth_at, line);
                    total_row(image * p.steps + s, y, total);
                    each_entry(p.wide[2], [=](int64_t i) MEDLOSS_INLINED {
                        to[i] = share[i] > 0 ? total[i] * share[i] : -1;
                    });
                }
            }
        }
    }
};

} // namespace
