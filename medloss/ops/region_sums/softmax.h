/* The softmax of a tile. Once a tile of a block needs care (see ../softmax.h), the rest of the block is done with care
 * at once; blocks are the same for any number of threads, and so is the result. */

/* Fills p with exponentials, norm, unit and inverse; with `pulls`, pull too: the sum of each times its class's base
 * coefficient. */
static void NAME(softmax)(const VOLUME *v, TILE *t, int pulls) {
    SOFTMAX_ROWS rows = {
        .z = t->z, .p = t->p, .norm = t->norm, .z_step = t->step, .p_step = v->size, .classes = v->classes, .n = t->n,
        .ahead = NAME(is_staged)(v) ? 0 : v->size, .weight = NAME(is_weighted)(v) ? t->weight : NULL,
        .base = t->coefficients + BASE, .pull = pulls ? t->pull : NULL, .base_step = PER_CLASS,
    };
    if (!t->careful) t->careful = NAME(softmax_rows)(&rows);
    if (t->careful) NAME(careful_softmax_rows)(&rows, t->top);
    const REAL *restrict w = t->weight, *restrict norm = t->norm;
    REAL *restrict unit = t->unit, *restrict inverse = t->inverse;
    SIMD for (int64_t i = 0; i < t->n; ++i) {
        unit[i] = 1 / norm[i];
        inverse[i] = w[i] * unit[i];
    }
}

/* The log of the sum of exponentials. */
static void NAME(log_norm)(const TILE *t, REAL *restrict out) {
    for (int64_t i = 0; i < t->n; ++i) out[i] = t->top[i] + LOG(t->norm[i]);
}

/* Sum over the voxels of w (-log p) for one class's logits. What weighs nothing is nothing. */
static REAL NAME(sum_nll)(const TILE *t, const REAL *restrict z, const REAL *restrict log_norm) {
    const REAL *restrict w = t->weight;
    REAL sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < t->n; ++i) sum += w[i] > 0 ? w[i] * (log_norm[i] - FINITE(z[i])) : 0;
    return sum;
}
