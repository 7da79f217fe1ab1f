/* adjacent_differences on the CPU: penalties of the steps between neighbouring voxels, row by row, without a map. Every
 * voxel of the gradient is written once. */
#include "../ordered_sums.hpp"

namespace {

enum { AXES = 3 };

/* Codes of the penalties, as in cpu.py. SQUARED is MAGNITUDE with the exponent 2. */
enum { ABSOLUTE = 0, MAGNITUDE = 1, SQUARED = 2, ISOTROPIC = 3 };

template <typename Real>
inline Real size_of(Real d) {
    return d < 0 ? -d : d;
}

template <typename Real>
inline Real sign_of(Real d) { /* NaN stays */
    return d > 0 ? 1 : d < 0 ? -1 : d;
}

/* One call's volumes, and one of them. */
template <typename Real>
struct Image {
    const Real *x, *t, *mask;
    int64_t shared, penalty, average; /* shared: volumes that share a mask */
    int64_t size[AXES], stride[AXES];
    Real scale[AXES], factor[AXES]; /* of the steps along an axis; of its penalties (isotropic: of all, the first) */

    Image(const Real *input, const Real *target, const Real *weight, int64_t sharing, const int64_t *voxels,
          const double *scales, int64_t code, int64_t mean)
        : x(input), t(target), mask(weight), shared(sharing), penalty(code), average(mean),
          stride{voxels[1] * voxels[2], voxels[2], 1} {
        for (int axis = 0; axis < AXES; ++axis) {
            size[axis] = voxels[axis];
            scale[axis] = (Real)scales[axis];
            factor[axis] = 1;
        }
    }

    int64_t voxels() const { return size[0] * stride[0]; }
    int64_t at(int64_t z, int64_t y) const { return z * stride[0] + y * stride[1]; }

    Image of(int64_t volume) const {
        Image m = *this;
        m.x += volume * voxels();
        if (t) m.t += volume * voxels();
        if (mask) m.mask += volume / shared * voxels();
        return m;
    }

    /* Whether the voxels of a row have next ones along an axis; how many of them. */
    int has_next(int axis, int64_t z, int64_t y) const { return axis ? axis == 2 || y + 1 < size[1] : z + 1 < size[0]; }
    int64_t pairs(int axis) const { return size[2] - (axis == 2); }
};

/* Of the pairs of voxel i and the next one along an axis, from `at` on: `value` of the step d and of the target's,
 * times the lesser weight of both voxels. A pair of no weight is not looked at. */
template <typename Real, typename Value>
void each_pair(const Image<Real> &m, int axis, int64_t at, Real *__restrict out, Value value) {
    const Real *x = m.x + at, *t = m.t ? m.t + at : nullptr, *mask = m.mask ? m.mask + at : nullptr;
    const Real scale = m.scale[axis];
    const int64_t next = m.stride[axis], n = m.pairs(axis);
    for (int64_t i = 0; i < n; ++i)
        out[i] = value(scale * (x[i + next] - x[i]), t ? scale * (t[i + next] - t[i]) : 0);
    if (mask)
        for (int64_t i = 0; i < n; ++i) {
            const Real weight = mask[i] < mask[i + next] ? mask[i] : mask[i + next];
            out[i] = weight > 0 ? weight * out[i] : 0;
        }
}

/* `body(value, slope)` of a penalty: what steps d and e cost, and the derivative in d. */
template <typename Real, typename Body>
void with_penalty(int64_t penalty, Body body) {
    switch (penalty) {
    case ABSOLUTE: body([](Real d, Real) { return size_of(d); }, [](Real d, Real) { return sign_of(d); }); break;
    case MAGNITUDE:
        body([](Real d, Real e) { return size_of(size_of(d) - size_of(e)); },
             [](Real d, Real e) { return sign_of(size_of(d) - size_of(e)) * sign_of(d); });
        break;
    default:
        body([](Real d, Real e) { return (size_of(d) - size_of(e)) * (size_of(d) - size_of(e)); },
             [](Real d, Real e) { return 2 * (size_of(d) - size_of(e)) * sign_of(d); });
    }
}

/* Of a row's voxels: the lengths of their steps, times their weights; or, for the gradient, the weights over the
 * lengths, 0 where there is no step. */
template <typename Real>
MEDLOSS_APART void lengths(const Image<Real> &m, int64_t z, int64_t y, int inverse, Real *__restrict out) {
    const int64_t at = m.at(z, y), width = m.size[2];
    const Real *x = m.x + at, *mask = m.mask ? m.mask + at : nullptr;
    memset(out, 0, (size_t)width * sizeof(Real));
    for (int axis = 0; axis < AXES; ++axis) {
        const int64_t next = m.stride[axis], n = m.has_next(axis, z, y) ? m.pairs(axis) : 0;
        const Real scale = m.scale[axis];
        for (int64_t i = 0; i < n; ++i) {
            const Real d = scale * (x[i + next] - x[i]);
            const int counts = !mask || (mask[i] > 0 && mask[i + next] > 0);
            out[i] = counts ? out[i] + d * d : out[i];
        }
    }
    if (inverse)
        for (int64_t i = 0; i < width; ++i) out[i] = out[i] != 0 ? 1 / root_of(out[i]) : 0;
    else
        for (int64_t i = 0; i < width; ++i) out[i] = root_of(out[i]);
    if (mask)
        for (int64_t i = 0; i < width; ++i) out[i] = mask[i] > 0 ? mask[i] * out[i] : 0;
}

/* The lesser weight of the voxels of each pair; isotropic: the weight of each voxel. */
template <typename Real>
void weights(const Image<Real> &m, int axis, int64_t at, Real *__restrict out) {
    const Real *mask = m.mask + at;
    const int64_t n = m.pairs(axis), next = m.penalty == ISOTROPIC ? 0 : m.stride[axis];
    for (int64_t i = 0; i < n; ++i) out[i] = mask[i] < mask[i + next] ? mask[i] : mask[i + next];
}

/* The sums along each axis of a plane's rows, as `fill(axis, y, row)` gives them; isotropic: of all, the first. */
template <typename Real, typename Fill>
MEDLOSS_APART void add_plane(const Image<Real> &m, int64_t z, Real *row, double *sums, Fill fill) {
    const int axes = m.penalty == ISOTROPIC ? 1 : AXES;
    Sum total[AXES];
    for (int64_t y = 0; y < m.size[1]; ++y)
        for (int axis = 0; axis < axes; ++axis) {
            if (axes == AXES && !m.has_next(axis, z, y)) continue;
            fill(axis, y, row);
            total[axis].add(row, m.pairs(axis));
        }
    for (int axis = 0; axis < axes; ++axis) sums[axis] = total[axis].total();
}

/* Sums of the penalties, or of the weights where `weigh`, three for each volume. */
template <typename Real>
int volume_sums(const Image<Real> &image, int64_t volumes, int weigh, double *sums, int threads) {
    const int64_t depth = image.size[0];
    for (int64_t i = 0; i < AXES * volumes; ++i) sums[i] = 0;
    return add_in_order(
        volumes * depth, AXES, threads, Row<Real>{image.size[2]},
        [&](Row<Real> *row, int64_t part, double *found) {
            const Image<Real> m = image.of(part / depth);
            const int64_t z = part % depth;
            const auto add = [&](auto fill) { add_plane(m, z, row->first, found, fill); };
            if (weigh)
                add([&](int axis, int64_t y, Real *out) { weights(m, axis, m.at(z, y), out); });
            else if (m.penalty == ISOTROPIC)
                add([&](int, int64_t y, Real *out) { lengths(m, z, y, 0, out); });
            else
                with_penalty<Real>(m.penalty, [&](auto value, auto) {
                    add([&](int axis, int64_t y, Real *out) { each_pair(m, axis, m.at(z, y), out, value); });
                });
        },
        [&](int64_t part, const double *found) {
            for (int axis = 0; axis < AXES; ++axis) sums[part / depth * AXES + axis] += found[axis];
        });
}

/* The gradient of a row, from the pairs before and behind each voxel. `row`: three rows of scratch. */
template <typename Real, typename Slope>
MEDLOSS_APART void gradient_row(const Image<Real> &m, int64_t z, int64_t y, Real *__restrict row, Real *__restrict out,
                                Slope slope) {
    const int64_t width = m.size[2], at = m.at(z, y), place[AXES] = {z, y, 0};
    Real *own = row + width, *before = own + width;
    memset(out, 0, (size_t)width * sizeof(Real));
    if (m.penalty == ISOTROPIC) lengths(m, z, y, 1, own);
    for (int axis = 0; axis < AXES; ++axis)
        for (int behind = 0; behind < 2; ++behind) { /* the pair with the voxel before, then with the one behind */
            const int64_t next = m.stride[axis], n = m.pairs(axis), from = axis == 2 || behind ? at : at - next;
            if (behind ? !m.has_next(axis, z, y) : axis < 2 && place[axis] == 0) continue;
            if (m.penalty == ISOTROPIC) {
                const Real *length = own, *x = m.x + from, *mask = m.mask ? m.mask + from : nullptr;
                const Real scale = m.scale[axis];
                if (axis < 2 && !behind) lengths(m, z - (axis == 0), y - (axis == 1), 1, before), length = before;
                for (int64_t i = 0; i < n; ++i) {
                    const int counts = !mask || (mask[i] > 0 && mask[i + next] > 0);
                    row[i] = counts ? scale * (x[i + next] - x[i]) * length[i] : 0;
                }
            } else {
                each_pair(m, axis, from, row, slope);
            }
            Real *to = out + (axis == 2 && !behind);
            const Real factor = (behind ? -1 : 1) * m.factor[axis] * m.scale[axis];
            for (int64_t i = 0; i < n; ++i) to[i] += factor * row[i];
        }
}

/* One over the weight along each axis, 1 where there is none, three for each volume; null without memory. */
template <typename Real>
double *shares(const Image<Real> &image, int64_t volumes, int threads) {
    const double voxels = (double)image.voxels();
    const int weigh = image.mask && image.average;
    double *found = room<double>(AXES * volumes);
    if (!found || (weigh && volume_sums(image, volumes, 1, found, threads))) {
        free(found);
        return nullptr;
    }
    for (int64_t i = 0; i < AXES * volumes; ++i) {
        const double along = (double)image.size[i % AXES];
        if (!weigh) found[i] = image.penalty == ISOTROPIC ? voxels : voxels / along * (along - 1);
        found[i] = !image.average ? 1 : found[i] > 0 ? 1 / found[i] : 1;
    }
    return found;
}

template <typename Real>
int values(const Image<Real> &image, int64_t volumes, double *out, int threads) {
    double *share = shares(image, volumes, threads), *sums = room<double>(AXES * volumes);
    const int failed = !share || !sums || volume_sums(image, volumes, 0, sums, threads);
    for (int64_t v = 0; !failed && v < volumes; ++v) {
        out[v] = 0;
        for (int64_t i = AXES * v; i < AXES * (v + 1); ++i) out[v] += share[i] * sums[i];
    }
    free(share);
    free(sums);
    return failed;
}

template <typename Real>
int gradients(const Image<Real> &image, int64_t volumes, const double *grad, Real *out, int threads) {
    const int64_t depth = image.size[0];
    double *share = shares(image, volumes, threads);
    if (!share) return 1;
    prefer_huge_pages(out, (size_t)(volumes * image.voxels()) * sizeof(Real));
    const Row<Real> rows{3 * image.size[2]};
    const int failed = share_out(volumes * depth, threads, rows, [&](Row<Real> *row, int64_t part) {
        const int64_t v = part / depth, z = part % depth;
        Image<Real> m = image.of(v);
        for (int axis = 0; axis < AXES; ++axis)
            m.factor[axis] = (Real)(grad[v] * share[AXES * v + (m.penalty == ISOTROPIC ? 0 : axis)]);
        with_penalty<Real>(m.penalty, [&](auto, auto slope) {
            for (int64_t y = 0; y < m.size[1]; ++y)
                gradient_row(m, z, y, row->first, out + v * m.voxels() + m.at(z, y), slope);
        });
    });
    free(share);
    return failed;
}

} // namespace

#define OPERANDS                                                                                               \
    const Real *x, const Real *t, const Real *mask, int64_t shared, int64_t volumes, const int64_t *size,      \
        const double *scale, int64_t penalty, int64_t average
#define IMAGE Image<Real>(x, t, mask, shared, size, scale, penalty, average)

/* The penalties' sums, or means where `average`, of each volume. */
MEDLOSS_ENTRY(adjacent_differences_forward, (OPERANDS, double *out, int threads),
              return values(IMAGE, volumes, out, threads);)

/* The gradient of x. */
MEDLOSS_ENTRY(adjacent_differences_backward, (OPERANDS, const double *grad, Real *out, int threads),
              return gradients(IMAGE, volumes, grad, out, threads);)
