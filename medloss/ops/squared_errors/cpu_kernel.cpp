/* squared_errors on the CPU: sums of w c (p - t)^2, and their gradient. */
#include "../label_sweep.hpp"

namespace {

enum { LANES = 8 };

/* The costs are those of the classes from `first` on; `slope`: of each volume, the factor of w c (p - t) in the
 * gradient of p. */
template <typename Real>
struct SquaredErrors : Statistic<Real> {
    using Statistic<Real>::volume;
    const Real *cost;
    int64_t first;
    const double *slope;

    int64_t width() const { return volume.classes - first; }
    int64_t rows() const { return volume.classes + 1; }

    void add(Tile<Real> *t, Rows<Real> *rows, double *sums) const {
        for (int64_t c = first; c < volume.classes; ++c) {
            errors(t, c, 1, (*rows)[0], (*rows)[1]);
            sums[c - first] += dot((*rows)[0], (*rows)[1], t->n);
        }
    }

    void write(Tile<Real> *t, Rows<Real> *rows, void *out) const {
        write_slopes(*this, t, *rows, out, [&](int64_t c, Real *row) {
            if (c >= first) errors(t, c, (Real)slope[t->b * width() + c - first], (*rows)[volume.classes], row);
            return c >= first;
        });
    }

    /* w c (p - t) of the tile in class c, times a factor, and p - t; what weighs nothing is not looked at. */
    void errors(const Tile<Real> *t, int64_t c, Real factor, Real *__restrict error, Real *__restrict weighed) const {
        const int64_t n = t->n;
        const Real *__restrict p = t->p + c * t->step, *__restrict scale = t->scale, *__restrict w = t->weight;
        const Real *__restrict price = cost + (t->b * width() + c - first) * volume.voxels + t->start;
        members(&volume, t, c, error);
        if (t->q || t->sure) /* of a hard label it is either probability, and no difference */
            sharp_errors(t, c, error);
        else
            for (int64_t i = 0; i < n; ++i) error[i] = p[i] * scale[i] - error[i];
        if (t->weighted)
            for (int64_t i = 0; i < n; ++i) weighed[i] = w[i] > 0 ? w[i] * price[i] * error[i] * factor : 0;
        else
            for (int64_t i = 0; i < n; ++i) weighed[i] = price[i] * error[i] * factor;
    }

    /* p - m from the memberships m in `error`, where 1 - p is known apart from p. */
    static void sharp_errors(const Tile<Real> *t, int64_t c, Real *__restrict error) {
        const int64_t n = t->n;
        const Real *__restrict p = t->p + c * t->step, *__restrict q = t->q ? t->q + c * t->step : nullptr;
        const Real *__restrict rest = t->rest, *__restrict scale = t->scale;
        const int32_t *__restrict certain = t->certain;
        if (q)
            for (int64_t i = 0; i < n; ++i) error[i] = p[i] * (1 - error[i]) - q[i] * error[i];
        else
            for (int64_t i = 0; i < n; ++i) {
                const Real share = p[i] * scale[i];
                const Real other = certain[i] == (int32_t)c ? rest[i] * scale[i] : 1 - share;
                error[i] = share * (1 - error[i]) - other * error[i];
            }
    }

    static double dot(const Real *__restrict a, const Real *__restrict b, int64_t n) {
        double lanes[LANES] = {0}, sum = 0;
        int64_t i = 0;
        for (; i + LANES <= n; i += LANES)
            for (int l = 0; l < LANES; ++l) lanes[l] += (double)(a[i + l] * b[i + l]);
        for (; i < n; ++i) sum += (double)(a[i] * b[i]);
        for (int l = 0; l < LANES; ++l) sum += lanes[l];
        return sum;
    }
};

} // namespace

MEDLOSS_ENTRY(squared_errors_forward,
              (MEDLOSS_LABEL_OPERANDS, const Real *cost, int64_t first, double *sums, int threads),
              return add_up(SquaredErrors<Real>{{MEDLOSS_LABEL_VOLUME}, cost, first, nullptr}, sums, threads);)

MEDLOSS_ENTRY(squared_errors_backward,
              (MEDLOSS_LABEL_OPERANDS, const Real *cost, int64_t first, const double *slope, void *out, int threads),
              return write_all(SquaredErrors<Real>{{MEDLOSS_LABEL_VOLUME}, cost, first, slope}, out, threads);)
