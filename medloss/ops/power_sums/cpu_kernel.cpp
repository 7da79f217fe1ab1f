/* power_sums on the CPU: powers of each voxel's error, and what region_sums knows beside them, in one sweep; and the
 * gradient in another. A tile's logits are read once, and no map is made.
 */
#include "powers.hpp"

#include "errors.hpp"

#include "sums.hpp"

#include "gradient.hpp"

namespace {

template <typename Real>
void Powers<Real>::begin(Tile<Real> *, PowerRows<Real> *r, const Block &) const {
    memset(r->lanes, 0, sizeof(double) * (size_t)(LANES * (volume.classes + 1)));
}

template <typename Real>
void Powers<Real>::load(Tile<Real> *t, PowerRows<Real> *r) const {
    prepare(this, t, r);
}

template <typename Real>
void Powers<Real>::add(Tile<Real> *t, PowerRows<Real> *r, double *sums) const {
    is_single(this) ? add_true(this, t, r, r->lanes) : add_tile(this, t, r, sums);
}

template <typename Real>
void Powers<Real>::end(Tile<Real> *, PowerRows<Real> *r, double *sums) const {
    const int64_t classes = volume.classes;
    for (int64_t at = 0; is_single(this) && sums && at < LANES * classes; ++at)
        sums[at % classes * POWER_COLUMNS + TRUE_POWERS] += r->lanes[at / classes * (classes + 1) + at % classes + 1];
}

template <typename Real>
void Powers<Real>::write(Tile<Real> *t, PowerRows<Real> *r, void *out) const {
    is_single(this) ? true_gradient(this, t, r, cotangent, out) : write_gradient(this, t, r, cotangent, out);
}

/* Of all columns of a class those of the regions, where they are asked for, and the powers. */
template <typename Real>
int add_powers(const Powers<Real> &f, Real *sums, int threads) {
    const int64_t first = f.regions ? 0 : COLUMNS, given = POWER_COLUMNS - first;
    return add_up(f, threads, [=](int64_t at, double sum) {
        if (at % POWER_COLUMNS >= first) sums[at / POWER_COLUMNS * given + at % POWER_COLUMNS - first] = (Real)sum;
    });
}

} // namespace

#define OPERANDS MEDLOSS_LABEL_OPERANDS, int64_t likelihood, double exponent, int64_t regions, int64_t both

/* B C 2, with the columns of the regions in front where they are asked for. */
MEDLOSS_ENTRY(power_sums_forward, (OPERANDS, Real *sums, int threads),
              return add_powers(Powers<Real>(MEDLOSS_LABEL_VOLUME, likelihood, exponent, regions, both, nullptr),
                                sums, threads);)

MEDLOSS_ENTRY(power_sums_backward, (OPERANDS, const Real *cotangent, void *out, int threads),
              return write_all(Powers<Real>(MEDLOSS_LABEL_VOLUME, likelihood, exponent, regions, both, cotangent),
                               out, threads);)
