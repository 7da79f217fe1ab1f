/* Logits into rows of REAL, a class each, and gradients back to how the input lies. */

#define EACH(expression)                                                                                            \
    for (int64_t c = 0; c < v->classes; ++c)                                                                        \
        for (int64_t i = 0; i < n; ++i) {                                                                           \
            const int64_t at = offset + c * v->class_stride + i * v->voxel_stride, to = c * v->size + i;            \
            expression;                                                                                             \
        }

/* Asks for the row that comes four rows after that of class c, of this tile or of a later one: rows of different
 * classes lie too far apart for the processor to foresee. Beyond the tensor's end nothing happens. */
static inline void NAME(fetch_ahead)(const VOLUME *v, const TILE *t, const REAL *rows, int64_t step, int64_t c) {
    const int64_t next = c + 4, later = next / v->classes;
    const char *row = (const char *)(rows + (next - later * v->classes) * step + later * v->size);
    for (int64_t at = 0; at < t->n * (int64_t)sizeof(REAL); at += 64) __builtin_prefetch(row + at);
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

#undef EACH

static inline void NAME(copy_out)(const VOLUME *v, void *to, const void *from, size_t bytes) {
    v->streams ? stream_copy(to, from, bytes) : (void)memcpy(to, from, bytes);
}

/* Where the gradient of class c is computed: in the result, or in scratch that `store_row` or `unstage` copies. It may
 * be the row of p. */
static inline REAL *NAME(gradient_row)(const VOLUME *v, const TILE *t, int64_t c, void *out) {
    if (NAME(is_staged)(v)) return t->staged + c * v->size;
    if (v->streams) return t->p + c * v->size;
    return (REAL *)out + (t->b * v->classes + c) * v->voxels + t->start;
}

static inline void NAME(store_row)(const VOLUME *v, const TILE *t, int64_t c, const REAL *row, void *out) {
    if (NAME(is_staged)(v) || !v->streams) return;
    stream_copy((REAL *)out + (t->b * v->classes + c) * v->voxels + t->start, row, sizeof(REAL) * (size_t)t->n);
}

/* The tile's gradient into a dense result, whole rows of a class or channels side by side: laid out and rounded in
 * near memory first, then copied in long runs. */
static void NAME(unstage)(const VOLUME *v, const TILE *t, void *out) {
    if (!NAME(is_staged)(v)) return;
    const int last = v->voxel_stride != 1;
    const int64_t n = t->n, per_class = last ? 1 : v->size, per_voxel = last ? v->classes : 1;
    const size_t item = v->type == REAL_OWN ? sizeof(REAL) : sizeof(uint16_t);
    uint16_t *half = (uint16_t *)t->h;
#define EACH(target, expression)                                                                                    \
    for (int64_t c = 0; c < v->classes; ++c) {                                                                      \
        const REAL *restrict g = t->staged + c * v->size;                                                           \
        for (int64_t i = 0; i < n; ++i) (target)[c * per_class + i * per_voxel] = expression;                       \
    }
    if (v->type == REAL_BF16)
        EACH(half, to_bf16((float)g[i]))
    else if (v->type == REAL_F16)
        EACH(half, to_f16((float)g[i]))
    else
        EACH(t->h, g[i])
#undef EACH
    char *sample = (char *)out + (size_t)(t->b * v->classes * v->voxels) * item;
    if (last)
        NAME(copy_out)(v, sample + (size_t)(t->start * v->classes) * item, t->h, (size_t)(n * v->classes) * item);
    for (int64_t c = 0; !last && c < v->classes; ++c)
        NAME(copy_out)(v, sample + (size_t)(c * v->voxels + t->start) * item, (char *)t->h + (size_t)(c * v->size) * item,
                       (size_t)n * item);
}
