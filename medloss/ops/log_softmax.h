/* A softmax whose logits stay, and the logarithm of its sum. Included once for each REAL, with EXP and LOG defined,
 * after label_tile.h; LOG1P too. */

/* exp(z - top) of every class into `p` (the logits' own rows where it is NULL, into `spare`, where that is
 * given, only if something is certain), and
 * one over their sum and its logarithm. The largest logit is always taken off: a likelihood of nearly 1 has digits
 * then; with the exponentials it finds what is certain, whose logarithm is that
 * of the sum of the others. */
static void NAME(exponentials)(const VOLUME *v, TILE *t, REAL *p, REAL *spare, REAL *restrict log_norm) {
    const int norm_only = spare != NULL;
    SOFTMAX_ROWS rows = {.z = t->p, .p = norm_only ? NULL : p ? p : t->p, .norm = t->scale, .z_step = t->step,
                         .p_step = t->step, .classes = v->classes, .n = t->n};
    REAL *restrict norm = t->scale;
    NAME(careful_softmax_rows)(&rows, t->top);
    for (int64_t i = 0; i < t->n; ++i) log_norm[i] = LOG(norm[i]);
    int sure = 0;
#pragma omp simd reduction(| : sure)
    for (int64_t i = 0; i < t->n; ++i) {
        norm[i] = 1 / norm[i];
        sure |= norm[i] > 1 - UNSURE;
    }
    t->sure = sure;
    if (!sure) return;
    if (norm_only) { /* now they are needed */
        rows.p = spare;
        for (int64_t i = 0; i < t->n; ++i) norm[i] = 0;
        NAME(careful_softmax_rows)(&rows, t->top);
        for (int64_t i = 0; i < t->n; ++i) norm[i] = 1 / norm[i];
    }
    const int32_t *restrict certain = t->certain, none = (int32_t)v->classes;
    NAME(find_certain)(rows.p, t->step, v->classes, t->n, norm, t->certain);
    NAME(sum_of_others)(rows.p, t->step, v->classes, t->n, t->certain, t->rest);
    for (int64_t i = 0; i < t->n; ++i) { /* the largest exponential is 1 */
        const REAL near = LOG1P(t->rest[i] < 1 ? t->rest[i] : 1);
        log_norm[i] = certain[i] == none ? log_norm[i] : near;
    }
}

/* The true class's logit; whatever is there for a voxel of no class. */
static void NAME(true_logit)(const TILE *t, REAL *restrict out) {
    const int32_t *restrict label = t->label;
    for (int64_t i = 0; i < t->n; ++i) out[i] = t->p[(label[i] < 0 ? 0 : label[i]) * t->step + i];
    SIMD for (int64_t i = 0; i < t->n; ++i) out[i] = FINITE(out[i]);
}
