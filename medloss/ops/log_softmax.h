/* A softmax whose logits stay, and the logarithm of its sum. Included once for each REAL, with EXP and LOG defined,
 * after label_tile.h. */

/* exp(z - top) of every class into `p` (the logits' own rows where it is NULL, nowhere where `norm_only`), and
 * one over their sum and its logarithm. The largest logit is always taken off: a likelihood of nearly 1 has digits
 * then. */
static void NAME(exponentials)(const VOLUME *v, TILE *t, REAL *p, int norm_only, REAL *restrict log_norm) {
    SOFTMAX_ROWS rows = {.z = t->p, .p = norm_only ? NULL : p ? p : t->p, .norm = t->scale, .z_step = t->step,
                         .p_step = t->step, .classes = v->classes, .n = t->n};
    REAL *restrict norm = t->scale;
    NAME(careful_softmax_rows)(&rows, t->top);
    for (int64_t i = 0; i < t->n; ++i) log_norm[i] = LOG(norm[i]);
    for (int64_t i = 0; i < t->n; ++i) norm[i] = 1 / norm[i];
}

/* The true class's logit; whatever is there for a voxel of no class. */
static void NAME(true_logit)(const TILE *t, REAL *restrict out) {
    const int32_t *restrict label = t->label;
    for (int64_t i = 0; i < t->n; ++i) out[i] = t->p[(label[i] < 0 ? 0 : label[i]) * t->step + i];
}
