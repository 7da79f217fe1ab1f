/* The gradient of any activation and any target, with the shorthands of memberships.hpp. */
namespace {

/* Adds to h what the focal terms of one class have there: minus dL/d(-log p) for the softmax, dL/dz for the sigmoid.
 * `yes` and `no` are the gradients of the two columns. */
template <typename Real>
void add_focal_slope(const Regions<Real> *s, const Tile<Real> *t, RegionRows<Real> *r, const Real *__restrict z,
                     const Real *__restrict p, const Real *__restrict m, const Real *__restrict rest, Real yes,
                     Real no, Real *__restrict h) {
    const int64_t n = t->n;
    const Real *__restrict other = r->other;
    Real *__restrict f = r->factor, *__restrict d = r->slope;
    distance(s, t, r, p, m, f);
    powers(s->gamma, n, f, d);
    if (s->volume.activation == SOFTMAX)
#pragma omp simd
        for (int64_t i = 0; i < n; ++i)
            h[i] -= m[i] != 0 ? yes * m[i] * (f[i] + d[i] * p[i] * (rest[i] - made_finite(z[i]))) : 0;
    else
#pragma omp simd
        for (int64_t i = 0; i < n; ++i) {
            const Real q = other[i], turn = d[i] * p[i] * q * (1 - 2 * m[i]);
            h[i] += yes * m[i] * (turn * POSITIVE - f[i] * q) + no * (1 - m[i]) * (turn * NEGATIVE + f[i] * p[i]);
        }
}
#undef TRUE
#undef FALSE
#undef POSITIVE
#undef NEGATIVE

/* What a class's columns make of a probability. */
template <typename Real>
struct Slope {
    Real of_others, of_own, more, twice, off, above, below;

    /* dL/dp where there are `squares`, two `sides` of a difference, or slopes that are far apart (`uneven`). */
    template <bool uneven, bool squares, bool sides>
    MEDLOSS_INLINE Real at(Real p, Real q, Real m) const {
        if constexpr (!uneven) return of_others + more * m;
        const Real each = of_others * (1 - m) + of_own * m, error = error_of(p, q, m);
        Real slope = more == 0 ? of_others : each; /* which is enough where they are alike */
        if constexpr (squares) slope += twice * p + off * error;
        if constexpr (sides) {
            const Real even = (above + below) / 2, under = error < 0 ? below : even;
            slope += error > 0 ? above : under;
        }
        return slope;
    }
};

/* The gradient by the logit of one class, before the softmax mixes the classes; without the weight. */
template <bool uneven, bool squares, bool sides, typename Real>
void slopes(const Regions<Real> *s, const Tile<Real> *t, RegionRows<Real> *r, const Real *__restrict p,
            const Real *__restrict m, const Real *row, const Slope<Real> of, Real *__restrict h) {
    const int64_t n = t->n;
    const Real *__restrict q = r->other;
    const Real yes = s->terms & LIKELIHOOD ? row[NLL_TRUE] : 0, no = s->terms & LIKELIHOOD ? row[NLL_FALSE] : 0;
    const Real all = s->terms & UNIFORM ? row[NLL_ALL] : 0;
    if (s->volume.activation == SOFTMAX)
#pragma omp simd
        for (int64_t i = 0; i < n; ++i)
            h[i] = p[i] * of.template at<uneven, squares, sides>(p[i], q[i], m[i]) - yes * m[i] - all;
    else if (s->volume.activation == SIGMOID)
#pragma omp simd
        for (int64_t i = 0; i < n; ++i) {
            const Real slope = of.template at<uneven, squares, sides>(p[i], q[i], m[i]);
            h[i] = q[i] * (p[i] * slope - yes * m[i] - all) + no * (1 - m[i]) * p[i];
        }
    else
#pragma omp simd
        for (int64_t i = 0; i < n; ++i) h[i] = of.template at<uneven, squares, sides>(p[i], q[i], m[i]);
}

/* The same, for what the columns ask for. */
template <typename Real>
void slopes(const Regions<Real> *s, const Tile<Real> *t, RegionRows<Real> *r, const Real *p, const Real *m,
            const Real *row, double shared, int uneven, Real *h) {
    const int squares = s->terms & SQUARES, sides = (s->terms & DIFFERENCE) && !is_sided(s);
    Slope<Real> of = {};
    of.of_others = (Real)(slope_of_others(s, row) - shared);
    of.of_own = (Real)(slope_of_own(s, row) - shared);
    of.more = of.of_own - of.of_others;
    of.twice = squares ? 2 * row[INPUT_SQUARES] : 0;
    of.off = squares ? 2 * row[SQUARED_ERROR] : 0;
    of.above = sides ? row[SURPLUS] : 0;
    of.below = sides ? row[COMMON] - row[LACK] : 0;
    if (squares && sides) slopes<true, true, true>(s, t, r, p, m, row, of, h);
    else if (squares) slopes<true, true, false>(s, t, r, p, m, row, of, h);
    else if (sides) slopes<true, false, true>(s, t, r, p, m, row, of, h);
    else if (uneven) slopes<true, false, false>(s, t, r, p, m, row, of, h);
    else slopes<false, false, false>(s, t, r, p, m, row, of, h);
}

/* The softmax's rows from h and its sum over the classes. With `sure` their sums but that of the certain class go to
 * `rest`, from which that class's gradient is made. */
template <typename Real>
MEDLOSS_INLINE void mix_rows(const Regions<Real> *s, Tile<Real> *t, RegionRows<Real> *r,
                             int sure, void *out) {
    const int64_t n = t->n;
    const Real *__restrict w = t->weight, *__restrict pull = r->pull;
    const int32_t *__restrict certain = t->certain;
    Real *__restrict rest = t->rest;
    if (sure) memset(rest, 0, sizeof(Real) * (size_t)n);
    for (int64_t c = 0; c < s->volume.classes; ++c) {
        const Real *p = t->p + c * t->step, *h = r->h + c * t->step;
        const int32_t own_class = (int32_t)c;
        Real *g = gradient_row(s, t, r, c, out);
#pragma omp simd
        for (int64_t i = 0; i < n; ++i) {
            g[i] = w[i] * (h[i] - p[i] * pull[i]);
            if (sure) rest[i] += certain[i] == own_class ? 0 : g[i];
        }
        if (!sure) stream_row(s, t, c, g, out);
    }
    if (sure) settle_rows(s, t, r, out);
}

template <typename Real>
void membership_gradient(const Regions<Real> *s, Tile<Real> *t, RegionRows<Real> *r, const Real *cotangent,
                         void *out) {
    const int64_t n = t->n;
    const int soft = s->volume.activation == SOFTMAX;
    const int uneven = is_uneven(s, cotangent);
    const double shared = shared_slope(s, cotangent);
    const Real *__restrict w = t->weight;
    Real *__restrict pull = r->pull;
    int sure = prepare(s, t, r), high = 0;
    memset(pull, 0, sizeof(Real) * (size_t)n);
    for (int64_t c = 0; c < s->volume.classes; ++c) {
        const Real *row = cotangent + c * COLUMNS;
        Real *h = r->h + (soft ? c * t->step : 0);
        const Real *z = logits(s, t, r, c, r->own), *p = probabilities(s, t, r, c, z, sure, r->inverse);
        const Real *m = members_at(s, t, c, r->member);
        slopes(s, t, r, p, m, row, shared, uneven, h);
        if (s->terms & FOCAL)
            add_focal_slope(s, t, r, z, p, m, rest_of(s, t, r, r->inverse, r->norm), row[FOCAL_TRUE],
                            row[FOCAL_FALSE], h);
        if (soft) {
#pragma omp simd reduction(| : high)
            for (int64_t i = 0; i < n; ++i) {
                pull[i] += h[i];
                high |= p[i] > 1 - unsure<Real>;
            }
            continue;
        }
        Real *g = gradient_row(s, t, r, c, out);
#pragma omp simd
        for (int64_t i = 0; i < n; ++i) g[i] = w[i] * h[i];
        stream_row(s, t, c, g, out);
    }
    if (!soft) return;
    if (high && !sure) sure = find_certain(t->p, t->step, s->volume.classes, n, nullptr, t->certain);
    sure ? mix_rows(s, t, r, 1, out) : mix_rows(s, t, r, 0, out);
}

} // namespace
