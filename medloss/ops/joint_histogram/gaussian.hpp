/* Gaussian windows, a tile of voxels at a time: their weights side by side for the arithmetic, then, of
 * the target, bin by bin for the outer product.
 *
 * With the distance d to the nearest centre, exp(-s (d - k)^2) is up to a common factor q^k exp(-s k^2),
 * where q = exp(2 s d): one exponential for all bins. What lies outside the bins weighs nothing, and the
 * rest sums to one. */
#include "call.hpp"

namespace {

enum { TILE = 64 };

/* The windows of a tile's voxels: row k holds the weight (or its slope) of each voxel's bin k - reach from
 * its own. */
template <typename Real>
struct Windows {
    int32_t nearest[TILE];
    Real q[TILE], own[TILE]; /* own: the nearest bin as a real */
    Real row[2 * MOST_REACH + 1][TILE];

    /* Nearest bins and the exponentials; the tile's rest gets the windows of the first bin. NaN: any bin, NaN
     * weights. */
    void place(const Call<Real> &c, const Scale<Real> &s, const Real *values, int n) {
        const Real last = (Real)(c.bins - 1), steep = (Real)(2 * c.sharpness), half = (Real)0.5;
        for (int i = 0; i < n; ++i) {
            const Real place = s.place(values[i]);
            Real up = place + half;
            up = up >= 0 ? up : 0;
            up = up > last ? last : up;
            nearest[i] = (int32_t)up;
            own[i] = (Real)nearest[i];
            q[i] = exp_of(steep * (place - own[i]));
        }
        for (int i = n; i < TILE; ++i) nearest[i] = 0, own[i] = 0, q[i] = 1;
    }

    /* The weights of some voxels from their exponentials. */
    MEDLOSS_INLINE void weights(const Call<Real> &c, const int reach, int i, Vector<Real> *out) const {
        const Vector<Real> below = load(own + i), above = (Real)(c.bins - 1) - below, up_one = load(q + i);
        const Vector<Real> down_one = 1 / up_one;
        Vector<Real> up = up_one, down = down_one, sum = (up - up) + 1; /* one, or NaN */
        out[reach] = sum;
        for (int k = 1; k <= reach; ++k) {
            const Real fall = (Real)c.fall[k], distance = (Real)k;
            out[reach + k] = (Vector<Real>)((Whole<Real>)(fall * up) & (above >= distance));
            out[reach - k] = (Vector<Real>)((Whole<Real>)(fall * down) & (below >= distance));
            sum += out[reach + k] + out[reach - k];
            up *= up_one;
            down *= down_one;
        }
        sum = 1 / sum;
        for (int k = 0; k <= 2 * reach; ++k) out[k] *= sum;
    }

    /* The weights of a tile, times what each voxel weighs. */
    MEDLOSS_INLINE void weigh(const Call<Real> &c, const int reach, const Real *mass) {
        for (int i = 0; i < TILE; i += LANES<Real>) {
            Vector<Real> each[2 * MOST_REACH + 1];
            weights(c, reach, i, each);
            for (int k = 0; k <= 2 * reach; ++k) {
                if (mass) each[k] *= load(mass + i);
                store(row[k] + i, each[k]);
            }
        }
    }

    /* The slopes of the weights, 2 s w_k (k - mean of k), added up from the first bin on: they meet the
     * differences of the cotangents, whose common part would cost digits. */
    MEDLOSS_INLINE void slopes(const Call<Real> &c, const int reach) {
        const Real steep = (Real)(2 * c.sharpness);
        for (int i = 0; i < TILE; i += LANES<Real>) {
            Vector<Real> each[2 * MOST_REACH + 1], mean, total;
            weights(c, reach, i, each);
            mean = each[0] * (Real)-reach;
            for (int k = 1; k <= 2 * reach; ++k) mean += each[k] * (Real)(k - reach);
            total = each[0] - each[0];
            for (int k = 0; k < 2 * reach; ++k) {
                total += steep * each[k] * ((Real)(k - reach) - mean);
                store(row[k] + i, total);
            }
        }
    }

    /* The weights of each voxel together, and zeros up to a whole number of groups. */
    MEDLOSS_INLINE void turn(const int rows, const int columns, int n, Real *__restrict out) const {
        for (int i = 0; i < n; ++i) {
            for (int k = 0; k < rows; ++k) out[i * columns + k] = row[k][i];
            for (int k = rows; k < columns; ++k) out[i * columns + k] = 0;
        }
    }
};

template <typename Real>
MEDLOSS_INLINE void count_gaussian(const Call<Real> &c, const int reach, const Scale<Real> &sx, const Scale<Real> &sy,
                                   int64_t start, int64_t end, double *counts) {
    const int rows = 2 * reach + 1, columns = (rows + GROUP - 1) / GROUP * GROUP;
    Windows<Real> wx, wy;
    Real mass[TILE], bins[TILE * columns];
    for (int64_t first = start; first < end; first += TILE) {
        const int n = (int)least(end - first, TILE);
        if (c.mask)
            for (int i = 0; i < TILE; ++i) mass[i] = i < n ? c.mask[first + i] : 0;
        wx.place(c, sx, c.x + first, n);
        wy.place(c, sy, c.y + first, n);
        wx.weigh(c, reach, c.mask ? mass : nullptr);
        wy.weigh(c, reach, nullptr);
        wy.turn(rows, columns, n, bins);
        for (int i = 0; i < n; ++i) {
            if (c.mask && !(mass[i] > 0)) continue;
            double *corner = counts + wx.nearest[i] * c.side + wy.nearest[i];
            for (int k = 0; k < columns; k += GROUP) {
                const Real *part = bins + i * columns + k;
                const Vector<double> low = {part[0], part[1], part[2], part[3]};
                const Vector<double> high = {part[4], part[5], part[6], part[7]};
                double *to = corner + k;
                for (int a = 0; a < rows; ++a, to += c.side) {
                    const double wa = (double)wx.row[a][i];
                    *(Vector<double> *)to += wa * low;
                    *(Vector<double> *)(to + 4) += wa * high;
                }
            }
        }
    }
}

/* `table`: each bin's cotangent less that of the next row. */
template <typename Real>
MEDLOSS_INLINE void slope_gaussian(const Call<Real> &c, const int reach, const Scale<Real> &sx, const Scale<Real> &sy,
                                   int64_t start, int64_t end, const Real *table, Real *out) {
    const int rows = 2 * reach + 1, columns = (rows + GROUP - 1) / GROUP * GROUP;
    Windows<Real> wx, wy;
    Real bins[TILE * columns];
    for (int64_t first = start; first < end; first += TILE) {
        const int n = (int)least(end - first, TILE);
        wx.place(c, sx, c.x + first, n);
        wy.place(c, sy, c.y + first, n);
        wx.slopes(c, reach);
        wy.weigh(c, reach, nullptr);
        wy.turn(rows, columns, n, bins);
        for (int i = 0; i < n; ++i) {
            const Real weight = c.mask ? c.mask[first + i] : 1, x = c.x[first + i];
            out[first + i] = 0;
            if (!(weight > 0) || x < sx.low || x > sx.high) continue;
            const Real *corner = table + wx.nearest[i] * c.side + wy.nearest[i];
            Real sum[GROUP] = {0};
            for (int k = 0; k < columns; k += GROUP) {
                Real part[GROUP] = {0};
                for (int a = 0; a < 2 * reach; ++a) {
                    const Real slope = wx.row[a][i];
                    for (int lane = 0; lane < GROUP; ++lane) part[lane] += slope * corner[a * c.side + k + lane];
                }
                for (int lane = 0; lane < GROUP; ++lane) sum[lane] += part[lane] * bins[i * columns + k + lane];
            }
            const Real total = ((sum[0] + sum[4]) + (sum[1] + sum[5])) + ((sum[2] + sum[6]) + (sum[3] + sum[7]));
            out[first + i] = weight * sx.factor * total;
        }
    }
}

} // namespace
