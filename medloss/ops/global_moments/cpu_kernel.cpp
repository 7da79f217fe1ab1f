/* global_moments on the CPU: mass, covariance and variances of two images in one sweep, the gradient of one in another.
 *
 * A volume is cut into blocks: each has a level of its own taken off before it is squared, and the blocks are joined by
 * their means, in their order (Chan, Golub and LeVeque, Updating formulae and a pairwise algorithm for computing sample
 * variances, 1979). All sums are in double: the result does not depend on the number of threads, and an offset of the
 * intensities costs no digits. */
#include "../ordered_sums.hpp"
#include "../real_rows.hpp"
#include "../vector.hpp"

namespace {

enum { BLOCK = 2048, STRIP = 256, LEVELS = 5 };

/* Of a block, or of a volume: means, and sums of products of what is left without them. */
struct Moments {
    double mass, x, y, xx, xy, yy;
};

/* Relative to the first block that counts: where an image is constant, nothing is left to be rounded. */
Moments joined(const Moments *blocks, int64_t count) {
    Moments all = {};
    double first_x = 0, first_y = 0;
    for (int64_t at = count - 1; at >= 0; --at)
        if (blocks[at].mass > 0) first_x = blocks[at].x, first_y = blocks[at].y;
    for (int64_t at = 0; at < count; ++at) {
        if (!(blocks[at].mass > 0)) continue;
        all.mass += blocks[at].mass;
        all.x += blocks[at].mass * (blocks[at].x - first_x);
        all.y += blocks[at].mass * (blocks[at].y - first_y);
    }
    const double some = all.mass > 0 ? all.mass : 1;
    all.x = first_x + all.x / some;
    all.y = first_y + all.y / some;
    for (int64_t at = 0; at < count; ++at) {
        const Moments *b = blocks + at;
        if (!(b->mass > 0)) continue;
        all.xx += b->xx + b->mass * (b->x - all.x) * (b->x - all.x);
        all.xy += b->xy + b->mass * (b->x - all.x) * (b->y - all.y);
        all.yy += b->yy + b->mass * (b->y - all.y) * (b->y - all.y);
    }
    return all;
}

/* Both images with the types of their entries, and the weights that `shared` volumes have in common. */
template <typename Real>
struct Pair {
    const void *x, *y;
    int64_t x_type, y_type;
    const Real *weight;
    int64_t shared, volumes, voxels;

    int64_t blocks() const { return (voxels + BLOCK - 1) / BLOCK; } /* of a volume */
};

/* A block's entries as they lie, or widened in `spare`, two blocks; and their weights, or null. */
template <typename Real>
struct Entries {
    int64_t volume, first, n; /* first: among the entries of all volumes */
    const Real *x, *y, *w;

    Entries(const Pair<Real> &p, int64_t part, Real *spare) {
        const int64_t from = part % p.blocks() * BLOCK;
        volume = part / p.blocks();
        first = volume * p.voxels + from;
        n = least(BLOCK, p.voxels - from);
        x = entries(p.x, p.x_type, spare);
        y = entries(p.y, p.y_type, spare + BLOCK);
        w = p.weight ? p.weight + volume / p.shared * p.voxels + from : nullptr;
    }

    const Real *entries(const void *image, int64_t type, Real *spare) const {
        if (type == REAL_OWN) return (const Real *)image + first;
        load_row(image, type, first, 1, n, spare);
        return spare;
    }
};

/* A thread's scratch. */
template <typename Real>
struct Spare {
    Real rows[3 * BLOCK];

    int take() { return 0; }
    void give() { streamed(); }
};

/* A voxel of no less than half the block's greatest weight; `n` where nothing counts. */
template <typename Real>
int64_t heaviest(const Real *w, int64_t n) {
    Real greatest = 0;
#pragma omp simd reduction(max : greatest)
    for (int64_t i = 0; i < n; ++i) greatest = w[i] > greatest ? w[i] : greatest;
    int64_t at = 0;
    while (at < n && !(w[at] > 0 && w[at] >= greatest / 2)) ++at;
    return at;
}

/* Asks for a strip that is soon to be loaded: strips are too short for the processor to see what comes. Beyond the
 * tensor's end nothing happens. */
template <typename Real>
inline void fetch(const Real *from) {
    for (int64_t i = 0; i < STRIP; i += 64 / (int64_t)sizeof(Real)) __builtin_prefetch(from + i);
}

/* A block's moments, of what is left when a voxel is taken off. As that voxel counts itself, the variance is no less
 * than its square over twice the entries of a block: few digits are lost by it, and nothing is left of a constant. */
template <typename Real>
MEDLOSS_INLINE Moments moments_of(const Entries<Real> &block) {
    const Real *__restrict x = block.x, *__restrict y = block.y, *__restrict w = block.w;
    const int64_t n = block.n, at = w ? heaviest(w, n) : 0;
    if (at == n) return {};
    const Real level_x = x[at], level_y = y[at];
    double mass = 0, sum_x = 0, sum_y = 0, xx = 0, xy = 0, yy = 0;
    if (w) {
        double weight[STRIP], u[STRIP], v[STRIP]; /* which leaves a register to each of six sums */
        for (int64_t start = 0; start < n; start += STRIP) {
            const int64_t count = least(STRIP, n - start);
            fetch(x + start + 2 * STRIP);
            fetch(y + start + 2 * STRIP);
            fetch(w + start + BLOCK);
            for (int64_t i = 0; i < count; ++i) {
                const Real own = w[start + i], a = x[start + i], b = y[start + i];
                const Real kept = own > 0 ? own : 0; /* under none, nothing is looked at */
                weight[i] = (double)kept;
                u[i] = (double)(own > 0 ? a : level_x) - (double)level_x;
                v[i] = (double)(own > 0 ? b : level_y) - (double)level_y;
            }
#pragma omp simd reduction(+ : mass, sum_x, sum_y, xx, xy, yy)
            for (int64_t i = 0; i < count; ++i) {
                const double wu = weight[i] * u[i], wv = weight[i] * v[i];
                mass += weight[i];
                sum_x += wu;
                sum_y += wv;
                xx += wu * u[i];
                xy += wu * v[i];
                yy += wv * v[i];
            }
        }
    } else {
        mass = (double)n;
#pragma omp simd reduction(+ : sum_x, sum_y, xx, xy, yy)
        for (int64_t i = 0; i < n; ++i) {
            const double u = (double)x[i] - (double)level_x, v = (double)y[i] - (double)level_y;
            sum_x += u;
            sum_y += v;
            xx += u * u;
            xy += u * v;
            yy += v * v;
        }
    }
    return {mass, (double)level_x + sum_x / mass, (double)level_y + sum_y / mass, xx - sum_x * sum_x / mass,
            xy - sum_x * sum_y / mass, yy - sum_y * sum_y / mass};
}

/* Whether squares are no more than the rounding of an image whose mean is off by the digits that it lacks. */
template <typename Real>
int is_flat(double squares, double mass, double mean) {
    const double off = mean - (double)(Real)mean;
    return squares <= 32 * (double)epsilon<Real>() * (squares + mass * off * off);
}

/* `sums`: mass, covariance and variances of each volume. `levels`: both means, and by what each deviation counts in
 * the slope of either variance and of the covariance, 0 where a constant has none. */
template <typename Real>
int moments(const Pair<Real> &pair, double *sums, double *levels, int threads) {
    const int64_t blocks = pair.blocks();
    Moments *parts = room<Moments>(pair.volumes * blocks);
    const int failed = !parts || share_out(pair.volumes * blocks, threads, Spare<Real>(),
                                           [&](Spare<Real> *spare, int64_t part) {
                                               parts[part] = moments_of(Entries<Real>(pair, part, spare->rows));
                                           });
    for (int64_t v = 0; v < pair.volumes && !failed; ++v, sums += 4, levels += LEVELS) {
        const Moments m = joined(parts + v * blocks, blocks);
        const double some = m.mass > 0 ? m.mass : 1;
        const int flat_x = is_flat<Real>(m.xx, some, m.x), flat_y = is_flat<Real>(m.yy, some, m.y);
        sums[0] = m.mass;
        sums[1] = flat_x || flat_y ? 0 : m.xy / some;
        sums[2] = flat_x ? 0 : m.xx / some;
        sums[3] = flat_y ? 0 : m.yy / some;
        levels[0] = m.x;
        levels[1] = m.y;
        levels[2] = flat_x ? 0 : 2 / some;
        levels[3] = flat_y ? 0 : 2 / some;
        levels[4] = flat_x || flat_y ? 0 : 1 / some;
    }
    free(parts);
    return failed;
}

/* w (of_x (x - mean) + of_y (y - mean)) for a block. A mean is taken off in two parts, as one lacks digits. */
template <typename Real>
void slopes(const Entries<Real> &block, const double *mean, const double *rate, Real *__restrict out) {
    const Real *__restrict x = block.x, *__restrict y = block.y, *__restrict w = block.w;
    const Real high_x = (Real)mean[0], low_x = (Real)(mean[0] - (double)high_x);
    const Real high_y = (Real)mean[1], low_y = (Real)(mean[1] - (double)high_y);
    const Real of_x = (Real)rate[0], of_y = (Real)rate[1];
    const auto slope = [=](int64_t i) MEDLOSS_INLINED {
        return of_x * ((x[i] - high_x) - low_x) + of_y * ((y[i] - high_y) - low_y);
    };
    if (w)
        for (int64_t i = 0; i < block.n; ++i) {
            const Real each = slope(i);
            out[i] = w[i] > 0 ? w[i] * each : 0;
        }
    else
        for (int64_t i = 0; i < block.n; ++i) out[i] = slope(i);
}

/* The gradient of x, of x's type, from that of the four moments; x is input (`own` 0) or target (1). */
template <typename Real>
int gradient(const Pair<Real> &pair, const double *levels, const double *grad, int64_t own, void *out, int threads) {
    const size_t bytes = (pair.x_type == REAL_OWN ? sizeof(Real) : 2) * (size_t)(pair.volumes * pair.voxels);
    prefer_huge_pages(out, bytes);
    return share_out(pair.volumes * pair.blocks(), threads, Spare<Real>(), [&](Spare<Real> *spare, int64_t part) {
        const Entries<Real> block(pair, part, spare->rows);
        const double *level = levels + LEVELS * block.volume, *g = grad + 4 * block.volume;
        const double mean[2] = {level[own], level[1 - own]};
        const double rate[2] = {level[2 + own] > 0 ? g[2 + own] * level[2 + own] : 0,
                                level[4] > 0 ? g[1] * level[4] : 0};
        Real *row = spare->rows + 2 * BLOCK;
        slopes(block, mean, rate, row);
        if (pair.x_type == REAL_OWN && bytes >= STREAMED)
            stream_copy((Real *)out + block.first, row, sizeof(Real) * (size_t)block.n);
        else
            round_row(row, block.n, pair.x_type, block.first, 1, out);
    });
}

} // namespace

#define OPERANDS                                                                                                    \
    const void *x, int64_t x_type, const void *y, int64_t y_type, const Real *weight, int64_t shared,               \
        int64_t volumes, int64_t voxels
#define PAIR Pair<Real>{x, y, x_type, y_type, weight, shared, volumes, voxels}

MEDLOSS_ENTRY(global_moments_forward, (OPERANDS, double *sums, double *levels, int threads),
              return moments(PAIR, sums, levels, threads);)

MEDLOSS_ENTRY(global_moments_backward,
              (OPERANDS, const double *levels, const double *grad, int64_t own, void *out, int threads),
              return gradient(PAIR, levels, grad, own, out, threads);)
