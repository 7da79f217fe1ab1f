/* Derivatives along each axis of a row of voxels, and their adjoint. Included once for each REAL.
 *
 * A derivative is half the difference of both neighbours, the whole one to one where the other is not there, beyond the
 * border or under the mask, and 0 without any. */

/* One call's images; a volume has three axes, of which the first ones may have one voxel. */
typedef struct {
    const REAL *x, *y, *mask;
    int64_t shared; /* volumes that share a mask */
    int64_t size[3], voxels;
    REAL scale[3];
} NAME(Images);

/* A row's neighbours along one axis: itself where there is none. */
typedef struct {
    const REAL *here, *next, *last; /* of the image */
    const REAL *w, *w_next, *w_last; /* of the mask, or NULL */
    int has_next, has_last;
} NAME(Reach);

/* Voxels from to end of the derivative, and its factor on each difference. `here` less itself is 0, and NaN where the
 * voxel itself is no number, which the difference of its neighbours does not see. */
static inline void NAME(differ)(const NAME(Reach) * r, REAL scale, int64_t from, int64_t end, REAL *restrict out,
                                REAL *restrict factor) {
    const REAL *restrict next = r->next, *restrict last = r->last, *restrict here = r->here;
    const REAL *restrict w = r->w, *restrict w_next = r->w_next, *restrict w_last = r->w_last;
    const REAL whole = r->has_next && r->has_last ? scale / 2 : scale;
    const int has_next = r->has_next, has_last = r->has_last;
    if (!w) {
        for (int64_t i = from; i < end; ++i) out[i] = whole * (next[i] - last[i]) + (here[i] - here[i]);
        for (int64_t i = from; factor && i < end; ++i) factor[i] = whole;
        return;
    }
    for (int64_t i = from; i < end; ++i) {
        const int on = has_next & (w_next[i] > 0), back = has_last & (w_last[i] > 0);
        const REAL a = on ? next[i] : here[i], b = back ? last[i] : here[i], share = on & back ? scale / 2 : scale;
        out[i] = w[i] > 0 ? share * (a - b) + (here[i] - here[i]) : 0;
        if (factor) factor[i] = share;
    }
}

/* Adds what comes back: every difference gives to one of its voxels what it takes from the other. `here` and its like
 * are rows of what goes with each derivative's differences. */
static inline void NAME(differ_back)(const NAME(Reach) * r, int64_t from, int64_t end, REAL *restrict out) {
    const REAL *restrict next = r->next, *restrict last = r->last, *restrict here = r->here;
    const REAL *restrict w = r->w, *restrict w_next = r->w_next, *restrict w_last = r->w_last;
    const int has_next = r->has_next, has_last = r->has_last;
    if (!w) {
        if (has_last)
            for (int64_t i = from; i < end; ++i) out[i] += last[i] + here[i];
        if (has_next)
            for (int64_t i = from; i < end; ++i) out[i] -= here[i] + next[i];
        return;
    }
    for (int64_t i = from; i < end; ++i) {
        const int on = has_next & (w_next[i] > 0), back = has_last & (w_last[i] > 0);
        const REAL sum = (back ? last[i] + here[i] : 0) - (on ? here[i] + next[i] : 0);
        out[i] += w[i] > 0 ? sum : 0;
    }
}

/* The reach of a row along the first or second axis, `step` entries to the next row of the image and `w_step` to that
 * of the mask. */
static inline NAME(Reach) NAME(reach)(const REAL *here, int64_t step, const REAL *w, int64_t w_step, int64_t at,
                                      int64_t size) {
    const int has_next = at + 1 < size, has_last = at > 0;
    const int64_t on = has_next ? step : 0, back = has_last ? step : 0;
    const int64_t w_on = has_next ? w_step : 0, w_back = has_last ? w_step : 0;
    return (NAME(Reach)){here, here + on, here - back, w, w ? w + w_on : NULL, w ? w - w_back : NULL, has_next,
                         has_last};
}

/* The reach along the row itself: the first voxel, those between, the last. Returns the part's end. */
static inline int64_t NAME(reach_along)(const REAL *here, const REAL *w, int64_t from, int64_t size,
                                        NAME(Reach) * r) {
    const int has_next = from + 1 < size, has_last = from > 0;
    *r = (NAME(Reach)){here, here + has_next, here - has_last, w, w ? w + has_next : NULL, w ? w - has_last : NULL,
                       has_next, has_last};
    return from == 0 || from + 1 >= size ? from + 1 : size - 1;
}

/* The derivatives of one image in row (plane, line): three rows from `out` on, and their factors. */
static void NAME(derive)(const NAME(Images) * f, const REAL *image, const REAL *mask, int64_t plane, int64_t line,
                         REAL *out, REAL *factor) {
    const int64_t *size = f->size, step = size[2], far = size[1] * step, at = plane * far + line * step;
    const REAL *here = image + at, *w = mask ? mask + at : NULL;
    NAME(Reach) r = NAME(reach)(here, far, w, far, plane, size[0]);
    NAME(differ)(&r, f->scale[0], 0, step, out, factor);
    r = NAME(reach)(here, step, w, step, line, size[1]);
    NAME(differ)(&r, f->scale[1], 0, step, out + step, factor ? factor + step : NULL);
    for (int64_t from = 0; from < step;) {
        const int64_t end = NAME(reach_along)(here, w, from, step, &r);
        NAME(differ)(&r, f->scale[2], from, end, out + 2 * step, factor ? factor + 2 * step : NULL);
        from = end;
    }
}
