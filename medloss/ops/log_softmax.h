/* A softmax whose logits stay, and the logarithm of its sum. Included once for each REAL, with EXP and LOG defined,
 * after label_tile.h. */

/* The largest logit of each voxel. */
static void NAME(find_top)(const VOLUME *v, TILE *t) {
    REAL *restrict top = t->top;
    memcpy(top, t->p, sizeof(REAL) * (size_t)t->n);
    for (int64_t c = 1; c < v->classes; ++c) {
        const REAL *restrict z = t->p + c * t->step;
        for (int64_t i = 0; i < t->n; ++i) top[i] = z[i] > top[i] ? z[i] : top[i];
    }
}

/* exp(z - top) of every class into `p` (the logits' own rows where it is NULL, nowhere where `norm_only`), and
 * one over their sum and its logarithm. */
static void NAME(exponentials)(const VOLUME *v, TILE *t, REAL *p, int norm_only, REAL *restrict log_norm) {
    const int64_t n = t->n;
    REAL *restrict norm = t->scale;
    const REAL *restrict top = t->top;
    NAME(find_top)(v, t);
    for (int64_t i = 0; i < n; ++i) norm[i] = 0;
    for (int64_t c = 0; c < v->classes; ++c) {
        REAL *restrict z = t->p + c * t->step;
        if (norm_only) {
            for (int64_t i = 0; i < n; ++i) norm[i] += EXP(z[i] - top[i]);
        } else if (!p) {
            for (int64_t i = 0; i < n; ++i) {
                z[i] = EXP(z[i] - top[i]);
                norm[i] += z[i];
            }
        } else {
            REAL *restrict e = p + c * t->step;
            for (int64_t i = 0; i < n; ++i) {
                e[i] = EXP(z[i] - top[i]);
                norm[i] += e[i];
            }
        }
    }
    for (int64_t i = 0; i < n; ++i) log_norm[i] = LOG(norm[i]);
    for (int64_t i = 0; i < n; ++i) norm[i] = 1 / norm[i];
}

/* The true class's logit; whatever is there for a voxel of no class. */
static void NAME(true_logit)(const TILE *t, REAL *restrict out) {
    const int32_t *restrict label = t->label;
    for (int64_t i = 0; i < t->n; ++i) out[i] = t->p[(label[i] < 0 ? 0 : label[i]) * t->step + i];
}
