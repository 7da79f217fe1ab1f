/* The classes that a tile has: its part of the confusion matrix, and the gradient of a class's probabilities.
 * Included once for each REAL.
 */

#define MEMBERS NAME(Members)

/* The classes that a tile has, and the memberships of its voxels in each of them as rows. */
typedef struct {
    REAL *rows, *slope, *spare; /* classes (even) x step; classes x step; a row */
    REAL *turned;               /* two tables by true class, the first row for voxels of none; a row of zeros */
    REAL *table;                /* the matrix of one tile, or the cotangent by predicted class */
    int32_t *present;
    uint8_t *seen;
    int64_t count, width; /* classes present; columns of the table */
    int streams;          /* whether the gradient is so large that it goes past the caches */
} MEMBERS;

/* Whether the voxels of a tile of many labels are added as columns; see columns.h. */
static inline int NAME(turns)(const VOLUME *v) {
#ifdef __AVX__
    return v->kind >= 0 && v->classes <= TURNED_CLASSES && sizeof(REAL) == sizeof(float);
#else
    (void)v;
    return 0;
#endif
}

static inline int64_t NAME(turned_width)(const VOLUME *v) { return (v->classes + 7) / 8 * 8; }

static inline int64_t NAME(turned_size)(const VOLUME *v, const TILE *t) {
    return 2 * (v->classes + 1) * NAME(turned_width)(v) + t->step;
}

static int NAME(members_alloc)(MEMBERS *m, const VOLUME *v, const TILE *t, int backward) {
    const int64_t few = v->kind >= 0 && v->classes > FEW ? FEW : v->classes;
    memset(m, 0, sizeof *m);
    m->rows = malloc(sizeof(REAL) * (size_t)((few + 4) * t->step));
    m->slope = malloc(sizeof(REAL) * (size_t)((backward ? v->classes + 1 : 1) * t->step));
    m->width = v->classes < REGISTERS ? REGISTERS : v->classes + 1;
    m->table = calloc((size_t)(v->classes * m->width), sizeof(REAL));
    m->present = malloc(sizeof(int32_t) * (size_t)v->classes);
    m->seen = calloc((size_t)v->classes + 1, 1);
    if (!backward && NAME(turns)(v)) m->turned = calloc((size_t)NAME(turned_size)(v, t), sizeof(REAL));
    m->spare = m->slope ? m->slope + (backward ? v->classes : 0) * t->step : NULL;
    if (!backward && NAME(turns)(v) && !m->turned) return 1;
    return !m->rows || !m->slope || !m->table || !m->present || !m->seen;
}

static void NAME(members_free)(MEMBERS *m) {
    free(m->rows);
    free(m->turned);
    free(m->slope);
    free(m->table);
    free(m->present);
    free(m->seen);
}

/* Which classes the tile has; all of them where the target holds memberships. */
static void NAME(find_present)(const VOLUME *v, const TILE *t, MEMBERS *m) {
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
static inline int NAME(in_registers)(const VOLUME *v) {
    return BY_REGISTERS && v->activation == SOFTMAX && v->kind >= 0 && v->classes < REGISTERS &&
           sizeof(REAL) == sizeof(float);
}

static inline int NAME(is_product)(const VOLUME *v, const MEMBERS *m) {
    return v->kind < 0 || m->count <= FEW;
}

/* The rows of the classes present, then rows of zero beyond a multiple of four. */
static void NAME(fill_rows)(const VOLUME *v, const TILE *t, MEMBERS *m) {
    for (int64_t k = 0; k < m->count; ++k) NAME(members)(v, t, m->present[k], m->rows + k * t->step);
    for (int64_t k = m->count; k < m->count + 4; ++k)
        memset(m->rows + k * t->step, 0, sizeof(REAL) * (size_t)t->n);
}

/* Eight sums at once, of two rows of memberships by four of probabilities: one sum alone would wait for
 * itself. */
static inline void NAME(eight_sums)(const REAL *restrict a, const REAL *restrict b, const REAL *restrict p0,
                                    const REAL *restrict p1, const REAL *restrict p2, const REAL *restrict p3,
                                    int64_t n, REAL *restrict out) {
    REAL a0 = 0, a1 = 0, a2 = 0, a3 = 0, b0 = 0, b1 = 0, b2 = 0, b3 = 0;
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
    const REAL sums[8] = {a0, a1, a2, a3, b0, b1, b2, b3};
    memcpy(out, sums, sizeof sums);
}

static void NAME(add_product)(const VOLUME *v, const TILE *t, MEMBERS *m, double *matrix) {
    const int64_t n = t->n, classes = v->classes;
    const REAL *restrict r = m->spare;
    NAME(fill_rows)(v, t, m);
    for (int64_t k = 0; k < m->count; ++k) {
        REAL *restrict row = m->rows + k * t->step;
        for (int64_t i = 0; i < n; ++i) row[i] *= r[i];
    }
    for (int64_t k = 0; k < m->count; k += 2)
        for (int64_t c = 0; c < classes; c += 4) {
            const REAL *p[4];
            REAL sums[8];
            for (int64_t j = 0; j < 4; ++j) p[j] = t->p + (c + j < classes ? c + j : c) * t->step;
            const REAL *rows = m->rows + k * t->step;
            NAME(eight_sums)(rows, rows + t->step, p[0], p[1], p[2], p[3], n, sums);
            for (int64_t h = 0; h < 2 && k + h < m->count; ++h)
                for (int64_t j = 0; j < 4 && c + j < classes; ++j)
                    matrix[m->present[k + h] * classes + c + j] += (double)sums[4 * h + j];
        }
}

/* Voxel by voxel into the tile's own matrix, of which the rows in use are then added and cleared. */
static void NAME(add_voxels)(const VOLUME *v, const TILE *t, MEMBERS *m, double *matrix) {
    const int64_t classes = v->classes;
    const REAL *r = m->spare;
    for (int64_t i = 0; i < t->n; ++i) {
        if (t->label[i] < 0) continue;
        REAL *row = m->table + t->label[i] * classes;
        for (int64_t c = 0; c < classes; ++c) row[c] += r[i] * t->p[c * t->step + i];
    }
    for (int64_t k = 0; k < m->count; ++k) {
        REAL *restrict row = m->table + m->present[k] * classes;
        double *restrict to = matrix + m->present[k] * classes;
        for (int64_t c = 0; c < classes; ++c) to[c] += (double)row[c];
        memset(row, 0, sizeof(REAL) * (size_t)classes);
    }
}

#ifdef __AVX__
/* Column by column; the tables are added and cleared. */
static void NAME(add_turned)(const VOLUME *v, TILE *t, MEMBERS *m, double *matrix) {
    const int64_t classes = v->classes, width = NAME(turned_width)(v), second = (classes + 1) * width;
    const int64_t n = (t->n + 7) / 8 * 8; /* what is beyond the end goes to the row of no class */
    for (int64_t i = t->n; i < n; ++i) t->label[i] = -1;
    add_columns((const float *)t->p, t->step, classes, (const float *)m->turned + 2 * second, (const float *)m->spare,
                t->label, n, (float *)m->turned, width, second);
    for (int64_t k = 0; k < m->count; ++k) {
        REAL *restrict one = m->turned + (m->present[k] + 1) * width, *restrict two = one + second;
        double *restrict to = matrix + m->present[k] * classes;
        for (int64_t c = 0; c < classes; ++c) to[c] += (double)one[c] + (double)two[c];
        memset(one, 0, sizeof(REAL) * (size_t)width);
        memset(two, 0, sizeof(REAL) * (size_t)width);
    }
}
#endif

static void NAME(add_tile)(const VOLUME *v, TILE *t, MEMBERS *m, double *matrix) {
    for (int64_t i = 0; i < t->n; ++i) m->spare[i] = t->weight[i] > 0 ? t->weight[i] * t->scale[i] : 0;
    NAME(find_present)(v, t, m);
#ifdef __AVX__
    if (m->turned && m->count >= TURNED_LABELS) {
        NAME(add_turned)(v, t, m, matrix);
        return;
    }
#endif
    if (NAME(is_product)(v, m))
        NAME(add_product)(v, t, m, matrix);
    else
        NAME(add_voxels)(v, t, m, matrix);
}

/* dL/dp of class c, before the voxel's weight: the cotangent's column by the memberships, four at a time. */
static void NAME(slope_row)(const VOLUME *v, const TILE *t, const MEMBERS *m, int64_t c, REAL *restrict out) {
    const int64_t n = t->n;
    const REAL *restrict column = m->table + c * m->width;
    if (!NAME(is_product)(v, m)) {
        const int32_t *restrict label = t->label;
        for (int64_t i = 0; i < n; ++i) out[i] = column[label[i] + 1];
        return;
    }
    for (int64_t k = 0; k < m->count || !k; k += 4) {
        REAL f[4];
        for (int64_t j = 0; j < 4; ++j) f[j] = k + j < m->count ? column[m->present[k + j] + 1] : 0;
        const REAL f0 = f[0], f1 = f[1], f2 = f[2], f3 = f[3], *restrict a = m->rows + k * t->step;
        const REAL *restrict b = a + t->step, *restrict d = b + t->step, *restrict e = d + t->step;
        if (!k)
            for (int64_t i = 0; i < n; ++i) out[i] = f0 * a[i] + f1 * b[i] + f2 * d[i] + f3 * e[i];
        else
            for (int64_t i = 0; i < n; ++i) out[i] += f0 * a[i] + f1 * b[i] + f2 * d[i] + f3 * e[i];
    }
}
