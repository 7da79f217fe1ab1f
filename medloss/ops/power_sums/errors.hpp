/* What is raised to a power: the error of each voxel in one class.
 *
 * A likelihood's error is -log p where a voxel is of the class and -log(1 - p) where it is not. Of a softmax the
 * latter is log1p(p / (1 - p)); only the class above a half has 1 - p as the sum of the other classes. */
namespace {

/* Whether a voxel's error is that of its true class alone, which is found once and not once per class. */
template <typename Real>
int has_once(const Powers<Real> *f) {
    return f->likelihood && f->volume.activation == SOFTMAX && f->volume.kind >= 0 && !f->both;
}

/* Whether each voxel has one power, that of its true class. */
template <typename Real>
inline int is_single(const Powers<Real> *f) {
    return has_once(f) && !f->regions;
}

template <typename Real>
void find_others(const Volume<Real> *v, const Tile<Real> *t, PowerRows<Real> *r);

/* Whether the complement of a probability has digits that the difference has not. */
template <typename Real>
inline int is_exact(const Powers<Real> *f, const Tile<Real> *t) {
    return t->sure || f->volume.activation == SIGMOID;
}

/* Logits, weights and labels of the tile, and all that the errors of its classes have in common. */
template <typename Real>
void prepare(const Powers<Real> *f, Tile<Real> *t, PowerRows<Real> *r) {
    const Volume<Real> *v = &f->volume;
    if (!f->likelihood && v->activation != SIGMOID) {
        load_tile(v, t);
        seek_certain(v, t, 1);
        return;
    }
    t->sure = 0;
    load_voxels(v, t);
    load_logits(v, t);
    if (is_single(f) || !f->likelihood) return; /* a sigmoid follows class by class, so that 1 - p takes one row */
    allow(v, t);
    if (v->activation == SIGMOID) return;
    exponentials(v, t, r->p, nullptr, r->log_norm);
    if (f->both) find_others(v, t, r);
    if (!has_once(f)) return;
    true_logit(t, r->once);
    logit_to_nll(t, r->log_norm, r->once);
}

/* The log of the sum of the exponentials of all classes but the largest, from the logits. */
template <typename Real>
Real log_others(const Volume<Real> *v, const Tile<Real> *t, int64_t i) {
    Real second = -(Real)INFINITY, sum = 0;
    for (int64_t c = 0; c < v->classes; ++c) {
        const Real z = t->p[c * t->step + i];
        second = z != t->top[i] && z > second ? z : second;
    }
    for (int64_t c = 0; c < v->classes; ++c) {
        const Real z = t->p[c * t->step + i];
        sum += z != t->top[i] && z > -(Real)INFINITY ? exp_of(z - second) : 0;
    }
    return sum > 0 ? second + log_from_one(sum) : -(Real)INFINITY;
}

/* Whether the other classes' exponentials are too small for their digits; never of a NaN. */
template <typename Real>
inline int vanishes(Real share) {
    return share < (sizeof(Real) == 4 ? (Real)1e-30 : (Real)1e-280);
}

/* Of the classes without the largest: their share of the sum, and -log of it. */
template <typename Real>
void find_others(const Volume<Real> *v, const Tile<Real> *t, PowerRows<Real> *r) {
    const int64_t n = t->n;
    const Real *__restrict top = t->top, *__restrict scale = t->scale;
    Real *__restrict others = r->others, *__restrict sure = r->sure;
    for (int64_t i = 0; i < n; ++i) others[i] = 0;
    for (int64_t c = 0; c < v->classes; ++c) {
        const Real *__restrict z = t->p + c * t->step, *__restrict e = r->p + c * t->step;
        for (int64_t i = 0; i < n; ++i) others[i] += z[i] == top[i] ? 0 : e[i];
    }
    int small = 0;
#pragma omp simd reduction(| : small)
    for (int64_t i = 0; i < n; ++i) {
        others[i] *= scale[i];
        sure[i] = log_from_one(1 / others[i]);
        small |= vanishes(others[i]);
    }
    if (small)
        for (int64_t i = 0; i < n; ++i)
            if (vanishes(others[i])) sure[i] = r->log_norm[i] + top[i] - log_others(v, t, i);
}

/* The probabilities of class c; of a likelihood also -log p in `yes` and, where asked for, -log(1 - p) in `no`, and
 * with `complement` 1 - p in `q`. */
template <typename Real>
Real *probabilities(const Powers<Real> *f, const Tile<Real> *t, PowerRows<Real> *r, int64_t c, int complement) {
    const Volume<Real> *v = &f->volume;
    const int64_t n = t->n;
    const Real *__restrict z = t->p + c * t->step, *__restrict scale = t->scale, *__restrict top = t->top;
    Real *__restrict yes = r->yes, *__restrict no = r->no;
    if (!f->likelihood && v->activation == SIGMOID) {
        Real *__restrict p = t->p + c * t->step, *__restrict q = r->q;
#pragma omp simd
        for (int64_t i = 0; i < n; ++i) {
            const Sigmoid<Real> at = sigmoid_of(p[i]);
            p[i] = at.p;
            q[i] = at.q;
        }
        return p;
    }
    if (!f->likelihood) {
        Real *__restrict p = t->p + c * t->step;
        if (v->activation == SOFTMAX)
#pragma omp simd
            for (int64_t i = 0; i < n; ++i) p[i] *= scale[i];
        if (is_exact(f, t)) complements(v, t, c, p, r->q);
        return p;
    }
    Real *__restrict p = r->p + c * t->step, *__restrict q = r->q;
    if (v->activation == SIGMOID) {
        for (int64_t i = 0; i < n; ++i) {
            const Sigmoid<Real> at = sigmoid_of(z[i]);
            const Real l = log1p_unit(at.small);
            p[i] = at.p;
            q[i] = at.q;
            yes[i] = l + (z[i] < 0 ? -z[i] : 0);
            no[i] = l + (z[i] > 0 ? z[i] : 0);
        }
        return p;
    }
    for (int64_t i = 0; i < n; ++i) p[i] *= scale[i];
    if (complement) complements(v, t, c, p, q);
    const Real *__restrict log_norm = r->log_norm;
    if (!has_once(f))
#pragma omp simd
        for (int64_t i = 0; i < n; ++i) yes[i] = top[i] - z[i] + log_norm[i];
    const Real *__restrict sure = r->sure;
    if (f->both)
        for (int64_t i = 0; i < n; ++i) {
            const Real far = log1p_unit(p[i] / (1 - p[i]));
            no[i] = p[i] > (Real)0.5 ? sure[i] : far;
        }
    return p;
}

/* The bases of the powers: `yes` of what a voxel is of and `no` of what it is not, or one for both where it is of a
 * class or is not. Returns whether there is one for both. */
template <typename Real>
int bases(const Powers<Real> *f, const Tile<Real> *t, PowerRows<Real> *r, const Real *__restrict p,
          const Real *__restrict m) {
    const int64_t n = t->n;
    Real *__restrict yes = r->yes, *__restrict no = r->no;
    if (!f->likelihood) {
        const Real *__restrict q = r->q; /* of a hard label it is either probability, and no difference */
        if (is_exact(f, t))
#pragma omp simd
            for (int64_t i = 0; i < n; ++i) {
                const Real error = p[i] * (1 - m[i]) - q[i] * m[i];
                yes[i] = error < 0 ? -error : error;
            }
        else
#pragma omp simd
            for (int64_t i = 0; i < n; ++i) yes[i] = p[i] < m[i] ? m[i] - p[i] : p[i] - m[i];
        return 1;
    }
    if (f->volume.kind < 0 || !f->both) return 0;
    for (int64_t i = 0; i < n; ++i) yes[i] = m[i] != 0 ? yes[i] : no[i];
    return 1;
}

} // namespace
