/* confusion on the CPU: the soft confusion matrix in one sweep, and its gradient in another.
 *
 * Within a tile the matrix is a product: rows of memberships (of the classes that the tile has) by rows of
 * probabilities. A tile of labels with many classes is added voxel by voxel (columns.hpp), so that the cost never
 * grows with the square of the classes.
 */
#include "../label_sweep.hpp"

#include "members.hpp"

namespace {

/* `cotangent` B true predicted, or null where the matrix is asked for. */
template <typename Real>
struct Confusion : Statistic<Real> {
    using Scratch = Members<Real>;
    using Statistic<Real>::volume;
    const Real *cotangent;

    Confusion(const Volume<Real> &v, const Real *cotangent) : Statistic<Real>{v}, cotangent(cotangent) {
        this->streams = cotangent && gradient_bytes(v) >= STREAMED;
    }

    int64_t width() const { return volume.classes * volume.classes; }

    /* Enough voxels for the matrix to be small beside their logits. */
    int64_t block_length() const {
        int64_t length = BLOCK;
        while (length < 128 * volume.classes) length *= 2;
        return length;
    }

    /* Slopes lie beside the probabilities where they are kept. */
    int64_t tile_length() const {
        return tile_size(cotangent && !in_registers(&volume) ? 2 * volume.classes : volume.classes, sizeof(Real));
    }

    /* The cotangent by predicted class; what is of no class has a slope of 0. */
    void begin(Tile<Real> *, Members<Real> *m, const Block &block) const {
        if (!cotangent || block.sample == m->held) return;
        const Real *from = cotangent + block.sample * width();
        for (int64_t k = 0; k < width(); ++k)
            m->table[k % volume.classes * m->width + k / volume.classes + 1] = from[k];
        m->held = block.sample;
    }

    void load(Tile<Real> *t, Members<Real> *) const { load_tile(&volume, t); }
    void add(Tile<Real> *t, Members<Real> *m, double *matrix) const { add_tile(&volume, t, m, matrix); }
    void write(Tile<Real> *t, Members<Real> *m, void *out) const { gradient_tile(*this, t, m, out); }
};

/* Slopes measured from that of the certain class: prices are often equal. Then the sum of p s. */
template <typename Real>
void from_certain(const Volume<Real> *v, Tile<Real> *t, Members<Real> *m) {
    const int64_t n = t->n;
    Real *__restrict total = t->top, *__restrict base = t->rest;
    for (int64_t i = 0; i < n; ++i) base[i] = t->certain[i] >= 0 ? m->slope[t->certain[i] * t->step + i] : 0;
    for (int64_t c = 0; c < v->classes; ++c) {
        Real *__restrict s = m->slope + c * t->step;
        const Real *__restrict p = t->p + c * t->step;
        for (int64_t i = 0; i < n; ++i) {
            s[i] -= base[i];
            total[i] += p[i] * s[i];
        }
    }
}

/* Where a class is certain: the gradient lies in the rows of p, and is stored after that class's entry is corrected.
 */
template <typename Real>
void correct_and_store_rows(const Confusion<Real> &s, Tile<Real> *t, void *out) {
    const Volume<Real> *v = &s.volume;
    if (!t->sure) return;
    settle(v, t, t->p, t->step);
    for (int64_t c = 0; c < v->classes; ++c) hand_row(s, t, c, t->p + c * t->step, out);
}

/* The softmax's gradient from columns in registers; the slopes are looked up twice rather than kept. */
template <typename Real>
void gradient_by_registers(const Confusion<Real> &s, Tile<Real> *t, Members<Real> *m, void *out) {
    const Volume<Real> *v = &s.volume;
    const int64_t n = (t->n + 15) / 16 * 16; /* a tile's room is a multiple of that */
    float *total = (float *)t->top, *scale = (float *)t->scale;
    for (int64_t i = 0; i < t->n; ++i) ++t->label[i];
    for (int64_t i = t->n; i < n; ++i) t->label[i] = 0;
    sum_looked_up((const float *)m->table, m->width, t->label, (const float *)t->p, t->step, v->classes, n, total);
    for (int64_t i = 0; i < t->n; ++i) {
        total[i] *= scale[i];
        scale[i] = t->weight[i] > 0 ? (float)t->weight[i] * scale[i] : 0;
    }
    for (int64_t c = 0; c < v->classes; ++c) {
        slope_looked_up((const float *)m->table + c * m->width, t->label, (const float *)t->p + c * t->step, scale,
                        total, n, (float *)m->spare);
        hand_row(s, t, c, m->spare, out);
    }
}

/* dL/dz of the tile. With s = dL/dp it is p (s - sum of p s) for the softmax. */
template <typename Real>
void gradient_tile(const Confusion<Real> &s, Tile<Real> *t, Members<Real> *m, void *out) {
    const Volume<Real> *v = &s.volume;
    const int64_t n = t->n;
    Real *__restrict total = t->top, *__restrict scale = t->scale;
    const Real *__restrict w = t->weight;
    seek_certain(v, t, 0);
    if (in_registers(v) && !t->sure) {
        gradient_by_registers(s, t, m, out);
        return;
    }
    find_present(v, t, m);
    if (is_product(v, m)) fill_rows(v, t, m);
    for (int64_t i = 0; i < n; ++i) total[i] = 0;
    for (int64_t c = 0; c < v->classes; ++c) {
        Real *__restrict u = m->slope + c * t->step;
        const Real *__restrict p = t->p + c * t->step;
        slope_row(v, t, m, c, u);
        if (v->activation == SOFTMAX && !t->sure)
            for (int64_t i = 0; i < n; ++i) total[i] += p[i] * u[i];
    }
    if (t->sure) from_certain(v, t, m);
    for (int64_t i = 0; i < n; ++i) {
        total[i] *= scale[i];
        scale[i] = w[i] > 0 ? w[i] * scale[i] : 0;
    }
    for (int64_t c = 0; c < v->classes; ++c) {
        const Real *__restrict u = m->slope + c * t->step, *__restrict q = t->q ? t->q + c * t->step : nullptr;
        Real *p = t->p + c * t->step;
        Real *own = own_row(v, t, c, out), *g = t->sure ? p : own && !s.streams ? own : m->spare;
        if (v->activation == SOFTMAX)
#pragma omp simd
            for (int64_t i = 0; i < n; ++i) g[i] = scale[i] * p[i] * (u[i] - total[i]);
        else if (v->activation == SIGMOID)
#pragma omp simd
            for (int64_t i = 0; i < n; ++i) g[i] = scale[i] * p[i] * q[i] * u[i];
        else
            for (int64_t i = 0; i < n; ++i) g[i] = scale[i] * u[i];
        if (!t->sure) hand_row(s, t, c, g, out);
    }
    correct_and_store_rows(s, t, out);
}

} // namespace

MEDLOSS_ENTRY(confusion_forward, (MEDLOSS_LABEL_OPERANDS, double *matrices, int threads),
              return add_up(Confusion<Real>(MEDLOSS_LABEL_VOLUME, nullptr), matrices, threads);)

MEDLOSS_ENTRY(confusion_backward, (MEDLOSS_LABEL_OPERANDS, const Real *cotangent, void *out, int threads),
              return write_all(Confusion<Real>(MEDLOSS_LABEL_VOLUME, cotangent), out, threads);)
