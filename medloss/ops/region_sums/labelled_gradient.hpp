/* The gradient of a softmax with class indices.
 *
 * That by the logit of class c is w (p_c (s_c - total) + [c is true] d), with s_c the slope of what every class has,
 * d that of the true class alone, and total = sum_c p_c s_c + d. That of a certain class is minus the sum of the
 * others'. */
namespace {

/* The focal part of each voxel's d into `out`, without the weight. */
template <typename Real>
void load_focal_slopes(const Regions<Real> *s, Tile<Real> *t, RegionRows<Real> *r, Real *__restrict out) {
    const int64_t n = t->n;
    const Real *__restrict own = r->own, *__restrict nll = r->nll;
    const int32_t *__restrict label = t->label;
    Real *__restrict d = r->slope;
    if (out != r->other) memcpy(out, r->other, sizeof(Real) * (size_t)n);
    powers(s->gamma, n, out, d);
    for (int64_t i = 0; i < n; ++i) out[i] += d[i] * own[i] * nll[i];
    for (int64_t i = 0; i < n; ++i) out[i] *= r->coefficients[label[i] * PER_CLASS + FOCAL_SLOPE];
}

/* d of each voxel but its focal part, without the weight, from the true class's probability. */
template <typename Real>
void load_own_slopes(Tile<Real> *t, RegionRows<Real> *r) {
    const Real *coefficients = r->coefficients;
    const int32_t *label = t->label;
    Real *own = r->own;
    const auto load = [=](int64_t first, int64_t count) MEDLOSS_INLINED {
        const Real *row = coefficients + label[first] * PER_CLASS, slope = row[OWN], yes = row[YES];
        for (int64_t i = first; i < first + count; ++i) own[i] = own[i] * slope - yes;
    };
    by_runs(label, t->n, [=](int64_t i) { load(i, RUN); }, [=](int64_t i) { load(i, 1); });
}

/* What a class's slopes are made of. */
template <typename Real>
struct ClassSlopes {
    Real base, own, yes, all, twice, off, curve;
    int32_t label;

    ClassSlopes(const RegionRows<Real> *r, int64_t c) : label((int32_t)c) {
        const Real *row = r->coefficients + c * PER_CLASS;
        base = row[BASE], own = row[OWN], yes = row[YES], all = row[ALL];
        twice = row[SQUARE], off = row[OFF], curve = row[CURVE];
    }

    /* d where the class is the true one, from p and 1 - p. */
    MEDLOSS_INLINE Real of_own(Real p, Real q, int squares) const {
        return p * (squares ? own + (curve * p - off * q) : own) - yes;
    }
};

/* The same where slopes bend, and what the squares of the other classes and even likelihoods add to the total into
 * `sum`. Class by class, as vectors: a voxel has many coefficients, and to fetch each by its label takes longer. Two
 * classes at once, so that sums are loaded and stored half as often. */
template <typename Real>
MEDLOSS_INLINE void load_bent_slopes(const Regions<Real> *s, Tile<Real> *t,
                                     RegionRows<Real> *r, int squares,
                                     Real *__restrict sum) {
    const int64_t n = t->n, classes = s->volume.classes;
    const Real *__restrict other = r->other, *__restrict unit = t->scale;
    const int32_t *__restrict label = t->label;
    Real *__restrict own = r->own, all = 0;
    for (int64_t c = 0; c < classes; ++c) all += r->coefficients[c * PER_CLASS + ALL];
    memset(own, 0, sizeof(Real) * (size_t)n);
    for (int64_t i = 0; i < n; ++i) sum[i] = -all;
    for (int64_t c = 0; c < classes; c += 2) { /* an odd last class meets the row before it, as no class */
        const ClassSlopes<Real> one(r, c), two(r, c + 1 < classes ? c + 1 : -1);
        const Real *__restrict e1 = t->p + c * t->step, *__restrict e2 = c + 1 < classes ? e1 + t->step : e1;
        const int32_t label2 = c + 1 < classes ? two.label : -2;
#pragma omp simd
        for (int64_t i = 0; i < n; ++i) {
            const int is1 = label[i] == one.label, is2 = label[i] == label2;
            const Real p1 = e1[i] * unit[i], p2 = e2[i] * unit[i], q = squares ? other[i] : 0;
            const Real d1 = one.of_own(p1, q, squares), d2 = two.of_own(p2, q, squares);
            own[i] += (is1 ? d1 : 0) + (is2 ? d2 : 0);
            if (squares) sum[i] += (is1 ? 0 : one.twice * p1 * p1) + (is2 ? 0 : two.twice * p2 * p2);
        }
    }
}

/* d of each voxel into `own`, times the weight, and the total into `pull`, times the weight and over the norm; `pull`
 * comes as sum_c exp(z_c) s_c. Returns whether a class is certain. */
template <typename Real>
int own_slope(const Regions<Real> *s, Tile<Real> *t, RegionRows<Real> *r, int curved) {
    const int64_t n = t->n;
    const int focal = (s->terms & FOCAL) != 0;
    const Real *__restrict w = t->weight, *__restrict inverse = r->inverse, *__restrict unit = t->scale;
    Real *__restrict own = r->own, *__restrict pull = r->pull, *__restrict sum = r->member;
    Real *__restrict f = curved ? r->factor : r->other;
    const int certain = own_likelihood(s, t, r, focal, 1);
    if (focal) load_focal_slopes(s, t, r, f);
    if (!curved)
        load_own_slopes(t, r);
    else
        s->terms & SQUARES ? load_bent_slopes(s, t, r, 1, sum) : load_bent_slopes(s, t, r, 0, sum);
    if (focal)
        for (int64_t i = 0; i < n; ++i) own[i] -= f[i];
    for (int64_t i = 0; i < n; ++i) own[i] *= w[i];
    if (curved)
        for (int64_t i = 0; i < n; ++i) pull[i] = (pull[i] * inverse[i] + sum[i] * w[i] + own[i]) * unit[i];
    else
        for (int64_t i = 0; i < n; ++i) pull[i] = (pull[i] * inverse[i] + own[i]) * unit[i];
    return certain;
}

/* The rows of the gradient. With `sure` their sums but that of the certain class go to `rest`, and no row is stored.
 */
template <typename Real>
MEDLOSS_INLINE void write_rows(const Regions<Real> *s, Tile<Real> *t, RegionRows<Real> *r,
                               int curved, int sure, void *out) {
    const int64_t n = t->n;
    const Real *__restrict inverse = r->inverse, *__restrict unit = t->scale, *__restrict own = r->own;
    const Real *__restrict w = t->weight, *__restrict total = r->pull;
    const int32_t *__restrict label = t->label, *__restrict certain = t->certain;
    Real *__restrict rest = t->rest;
    if (sure) memset(rest, 0, sizeof(Real) * (size_t)n);
    /* the gradient of one class at a voxel, from its exponential */
    const auto slope_at = [=](const ClassSlopes<Real> &by, Real e, int64_t i) MEDLOSS_INLINED {
        const int is_own = label[i] == by.label;
        const Real bend = curved ? by.twice * (e * unit[i]) : 0, mine = own[i];
        const Real bent = curved ? by.base + (is_own ? 0 : bend) : by.base;
        const Real slope = e * (bent * inverse[i] - total[i]) + (is_own ? mine : 0);
        return curved ? slope - by.all * w[i] : slope;
    };
    int64_t c = s->volume.classes % 2;
    if (c) {
        const ClassSlopes<Real> by(r, 0);
        const Real *e = t->p;
        Real *g = gradient_row(s, t, r, 0, out);
#pragma omp simd
        for (int64_t i = 0; i < n; ++i) {
            g[i] = slope_at(by, e[i], i);
            if (sure) rest[i] += certain[i] == by.label ? 0 : g[i];
        }
        if (!sure) stream_row(s, t, 0, g, out);
    }
    for (; c < s->volume.classes; c += 2) {
        const ClassSlopes<Real> one(r, c), two(r, c + 1);
        const Real *e1 = t->p + c * t->step, *e2 = e1 + t->step;
        Real *g1 = gradient_row(s, t, r, c, out), *g2 = gradient_row(s, t, r, c + 1, out);
#pragma omp simd
        for (int64_t i = 0; i < n; ++i) {
            g1[i] = slope_at(one, e1[i], i);
            g2[i] = slope_at(two, e2[i], i);
            if (sure) rest[i] += (certain[i] == one.label ? 0 : g1[i]) + (certain[i] == two.label ? 0 : g2[i]);
        }
        if (sure) continue;
        stream_row(s, t, c, g1, out);
        stream_row(s, t, c + 1, g2, out);
    }
}

/* The certain class's gradient is minus the sum of the others' in `rest`; then the rows are stored. */
template <typename Real>
void settle_rows(const Regions<Real> *s, Tile<Real> *t, RegionRows<Real> *r, void *out) {
    Real *first = gradient_row(s, t, r, 0, out);
    const int64_t step = s->volume.classes > 1 ? gradient_row(s, t, r, 1, out) - first : 0;
    for (int64_t i = 0; i < t->n; ++i)
        if (t->certain[i] >= 0) first[t->certain[i] * step + i] = -t->rest[i];
    for (int64_t c = 0; c < s->volume.classes; ++c) stream_row(s, t, c, first + c * step, out);
}

template <typename Real>
void labelled_gradient(const Regions<Real> *s, Tile<Real> *t, RegionRows<Real> *r, void *out) {
    const int curved = (s->terms & (SQUARES | UNIFORM)) != 0;
    take_softmax(s, t, r, 1);
    const int sure = own_slope(s, t, r, curved);
    if (!sure) {
        curved ? write_rows(s, t, r, 1, 0, out) : write_rows(s, t, r, 0, 0, out);
        return;
    }
    curved ? write_rows(s, t, r, 1, 1, out) : write_rows(s, t, r, 0, 1, out);
    settle_rows(s, t, r, out);
}

} // namespace
