/* Softmax with class indices: what belongs to the true class is found once per voxel and not once per class. */
namespace {

/* Whether 1 - p of the true class is asked for. */
template <typename Real>
inline int has_other(const Regions<Real> *s) {
    return (s->terms & (FOCAL | ERRORS | DIFFERENCE | SQUARES)) != 0;
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
        for (int64_t c = 0; c < s->volume.classes; ++c)
            if (t->p[c * t->step + i] * t->scale[i] > 1 - unsure<Real>) {
                certain[i] = (int32_t)c;
                found = 1;
            }
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
    for (int64_t i = 0; likelihoods && i < n; ++i) {
        const int sure = certain[i] == label[i] && label[i] >= 0;
        const Real odds = rest[i] / (1 - rest[i]), near = log1p_unit(odds);
        nll[i] = sure ? near : nll[i];
    }
}

/* From exponentials to probabilities of the true class, and their complements; returns whether one is near 0 or 1, as
 * that of a voxel of no class is. */
template <typename Real>
inline __attribute__((always_inline)) int scale_own(Tile<Real> *t, RegionRows<Real> *r, int complements) {
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
    const int64_t n = t->n, size = t->step;
    const Real *__restrict p = t->p, *__restrict norm = r->norm, *__restrict unit = t->scale;
    const int32_t *__restrict label = t->label;
    Real *__restrict own = r->own, *__restrict nll = r->nll;
    for (int64_t i = 0; i < n; ++i) own[i] = p[label[i] * size + i];
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

/* Sums over the voxels of what every class has: w p and, where asked for, w p p; with `apart` of the voxels of other
 * classes alone, and with `negatives` w (1 - p) of those. Two classes at once, so that their sums do not wait for
 * themselves. */
template <typename Real>
inline __attribute__((always_inline)) void add_classes(const Regions<Real> *s, const Tile<Real> *t,
                                                       RegionRows<Real> *r, int squares, int apart, int negatives,
                                                       double *partial) {
    const int64_t n = t->n;
    const Real *__restrict inverse = r->inverse, *__restrict unit = t->scale, *__restrict w = t->weight;
    const int32_t *__restrict label = t->label;
    for (int64_t c = 0; c < s->volume.classes; c += 2) { /* an odd last class meets itself, which goes nowhere */
        const Real *__restrict p0 = t->p + c * t->step, *__restrict p1 =
                                                            c + 1 < s->volume.classes ? p0 + t->step : p0;
        const int32_t class0 = (int32_t)c, class1 = class0 + 1;
        Real sum0 = 0, sum1 = 0, square0 = 0, square1 = 0, clear0 = 0, clear1 = 0;
#pragma omp simd reduction(+ : sum0, sum1, square0, square1, clear0, clear1)
        for (int64_t i = 0; i < n; ++i) {
            const int out0 = !apart || label[i] != class0, out1 = !apart || label[i] != class1;
            const Real share0 = out0 ? p0[i] * inverse[i] : 0, share1 = out1 ? p1[i] * inverse[i] : 0;
            sum0 += share0;
            sum1 += share1;
            if (squares) {
                square0 += share0 * (p0[i] * unit[i]);
                square1 += share1 * (p1[i] * unit[i]);
            }
            if (negatives) {
                clear0 += out0 ? w[i] - share0 : 0;
                clear1 += out1 ? w[i] - share1 : 0;
            }
        }
        double *row = partial + c * COLUMNS;
        row[apart ? FALSE_POSITIVE : INPUT] += (double)sum0;
        if (squares) row[INPUT_SQUARES] += (double)square0;
        if (negatives) row[TRUE_NEGATIVE] += (double)clear0;
        if (c + 1 == s->volume.classes) break;
        row[COLUMNS + (apart ? FALSE_POSITIVE : INPUT)] += (double)sum1;
        if (squares) row[COLUMNS + INPUT_SQUARES] += (double)square1;
        if (negatives) row[COLUMNS + TRUE_NEGATIVE] += (double)clear1;
    }
}

/* Adds each voxel to its class. Neighbours are mostly of one class: they go to different lanes, so that no sum waits
 * for the one before. */
template <typename Real>
inline __attribute__((always_inline)) void scatter(const Regions<Real> *s, Tile<Real> *t, RegionRows<Real> *r,
                                                   const Real *f, int likelihood, int focal, int apart) {
    const int64_t n = t->n, pitch = (s->volume.classes + 1) * PER_LANE;
    const Real *__restrict w = t->weight, *__restrict own = r->own, *__restrict nll = r->nll,
                           *__restrict other = r->other;
    const int32_t *__restrict label = t->label;
    double *__restrict lanes = r->lanes + PER_LANE; /* behind those of no class */
    for (int64_t i = 0; i < n; ++i) {
        double *row = lanes + (i % LANES) * pitch + label[i] * PER_LANE;
        row[0] += (double)w[i];
        row[1] += (double)own[i];
        if (likelihood) row[2] += (double)nll[i];
        if (focal) row[3] += (double)f[i];
        if (apart) {
            const double missed = (double)(w[i] * other[i]);
            row[4] += missed;
            row[5] += missed * (double)other[i];
            row[6] += (double)own[i] * (1 - (double)other[i]);
        }
    }
}

/* Whether voxels of the class and others are summed apart. */
template <typename Real>
inline int is_apart(const Regions<Real> *s) {
    return (s->terms & (ERRORS | DIFFERENCE | SQUARES)) != 0;
}

/* Columns that came along and that nobody asked for are zero. */
template <typename Real>
void clear_unasked(const Regions<Real> *s, double *partial) {
    static const int column[] = {INPUT_SQUARES, TARGET_SQUARES, SQUARED_ERROR,  SURPLUS,      COMMON,
                                 LACK,          FALSE_POSITIVE, FALSE_NEGATIVE, TRUE_NEGATIVE};
    static const int term[] = {SQUARES,         SQUARES, SQUARES, DIFFERENCE, DIFFERENCE,
                               DIFFERENCE, ERRORS,  ERRORS,  NEGATIVES};
    for (int64_t c = 0; c < s->volume.classes; ++c)
        for (int k = 0; k < 9; ++k)
            if (!(s->terms & term[k])) partial[c * COLUMNS + column[k]] = 0;
}

/* What scatter summed, into the block's columns. */
template <typename Real>
void gather_lanes(const Regions<Real> *s, RegionRows<Real> *r, double *partial) {
    for (int64_t c = 0; c < s->volume.classes; ++c) {
        double *row = partial + c * COLUMNS, sum[PER_LANE] = {0};
        for (int64_t lane = 0; lane < LANES; ++lane)
            for (int k = 0; k < PER_LANE; ++k)
                sum[k] += r->lanes[(lane * (s->volume.classes + 1) + c + 1) * PER_LANE + k];
        row[TARGET] += sum[0];
        row[OVERLAP] += sum[1];
        row[NLL_TRUE] += sum[2];
        row[FOCAL_TRUE] += sum[3];
        if (!is_apart(s)) continue;
        row[FALSE_NEGATIVE] = sum[4];
        row[INPUT] = row[FALSE_POSITIVE] + sum[1];
        row[SQUARED_ERROR] = row[INPUT_SQUARES] + sum[5];
        row[INPUT_SQUARES] += sum[6];
        row[TARGET_SQUARES] = sum[0];
        row[COMMON] = sum[1];
        row[SURPLUS] = row[FALSE_POSITIVE];
        row[LACK] = sum[4];
    }
    clear_unasked(s, partial);
    memset(r->lanes, 0, sizeof(double) * (size_t)(LANES * (s->volume.classes + 1) * PER_LANE));
}

template <typename Real>
void add_labelled(const Regions<Real> *s, Tile<Real> *t, RegionRows<Real> *r, double *partial) {
    const int64_t n = t->n;
    const int likelihood = (s->terms & LIKELIHOOD) != 0, focal = (s->terms & FOCAL) != 0;
    const Real *__restrict w = t->weight;
    const int apart = is_apart(s);
    Real *__restrict own = r->own, *__restrict nll = r->nll, *__restrict f = apart ? r->factor : r->other;
    take_softmax(s, t, r, 0);
    if (s->terms & NEGATIVES)
        add_classes(s, t, r, 1, 1, 1, partial);
    else if (s->terms & SQUARES)
        add_classes(s, t, r, 1, 1, 0, partial);
    else
        apart ? add_classes(s, t, r, 0, 1, 0, partial) : add_classes(s, t, r, 0, 0, 0, partial);
    own_likelihood(s, t, r, likelihood || focal, has_other(s));
    if (focal) {
        if (apart) memcpy(f, r->other, sizeof(Real) * (size_t)n);
        powers(s->gamma, n, f, nullptr);
        for (int64_t i = 0; i < n; ++i) f[i] *= w[i] * nll[i];
    }
    if (likelihood)
        for (int64_t i = 0; i < n; ++i) nll[i] *= w[i];
    for (int64_t i = 0; i < n; ++i) own[i] *= w[i];
    if (apart)
        scatter(s, t, r, f, likelihood, focal, 1);
    else if (focal)
        likelihood ? scatter(s, t, r, f, 1, 1, 0) : scatter(s, t, r, f, 0, 1, 0);
    else
        likelihood ? scatter(s, t, r, f, 1, 0, 0) : scatter(s, t, r, f, 0, 0, 0);
    if (s->terms & UNIFORM) {
        log_norm(t, r, nll);
        for (int64_t c = 0; c < s->volume.classes; ++c)
            partial[c * COLUMNS + NLL_ALL] += sum_nll(t, r->z + c * r->z_step, nll);
    }
}

} // namespace
