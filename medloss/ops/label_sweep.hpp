/* The one driver of the kernels over a labelled volume: it cuts the volume into blocks and these into tiles, shares
 * them out among the threads, and adds up. A statistic says what a tile adds to the sums, and what its gradient is;
 * the walk through in CONTRIBUTING.md has a small one.
 *
 * Blocks are of a fixed size, each with sums of its own in double, which are added in order: the result depends
 * neither on the number of threads nor on their timing. */
#ifndef MEDLOSS_LABEL_SWEEP_HPP
#define MEDLOSS_LABEL_SWEEP_HPP

#include "label_activation.hpp"

namespace {

enum { BLOCK = 16384 };

/* Voxels start to end of a sample; `part` is which share of the whole it lies in, each a run of blocks. */
struct Block {
    int64_t sample, start, end;
    int part;
};

/* Rows of one thread beside its tile, as many as the statistic's `rows` says. */
template <typename Real>
struct Rows {
    Real *first;
    int64_t step;

    template <typename Statistic>
    int take(const Statistic &s, const Tile<Real> *t) {
        first = room<Real>(s.rows() * t->step);
        step = t->step;
        return !first && s.rows();
    }
    void give() { free(first); }
    Real *operator[](int64_t k) const { return first + k * step; }
};

/* What a statistic is. One has its own of
 *     width()                    how many sums a sample has,
 *     rows()                     of its scratch, which may be of a type of its own, with `take` and `give`,
 *     add(tile, scratch, sums)   the tile's part of the sums of its block,
 *     write(tile, scratch, out)  the tile's gradient; of one by the probabilities `write_slopes` makes it;
 * and of what else it needs. */
template <typename Of>
struct Statistic {
    using Real = Of;
    using Scratch = Rows<Real>;

    Volume<Real> volume;
    int streams = 0; /* whether the gradient is so large that it goes past the caches */

    int64_t width() const { return 0; }
    int64_t rows() const { return 0; }
    int64_t block_length() const { return BLOCK; }
    int64_t tile_length() const { return tile_size(volume.classes, sizeof(Real)); }

    /* Labels, weights and probabilities of a tile, and what is certain in it. */
    template <typename Any>
    void load(Tile<Real> *t, Any *) const {
        load_tile(&volume, t);
        seek_certain(&volume, t, 1);
    }

    template <typename Any>
    void add(Tile<Real> *, Any *, double *) const {}
    template <typename Any>
    void write(Tile<Real> *, Any *, void *) const {}

    /* Before the first tile of a block, behind its last, and behind the last block of a thread. */
    template <typename Any>
    void begin(Tile<Real> *, Any *, const Block &) const {}
    template <typename Any>
    void end(Tile<Real> *, Any *, double *) const {}
    template <typename Any>
    void leave(Any *) const {}
};

/* The sweep over some samples from `first` on: sums of each block where `out` is null, else the gradient. */
template <typename S>
int sweep(const S &s, int64_t first, int64_t samples, double *partials, void *out, int threads) {
    const int64_t length = s.block_length(), size = s.tile_length(), voxels = s.volume.voxels;
    const int64_t blocks = (voxels + length - 1) / length, all = samples * blocks;
    int failed = 0;
#pragma omp parallel num_threads(threads) reduction(| : failed)
    {
        Tile<typename S::Real> tile;
        typename S::Scratch scratch = {};
        failed |= tile_alloc(&tile, &s.volume, size) || scratch.take(s, &tile);
#pragma omp for schedule(static, 1)
        for (int part = 0; part < threads; ++part)
            for (int64_t at = all * part / threads; at < all * (part + 1) / threads && !failed; ++at) {
                const int64_t start = at % blocks * length, end = start + length < voxels ? start + length : voxels;
                double *sums = partials ? partials + at * s.width() : nullptr;
                tile.b = first + at / blocks;
                s.begin(&tile, &scratch, Block{tile.b, start, end, part});
                for (tile.start = start; tile.start < end; tile.start += size) {
                    tile.n = end - tile.start < size ? end - tile.start : size;
                    s.load(&tile, &scratch);
                    out ? s.write(&tile, &scratch, out) : s.add(&tile, &scratch, sums);
                }
                s.end(&tile, &scratch, sums);
            }
        if (!failed) s.leave(&scratch);
        if (s.streams) streamed();
        scratch.give();
        tile_free(&tile);
    }
    return failed;
}

/* The sums of every sample, handed over one by one: `give(b * width + k, sum)`. */
template <typename S, typename Give>
int add_up(const S &s, int threads, Give give) {
    const int64_t length = s.block_length(), blocks = (s.volume.voxels + length - 1) / length, width = s.width();
    double *partials = cleared<double>(s.volume.batch * blocks * width);
    if (!partials) return 1;
    const int failed = sweep(s, 0, s.volume.batch, partials, nullptr, threads);
    for (int64_t b = 0; b < s.volume.batch && !failed; ++b) {
        double *total = partials + b * blocks * width;
        for (int64_t block = 1; block < blocks; ++block)
            for (int64_t k = 0; k < width; ++k) total[k] += total[block * width + k];
        for (int64_t k = 0; k < width; ++k) give(b * width + k, total[k]);
    }
    free(partials);
    return failed;
}

template <typename S>
int add_up(const S &s, double *sums, int threads) {
    return add_up(s, threads, [=](int64_t at, double sum) { sums[at] = sum; });
}

/* Bytes of a gradient. */
template <typename Real>
size_t gradient_bytes(const Volume<Real> &v) {
    return (size_t)(v.batch * v.classes * v.voxels) * (v.type == REAL_OWN ? sizeof(Real) : sizeof(uint16_t));
}

/* The gradient of every sample. */
template <typename S>
int write_all(const S &s, void *out, int threads) {
    prefer_huge_pages(out, gradient_bytes(s.volume));
    return sweep(s, 0, s.volume.batch, nullptr, out, threads);
}

/* One row of the gradient from scratch to where it belongs. */
template <typename S>
void hand_row(const S &s, const Tile<typename S::Real> *t, int64_t c, const typename S::Real *row, void *out) {
    typename S::Real *own = own_row(&s.volume, t, c, out);
    if (!own)
        store_row(&s.volume, t, c, row, out);
    else if (s.streams)
        stream_copy(own, row, sizeof *row * (size_t)t->n);
    else if (own != row)
        memcpy(own, row, sizeof *row * (size_t)t->n);
}

/* The gradient of a tile by its logits from that by the probabilities: `slope(c, row)` fills a row with dL/dp of a
 * class, or returns false where that is zero. `rows` are one for each class. */
template <typename S, typename Slope>
void write_slopes(const S &s, Tile<typename S::Real> *t, const Rows<typename S::Real> &rows, void *out, Slope slope) {
    using Real = typename S::Real;
    const Volume<Real> *v = &s.volume;
    const int64_t n = t->n;
    Real *__restrict total = t->top;
    const Real *__restrict scale = t->scale;
    memset(total, 0, sizeof(Real) * (size_t)n);
    for (int64_t c = 0; c < v->classes; ++c) {
        Real *__restrict row = rows[c];
        const Real *__restrict p = t->p + c * t->step;
        if (slope(c, row))
            for (int64_t i = 0; i < n; ++i) total[i] += p[i] * row[i];
        else
            memset(row, 0, sizeof(Real) * (size_t)n);
    }
    for (int64_t c = 0; c < v->classes; ++c) {
        Real *row = rows[c], *own = own_row(v, t, c, out), *g = own && !t->sure && !s.streams ? own : row;
        const Real *__restrict p = t->p + c * t->step, *__restrict q = t->q ? t->q + c * t->step : nullptr;
        if (v->activation == SOFTMAX)
#pragma omp simd
            for (int64_t i = 0; i < n; ++i) g[i] = scale[i] * p[i] * (row[i] - total[i] * scale[i]);
        else if (v->activation == SIGMOID)
#pragma omp simd
            for (int64_t i = 0; i < n; ++i) g[i] = row[i] * p[i] * q[i];
        else if (g != row)
            memcpy(g, row, sizeof(Real) * (size_t)n);
        if (t->weighted)
            for (int64_t i = 0; i < n; ++i) g[i] = t->weight[i] > 0 ? g[i] : 0;
        if (g == row && !t->sure) hand_row(s, t, c, row, out);
    }
    if (!t->sure) return;
    settle(v, t, rows.first, t->step);
    for (int64_t c = 0; c < v->classes; ++c) hand_row(s, t, c, rows[c], out);
}

} // namespace

#endif
