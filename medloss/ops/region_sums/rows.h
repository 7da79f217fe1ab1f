/* Logits into rows of REAL, a class each, and gradients back to how the input lies. */

/* Asks for the row that comes four rows after that of class c, of this tile or of a later one: rows of different
 * classes lie too far apart for the processor to foresee. Beyond the tensor's end nothing happens. */
static inline void NAME(fetch_ahead)(const VOLUME *v, const TILE *t, const REAL *rows, int64_t step, int64_t c) {
    const int64_t next = c + 4, later = next / v->classes;
    const char *row = (const char *)(rows + (next - later * v->classes) * step + later * v->size);
    for (int64_t at = 0; at < t->n * (int64_t)sizeof(REAL); at += 64) __builtin_prefetch(row + at);
}

/* One class's logits as a row; `step` is from voxel to voxel. */
static inline ALWAYS_INLINE void NAME(widen_row)(const void *in, int64_t n, int type, int64_t step,
                                                 REAL *restrict out) {
    const uint16_t *restrict half = (const uint16_t *)in;
    const REAL *restrict own = (const REAL *)in;
    if (type == REAL_BF16)
        for (int64_t i = 0; i < n; ++i) out[i] = from_bf16(half[i * step]);
    else if (type == REAL_F16)
        for (int64_t i = 0; i < n; ++i) out[i] = from_f16(half[i * step]);
    else
        for (int64_t i = 0; i < n; ++i) out[i] = own[i * step];
}

/* Channels side by side into rows. A few voxels at a time, so that what is far is read once and in order. */
static void NAME(split_channels)(const VOLUME *v, const char *from, size_t item, const TILE *t) {
    const int64_t few = 32;
    for (int64_t i = 0; i < t->n; i += few) {
        const int64_t n = t->n - i < few ? t->n - i : few;
        const char *voxel = from + (size_t)(i * v->voxel_stride) * item;
        for (int64_t c = 0; c < v->classes; ++c)
            NAME(widen_row)(voxel + (size_t)c * item, n, v->type, v->voxel_stride, t->staged + c * v->size + i);
    }
}

/* Points the tile at its logits; those that do not lie as rows of REAL are copied. */
static void NAME(stage)(const VOLUME *v, TILE *t) {
    const size_t item = v->type == REAL_OWN ? sizeof(REAL) : sizeof(uint16_t);
    const char *from = (const char *)v->input + (size_t)(t->b * v->batch_stride + t->start * v->voxel_stride) * item;
    t->step = v->class_stride;
    t->z = (const REAL *)(const void *)from;
    if (!NAME(is_staged)(v)) return;
    t->step = v->size;
    t->z = t->staged;
    if (v->voxel_stride != 1) {
        NAME(split_channels)(v, from, item, t);
        return;
    }
    for (int64_t c = 0; c < v->classes; ++c)
        NAME(widen_row)(from + (size_t)(c * v->class_stride) * item, t->n, v->type, 1, t->staged + c * v->size);
}

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

/* One class's gradient in the input's type, `step` apart. */
static inline ALWAYS_INLINE void NAME(round_row)(const REAL *restrict g, int64_t n, int type, int64_t step,
                                                 void *restrict out) {
    uint16_t *restrict half = (uint16_t *)out;
    REAL *restrict own = (REAL *)out;
    if (type == REAL_BF16)
        for (int64_t i = 0; i < n; ++i) half[i * step] = to_bf16((float)g[i]);
    else if (type == REAL_F16)
        for (int64_t i = 0; i < n; ++i) half[i * step] = to_f16((float)g[i]);
    else
        for (int64_t i = 0; i < n; ++i) own[i * step] = g[i];
}

/* The tile's gradient into a dense result, whole rows of a class or channels side by side: laid out and rounded in
 * near memory first, then copied in long runs. */
static void NAME(unstage)(const VOLUME *v, const TILE *t, void *out) {
    if (!NAME(is_staged)(v)) return;
    const int64_t n = t->n;
    const size_t item = v->type == REAL_OWN ? sizeof(REAL) : sizeof(uint16_t);
    char *sample = (char *)out + (size_t)(t->b * v->classes * v->voxels) * item, *near = (char *)t->h;
    for (int64_t c = 0; c < v->classes; ++c) {
        const REAL *row = t->staged + c * v->size;
        if (v->voxel_stride == 1) {
            NAME(round_row)(row, n, v->type, 1, near);
            NAME(copy_out)(v, sample + (size_t)(c * v->voxels + t->start) * item, near, (size_t)n * item);
        } else
            NAME(round_row)(row, n, v->type, v->classes, near + (size_t)c * item);
    }
    if (v->voxel_stride != 1)
        NAME(copy_out)(v, sample + (size_t)(t->start * v->classes) * item, near, (size_t)(n * v->classes) * item);
}
