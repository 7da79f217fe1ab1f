/* soft_morphology on the CPU: skeletons, erosions of errors, boxes and boundaries, with their gradients.
 *
 * The skeleton streams: planes of the map go in and planes of the result come out, and between them lie a few
 * planes for each erosion (skeleton.hpp, adjoint.hpp). The erosions of the error, each of which needs the extremes of
 * the one before, and boundaries go volume by volume (erosions.hpp, boxes.hpp). A voxel that does not count is infinite
 * for an erosion and minus infinite for a dilation. Values that are NaN or infinite themselves are told to the caller,
 * who leaves them to the reference. */
#include "adjoint.hpp"
#include "boxes.hpp"
#include "erosions.hpp"

namespace {

/* Volumes cut into runs of planes; there is one run of each where there are volumes enough for the threads. */
struct Runs {
    int64_t depth, each, all;

    Runs(int64_t volumes, int64_t planes, int64_t overlap, int threads) : depth(planes) {
        each = most(1, least((threads + volumes - 1) / volumes, depth / (2 * overlap)));
        all = volumes * each;
    }

    int64_t volume(int64_t at) const { return at / each; }
    int64_t low(int64_t at) const { return depth * (at % each) / each; }
    int64_t high(int64_t at) const { return depth * (at % each + 1) / each; }
};

/* The skeleton of each volume. */
template <typename Real>
int skeletons(const Volumes<Real> &v, const Real *map, int64_t count, Real *out, int64_t *odd, int threads) {
    const Runs runs(v.count, v.depth, count + 2, threads);
    return share_out(runs.all, threads, Stream<Real>(v, count, 0), [&](Stream<Real> *s, int64_t at) {
        Real *to = out + runs.volume(at) * v.voxels();
        s->begin(map, runs.volume(at), runs.low(at), runs.high(at));
        s->each_plane([&](int64_t z) {
            s->each_row(z, [&](int64_t start, const Real *row) {
                memcpy(to + start, row, sizeof(Real) * (size_t)v.width);
            });
        });
        report(s->odd, odd);
    });
}

/* Four sums of each volume: of the skeleton of `input` within `target`, of all of it, and the other way round. */
template <typename Real>
int skeleton_sums(const Volumes<Real> &v, const Real *input, const Real *target, int64_t count, double *sums,
                  int64_t *odd, int threads) {
    const Runs runs(2 * v.count, v.depth, count + 2, threads); /* of either map in turn */
    for (int64_t i = 0; i < 4 * v.count; ++i) sums[i] = 0;
    return add_in_order(
        runs.all, 2 * v.depth, threads, Stream<Real>(v, count, 0),
        [&](Stream<Real> *s, int64_t at, double *planes) {
            const int64_t volume = runs.volume(at) / 2, side = runs.volume(at) % 2;
            const Real *other = (side ? input : target) + volume * v.voxels();
            s->begin(side ? target : input, volume, runs.low(at), runs.high(at));
            s->each_plane([&](int64_t z) {
                Overlap overlap;
                s->each_row(z, [&](int64_t start, const Real *row) {
                    overlap.add(row, other + start, at_or_null(s->weight, start), v.width, s->scratch(s->PRODUCT));
                });
                planes[2 * z] = overlap.hit.total();
                planes[2 * z + 1] = overlap.thin.total();
            });
            report(s->odd, odd);
        },
        [&](int64_t at, const double *planes) {
            for (int64_t i = 0; i < 2 * v.depth; ++i) sums[2 * runs.volume(at) + i % 2] += planes[i];
        });
}

/* Scratch of a gradient: of the way back, and, for sums, of the target's skeleton. */
template <typename Real>
struct Gradient {
    Stream<Real> thin;
    Adjoint<Real> back;
    bool sums;

    int take() { return (sums && thin.take()) | back.take(); }
    void give() {
        thin.give();
        back.give();
    }
};

/* The gradient of `input`, into `out`, which holds zeros: from the cotangent of its skeleton, `map`, or from those of
 * the four `sums`. */
template <typename Real>
int skeleton_gradients(const Volumes<Real> &v, const Real *input, const Real *target, int64_t count, const Real *map,
                       const double *sums, Real *out, int64_t *odd, int threads) {
    const Runs runs(v.count, v.depth, count + 2, threads);
    const Gradient<Real> like = {Stream<Real>(v, count, 0), Adjoint<Real>(v, count), !map};
    prefer_huge_pages(out, (size_t)v.count * v.bytes());
    return share_out(runs.all, threads, like, [&](Gradient<Real> *g, int64_t at) {
        const int64_t volume = runs.volume(at), start = volume * v.voxels();
        const double *rates = at_or_null(sums, 4 * volume);
        Stream<Real> &s = g->thin;
        if (sums && rates[2] != 0) { /* the prediction within the target's skeleton */
            s.begin(target, volume, runs.low(at), runs.high(at));
            s.each_plane([&](int64_t z) {
                s.each_row(z, [&](int64_t first, const Real *row) {
                    const Real *weight = at_or_null(s.weight, first), rate = (Real)rates[2];
                    keep_counted(weight, v.width, out + start + first, [=](int64_t x) MEDLOSS_INLINED {
                        return rate * (weight ? row[x] * weight[x] : row[x]);
                    });
                });
            });
            report(s.odd, odd);
        }
        g->back.grad = at_or_null(map, start);
        g->back.other = at_or_null(target, start);
        g->back.hit = sums ? (Real)rates[0] : 0;
        g->back.thin = sums ? (Real)rates[1] : 0;
        g->back.out = out + start;
        g->back.add(input, volume, runs.low(at), runs.high(at));
        report(g->back.odd, odd);
    });
}

/* `body(work, volume, at)` for each volume, whose first voxel is `at`; it returns whether a value that counts is not
 * finite. */
template <typename Work, typename Real, typename Body>
int each_volume(const Work &like, Real *out, int64_t *odd, int threads, Body body) {
    if (out) prefer_huge_pages(out, (size_t)like.v.count * like.v.bytes());
    return share_out(like.v.count, threads, like, [&](Work *work, int64_t volume) {
        work->weight = like.v.weight_of(volume);
        report(body(work, volume, volume * like.v.voxels()), odd);
    });
}

} // namespace

#define VOLUMES \
    const Real *weight, int64_t volumes, int64_t shared, int64_t depth, int64_t height, int64_t width
#define MAPS const Real *input, const Real *target, VOLUMES
#define GIVEN Volumes<Real>{weight, volumes, shared, depth, height, width}

MEDLOSS_ENTRY(soft_skeleton_forward,
              (const Real *map, VOLUMES, int64_t count, Real *out, int64_t *odd, int threads),
              return skeletons(GIVEN, map, count, out, odd, threads);)

MEDLOSS_ENTRY(soft_skeleton_backward,
              (const Real *map, VOLUMES, int64_t count, const Real *grad, Real *out, int64_t *odd, int threads),
              return skeleton_gradients<Real>(GIVEN, map, nullptr, count, grad, nullptr, out, odd, threads);)

MEDLOSS_ENTRY(skeleton_sums_forward, (MAPS, int64_t count, double *sums, int64_t *odd, int threads),
              return skeleton_sums(GIVEN, input, target, count, sums, odd, threads);)

MEDLOSS_ENTRY(skeleton_sums_backward,
              (MAPS, int64_t count, const double *grad, Real *out, int64_t *odd, int threads),
              return skeleton_gradients<Real>(GIVEN, input, target, count, nullptr, grad, out, odd, threads);)

/* Erosions of the error, or with `grad` the gradient of `input` times `sign`, into `out`. */
MEDLOSS_ENTRY(erosion_hausdorff,
              (MAPS, int64_t axes, double alpha, int64_t k, const Real *grad, double sign, Real *out, int64_t *odd,
               int threads),
              using Work = Erosions<Real>;
              return each_volume(Work(GIVEN, axes, alpha, k, !!grad), out, odd, threads,
                                 [=](Work *work, int64_t, int64_t at) {
                                     const Real *p = input + at, *t = target + at;
                                     return grad ? work->gradient(p, t, grad + at, (Real)sign, out + at)
                                                 : work->sum(p, t, out + at);
                                 });)

/* The largest value of the box around each voxel, or with `grad` the gradient of the map, into `out`. */
MEDLOSS_ENTRY(max_pool,
              (const Real *map, VOLUMES, int64_t size, const Real *grad, Real *out, int64_t *odd, int threads),
              return each_volume(Pool<Real>(GIVEN, size), out, odd, threads,
                                 [=](Pool<Real> *pool, int64_t, int64_t at) {
                                     return pool->run(map + at, at_or_null(grad, at), out + at);
                                 });)

/* Four sums of each volume: of the boundary of `input` near that of `target`, of all of it, and the other way round; or
 * with `grad`, the cotangents of these, the gradient of `input` into `out`. */
MEDLOSS_ENTRY(boundary_sums,
              (MAPS, int64_t inner, int64_t outer, double *sums, const double *grad, Real *out, int64_t *odd,
               int threads),
              using Work = Boundaries<Real>;
              return each_volume(Work(GIVEN, inner, outer), out, odd, threads,
                                 [=](Work *work, int64_t volume, int64_t at) {
                                     const int found = work->find(input + at, target + at);
                                     if (!found && grad) work->gradient(grad + 4 * volume, out + at);
                                     if (!found && !grad) work->sums(sums + 4 * volume);
                                     return found;
                                 });)
