/* region_sums on the CPU: softmax or sigmoid, overlap sums and likelihoods in one sweep, and the gradient in another.
 * A tile's logits are read once, its activation lives in scratch.
 */
#include "region.hpp"

#include "rows.hpp"

#include "true_class.hpp"

#include "labelled.hpp"

#include "labelled_gradient.hpp"

#include "memberships.hpp"

#include "membership_gradient.hpp"

namespace {

template <typename Real>
void Regions<Real>::begin(Tile<Real> *t, RegionRows<Real> *r, const Block &block) const {
    r->voxels = 0;
    memset(t->top, 0, sizeof(Real) * (size_t)t->size);
    r->labelled = is_labelled(this, block.sample);
    if (!r->labelled) return;
    if (cotangent)
        load_coefficients(this, r, cotangent + block.sample * width());
    else
        memset(r->lanes, 0, sizeof(double) * (size_t)(LANES * (volume.classes + 1) * PER_LANE));
}

template <typename Real>
void Regions<Real>::load(Tile<Real> *t, RegionRows<Real> *r) const {
    stage(this, t, r);
    load_voxels(&volume, t);
}

template <typename Real>
void Regions<Real>::add(Tile<Real> *t, RegionRows<Real> *r, double *sums) const {
    r->labelled ? add_labelled(this, t, r, sums) : add_memberships(this, t, r, sums);
    double voxels = t->weighted ? r->voxels : r->voxels + (double)t->n; /* whose sum is exact */
    if (t->weighted)
        for (int64_t i = 0; i < t->n; ++i) voxels += (double)t->weight[i];
    r->voxels = voxels;
}

template <typename Real>
void Regions<Real>::end(Tile<Real> *, RegionRows<Real> *r, double *sums) const {
    if (!sums) return;
    if (r->labelled) gather_lanes(this, r, sums);
    for (int64_t c = 0; c < volume.classes; ++c) sums[c * COLUMNS + VOXELS] += r->voxels;
}

template <typename Real>
void Regions<Real>::write(Tile<Real> *t, RegionRows<Real> *r, void *out) const {
    if (r->labelled)
        labelled_gradient(this, t, r, out);
    else
        membership_gradient(this, t, r, cotangent + t->b * width(), out);
    unstage(this, t, r, out);
}

} // namespace

#define OPERANDS MEDLOSS_LABEL_OPERANDS, double gamma, int64_t terms

MEDLOSS_ENTRY(region_sums_forward, (OPERANDS, Real *sums, int threads),
              return add_up(Regions<Real>(MEDLOSS_LABEL_VOLUME, gamma, terms, nullptr), threads,
                            [=](int64_t at, double sum) { sums[at] = (Real)sum; });)

MEDLOSS_ENTRY(region_sums_backward, (OPERANDS, const Real *cotangent, void *out, int threads),
              return write_all(Regions<Real>(MEDLOSS_LABEL_VOLUME, gamma, terms, cotangent), out, threads);)
