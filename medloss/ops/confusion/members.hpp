/* The classes that a tile has: its part of the confusion matrix, and the gradient of a class's probabilities. */
#include "columns.hpp"
#include "registers.hpp"

namespace {

constexpr int64_t FEW = 24, REGISTERS = 16;

/* The classes that a tile has, and the memberships of its voxels in each of them as rows. */
template <typename Real>
struct Members {
    Real *rows, *slope, *spare; /* classes (even) x step; classes x step; a row */
    Real *turned;               /* two tables by true class, the first row for voxels of none; a row of zeros */
    Real *table;                /* the matrix of one tile, or the cotangent by predicted class */
    int32_t *present;
    uint8_t *seen;
    int64_t count, width; /* classes present; columns of the table */
    int64_t held;         /* the sample whose cotangent is in the table */

    template <typename Statistic>
    int take(const Statistic &s, const Tile<Real> *t) {
        return members_alloc(this, &s.volume, t, s.cotangent != nullptr);
    }
    void give() { members_free(this); }
};

/* Whether the voxels of a tile of many labels are added as columns; see columns.hpp. */
template <typename Real>
inline int turns(const Volume<Real> *v) {
#ifdef __AVX__
    return v->kind >= 0 && v->classes <= TURNED_CLASSES && sizeof(Real) == sizeof(float);
#else
    (void)v;
    return 0;
#endif
}

template <typename Real>
inline int64_t turned_width(const Volume<Real> *v) {
    return (v->classes + 7) / 8 * 8;
}

template <typename Real>
inline int64_t turned_size(const Volume<Real> *v, const Tile<Real> *t) {
    return 2 * (v->classes + 1) * turned_width(v) + t->step;
}

template <typename Real>
int members_alloc(Members<Real> *m, const Volume<Real> *v, const Tile<Real> *t, int backward) {
    const int64_t few = v->kind >= 0 && v->classes > FEW ? FEW : v->classes;
    memset(m, 0, sizeof *m);
    m->held = -1;
    m->rows = room<Real>((few + 4) * t->step);
    m->slope = room<Real>((backward ? v->classes + 1 : 1) * t->step);
    m->width = v->classes < REGISTERS ? REGISTERS : v->classes + 1;
    m->table = cleared<Real>(v->classes * m->width);
    m->present = room<int32_t>(v->classes);
    m->seen = cleared<uint8_t>(v->classes + 1);
    if (!backward && turns(v)) m->turned = cleared<Real>(turned_size(v, t));
    m->spare = m->slope ? m->slope + (backward ? v->classes : 0) * t->step : nullptr;
    if (!backward && turns(v) && !m->turned) return 1;
    return !m->rows || !m->slope || !m->table || !m->present || !m->seen;
}

template <typename Real>
void members_free(Members<Real> *m) {
    free(m->rows);
    free(m->turned);
    free(m->slope);
    free(m->table);
    free(m->present);
    free(m->seen);
}

/* Which classes the tile has; all of them where the target holds memberships. */
template <typename Real>
void find_present(const Volume<Real> *v, const Tile<Real> *t, Members<Real> *m) {
    m->count = 0;
    if (v->kind < 0) {
        for (int64_t c = 0; c < v->classes; ++c) m->present[m->count++] = (int32_t)c;
        return;
    }
    if (v->classes < 32) {
        uint32_t bits = 0;
        for (int64_t i = 0; i < t->n; ++i) bits |= (uint32_t)1 << (t->label[i] + 1);
        for (int64_t c = 0; c < v->classes; ++c)
            if (bits >> (c + 1) & 1) m->present[m->count++] = (int32_t)c;
        return;
    }
    for (int64_t i = 0; i < t->n; ++i) m->seen[t->label[i] + 1] = 1;
    for (int64_t c = 0; c < v->classes; ++c)
        if (m->seen[c + 1]) m->present[m->count++] = (int32_t)c;
    memset(m->seen, 0, (size_t)v->classes + 1);
}

/* Whether a column of the cotangent, with a 0 in front for what is of no class, fits two registers. */
template <typename Real>
inline int in_registers(const Volume<Real> *v) {
    return BY_REGISTERS && v->activation == SOFTMAX && v->kind >= 0 && v->classes < REGISTERS &&
           sizeof(Real) == sizeof(float);
}

template <typename Real>
inline int is_product(const Volume<Real> *v, const Members<Real> *m) {
    return v->kind < 0 || m->count <= FEW;
}

/* The rows of the classes present, then rows of zero beyond a multiple of four. */
template <typename Real>
void fill_rows(const Volume<Real> *v, const Tile<Real> *t, Members<Real> *m) {
    for (int64_t k = 0; k < m->count; ++k) members(v, t, m->present[k], m->rows + k * t->step);
    for (int64_t k = m->count; k < m->count + 4; ++k) memset(m->rows + k * t->step, 0, sizeof(Real) * (size_t)t->n);
}

/* Eight sums at once, of two rows of memberships by four of probabilities: one sum alone would wait for
 * itself. */
template <typename Real>
inline void eight_sums(const Real *__restrict a, const Real *__restrict b, const Real *__restrict p0,
                       const Real *__restrict p1, const Real *__restrict p2, const Real *__restrict p3, int64_t n,
                       Real *__restrict out) {
    Real a0 = 0, a1 = 0, a2 = 0, a3 = 0, b0 = 0, b1 = 0, b2 = 0, b3 = 0;
#pragma omp simd reduction(+ : a0, a1, a2, a3, b0, b1, b2, b3)
    for (int64_t i = 0; i < n; ++i) {
        a0 += a[i] * p0[i];
        a1 += a[i] * p1[i];
        a2 += a[i] * p2[i];
        a3 += a[i] * p3[i];
        b0 += b[i] * p0[i];
        b1 += b[i] * p1[i];
        b2 += b[i] * p2[i];
        b3 += b[i] * p3[i];
    }
    const Real sums[8] = {a0, a1, a2, a3, b0, b1, b2, b3};
    memcpy(out, sums, sizeof sums);
}

template <typename Real>
void add_product(const Volume<Real> *v, const Tile<Real> *t, Members<Real> *m, double *matrix) {
    const int64_t n = t->n, classes = v->classes;
    const Real *__restrict r = m->spare;
    fill_rows(v, t, m);
    for (int64_t k = 0; k < m->count; ++k) {
        Real *__restrict row = m->rows + k * t->step;
        for (int64_t i = 0; i < n; ++i) row[i] *= r[i];
    }
    for (int64_t k = 0; k < m->count; k += 2)
        for (int64_t c = 0; c < classes; c += 4) {
            const Real *p[4];
            Real sums[8];
            for (int64_t j = 0; j < 4; ++j) p[j] = t->p + (c + j < classes ? c + j : c) * t->step;
            const Real *rows = m->rows + k * t->step;
            eight_sums(rows, rows + t->step, p[0], p[1], p[2], p[3], n, sums);
            for (int64_t h = 0; h < 2 && k + h < m->count; ++h)
                for (int64_t j = 0; j < 4 && c + j < classes; ++j)
                    matrix[m->present[k + h] * classes + c + j] += (double)sums[4 * h + j];
        }
}

/* Voxel by voxel into the tile's own matrix, of which the rows in use are then added and cleared. */
template <typename Real>
void add_voxels(const Volume<Real> *v, const Tile<Real> *t, Members<Real> *m, double *matrix) {
    const int64_t classes = v->classes;
    const Real *r = m->spare;
    for (int64_t i = 0; i < t->n; ++i) {
        if (t->label[i] < 0) continue;
        Real *row = m->table + t->label[i] * classes;
        for (int64_t c = 0; c < classes; ++c) row[c] += r[i] * t->p[c * t->step + i];
    }
    for (int64_t k = 0; k < m->count; ++k) {
        Real *__restrict row = m->table + m->present[k] * classes;
        double *__restrict to = matrix + m->present[k] * classes;
        for (int64_t c = 0; c < classes; ++c) to[c] += (double)row[c];
        memset(row, 0, sizeof(Real) * (size_t)classes);
    }
}

#ifdef __AVX__
/* Column by column; the tables are added and cleared. */
template <typename Real>
void add_turned(const Volume<Real> *v, Tile<Real> *t, Members<Real> *m, double *matrix) {
    const int64_t classes = v->classes, width = turned_width(v), second = (classes + 1) * width;
    const int64_t n = (t->n + 7) / 8 * 8; /* what is beyond the end goes to the row of no class */
    for (int64_t i = t->n; i < n; ++i) t->label[i] = -1;
    add_columns((const float *)t->p, t->step, classes, (const float *)m->turned + 2 * second, (const float *)m->spare,
                t->label, n, (float *)m->turned, width, second);
    for (int64_t k = 0; k < m->count; ++k) {
        Real *__restrict one = m->turned + (m->present[k] + 1) * width, *__restrict two = one + second;
        double *__restrict to = matrix + m->present[k] * classes;
        for (int64_t c = 0; c < classes; ++c) to[c] += (double)one[c] + (double)two[c];
        memset(one, 0, sizeof(Real) * (size_t)width);
        memset(two, 0, sizeof(Real) * (size_t)width);
    }
}
#endif

template <typename Real>
void add_tile(const Volume<Real> *v, Tile<Real> *t, Members<Real> *m, double *matrix) {
    for (int64_t i = 0; i < t->n; ++i) m->spare[i] = t->weight[i] > 0 ? t->weight[i] * t->scale[i] : 0;
    find_present(v, t, m);
#ifdef __AVX__
    if (m->turned && m->count >= TURNED_LABELS) {
        add_turned(v, t, m, matrix);
        return;
    }
#endif
    if (is_product(v, m))
        add_product(v, t, m, matrix);
    else
        add_voxels(v, t, m, matrix);
}

/* dL/dp of class c, before the voxel's weight: the cotangent's column by the memberships, four at a time. */
template <typename Real>
void slope_row(const Volume<Real> *v, const Tile<Real> *t, const Members<Real> *m, int64_t c, Real *__restrict out) {
    const int64_t n = t->n;
    const Real *__restrict column = m->table + c * m->width;
    if (!is_product(v, m)) {
        const int32_t *__restrict label = t->label;
        for (int64_t i = 0; i < n; ++i) out[i] = column[label[i] + 1];
        return;
    }
    for (int64_t k = 0; k < m->count || !k; k += 4) {
        Real f[4];
        for (int64_t j = 0; j < 4; ++j) f[j] = k + j < m->count ? column[m->present[k + j] + 1] : 0;
        const Real f0 = f[0], f1 = f[1], f2 = f[2], f3 = f[3], *__restrict a = m->rows + k * t->step;
        const Real *__restrict b = a + t->step, *__restrict d = b + t->step, *__restrict e = d + t->step;
        if (!k)
            for (int64_t i = 0; i < n; ++i) out[i] = f0 * a[i] + f1 * b[i] + f2 * d[i] + f3 * e[i];
        else
            for (int64_t i = 0; i < n; ++i) out[i] += f0 * a[i] + f1 * b[i] + f2 * d[i] + f3 * e[i];
    }
}

} // namespace
