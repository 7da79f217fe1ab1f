/* The sums of a tile. Included once for each REAL. */

/* What region_sums knows of a class; beside likelihoods its errors too, for which `q` is 1 - p. */
static inline ALWAYS_INLINE void NAME(add_region)(const TILE *t, const REAL *restrict p, const REAL *restrict q,
                                                  const REAL *restrict m, int errors, double *row) {
    const int64_t n = t->n;
    const REAL *restrict w = t->weight;
    REAL overlap = 0, input = 0, target = 0, p_squares = 0, t_squares = 0, missed = 0;
#pragma omp simd reduction(+ : overlap, input, target, p_squares, t_squares, missed)
    for (int64_t i = 0; i < n; ++i) {
        const REAL wp = w[i] * p[i], wm = w[i] * m[i];
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
static void NAME(add_powers)(const NAME(Powers) * f, const TILE *t, NAME(Rows) * r, const REAL *restrict m, int one,
                             double *row) {
    const int64_t n = t->n;
    const int once = NAME(has_once)(f);
    const REAL *restrict w = t->weight, *yes = once ? r->once : r->yes, *no = one || !f->both ? yes : r->no;
    if (!once) NAME(powers)(f->exponent, n, r->yes, NULL);
    if (f->both && !one) NAME(powers)(f->exponent, n, r->no, NULL);
    REAL own = 0, other = 0;
#pragma omp simd reduction(+ : own, other)
    for (int64_t i = 0; i < n; ++i) {
        const REAL part = w[i] * m[i], rest = w[i] * (1 - m[i]), y = part * yes[i], x = rest * no[i];
        own += part != 0 ? y : 0;
        other += rest != 0 ? x : 0;
    }
    row[TRUE_POWERS] += (double)own;
    row[FALSE_POWERS] += f->both ? (double)other : 0;
}

static void NAME(add_tile)(const NAME(Powers) * f, TILE *t, NAME(Rows) * r, double *sums) {
    const VOLUME *v = &f->volume;
    double voxels = 0;
    if (NAME(has_once)(f)) NAME(powers)(f->exponent, t->n, r->once, NULL);
#pragma omp simd reduction(+ : voxels)
    for (int64_t i = 0; i < t->n; ++i) voxels += (double)t->weight[i];
    for (int64_t c = 0; c < v->classes; ++c) {
        double *row = sums + c * COLUMNS;
        const REAL *p = NAME(probabilities)(f, t, r, c), *m = r->member;
        NAME(members)(v, t, c, r->member);
        row[VOXELS] += voxels;
        if (f->regions && f->likelihood)
            NAME(add_region)(t, p, r->q, m, 1, row);
        else if (f->regions)
            NAME(add_region)(t, p, r->q, m, 0, row);
        NAME(add_powers)(f, t, r, m, NAME(bases)(f, t, r, p, m), row);
    }
}

/* A softmax with class indices of which the true class's likelihood alone is asked for: once per voxel and not once per
 * class. Neighbours are mostly of one class: they go to different lanes, so that no sum waits for the one before. */
static void NAME(add_true)(const NAME(Powers) * f, TILE *t, NAME(Rows) * r, double *lanes) {
    const VOLUME *v = &f->volume;
    const int64_t n = t->n, pitch = v->classes + 1;
    NAME(true_logit)(t, r->yes);
    NAME(exponentials)(v, t, NULL, r->p, r->log_norm);
    REAL *restrict yes = r->yes;
    const REAL *restrict top = t->top, *restrict log_norm = r->log_norm, *restrict w = t->weight;
    const int32_t *restrict label = t->label;
    for (int64_t i = 0; i < n; ++i) yes[i] = top[i] - yes[i] + log_norm[i];
    NAME(powers)(f->exponent, n, yes, NULL);
    for (int64_t i = 0; i < n; ++i) yes[i] = w[i] > 0 ? w[i] * yes[i] : 0;
    for (int64_t i = 0; i < n; ++i) lanes[i % LANES * pitch + label[i] + 1] += (double)yes[i];
}
