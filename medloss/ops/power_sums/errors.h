/* What is raised to a power: the error of each voxel in one class. Included once for each REAL.
 *
 * A likelihood's error is -log p where a voxel is of the class and -log(1 - p) where it is not. Of a softmax the latter
 * is log1p(p / (1 - p)); only the class above a half has 1 - p as the sum of the other classes. */

/* Whether a voxel's error is that of its true class alone, which is found once and not once per class. */
static int NAME(has_once)(const NAME(Powers) * f) {
    return f->likelihood && f->volume.activation == SOFTMAX && f->volume.kind >= 0 && !f->both;
}

/* Whether the complement of a probability has digits that the difference has not. */
static inline int NAME(is_exact)(const NAME(Powers) * f, const TILE *t) {
    return t->sure || f->volume.activation == SIGMOID;
}

/* Logits, weights and labels of the tile, and all that the errors of its classes have in common. */
static void NAME(prepare)(const NAME(Powers) * f, TILE *t, NAME(Rows) * r, int64_t b, int64_t start, int64_t n) {
    const VOLUME *v = &f->volume;
    if (!f->likelihood) {
        NAME(load_tile)(v, t, b, start, n);
        NAME(seek_certain)(v, t, 1);
        return;
    }
    t->sure = 0;
    t->b = b;
    t->start = start;
    t->n = n;
    NAME(load_voxels)(v, t);
    NAME(load_logits)(v, t);
    NAME(allow)(v, t);
    if (v->activation == SIGMOID) return;
    NAME(exponentials)(v, t, r->p, NULL, r->log_norm);
    if (f->both) NAME(find_others)(v, t, r);
    if (!NAME(has_once)(f)) return;
    REAL *restrict once = r->once;
    NAME(true_logit)(t, once);
    for (int64_t i = 0; i < n; ++i) once[i] = t->top[i] - once[i] + r->log_norm[i];
}

/* The log of the sum of the exponentials of all classes but the largest, from the logits. */
static REAL NAME(log_others)(const VOLUME *v, const TILE *t, int64_t i) {
    REAL second = -(REAL)INFINITY, sum = 0;
    for (int64_t c = 0; c < v->classes; ++c) {
        const REAL z = t->p[c * t->step + i];
        second = z != t->top[i] && z > second ? z : second;
    }
    for (int64_t c = 0; c < v->classes; ++c) {
        const REAL z = t->p[c * t->step + i];
        sum += z != t->top[i] && z > -(REAL)INFINITY ? EXP(z - second) : 0;
    }
    return sum > 0 ? second + LOG(sum) : -(REAL)INFINITY;
}

/* Whether the other classes' exponentials are too small for their digits; never of a NaN. */
static inline int NAME(vanishes)(REAL share) { return share < (sizeof(REAL) == 4 ? (REAL)1e-30 : (REAL)1e-280); }

/* Of the classes without the largest: their share of the sum, and -log of it. */
static void NAME(find_others)(const VOLUME *v, const TILE *t, NAME(Rows) * r) {
    const int64_t n = t->n;
    const REAL *restrict top = t->top, *restrict scale = t->scale;
    REAL *restrict others = r->others, *restrict sure = r->sure;
    for (int64_t i = 0; i < n; ++i) others[i] = 0;
    for (int64_t c = 0; c < v->classes; ++c) {
        const REAL *restrict z = t->p + c * t->step, *restrict e = r->p + c * t->step;
        for (int64_t i = 0; i < n; ++i) others[i] += z[i] == top[i] ? 0 : e[i];
    }
    int small = 0;
#pragma omp simd reduction(| : small)
    for (int64_t i = 0; i < n; ++i) {
        others[i] *= scale[i];
        sure[i] = LOG(1 / others[i]);
        small |= NAME(vanishes)(others[i]);
    }
    for (int64_t i = 0; small && i < n; ++i)
        if (NAME(vanishes)(others[i])) sure[i] = r->log_norm[i] + top[i] - NAME(log_others)(v, t, i);
}

/* The probabilities of class c; of a likelihood also -log p in `yes` and, where asked for, -log(1 - p) in `no`. */
static REAL *NAME(probabilities)(const NAME(Powers) * f, const TILE *t, NAME(Rows) * r, int64_t c) {
    const VOLUME *v = &f->volume;
    const int64_t n = t->n;
    const REAL *restrict z = t->p + c * t->step, *restrict scale = t->scale, *restrict top = t->top;
    REAL *restrict yes = r->yes, *restrict no = r->no;
    if (!f->likelihood) {
        REAL *restrict p = t->p + c * t->step;
        for (int64_t i = 0; v->activation == SOFTMAX && i < n; ++i) p[i] *= scale[i];
        if (NAME(is_exact)(f, t)) NAME(complements)(v, t, c, p, r->q);
        return p;
    }
    REAL *restrict p = r->p + c * t->step, *restrict q = r->q;
    if (v->activation == SIGMOID) {
        for (int64_t i = 0; i < n; ++i) {
            const REAL e = EXP(z[i] > 0 ? -z[i] : z[i]), l = LOG1P(e), large = 1 / (1 + e), small = e * large;
            p[i] = z[i] > 0 ? large : small;
            q[i] = z[i] > 0 ? small : large;
            yes[i] = l + (z[i] < 0 ? -z[i] : 0);
            no[i] = l + (z[i] > 0 ? z[i] : 0);
        }
        return p;
    }
    for (int64_t i = 0; i < n; ++i) p[i] *= scale[i];
    if (f->regions) NAME(complements)(v, t, c, p, q);
    for (int64_t i = 0; !NAME(has_once)(f) && i < n; ++i) yes[i] = top[i] - z[i] + r->log_norm[i];
    const REAL *restrict sure = r->sure;
    for (int64_t i = 0; f->both && i < n; ++i) {
        const REAL far = LOG1P(p[i] / (1 - p[i]));
        no[i] = p[i] > (REAL)0.5 ? sure[i] : far;
    }
    return p;
}

/* The bases of the powers: `yes` of what a voxel is of and `no` of what it is not, or one for both where it is of a
 * class or is not. Returns whether there is one for both. */
static int NAME(bases)(const NAME(Powers) * f, const TILE *t, NAME(Rows) * r, const REAL *restrict p,
                       const REAL *restrict m) {
    const int64_t n = t->n;
    REAL *restrict yes = r->yes, *restrict no = r->no;
    if (!f->likelihood) {
        const REAL *restrict q = r->q; /* of a hard label it is either probability, and no difference */
        for (int64_t i = 0; !NAME(is_exact)(f, t) && i < n; ++i) yes[i] = p[i] < m[i] ? m[i] - p[i] : p[i] - m[i];
        for (int64_t i = 0; NAME(is_exact)(f, t) && i < n; ++i) {
            const REAL error = p[i] * (1 - m[i]) - q[i] * m[i];
            yes[i] = error < 0 ? -error : error;
        }
        return 1;
    }
    if (f->volume.kind < 0 || !f->both) return 0;
    for (int64_t i = 0; i < n; ++i) yes[i] = m[i] != 0 ? yes[i] : no[i];
    return 1;
}
