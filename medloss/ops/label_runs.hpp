/* Voxels of a labelled row, eight at a time where they are of one class. */
#ifndef MEDLOSS_LABEL_RUNS_HPP
#define MEDLOSS_LABEL_RUNS_HPP

#include "native.hpp"

namespace {

enum { RUN = 8 };

/* `many(i)` for eight voxels of one class from i on, as most neighbours are, and `one(i)` for each of the others. */
template <typename Many, typename One>
MEDLOSS_INLINE void by_runs(const int32_t *label, int64_t n, Many many, One one) {
    int64_t i = 0;
    for (; i + RUN <= n; i += RUN) {
        int32_t differ = 0;
        for (int k = 0; k < RUN; ++k) differ |= label[i + k] ^ label[i];
        if (differ)
            for (int k = 0; k < RUN; ++k) one(i + k);
        else
            many(i);
    }
    for (; i < n; ++i) one(i);
}

/* Of each voxel the entry of its label's row; rows are `step` apart, and there is one for no class. */
template <typename Real>
void take_labelled(const Real *rows, int64_t step, const int32_t *label, int64_t n, Itself<Real> *out) {
    by_runs(
        label, n, [=](int64_t i) { memcpy(out + i, rows + label[i] * step + i, sizeof(Real) * RUN); },
        [=](int64_t i) { out[i] = rows[label[i] * step + i]; });
}

} // namespace

#endif
