/* pointwise on the CPU: penalties that compare two images (residuals.hpp), a sweep for their map or sums and one for
 * the gradient, a piece at a time. Those of logits are in likelihood.hpp.
 *
 * Sums are taken of blocks of fixed size and added in order: the result does not depend on the number of threads.
 */
#include "residuals.hpp"

#include "likelihood.hpp"

#define IMAGES                                                                                       \
    const Real *x, const Real *t, const Real *mask, int64_t shared, int64_t volumes, int64_t voxels, \
        int64_t penalty, double gamma, double scale
#define IMAGES_GIVEN(of_target)                                                                                     \
    Residuals<Real> {                                                                                               \
        x, t, mask, voxels, shared, (int)penalty, (int)(of_target), (Real)gamma, (Real)scale, (Real)fabs(gamma - 2) \
    }

MEDLOSS_ENTRY(pointwise_forward, (IMAGES, Real *map, double *sums, int threads),
              return residuals_forward(IMAGES_GIVEN(0), volumes, map, sums, threads);)

MEDLOSS_ENTRY(pointwise_backward,
              (IMAGES, int64_t of_target, const Real *grad, const Real *all, Real *out, int threads),
              return residuals_backward(IMAGES_GIVEN(of_target), volumes, grad, all, out, threads);)

#define OPERANDS \
    MEDLOSS_LABEL_OPERANDS, int64_t penalty, double gamma, const Real *positive, const Real *negative, int64_t given

MEDLOSS_ENTRY(likelihood_forward, (OPERANDS, Real *map, double *sums, int threads),
              return likelihood_forward(Likelihood<Real>(MEDLOSS_LABEL_VOLUME, penalty, gamma, positive, negative,
                                                         given, map, nullptr),
                                        sums, threads);)

/* From `grad`, which is as the map or the sums are. */
MEDLOSS_ENTRY(likelihood_backward, (OPERANDS, const Real *grad, void *out, int threads),
              return write_all(Likelihood<Real>(MEDLOSS_LABEL_VOLUME, penalty, gamma, positive, negative, given,
                                                nullptr, grad),
                               out, threads);)
