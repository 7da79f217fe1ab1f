/* Any activation and any target, class by class: memberships as they are given, or a row of them made from labels. */
namespace {

/* How much each voxel of the tile belongs to class c; what weighs nothing is not looked at. */
template <typename Real>
const Real *members_at(const Regions<Real> *s, const Tile<Real> *t, int64_t c, Real *__restrict row) {
    const int64_t n = t->n;
    const Real *__restrict w = t->weight;
    const int32_t *__restrict label = t->label, own_class = (int32_t)c;
    const Real *first = (const Real *)s->volume.labels + t->b * s->volume.classes * s->volume.voxels + t->start;
    const Real *from = first + c * s->volume.voxels;
    if (s->volume.kind < 0) fetch_ahead(s, t, first, s->volume.voxels, c);
    if (s->volume.kind >= 0)
#pragma omp simd
        for (int64_t i = 0; i < n; ++i) row[i] = label[i] == own_class ? 1 : 0;
    else if (t->weighted)
#pragma omp simd
        for (int64_t i = 0; i < n; ++i) row[i] = w[i] > 0 ? from[i] : 0;
    else
        return from;
    return row;
}

/* A class's logits; what weighs nothing is not looked at. */
template <typename Real>
const Real *logits(const Regions<Real> *s, const Tile<Real> *t, RegionRows<Real> *r, int64_t c,
                   Real *__restrict row) {
    const Real *__restrict z = r->z + c * r->z_step, *__restrict w = t->weight;
    if (s->volume.activation != SOFTMAX && !is_staged(s)) fetch_ahead(s, t, r->z, r->z_step, c);
    if (!t->weighted) return z;
#pragma omp simd
    for (int64_t i = 0; i < t->n; ++i) row[i] = w[i] > 0 ? z[i] : 0;
    return row;
}

/* Whether 1 - p is asked for; the sigmoid's gradient always has it. */
template <typename Real>
inline int has_complement(const Regions<Real> *s) {
    return (s->terms & (FOCAL | ERRORS | NEGATIVES | DIFFERENCE | SQUARES)) != 0;
}

/* The probabilities of class c, and their complements into `other`. For the sigmoid `small` holds exp(-|z|). `sure`:
 * whether a class is certain somewhere, whose complement is in `rest`. */
template <typename Real>
const Real *probabilities(const Regions<Real> *s, const Tile<Real> *t, RegionRows<Real> *r, int64_t c,
                          const Real *__restrict z, int sure, Real *__restrict small) {
    const int64_t n = t->n;
    const Real *__restrict unit = t->scale, *__restrict rest = t->rest;
    const int32_t *__restrict certain = t->certain, own_class = (int32_t)c;
    Real *__restrict p = t->p + c * t->step, *__restrict other = r->other;
    if (s->volume.activation == NONE) {
        if (has_complement(s))
            for (int64_t i = 0; i < n; ++i) other[i] = 1 - z[i];
        return z;
    }
    if (s->volume.activation == SOFTMAX) {
#pragma omp simd
        for (int64_t i = 0; i < n; ++i) p[i] *= unit[i];
        if (!has_complement(s)) return p;
        if (sure)
#pragma omp simd
            for (int64_t i = 0; i < n; ++i) other[i] = certain[i] == own_class ? rest[i] : 1 - p[i];
        else
#pragma omp simd
            for (int64_t i = 0; i < n; ++i) other[i] = 1 - p[i];
    } else {
#pragma omp simd
        for (int64_t i = 0; i < n; ++i) {
            const Sigmoid<Real> at = sigmoid_of(z[i]);
            small[i] = at.small;
            p[i] = at.p;
            other[i] = at.q;
        }
    }
    return p;
}

/* The softmax's exponentials, and the log of their sum in nll. Returns whether a class is certain, which is looked
 * for where complements are asked for. */
template <typename Real>
int prepare(const Regions<Real> *s, Tile<Real> *t, RegionRows<Real> *r) {
    if (s->volume.activation != SOFTMAX) return 0;
    take_softmax(s, t, r, 0);
    log_norm(t, r, r->nll);
    if (!has_complement(s) || !find_certain(t->p, t->step, s->volume.classes, t->n, t->scale, t->certain)) return 0;
    sum_of_others(t->p, t->step, s->volume.classes, t->n, t->certain, t->rest);
    for (int64_t i = 0; i < t->n; ++i) t->rest[i] *= t->scale[i];
    return 1;
}

/* What the focal factor is a power of: 1 - p for the softmax, p (1 - m) + (1 - p) m for the sigmoid. */
template <typename Real>
void distance(const Regions<Real> *s, const Tile<Real> *t, RegionRows<Real> *r, const Real *__restrict p,
              const Real *__restrict m, Real *__restrict out) {
    const Real *__restrict other = r->other;
    if (s->volume.activation == SOFTMAX)
        memcpy(out, other, sizeof(Real) * (size_t)t->n);
    else
        for (int64_t i = 0; i < t->n; ++i) out[i] = p[i] * (1 - m[i]) + other[i] * m[i];
}

/* p - m, which for a hard m is either probability and no difference; of a soft one it is 0 where they are equal. `q` is
 * 1 - p. All three are arguments: where a condition decided what is read from memory, the loop would be no vectors. */
template <typename Real>
MEDLOSS_INLINE Real error_of(Real p, Real q, Real m) {
    const Real soft = p - m, hard = m == 1 ? -q : soft;
    return m == 0 ? p : hard;
}

#define SUM(into, expression)                                                                         \
    {                                                                                                 \
        Real sum_ = 0;                                                                                \
        _Pragma("omp simd reduction(+ : sum_)") for (int64_t i = 0; i < n; ++i) sum_ += (expression); \
        row[into] += (double)sum_;                                                                    \
    }
#define TRUE(term) (w[i] > 0 && m[i] != 0 ? w[i] * m[i] * (term) : 0)
#define FALSE(term) (w[i] > 0 && m[i] != 1 ? w[i] * (1 - m[i]) * (term) : 0)
#define POSITIVE (rest[i] + (z[i] < 0 ? -made_finite(z[i]) : 0)) /* -log p of the sigmoid */
#define NEGATIVE (rest[i] + (z[i] > 0 ? z[i] : 0))               /* -log (1 - p) */

/* The likelihood columns of one class; `rest` is log(sum exp) for the softmax, log(1 + exp(-|z|)) for the sigmoid. */
template <typename Real>
void add_likelihood(const Regions<Real> *s, const Tile<Real> *t, const Real *__restrict z, const Real *__restrict m,
                    const Real *__restrict rest, double *row) {
    const int64_t n = t->n;
    const Real *__restrict w = t->weight;
    if (s->volume.activation == SOFTMAX) {
        if (s->terms & LIKELIHOOD) SUM(NLL_TRUE, TRUE(rest[i] - made_finite(z[i])));
        if (s->terms & UNIFORM) row[NLL_ALL] += (double)sum_nll(t, z, rest);
        return;
    }
    if (s->terms & LIKELIHOOD) {
        SUM(NLL_TRUE, TRUE(POSITIVE));
        SUM(NLL_FALSE, FALSE(NEGATIVE));
    }
    if (s->terms & UNIFORM) SUM(NLL_ALL, w[i] > 0 ? w[i] * POSITIVE : 0);
}

template <typename Real>
void add_focal(const Regions<Real> *s, const Tile<Real> *t, RegionRows<Real> *r, const Real *__restrict z,
               const Real *__restrict p, const Real *__restrict m, const Real *__restrict rest, double *row) {
    const int64_t n = t->n;
    const Real *__restrict w = t->weight;
    Real *__restrict f = r->factor;
    distance(s, t, r, p, m, f);
    powers(s->gamma, n, f, nullptr);
    if (s->volume.activation == SOFTMAX) {
        SUM(FOCAL_TRUE, TRUE(f[i] * (rest[i] - made_finite(z[i]))));
        return;
    }
    SUM(FOCAL_TRUE, TRUE(f[i] * POSITIVE));
    SUM(FOCAL_FALSE, FALSE(f[i] * NEGATIVE));
}

/* Sums of squares: of p, of m, and of their difference. */
template <typename Real>
void add_squares(int64_t n, const Real *__restrict w, const Real *__restrict p, const Real *__restrict q,
                 const Real *__restrict m, double *row) {
    Real input = 0, target = 0, error = 0;
#pragma omp simd reduction(+ : input, target, error)
    for (int64_t i = 0; i < n; ++i) {
        const Real off = error_of(p[i], q[i], m[i]);
        input += w[i] * p[i] * p[i];
        target += w[i] * m[i] * m[i];
        error += w[i] * off * off;
    }
    row[INPUT_SQUARES] += (double)input;
    row[TARGET_SQUARES] += (double)target;
    row[SQUARED_ERROR] += (double)error;
}

/* Sums of what p has more than m, and of what it has less. */
template <typename Real>
void add_sides(int64_t n, const Real *__restrict w, const Real *__restrict p, const Real *__restrict q,
               const Real *__restrict m, double *row) {
    Real more = 0, less = 0;
#pragma omp simd reduction(+ : more, less)
    for (int64_t i = 0; i < n; ++i) {
        const Real off = error_of(p[i], q[i], m[i]);
        more += w[i] * (off > 0 ? off : 0);
        less += w[i] * (off < 0 ? -off : 0);
    }
    row[SURPLUS] += (double)more;
    row[LACK] += (double)less;
}

/* Overlap, input and target of one class, and what else is made of p and m. */
template <typename Real>
void add_overlaps(const Regions<Real> *s, const Tile<Real> *t, RegionRows<Real> *r, const Real *__restrict p,
                  const Real *__restrict m, double *row) {
    const int64_t n = t->n;
    const Real *__restrict w = t->weight, *__restrict other = r->other;
    Real overlap = 0, input = 0, target = 0;
#pragma omp simd reduction(+ : overlap, input, target)
    for (int64_t i = 0; i < n; ++i) {
        const Real share = w[i] * p[i];
        overlap += share * m[i];
        input += share;
        target += w[i] * m[i];
    }
    row[OVERLAP] += (double)overlap;
    row[INPUT] += (double)input;
    row[TARGET] += (double)target;
    if (s->terms & SQUARES) add_squares(n, w, p, other, m, row);
    if (s->terms & DIFFERENCE) {
        SUM(COMMON, w[i] * (p[i] < m[i] ? p[i] + 0 * m[i] : m[i])); /* an infinite membership shows */
        add_sides(n, w, p, other, m, row);
    }
    if (s->terms & ERRORS) {
        SUM(FALSE_POSITIVE, w[i] * p[i] * (1 - m[i]));
        SUM(FALSE_NEGATIVE, w[i] * other[i] * m[i]);
    }
    if (s->terms & NEGATIVES) SUM(TRUE_NEGATIVE, w[i] * other[i] * (1 - m[i]));
}
#undef SUM

/* log(1 + exp(-|z|)) of the sigmoid, from exp(-|z|), or the softmax's log of the norm. */
template <typename Real>
const Real *rest_of(const Regions<Real> *s, const Tile<Real> *t, RegionRows<Real> *r, const Real *__restrict small,
                    Real *__restrict row) {
    if (s->volume.activation != SIGMOID) return r->nll;
#pragma omp simd
    for (int64_t i = 0; i < t->n; ++i) row[i] = log1p_unit(small[i]);
    return row;
}

template <typename Real>
void add_memberships(const Regions<Real> *s, Tile<Real> *t, RegionRows<Real> *r, double *partial) {
    const int sure = prepare(s, t, r);
    for (int64_t c = 0; c < s->volume.classes; ++c) {
        double *row = partial + c * COLUMNS;
        const Real *z = logits(s, t, r, c, r->own), *p = probabilities(s, t, r, c, z, sure, r->slope);
        const Real *m = members_at(s, t, c, r->member);
        add_overlaps(s, t, r, p, m, row);
        if (!(s->terms & (LIKELIHOOD | UNIFORM | FOCAL))) continue;
        const Real *rest = rest_of(s, t, r, r->slope, r->pull);
        if (s->terms & (LIKELIHOOD | UNIFORM)) add_likelihood(s, t, z, m, rest, row);
        if (s->terms & FOCAL) add_focal(s, t, r, z, p, m, rest, row);
    }
}

} // namespace
