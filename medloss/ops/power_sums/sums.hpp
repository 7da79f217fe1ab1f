/* The sums of a tile. */
namespace {

/* What region_sums knows of a class; beside likelihoods its errors too, for which `q` is 1 - p. */
template <typename Real>
MEDLOSS_INLINE void add_region(const Tile<Real> *t, const Real *__restrict p,
                               const Real *__restrict q, const Real *__restrict m, int errors,
                               double *row) {
    const int64_t n = t->n;
    const Real *__restrict w = t->weight;
    Real overlap = 0, input = 0, target = 0, p_squares = 0, t_squares = 0, missed = 0;
#pragma omp simd reduction(+ : overlap, input, target, p_squares, t_squares, missed)
    for (int64_t i = 0; i < n; ++i) {
        const Real wp = w[i] * p[i], wm = w[i] * m[i];
        overlap += wp * m[i];
        input += errors ? wp * (1 - m[i]) : wp;
        target += wm;
        p_squares += wp * p[i];
        t_squares += wm * m[i];
        missed += errors ? wm * q[i] : 0;
    }
    row[OVERLAP] += (double)overlap;
    row[INPUT] += errors ? (double)overlap + (double)input : (double)input;
    row[TARGET] += (double)target;
    row[INPUT_SQUARES] += (double)p_squares;
    row[TARGET_SQUARES] += (double)t_squares;
    if (!errors) return;
    row[FALSE_POSITIVE] += (double)input;
    row[FALSE_NEGATIVE] += (double)missed;
}

/* The powers of a class, where nothing of infinity is nothing. */
template <typename Real>
void add_powers(const Powers<Real> *f, const Tile<Real> *t, PowerRows<Real> *r, const Real *__restrict m, int one,
                double *row) {
    const int64_t n = t->n;
    const int once = has_once(f);
    const Real *__restrict w = t->weight, *yes = once ? r->once : r->yes, *no = one ? yes : r->no;
    if (!once) powers(f->exponent, n, r->yes, nullptr);
    if (f->both && !one) powers(f->exponent, n, r->no, nullptr);
    Real own = 0, other = 0;
    if (!f->both) {
#pragma omp simd reduction(+ : own)
        for (int64_t i = 0; i < n; ++i) {
            const Real part = w[i] * m[i], y = part * yes[i];
            own += part != 0 ? y : 0;
        }
        row[TRUE_POWERS] += (double)own;
        return;
    }
#pragma omp simd reduction(+ : own, other)
    for (int64_t i = 0; i < n; ++i) {
        const Real part = w[i] * m[i], rest = w[i] * (1 - m[i]), y = part * yes[i], x = rest * no[i];
        own += part != 0 ? y : 0;
        other += rest != 0 ? x : 0;
    }
    row[TRUE_POWERS] += (double)own;
    row[FALSE_POWERS] += (double)other;
}

template <typename Real>
void add_tile(const Powers<Real> *f, Tile<Real> *t, PowerRows<Real> *r, double *sums) {
    const Volume<Real> *v = &f->volume;
    double voxels = 0;
    if (has_once(f)) powers(f->exponent, t->n, r->once, nullptr);
#pragma omp simd reduction(+ : voxels)
    for (int64_t i = 0; i < t->n; ++i) voxels += (double)t->weight[i];
    for (int64_t c = 0; c < v->classes; ++c) {
        double *row = sums + c * POWER_COLUMNS;
        const Real *p = probabilities(f, t, r, c, f->regions), *m = r->member;
        members(v, t, c, r->member);
        row[VOXELS] += voxels;
        if (f->regions && f->likelihood)
            add_region(t, p, r->q, m, 1, row);
        else if (f->regions)
            add_region(t, p, r->q, m, 0, row);
        add_powers(f, t, r, m, bases(f, t, r, p, m), row);
    }
}

/* A softmax with class indices of which the true class's likelihood alone is asked for: once per voxel and not once
 * per class. Neighbours are mostly of one class: they go to different lanes, so that no sum waits for the one before.
 */
template <typename Real>
void add_true(const Powers<Real> *f, Tile<Real> *t, PowerRows<Real> *r, double *lanes) {
    const Volume<Real> *v = &f->volume;
    const int64_t n = t->n, pitch = v->classes + 1;
    true_nll(v, t, r->p, r->log_norm, r->yes);
    Real *__restrict yes = r->yes;
    const Real *__restrict w = t->weight;
    const int32_t *__restrict label = t->label;
    powers(f->exponent, n, yes, nullptr);
    for (int64_t i = 0; i < n; ++i) yes[i] = w[i] > 0 ? w[i] * yes[i] : 0;
    for (int64_t i = 0; i < n; ++i) lanes[i % LANES * pitch + label[i] + 1] += (double)yes[i];
}

} // namespace
