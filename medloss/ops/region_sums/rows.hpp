/* Where a tile's logits are, and its gradient goes: both in scratch where the input does not lie as rows of Real. */
namespace {

template <typename Real>
inline int is_staged(const Regions<Real> *s) {
    return !lies_in_rows(&s->volume);
}

/* Asks for the row that comes four rows after that of class c, of this tile or of a later one: rows of different
 * classes lie too far apart for the processor to foresee. Beyond the tensor's end nothing happens. */
template <typename Real>
inline void fetch_ahead(const Regions<Real> *s, const Tile<Real> *t, const Real *rows, int64_t step, int64_t c) {
    const int64_t next = c + 4, later = next / s->volume.classes;
    const char *row = (const char *)(rows + (next - later * s->volume.classes) * step + later * t->size);
    for (int64_t at = 0; at < t->n * (int64_t)sizeof(Real); at += 64) __builtin_prefetch(row + at);
}

/* Points the tile at its logits; those that do not lie as rows of Real are copied. */
template <typename Real>
void stage(const Regions<Real> *s, Tile<Real> *t, RegionRows<Real> *r) {
    const Volume<Real> *v = &s->volume;
    r->z_step = is_staged(s) ? t->step : v->class_stride;
    r->z = is_staged(s) ? r->staged : (const Real *)v->input + t->b * v->batch_stride + t->start;
    if (is_staged(s)) load_rows(v, t, r->staged, t->step);
}

template <typename Real>
inline void copy_out(const Regions<Real> *s, void *to, const void *from, size_t bytes) {
    s->streams ? stream_copy(to, from, bytes) : (void)memcpy(to, from, bytes);
}

/* Where the gradient of class c is computed: in the result, or in scratch that `stream_row` or `unstage` copies. It
 * may be the row of p. */
template <typename Real>
inline Real *gradient_row(const Regions<Real> *s, const Tile<Real> *t, RegionRows<Real> *r, int64_t c, void *out) {
    if (is_staged(s)) return r->staged + c * t->step;
    if (s->streams) return t->p + c * t->step;
    return (Real *)out + (t->b * s->volume.classes + c) * s->volume.voxels + t->start;
}

template <typename Real>
inline void stream_row(const Regions<Real> *s, const Tile<Real> *t, int64_t c, const Real *row, void *out) {
    if (is_staged(s) || !s->streams) return;
    stream_copy((Real *)out + (t->b * s->volume.classes + c) * s->volume.voxels + t->start, row,
                sizeof(Real) * (size_t)t->n);
}

/* The tile's gradient into a dense result, whole rows of a class or channels side by side: laid out and rounded in
 * near memory first, then copied in long runs. */
template <typename Real>
void unstage(const Regions<Real> *s, const Tile<Real> *t, RegionRows<Real> *r, void *out) {
    if (!is_staged(s)) return;
    const int64_t n = t->n, classes = s->volume.classes;
    const size_t item = s->volume.type == REAL_OWN ? sizeof(Real) : sizeof(uint16_t);
    char *sample = (char *)out + (size_t)(t->b * s->volume.classes * s->volume.voxels) * item, *near = (char *)r->h;
    if (s->volume.voxel_stride == 1) {
        for (int64_t c = 0; c < classes; ++c) {
            round_row(r->staged + c * t->step, n, s->volume.type, 0, 1, near);
            copy_out(s, sample + (size_t)(c * s->volume.voxels + t->start) * item, near, (size_t)n * item);
        }
        return;
    }
    if (s->volume.type == REAL_OWN)
        transpose((const Real *)r->staged, t->step, classes, n, (Real *)near, classes);
    else
        for (int64_t c = 0; c < classes; ++c)
            round_row(r->staged + c * t->step, n, s->volume.type, c, classes, near);
    copy_out(s, sample + (size_t)(t->start * classes) * item, near, (size_t)(n * classes) * item);
}

/* Fills p with exponentials, norm, unit and inverse; with `pulls`, pull too: the sum of each times its class's base
 * coefficient. */
template <typename Real>
void take_softmax(const Regions<Real> *s, Tile<Real> *t, RegionRows<Real> *r, int pulls) {
    SoftmaxRows<Real> rows = {
        .z = r->z,
        .p = t->p,
        .norm = r->norm,
        .z_step = r->z_step,
        .p_step = t->step,
        .classes = s->volume.classes,
        .n = t->n,
        .ahead = is_staged(s) ? 0 : t->size,
        .weight = t->weighted ? t->weight : nullptr,
        .base = r->coefficients + BASE,
        .pull = r->pull,
        .base_step = PER_CLASS,
    };
    const auto again = [] {}; /* the logits stay */
    pulls ? exponentiate<true>(t, &rows, again) : exponentiate<false>(t, &rows, again);
    const Real *__restrict w = t->weight, *__restrict norm = r->norm;
    Real *__restrict unit = t->scale, *__restrict inverse = r->inverse;
#pragma omp simd
    for (int64_t i = 0; i < t->n; ++i) {
        unit[i] = 1 / norm[i];
        inverse[i] = w[i] * unit[i];
    }
}

/* The log of the sum of exponentials. */
template <typename Real>
void log_norm(const Tile<Real> *t, RegionRows<Real> *r, Real *__restrict out) {
    for (int64_t i = 0; i < t->n; ++i) out[i] = t->top[i] + log_from_one(r->norm[i]);
}

/* Sum over the voxels of w (-log p) for one class's logits. What weighs nothing is nothing. */
template <typename Real>
Real sum_nll(const Tile<Real> *t, const Real *__restrict z, const Real *__restrict log_norm) {
    const Real *__restrict w = t->weight;
    Real sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < t->n; ++i) sum += w[i] > 0 ? w[i] * (log_norm[i] - made_finite(z[i])) : 0;
    return sum;
}

} // namespace
