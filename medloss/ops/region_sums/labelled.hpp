/* Softmax with class indices: what belongs to the true class is found once per voxel and not once per class. */
namespace {

enum { RUN = 8 };

/* `many(i)` for eight voxels of one class, from i on, which most neighbours are, and `one(i)` for each of the others. */
template <typename Many, typename One>
inline __attribute__((always_inline)) void by_runs(const int32_t *label, int64_t n, Many many, One one) {
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
    by_runs(
        label, n, [=](int64_t i) { memcpy(own + i, p + label[i] * size + i, sizeof(Real) * RUN); },
        [=](int64_t i) { own[i] = p[label[i] * size + i]; });
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

/* Takes the true class out of the exponentials: what is summed over the classes then is of the others, and no loop over
 * a class looks at the labels. The true class's own is in `own` by then. */
template <typename Real>
void take_away_own(Tile<Real> *t) {
    const int64_t n = t->n, step = t->step;
    const int32_t *__restrict label = t->label;
    Real *__restrict p = t->p;
    by_runs(
        label, n, [=](int64_t i) { memset(p + label[i] * step + i, 0, sizeof(Real) * RUN); },
        [=](int64_t i) { p[label[i] * step + i] = 0; });
}

/* Sums over the voxels of what every class has: w p and, where asked for, w p p, and with `negatives` w (1 - p) of the
 * voxels of other classes. Two classes at once, so that their sums do not wait for themselves. */
template <typename Real>
inline __attribute__((always_inline)) void add_classes(const Regions<Real> *s, const Tile<Real> *t,
                                                       RegionRows<Real> *r, int input, int squares, int negatives,
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
            const Real share0 = p0[i] * inverse[i], share1 = p1[i] * inverse[i];
            sum0 += share0;
            sum1 += share1;
            if (squares) {
                square0 += share0 * (p0[i] * unit[i]);
                square1 += share1 * (p1[i] * unit[i]);
            }
            if (negatives) {
                clear0 += label[i] != class0 ? w[i] - share0 : 0;
                clear1 += label[i] != class1 ? w[i] - share1 : 0;
            }
        }
        double *row = partial + c * COLUMNS;
        row[input] += (double)sum0;
        if (squares) row[INPUT_SQUARES] += (double)square0;
        if (negatives) row[TRUE_NEGATIVE] += (double)clear0;
        if (c + 1 == s->volume.classes) break;
        row[COLUMNS + input] += (double)sum1;
        if (squares) row[COLUMNS + INPUT_SQUARES] += (double)square1;
        if (negatives) row[COLUMNS + TRUE_NEGATIVE] += (double)clear1;
    }
}

/* Of the true class: how far it misses one in `other`, that squared in `slope`, and the square of what it has in
 * `member`; each times the weight, which `own` has already. */
template <typename Real>
void weigh_errors(const Regions<Real> *s, const Tile<Real> *t, RegionRows<Real> *r) {
    const int64_t n = t->n;
    const Real *__restrict w = t->weight, *__restrict own = r->own;
    Real *__restrict other = r->other, *__restrict missed_squares = r->slope, *__restrict own_squares = r->member;
    if (s->terms & SQUARES)
#pragma omp simd
        for (int64_t i = 0; i < n; ++i) {
            missed_squares[i] = w[i] * other[i] * other[i];
            own_squares[i] = own[i] * (1 - other[i]);
        }
    for (int64_t i = 0; i < n; ++i) other[i] *= w[i];
}

/* Adds each voxel to its class. Neighbours are mostly of one class: they go to different lanes, so that no sum waits
 * for the one before. */
template <typename Real>
inline __attribute__((always_inline)) void scatter(const Regions<Real> *s, Tile<Real> *t, RegionRows<Real> *r,
                                                   const Real *__restrict f, int likelihood, int focal, int missed,
                                                   int squares) {
    const int64_t n = t->n, pitch = (s->volume.classes + 1) * PER_LANE;
    const Real *__restrict w = t->weight, *__restrict own = r->own, *__restrict nll = r->nll,
                           *__restrict other = r->other, *__restrict missed_squares = r->slope,
                           *__restrict own_squares = r->member;
    const int32_t *__restrict label = t->label;
    double *__restrict lanes = r->lanes + PER_LANE; /* behind those of no class */
    const auto add = [&](double *row, auto at) __attribute__((always_inline)) {
        row[0] += at(w);
        row[1] += at(own);
        if (likelihood) row[2] += at(nll);
        if (focal) row[3] += at(f);
        if (squares) row[4] += at(missed_squares);
        if (squares) row[5] += at(own_squares);
        if (missed) row[6] += at(other);
    };
    by_runs(
        label, n,
        [&](int64_t i) __attribute__((always_inline)) {
            add(lanes + label[i] * PER_LANE, [i](const Real *x) {
                double part[4];
                for (int k = 0; k < 4; ++k) part[k] = (double)x[i + k] + (double)x[i + 4 + k];
                return (part[0] + part[2]) + (part[1] + part[3]);
            });
        },
        [&](int64_t i) __attribute__((always_inline)) {
            add(lanes + (i % LANES) * pitch + label[i] * PER_LANE, [i](const Real *x) { return (double)x[i]; });
        });
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
        row[FALSE_NEGATIVE] = sum[6];
        row[INPUT] = row[FALSE_POSITIVE] + sum[1];
        row[SQUARED_ERROR] = row[INPUT_SQUARES] + sum[4];
        row[INPUT_SQUARES] += sum[5];
        row[TARGET_SQUARES] = sum[0];
        row[COMMON] = sum[1];
        row[SURPLUS] = row[FALSE_POSITIVE];
        row[LACK] = sum[6];
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
    own_likelihood(s, t, r, likelihood || focal, has_other(s));
    if (apart) take_away_own(t);
    const int input = apart ? FALSE_POSITIVE : INPUT;
    if (s->terms & NEGATIVES)
        add_classes(s, t, r, input, 1, 1, partial);
    else
        s->terms & SQUARES ? add_classes(s, t, r, input, 1, 0, partial) : add_classes(s, t, r, input, 0, 0, partial);
    if (focal) {
        if (apart) memcpy(f, r->other, sizeof(Real) * (size_t)n);
        powers(s->gamma, n, f, nullptr);
        for (int64_t i = 0; i < n; ++i) f[i] *= w[i] * nll[i];
    }
    if (likelihood)
        for (int64_t i = 0; i < n; ++i) nll[i] *= w[i];
    for (int64_t i = 0; i < n; ++i) own[i] *= w[i];
    if (apart) weigh_errors(s, t, r);
    const int squares = s->terms & SQUARES, missed = s->terms & (ERRORS | DIFFERENCE);
    if (apart && (likelihood || focal))
        scatter(s, t, r, f, likelihood, focal, missed, squares);
    else if (missed)
        squares ? scatter(s, t, r, f, 0, 0, 1, 1) : scatter(s, t, r, f, 0, 0, 1, 0);
    else if (squares)
        scatter(s, t, r, f, 0, 0, 0, 1);
    else if (focal)
        likelihood ? scatter(s, t, r, f, 1, 1, 0, 0) : scatter(s, t, r, f, 0, 1, 0, 0);
    else
        likelihood ? scatter(s, t, r, f, 1, 0, 0, 0) : scatter(s, t, r, f, 0, 0, 0, 0);
    if (s->terms & UNIFORM) {
        log_norm(t, r, nll);
        for (int64_t c = 0; c < s->volume.classes; ++c)
            partial[c * COLUMNS + NLL_ALL] += sum_nll(t, r->z + c * r->z_step, nll);
    }
}

} // namespace
