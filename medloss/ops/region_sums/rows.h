/* Logits into rows of REAL, a class each, and gradients back to how the input lies. */

#define EACH(expression)                                                                                            \
    for (int64_t c = 0; c < v->classes; ++c)                                                                        \
        for (int64_t i = 0; i < n; ++i) {                                                                           \
            const int64_t at = offset + c * v->class_stride + i * v->voxel_stride, to = c * v->size + i;            \
            expression;                                                                                             \
        }

/* Points the tile at its logits; those that do not lie as rows of REAL are copied. */
static void NAME(stage)(const VOLUME *v, TILE *t) {
    const int64_t n = t->n, offset = t->b * v->batch_stride + t->start * v->voxel_stride;
    t->step = v->class_stride;
    t->z = (const REAL *)v->input + offset;
    if (!NAME(is_staged)(v)) return;
    t->step = v->size;
    t->z = t->staged;
    if (v->type == REAL_BF16)
        EACH(t->staged[to] = from_bf16(((const uint16_t *)v->input)[at]))
    else if (v->type == REAL_F16)
        EACH(t->staged[to] = from_f16(((const uint16_t *)v->input)[at]))
    else
        EACH(t->staged[to] = ((const REAL *)v->input)[at])
}

/* Where the gradient of class c is computed: in the result, or in scratch that `store_row` or `unstage` copies. It may be
 * the row of p. */
static inline REAL *NAME(gradient_row)(const VOLUME *v, const TILE *t, int64_t c, void *out) {
    if (NAME(is_staged)(v)) return t->staged + c * v->size;
    if (v->streams) return t->p + c * v->size;
    return (REAL *)out + (t->b * v->classes + c) * v->voxels + t->start;
}

static inline void NAME(store_row)(const VOLUME *v, const TILE *t, int64_t c, const REAL *row, void *out) {
    if (NAME(is_staged)(v) || !v->streams) return;
    stream_copy((REAL *)out + (t->b * v->classes + c) * v->voxels + t->start, row, sizeof(REAL) * (size_t)t->n);
}

/* The tile's gradient into a dense result: whole rows of a class, or channels side by side. */
static void NAME(unstage)(const VOLUME *volume, const TILE *t, void *out) {
    if (!NAME(is_staged)(volume)) return;
    VOLUME dense = *volume;
    const VOLUME *v = &dense;
    dense.class_stride = v->voxel_stride == 1 ? v->voxels : 1;
    const int64_t n = t->n, offset = t->b * v->classes * v->voxels + t->start * v->voxel_stride;
    if (v->type == REAL_BF16)
        EACH(((uint16_t *)out)[at] = to_bf16((float)t->staged[to]))
    else if (v->type == REAL_F16)
        EACH(((uint16_t *)out)[at] = to_f16((float)t->staged[to]))
    else
        EACH(((REAL *)out)[at] = t->staged[to])
}
#undef EACH
