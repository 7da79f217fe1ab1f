/* Iterates over the planes of a tile of rows: what the stencils read, their weights, and the rings of
 * what they pass back. Included by cpu_kernel.c once per precision.
 *
 * Without a mask and a replicated border the stencils read the field itself. Otherwise a ring of planes
 * holds it prepared: continued beyond the border, and zero where the mask is.
 */
typedef struct {
    const FIELD *f;
    int64_t first, rows;  /* stencils' rows of the rings, of which those outside the volume stay zero */
    int64_t pitch, plane; /* entries of a row and of a plane of one component or term */
    int64_t ready;        /* the next plane of the frame to prepare */
    REAL *source, *seen;  /* rings of prepared planes: the components, and the mask */
    REAL *slopes;         /* ring of what is passed back: terms, rows from `first`, margins of zeros */
    REAL *row, *kept;     /* one row of the frame; the weights of one row of stencils */
    const REAL **base, **from; /* where each tap reads in the first row of a plane, and in a row */
    const REAL **ring_base, **ring_from;
    REAL *ring_weight; /* of the taps of the adjoint, of which some planes have fewer */
    int64_t ring_taps;
} PLANE_ITERATOR;

static FIELD NAME(field)(const REAL *u, const REAL *mask, int64_t shared, int64_t volume, const int64_t *size,
                         const Stencils *s, const REAL *reals, const double *scale) {
    const int64_t voxels = size[0] * size[1] * size[2];
    FIELD f = {.u = u + volume * s->components * voxels, .s = s, .weight = reals};
    f.factor = reals + s->start[s->terms];
    f.mask = mask ? mask + volume / shared * voxels : NULL;
    f.scale = (REAL)scale[volume];
    for (int axis = 0; axis < 3; ++axis) {
        f.size[axis] = size[axis];
        f.pad[axis] = s->replicate ? s->before[axis] : 0;
        f.frame[axis] = size[axis] + (s->replicate ? s->span[axis] - 1 : 0);
        f.inner[axis] = f.frame[axis] - s->span[axis] + 1;
    }
    return f;
}

/* Scratch for the stencils of rows first to end, some of which may lie outside. */
static int NAME(plane_iterator_alloc)(PLANE_ITERATOR *w, const FIELD *f, int64_t first, int64_t end, int backward) {
    const Stencils *s = f->s;
    const int64_t taps = s->start[s->terms];
    *w = (PLANE_ITERATOR){.f = f, .first = first, .rows = end - first};
    w->pitch = f->frame[2] + s->span[2] - 1;
    w->plane = w->pitch * (w->rows + s->span[1] - 1);
    const size_t ring = (size_t)(s->span[0] * w->plane);
    int failed = 0;
    if (f->mask || s->replicate) failed |= !(w->source = malloc(ring * (size_t)s->components * sizeof(REAL)));
    if (f->mask) failed |= !(w->seen = malloc(ring * sizeof(REAL)));
    if (backward) failed |= !(w->slopes = calloc(ring * (size_t)s->terms, sizeof(REAL)));
    w->row = malloc((size_t)(2 * w->pitch) * sizeof(REAL));
    w->kept = malloc((size_t)(2 * w->pitch) * sizeof(REAL));
    w->ring_weight = malloc((size_t)taps * sizeof(REAL));
    w->base = malloc((size_t)(4 * taps) * sizeof(REAL *));
    w->from = w->base + taps;
    w->ring_base = w->base + 2 * taps;
    w->ring_from = w->base + 3 * taps;
    return failed || !w->row || !w->kept || !w->ring_weight || !w->base;
}

static void NAME(plane_iterator_free)(PLANE_ITERATOR *w) {
    free(w->source);
    free(w->seen);
    free(w->slopes);
    free(w->row);
    free(w->kept);
    free(w->ring_weight);
    free(w->base);
}

/* A row of a volume (zero where the mask is), continued by its ends. */
static void NAME(prepare_row)(const FIELD *f, const REAL *from, const REAL *mask, REAL *to) {
    const int64_t width = f->size[2], before = f->pad[2];
    for (int64_t x = 0; x < width; ++x) to[before + x] = !mask || mask[x] > 0 ? from[x] : 0;
    for (int64_t x = 0; x < before; ++x) to[x] = to[before];
    for (int64_t x = before + width; x < f->frame[2]; ++x) to[x] = to[before + width - 1];
}

/* The planes of the frame up to `end`, prepared where they must be. */
static void NAME(prepare_until)(PLANE_ITERATOR *w, int64_t end) {
    const FIELD *f = w->f;
    const Stencils *s = f->s;
    for (; w->source && w->ready < end; ++w->ready) {
        const int64_t slot = w->ready % s->span[0], z = most(0, least(w->ready - f->pad[0], f->size[0] - 1));
        const int64_t last = least(w->first + w->rows + s->span[1] - 1, f->frame[1]);
        for (int64_t row = most(w->first, 0); row < last; ++row) {
            const int64_t y = most(0, least(row - f->pad[1], f->size[1] - 1)), to = (row - w->first) * w->pitch;
            const int64_t at = (z * f->size[1] + y) * f->size[2], voxels = f->size[0] * f->size[1] * f->size[2];
            const REAL *mask = f->mask ? f->mask + at : NULL;
            for (int64_t c = 0; c < s->components; ++c) {
                REAL *source = w->source + (slot * s->components + c) * w->plane;
                NAME(prepare_row)(f, f->u + c * voxels + at, mask, source + to);
            }
            if (mask) NAME(prepare_row)(f, mask, NULL, w->seen + slot * w->plane + to);
        }
    }
}

/* Where each tap reads for the first stencil of the first row of plane z. */
static void NAME(plane_pointers)(PLANE_ITERATOR *w, int64_t z) {
    const FIELD *f = w->f;
    const Stencils *s = f->s;
    for (int64_t t = 0; t < s->start[s->terms]; ++t) {
        const int64_t *o = s->offset + 4 * t, plane = z + s->before[0] + o[1], row = s->before[1] + o[2];
        const int64_t slot = plane % s->span[0] * s->components + o[0];
        const REAL *to = w->source ? w->source + slot * w->plane + (row - w->first) * w->pitch
                                   : f->u + ((o[0] * f->size[0] + plane) * f->size[1] + row) * f->size[2];
        w->base[t] = to + s->before[2] + o[3];
    }
}

/* Where each tap reads for the first stencil of a row. */
static inline void NAME(row_pointers)(PLANE_ITERATOR *w, int64_t y) {
    const int64_t shift = y * (w->source ? w->pitch : w->f->size[2]), taps = w->f->s->start[w->f->s->terms];
    for (int64_t t = 0; t < taps; ++t) w->from[t] = w->base[t] + shift;
}

/* The weights of a row of stencils: each one's centre's, and zero where the mask is zero in its box. */
static const REAL *NAME(row_weight)(PLANE_ITERATOR *w, int64_t z, int64_t y) {
    const Stencils *s = w->f->s;
    if (!w->seen) return NULL;
    const int64_t width = w->f->frame[2];
    REAL *least_of = w->kept + w->pitch, *kept = w->kept;
    for (int64_t plane = z; plane < z + s->span[0]; ++plane)
        for (int64_t row = y; row < y + s->span[1]; ++row) {
            const REAL *seen = w->seen + plane % s->span[0] * w->plane + (row - w->first) * w->pitch;
            const int fresh = plane == z && row == y;
            for (int64_t x = 0; x < width; ++x) least_of[x] = fresh || seen[x] < least_of[x] ? seen[x] : least_of[x];
        }
    const REAL *centre = w->seen + (z + s->before[0]) % s->span[0] * w->plane;
    centre += (y + s->before[1] - w->first) * w->pitch + s->before[2];
    for (int64_t x = 0; x < w->f->inner[2]; ++x) kept[x] = least_of[x];
    for (int64_t step = 1; step < s->span[2]; ++step)
        for (int64_t x = 0; x < w->f->inner[2]; ++x)
            kept[x] = least_of[x + step] < kept[x] ? least_of[x + step] : kept[x];
    for (int64_t x = 0; x < w->f->inner[2]; ++x) kept[x] = kept[x] > 0 ? centre[x] : 0;
    return kept;
}

/* What the stencils of plane z pass back, into its place in the ring. */
static void NAME(slopes_of_plane)(PLANE_ITERATOR *w, int64_t z, const REAL *grad, REAL all) {
    const FIELD *f = w->f;
    const Stencils *s = f->s;
    const int64_t height = f->inner[1], width = f->inner[2], last = least(w->first + w->rows, height);
    REAL *slot = w->slopes + z % s->span[0] * s->terms * w->plane;
    NAME(plane_pointers)(w, z);
    for (int64_t y = most(w->first, 0); y < last; ++y) {
        NAME(row_pointers)(w, y);
        const REAL *weight = NAME(row_weight)(w, z, y), *g = grad ? grad + (z * height + y) * width : NULL;
        REAL *row = slot + (y - w->first) * w->pitch + s->span[2] - 1;
        for (int64_t k = 0; k < s->terms; ++k, row += w->plane) {
            const int64_t taps = s->start[k + 1] - s->start[k];
            const REAL factor = (s->absolute ? 1 : 2) * f->factor[k] * f->scale * (grad ? 1 : all);
            const NAME(Back) back = {.start = s->start[k], .factor = factor, .weight = weight, .grad = g};
            if (s->absolute) MEDLOSS_BY_TAPS(taps, slope_row, f, &back, 1, w->from, width, row)
            else MEDLOSS_BY_TAPS(taps, slope_row, f, &back, 0, w->from, width, row)
        }
    }
}

/* Where the adjoint reads for the first row of a plane: tap o of a slope counts at the voxel o away, so
 * that the voxel gathers from the slopes -o away. */
static void NAME(adjoint_pointers)(PLANE_ITERATOR *w, int64_t component, int64_t plane) {
    const FIELD *f = w->f;
    const Stencils *s = f->s;
    w->ring_taps = 0;
    for (int64_t k = 0; k < s->terms; ++k)
        for (int64_t t = s->start[k]; t < s->start[k + 1]; ++t) {
            const int64_t *o = s->offset + 4 * t, at = plane - o[1] - s->before[0];
            if (o[0] != component || at < 0 || at >= f->inner[0]) continue;
            const REAL *ring = w->slopes + (at % s->span[0] * s->terms + k) * w->plane;
            ring -= (o[2] + s->before[1] + w->first) * w->pitch;
            w->ring_weight[w->ring_taps] = f->weight[t];
            w->ring_base[w->ring_taps++] = ring + s->span[2] - 1 - s->before[2] - o[3];
        }
}

/* A row of the frame's gradient. */
static inline void NAME(adjoint_row)(PLANE_ITERATOR *w, int64_t row, REAL *out) {
    for (int64_t t = 0; t < w->ring_taps; ++t) w->ring_from[t] = w->ring_base[t] + row * w->pitch;
    NAME(sum_row)(w->ring_weight, w->ring_from, w->ring_taps, w->f->frame[2], out);
}

/* A plane of the frame's gradient into rows first to last of the volume's plane z. What lies beyond the
 * border comes on top of the border's, which it repeats. */
static void NAME(gradient_plane)(PLANE_ITERATOR *w, int64_t plane, int64_t z, int64_t first, int64_t last, REAL *out) {
    const FIELD *f = w->f;
    const int64_t width = f->size[2], before = f->pad[2];
    for (int64_t c = 0; c < f->s->components; ++c) {
        NAME(adjoint_pointers)(w, c, plane);
        for (int64_t y = first; y < last; ++y) {
            REAL *to = out + ((c * f->size[0] + z) * f->size[1] + y) * width, *row = w->row;
            if (!f->s->replicate) {
                NAME(adjoint_row)(w, y, to);
                continue;
            }
            const int64_t end = y == f->size[1] - 1 ? f->frame[1] : y + f->pad[1] + 1;
            for (int64_t at = y ? y + f->pad[1] : 0; at < end; ++at) {
                NAME(adjoint_row)(w, at, row);
                for (int64_t x = 0; x < before; ++x) row[before] += row[x];
                for (int64_t x = before + width; x < f->frame[2]; ++x) row[before + width - 1] += row[x];
                for (int64_t x = 0; x < width; ++x) to[x] += row[before + x];
            }
        }
    }
}

/* No gradient where the mask is zero. */
static void NAME(blank_rows)(const FIELD *f, int64_t z, int64_t first, int64_t last, REAL *out) {
    const int64_t low = (z * f->size[1] + first) * f->size[2], high = (z * f->size[1] + last) * f->size[2];
    for (int64_t c = 0; c < f->s->components; ++c, out += f->size[0] * f->size[1] * f->size[2])
        for (int64_t i = low; i < high; ++i) out[i] = f->mask[i] > 0 ? out[i] : 0;
}
