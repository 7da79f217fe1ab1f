/* gradient_alignment on the CPU: one minus the squared cosine between the gradients of two images, row by row; no map
 * of derivatives is made. One sweep for the mean squares that the edge is relative to, one for the values, one for the
 * gradient of an image, which is that of the other with both exchanged. */
#include "../ordered_sums.hpp"
#include "rows.hpp"

namespace {

enum { STRIP = 16 }; /* rows that are summed, or of a plane that the gradient is computed of, at once */

/* Rows of scratch: the derivatives of both images, three each, one over the lengths of both gradients, the cosine
 * between them, and one to spare. */
template <typename Real>
struct Angle {
    enum { ROWS = 10 };
    int64_t n;
    Real *g, *h, *a, *b, *cosine, *spare;

    Angle(int64_t length, Real *rows)
        : n(length), g(rows), h(g + 3 * n), a(h + 3 * n), b(a + n), cosine(b + n), spare(cosine + n) {}

    /* Of a row. `energy`: both images' squared edges; `factor`: of the derivatives of x, where asked for. */
    void measure(const Images<Real> &f, int64_t plane, int64_t line, const double *energy, Real *factor) {
        derive(f, f.x, plane, line, g, factor);
        derive(f, f.y, plane, line, h, (Real *)nullptr);
        inverse_lengths(n, g, (Real)energy[0], a);
        inverse_lengths(n, h, (Real)energy[1], b);
        cosines(n, g, h, a, b, cosine);
    }

    static void inverse_lengths(int64_t n, const Real *__restrict g, Real edge, Real *__restrict out) {
        const Real *__restrict h = g + n, *__restrict k = h + n, least = smallest<Real>();
        for (int64_t i = 0; i < n; ++i) {
            const Real square = g[i] * g[i] + h[i] * h[i] + k[i] * k[i] + edge;
            out[i] = 1 / root_of(square < least ? least : square);
        }
    }

    static void cosines(int64_t n, const Real *__restrict g, const Real *__restrict h, const Real *__restrict a,
                        const Real *__restrict b, Real *__restrict out) {
        for (int64_t i = 0; i < n; ++i)
            out[i] = (g[i] * h[i] + g[i + n] * h[i + n] + g[i + 2 * n] * h[i + 2 * n]) * a[i] * b[i];
    }
};

/* The sum of `value(i)` over a row. */
template <typename Value>
MEDLOSS_INLINE double sum_of(int64_t n, Value value) {
    decltype(value(n)) sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < n; ++i) sum += value(i);
    return (double)sum;
}

/* Of a row: the squares of both gradients and the mass, each weighted. `g`: three rows of scratch. */
template <typename Real>
void add_energies(const Images<Real> &f, int64_t plane, int64_t line, Real *g, double *sums) {
    const int64_t n = f.size[2];
    const Real *w = f.mask ? f.mask + f.at(plane, line) : nullptr;
    const auto square = [=](int64_t i) { return g[i] * g[i] + g[i + n] * g[i + n] + g[i + 2 * n] * g[i + 2 * n]; };
    for (int image = 0; image < 2; ++image) {
        derive(f, image ? f.y : f.x, plane, line, g, (Real *)nullptr);
        sums[image] += w ? sum_of(n, [=](int64_t i) { return w[i] * square(i); }) : sum_of(n, square);
    }
    sums[2] += w ? sum_of(n, [=](int64_t i) { return w[i]; }) : (double)n;
}

/* Of a row: the values, and by how much they grow with either image's energy (times `grad` where it is given). `map`
 * takes the values. */
template <typename Real>
void add_values(const Images<Real> &f, int64_t plane, int64_t line, const double *energy, const Real *grad, Real *map,
                Angle<Real> angle, double *sums) {
    const int64_t n = f.size[2], at = f.at(plane, line);
    const Real *w = f.mask ? f.mask + at : nullptr, *up = grad ? grad + at : nullptr, *a = angle.a, *b = angle.b;
    Real *__restrict cosine = angle.cosine, *__restrict value = angle.spare;
    angle.measure(f, plane, line, energy, nullptr);
    for (int64_t i = 0; i < n; ++i) {
        cosine[i] *= cosine[i];
        value[i] = 1 - cosine[i];
    }
    if (w)
        for (int64_t i = 0; i < n; ++i) {
            value[i] *= w[i];
            cosine[i] *= w[i];
        }
    if (up)
        for (int64_t i = 0; i < n; ++i) cosine[i] = cosine[i] == 0 ? 0 : cosine[i] * up[i];
    if (map) memcpy(map + at, value, sizeof(Real) * (size_t)n);
    sums[0] += sum_of(n, [=](int64_t i) { return value[i]; });
    sums[1] += sum_of(n, [=](int64_t i) { return cosine[i] * a[i] * a[i]; });
    sums[2] += sum_of(n, [=](int64_t i) { return cosine[i] * b[i] * b[i]; });
}

/* What the gradient of x is made of: of a volume the squared edges, twice what the loss grows with the squares of x by
 * way of its energy, and what comes from above, a map or one number. */
template <typename Real>
struct Above {
    const double *energy;
    Real pull;
    const Real *grad;
    Real all;
};

/* Of a row: what goes back along the differences of x, into three rows of `out`. */
template <typename Real>
void slopes(const Images<Real> &f, int64_t plane, int64_t line, const Above<Real> &above, Angle<Real> angle,
            Real *out) {
    const int64_t n = f.size[2], at = f.at(plane, line);
    const Real *w = f.mask ? f.mask + at : nullptr, *up = above.grad ? above.grad + at : nullptr;
    const Real *__restrict a = angle.a, *__restrict b = angle.b, *__restrict cosine = angle.cosine;
    const Real all = above.all, pull = above.pull;
    Real *__restrict weight = angle.spare;
    angle.measure(f, plane, line, above.energy, out);
    for (int64_t i = 0; i < n; ++i) weight[i] = w ? w[i] : 1;
    for (int axis = 0; axis < 3; ++axis) {
        const Real *__restrict own = angle.g + axis * n, *__restrict other = angle.h + axis * n;
        Real *__restrict to = out + axis * n;
        for (int64_t i = 0; i < n; ++i) {
            const Real turn = a[i] * (b[i] * other[i] - cosine[i] * (a[i] * own[i]));
            const Real from = -2 * cosine[i] * (up ? up[i] : all);
            to[i] *= weight[i] > 0 ? weight[i] * (from * turn + pull * own[i]) : 0;
        }
    }
}

/* One line of the gradient. `ring` holds three planes of slopes, of the rows from `first` - 1 on. */
template <typename Real>
void gather(const Images<Real> &f, int64_t plane, int64_t line, int64_t first, const Real *ring, int64_t pitch,
            Real *out) {
    const int64_t n = f.size[2], inner = (line - first + 1) * 3 * n;
    const Real *w = f.mask ? f.mask + f.at(plane, line) : nullptr, *here = ring + plane % 3 * pitch + inner;
    memset(out, 0, sizeof(Real) * (size_t)n);
    Reach<Real> r(here, 0, w, f.size[1] * n, plane, f.size[0]);
    if (r.has_next) r.next = ring + (plane + 1) % 3 * pitch + inner;
    if (r.has_last) r.last = ring + (plane + 2) % 3 * pitch + inner;
    differ_back(r, 0, n, out);
    differ_back(Reach<Real>(here + n, 3 * n, w, n, line, f.size[1]), 0, n, out);
    each_reach_along(here + 2 * n, w, n, [=](const Reach<Real> &part, int64_t from, int64_t end) {
        differ_back(part, from, end, out);
    });
}

/* The gradient of the lines from `first` of every plane of a volume. */
template <typename Real>
void strip(const Images<Real> &f, int64_t first, const Above<Real> &above, Real *scratch, Real *out) {
    const int64_t n = f.size[2], lines = f.size[1], planes = f.size[0], pitch = (STRIP + 2) * 3 * n;
    const int64_t end = least(first + STRIP, lines);
    Real *ring = scratch + Angle<Real>::ROWS * n;
    for (int64_t plane = 0; plane <= planes; ++plane) {
        if (plane < planes)
            for (int64_t line = most(first - 1, 0); line < least(end + 1, lines); ++line)
                slopes(f, plane, line, above, Angle<Real>(n, scratch),
                       ring + plane % 3 * pitch + (line - first + 1) * 3 * n);
        if (plane > 0)
            for (int64_t line = first; line < end; ++line)
                gather(f, plane - 1, line, first, ring, pitch, out + f.at(plane - 1, line));
    }
}

/* Sums of each volume, three in double: weighted squares of both gradients, and the mass; or, where `energy` is given,
 * the values and their slopes by both energies. */
template <typename Real>
int sums_of(const Images<Real> &images, int64_t volumes, const double *energy, const Real *grad, Real *map,
            double *sums, int threads) {
    const int64_t rows = images.size[0] * images.size[1], strips = (rows + STRIP - 1) / STRIP, n = images.size[2];
    if (map) prefer_huge_pages(map, sizeof(Real) * (size_t)(volumes * images.voxels()));
    for (int64_t i = 0; i < 3 * volumes; ++i) sums[i] = 0;
    return add_in_order(
        volumes * strips, 3, threads, Row<Real>{Angle<Real>::ROWS * n},
        [&](Row<Real> *scratch, int64_t part, double *found) {
            const int64_t v = part / strips, first = part % strips * STRIP, at = v * images.voxels();
            const Images<Real> f = images.of(v);
            for (int64_t row = first; row < least(first + STRIP, rows); ++row) {
                const int64_t plane = row / f.size[1], line = row % f.size[1];
                if (energy)
                    add_values(f, plane, line, energy + 2 * v, grad ? grad + at : nullptr, map ? map + at : nullptr,
                               Angle<Real>(n, scratch->first), found);
                else
                    add_energies(f, plane, line, scratch->first, found);
            }
        },
        [&](int64_t part, const double *found) {
            for (int i = 0; i < 3; ++i) sums[part / strips * 3 + i] += found[i];
        });
}

/* The gradient of x, from a map `grad` or one number for each volume. */
template <typename Real>
int gradients(const Images<Real> &images, int64_t volumes, const double *energy, const double *pull, const Real *grad,
              const Real *all, Real *out, int threads) {
    const int64_t strips = (images.size[1] + STRIP - 1) / STRIP, voxels = images.voxels();
    const Row<Real> rows{(Angle<Real>::ROWS + 9 * (STRIP + 2)) * images.size[2]};
    prefer_huge_pages(out, sizeof(Real) * (size_t)(volumes * voxels));
    return share_out(volumes * strips, threads, rows, [&](Row<Real> *scratch, int64_t part) {
        const int64_t v = part / strips;
        const Above<Real> above = {energy + 2 * v, (Real)pull[v], grad ? grad + v * voxels : nullptr,
                                   grad ? 0 : all[v]};
        strip(images.of(v), part % strips * STRIP, above, scratch->first, out + v * voxels);
    });
}

} // namespace

#define OPERANDS                                                                                                    \
    const Real *x, const Real *y, const Real *mask, int64_t shared, int64_t volumes, int64_t planes, int64_t lines, \
        int64_t columns, const double *scale
#define IMAGES                                                                                                      \
    Images<Real>{x, y, mask, shared, {planes, lines, columns}, {(Real)scale[0], (Real)scale[1], (Real)scale[2]}}

MEDLOSS_ENTRY(gradient_alignment_sums,
              (OPERANDS, const double *energy, const Real *grad, Real *map, double *sums, int threads),
              return sums_of(IMAGES, volumes, energy, grad, map, sums, threads);)

MEDLOSS_ENTRY(gradient_alignment_backward,
              (OPERANDS, const double *energy, const double *pull, const Real *grad, const Real *all, Real *out,
               int threads),
              return gradients(IMAGES, volumes, energy, pull, grad, all, out, threads);)
