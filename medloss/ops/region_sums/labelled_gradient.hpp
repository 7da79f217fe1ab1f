/* The gradient of a softmax with class indices.
 *
 * That by the logit of class c is w (p_c (s_c - total) + [c is true] d), with s_c the slope of what every class has,
 * d that of the true class alone, and total = sum_c p_c s_c + d. That of a certain class is minus the sum of the
 * others'. */
namespace {

/* d of each voxel but its focal part, without the weight, from the true class's probability. */
template <typename Real>
inline __attribute__((always_inline)) void load_own_slopes(Tile<Real> *t, RegionRows<Real> *r, int squares) {
    const int64_t n = t->n;
    const Real *__restrict coefficients = r->coefficients, *__restrict other = r->other;
    const int32_t *__restrict label = t->label;
    Real *__restrict own = r->own;
    for (int64_t i = 0; i < n; ++i) {
        const Real *row = coefficients + label[i] * PER_CLASS;
        const Real bend = squares ? row[CURVE] * own[i] - row[OFF] * other[i] : 0;
        own[i] = own[i] * (row[OWN] + bend) - row[YES];
    }
}

/* d of each voxel into `own`, times the weight, and the total into `pull`, times the weight and over the norm; `pull`
 * comes as sum_c exp(z_c) s_c. Returns whether a class is certain. */
template <typename Real>
int own_slope(const Regions<Real> *s, Tile<Real> *t, RegionRows<Real> *r) {
    const int64_t n = t->n;
    const int focal = (s->terms & FOCAL) != 0, squares = (s->terms & SQUARES) != 0;
    const Real *__restrict w = t->weight, *__restrict nll = r->nll, *__restrict inverse = r->inverse,
                           *__restrict unit = t->scale;
    const int32_t *__restrict label = t->label;
    Real *__restrict own = r->own, *__restrict d = r->slope, *__restrict pull = r->pull;
    Real *__restrict f = squares ? r->factor : r->other;
    const int certain = own_likelihood(s, t, r, focal, 1);
    if (focal) {
        if (squares) memcpy(f, r->other, sizeof(Real) * (size_t)n);
        powers(s->gamma, n, f, d);
        for (int64_t i = 0; i < n; ++i) f[i] += d[i] * own[i] * nll[i];
        for (int64_t i = 0; i < n; ++i) f[i] *= r->coefficients[label[i] * PER_CLASS + FOCAL_SLOPE];
    }
    squares ? load_own_slopes(t, r, 1) : load_own_slopes(t, r, 0);
    if (focal)
        for (int64_t i = 0; i < n; ++i) own[i] -= f[i];
    for (int64_t i = 0; i < n; ++i) {
        own[i] *= w[i];
        pull[i] = (pull[i] * inverse[i] + own[i]) * unit[i];
    }
    return certain;
}

/* What squares (but the true class's, which `own` has) and even likelihoods add to the total. */
template <typename Real>
void curved_pull(const Regions<Real> *s, Tile<Real> *t, RegionRows<Real> *r) {
    const int64_t n = t->n;
    Real *__restrict sum = r->factor, *__restrict pull = r->pull, all = 0;
    const Real *__restrict norm = r->norm, *__restrict unit = t->scale;
    const int32_t *__restrict label = t->label;
    memset(sum, 0, sizeof(Real) * (size_t)n);
    for (int64_t c = 0; c < s->volume.classes; ++c) {
        const Real *__restrict p = t->p + c * t->step, twice = r->coefficients[c * PER_CLASS + SQUARE];
        all += r->coefficients[c * PER_CLASS + ALL];
#pragma omp simd
        for (int64_t i = 0; i < n; ++i) sum[i] += label[i] == (int32_t)c ? 0 : twice * p[i] * (p[i] * unit[i]);
    }
    for (int64_t i = 0; i < n; ++i) pull[i] += sum[i] - all * norm[i];
}

/* The gradient of one class; `scaled` is the total over the norm. */
template <typename Real>
inline __attribute__((always_inline)) Real slope_at(Real p, Real base, Real inverse, Real scaled, Real own,
                                                    int is_own) {
    return p * (base * inverse - scaled) + (is_own ? own : 0);
}

/* The rows of the gradient. With `sure` their sums but that of the certain class go to `rest`, and no row is stored.
 */
template <typename Real>
inline __attribute__((always_inline)) void write_rows(const Regions<Real> *s, Tile<Real> *t, RegionRows<Real> *r,
                                                      int curved, int sure, void *out) {
    const int64_t n = t->n;
    const Real *__restrict inverse = r->inverse, *__restrict unit = t->scale, *__restrict own = r->own;
    const Real *__restrict w = t->weight, *__restrict scaled = r->pull;
    const int32_t *__restrict label = t->label, *__restrict certain = t->certain;
    Real *__restrict rest = t->rest;
    if (sure) memset(rest, 0, sizeof(Real) * (size_t)n);
    int64_t c = curved ? s->volume.classes : s->volume.classes % 2;
    for (int64_t k = 0; k < c; ++k) { /* one at a time: an odd class, or slopes that bend */
        const Real *p = t->p + k * t->step, *row = r->coefficients + k * PER_CLASS;
        const Real base = row[BASE], twice = row[SQUARE], all = row[ALL];
        const int32_t own_class = (int32_t)k;
        Real *g = gradient_row(s, t, r, k, out);
#pragma omp simd
        for (int64_t i = 0; i < n; ++i) {
            const int is_own = label[i] == own_class;
            const Real bent = curved && !is_own ? base + twice * (p[i] * unit[i]) : base;
            const Real slope = slope_at(p[i], bent, inverse[i], scaled[i], own[i], is_own);
            g[i] = curved ? slope - all * w[i] : slope;
            if (sure) rest[i] += certain[i] == own_class ? 0 : g[i];
        }
        if (!sure) stream_row(s, t, k, g, out);
    }
    for (; c < s->volume.classes; c += 2) {
        const Real *p0 = t->p + c * t->step, *p1 = p0 + t->step;
        const Real base0 = r->coefficients[c * PER_CLASS + BASE], base1 = r->coefficients[(c + 1) * PER_CLASS + BASE];
        Real *g0 = gradient_row(s, t, r, c, out), *g1 = gradient_row(s, t, r, c + 1, out);
        const int32_t class0 = (int32_t)c, class1 = class0 + 1;
#pragma omp simd
        for (int64_t i = 0; i < n; ++i) {
            g0[i] = slope_at(p0[i], base0, inverse[i], scaled[i], own[i], label[i] == class0);
            g1[i] = slope_at(p1[i], base1, inverse[i], scaled[i], own[i], label[i] == class1);
            if (sure) rest[i] += (certain[i] == class0 ? 0 : g0[i]) + (certain[i] == class1 ? 0 : g1[i]);
        }
        if (sure) continue;
        stream_row(s, t, c, g0, out);
        stream_row(s, t, c + 1, g1, out);
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
    if (curved) curved_pull(s, t, r);
    const int sure = own_slope(s, t, r);
    if (!sure) {
        curved ? write_rows(s, t, r, 1, 0, out) : write_rows(s, t, r, 0, 0, out);
        return;
    }
    curved ? write_rows(s, t, r, 1, 1, out) : write_rows(s, t, r, 0, 1, out);
    settle_rows(s, t, r, out);
}

} // namespace
