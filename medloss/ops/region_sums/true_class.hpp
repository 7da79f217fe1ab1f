/* The true class of each voxel of a softmax: its probability, what it lacks of one, and minus its logarithm. */
namespace {

/* Whether voxels of the class and others are summed apart. */
template <typename Real>
inline int is_apart(const Regions<Real> *s) {
    return (s->terms & (ERRORS | DIFFERENCE | SQUARES | NEGATIVES)) != 0;
}

/* Whether 1 - p of the true class is asked for. */
template <typename Real>
inline int has_other(const Regions<Real> *s) {
    return is_apart(s) || (s->terms & FOCAL);
}

/* The certain class of a voxel, or -1; `e` are its exponentials, `step` apart, and `unit` is one over their sum. It ends
 * as soon as the others have too much: seldom later than the third class where nothing is certain. */
template <typename Real>
inline int32_t certain_class(const Real *e, int64_t step, int64_t classes, Real unit) {
    Real most = 0, others = 0;
    int32_t at = -1;
    for (int64_t c = 0; c < classes && !(others > 2 * unsure<Real>); ++c) {
        const Real p = e[c * step] * unit;
        others += p > most ? most : p;
        at = p > most ? (int32_t)c : at;
        most = p > most ? p : most;
    }
    return most > 1 - unsure<Real> ? at : -1;
}

/* The certain class of each voxel; returns whether there is one. It is the true one, unless that has next to nothing,
 * and then seldom. `own` is the true class's probability. */
template <typename Real>
int find_certain_label(const Regions<Real> *s, Tile<Real> *t, RegionRows<Real> *r) {
    const int64_t n = t->n;
    const Real *__restrict own = r->own, *__restrict w = t->weight;
    const int32_t *__restrict label = t->label;
    int32_t *__restrict certain = t->certain;
    int found = 0, low = 0;
#pragma omp simd reduction(| : found, low)
    for (int64_t i = 0; i < n; ++i) {
        const int sure = own[i] > 1 - unsure<Real>, lost = (own[i] < unsure<Real>) | (label[i] < 0);
        certain[i] = sure ? label[i] : -1;
        found |= sure & !lost;
        low |= lost;
    }
    for (int64_t i = 0; low && i < n; ++i) {
        if ((!(own[i] < unsure<Real>) && label[i] >= 0) || !(w[i] > 0)) continue;
        certain[i] = certain_class(t->p + i, t->step, s->volume.classes, t->scale[i]);
        found |= certain[i] >= 0;
    }
    return found;
}

/* Of a true class that is certain: its complement, and minus its logarithm where that is asked for. */
template <typename Real>
void sharpen(const Regions<Real> *s, Tile<Real> *t, RegionRows<Real> *r, int likelihoods) {
    const int64_t n = t->n;
    const int32_t *__restrict label = t->label, *__restrict certain = t->certain;
    const Real *__restrict unit = t->scale;
    Real *__restrict rest = t->rest, *__restrict other = r->other, *__restrict nll = r->nll;
    sum_of_others(t->p, t->step, s->volume.classes, n, certain, rest);
    for (int64_t i = 0; i < n; ++i) {
        const int sure = certain[i] == label[i] && label[i] >= 0;
        rest[i] *= unit[i];
        other[i] = sure ? rest[i] : other[i];
    }
    if (likelihoods)
        for (int64_t i = 0; i < n; ++i) {
            const int sure = certain[i] == label[i] && label[i] >= 0;
            const Real odds = rest[i] / (1 - rest[i]), near = log1p_unit(odds);
            nll[i] = sure ? near : nll[i];
        }
}

/* From exponentials to probabilities of the true class, and their complements; returns whether one is near 0 or 1, as
 * that of a voxel of no class is. */
template <typename Real>
MEDLOSS_INLINE int scale_own(Tile<Real> *t, RegionRows<Real> *r, int complements) {
    const int64_t n = t->n;
    const Real *__restrict unit = t->scale;
    Real *__restrict own = r->own, *__restrict other = r->other;
    int extreme = 0;
#pragma omp simd reduction(| : extreme)
    for (int64_t i = 0; i < n; ++i) {
        const Real p = own[i] * unit[i], q = 1 - p;
        own[i] = p;
        if (complements) other[i] = q;
        extreme |= (p < q ? p : q) < unsure<Real>;
    }
    return extreme;
}

/* The true class's probability and, where asked for, minus its logarithm; with `complements` what is certain is
 * looked for, and 1 - p found where a term needs it. Returns whether something is certain. */
template <typename Real>
int own_likelihood(const Regions<Real> *s, Tile<Real> *t, RegionRows<Real> *r, int likelihoods, int complements) {
    const Real most = sizeof(Real) == 4 ? (Real)1e37 : (Real)1e300;
    const int64_t n = t->n;
    const Real *__restrict norm = r->norm, *__restrict unit = t->scale;
    const int32_t *__restrict label = t->label;
    Real *__restrict own = r->own, *__restrict nll = r->nll;
    take_labelled(t->p, t->step, label, n, own);
#pragma omp simd
    for (int64_t i = 0; i < n; ++i) own[i] = label[i] < 0 ? norm[i] : own[i]; /* certain: nothing grows */
    if (likelihoods) {
        int overflow = 0;
#pragma omp simd reduction(| : overflow)
        for (int64_t i = 0; i < n; ++i) {
            const Real ratio = norm[i] / own[i];
            nll[i] = log_from_one(ratio);
            overflow |= !(ratio < most);
        }
        for (int64_t i = 0; overflow && i < n; ++i) /* a probability too small for its inverse: from the logit */
            if (!(norm[i] / own[i] < most) && label[i] >= 0)
                nll[i] = t->top[i] - made_finite(r->z[label[i] * r->z_step + i]) + log_from_one(norm[i]);
    }
    if (!complements) {
#pragma omp simd
        for (int64_t i = 0; i < n; ++i) own[i] *= unit[i];
        return 0;
    }
    const int extreme = has_other(s) ? scale_own(t, r, 1) : scale_own(t, r, 0);
    const int certain = extreme && find_certain_label(s, t, r);
    if (certain && has_other(s)) sharpen(s, t, r, likelihoods);
    return certain;
}

} // namespace
