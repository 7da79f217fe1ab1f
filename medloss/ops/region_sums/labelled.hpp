/* Softmax with class indices: what belongs to the true class is found once per voxel and not once per class. */
namespace {

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
MEDLOSS_INLINE void add_classes(const Regions<Real> *s, const Tile<Real> *t,
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
MEDLOSS_INLINE void scatter(const Regions<Real> *s, Tile<Real> *t, RegionRows<Real> *r,
                            const Real *__restrict f, int likelihood, int focal, int missed,
                            int squares) {
    const int64_t n = t->n, pitch = (s->volume.classes + 1) * PER_LANE;
    const Real *__restrict w = t->weight, *__restrict own = r->own, *__restrict nll = r->nll,
                           *__restrict other = r->other, *__restrict missed_squares = r->slope,
                           *__restrict own_squares = r->member;
    const int32_t *__restrict label = t->label;
    double *__restrict lanes = r->lanes + PER_LANE; /* behind those of no class */
    const auto add = [&](double *row, auto at) MEDLOSS_INLINED {
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
        [&](int64_t i) MEDLOSS_INLINED {
            add(lanes + label[i] * PER_LANE, [i](const Real *x) {
                double part[4];
                for (int k = 0; k < 4; ++k) part[k] = (double)x[i + k] + (double)x[i + 4 + k];
                return (part[0] + part[2]) + (part[1] + part[3]);
            });
        },
        [&](int64_t i) MEDLOSS_INLINED {
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
    const int sums = likelihood + focal + (missed != 0) + (squares != 0);
    if (sums > 1) /* seldom: not worth a loop for each */
        scatter(s, t, r, f, likelihood, focal, missed, squares);
    else if (apart)
        squares ? scatter(s, t, r, f, 0, 0, 0, 1) : scatter(s, t, r, f, 0, 0, missed, 0);
    else if (focal)
        scatter(s, t, r, f, 0, 1, 0, 0);
    else
        likelihood ? scatter(s, t, r, f, 1, 0, 0, 0) : scatter(s, t, r, f, 0, 0, 0, 0);
    if (s->terms & UNIFORM) {
        log_norm(t, r, nll);
        for (int64_t c = 0; c < s->volume.classes; ++c)
            partial[c * COLUMNS + NLL_ALL] += sum_nll(t, r->z + c * r->z_step, nll);
    }
}

} // namespace
