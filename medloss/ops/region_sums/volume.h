/* What a call is given, and the scratch in which a thread works on one tile of it. */

/* One call's operands, as they lie. */
typedef struct {
    const void *input;
    int type; /* of the input: REAL itself or a half precision */
    int64_t batch, classes, voxels, batch_stride, class_stride, voxel_stride;
    const void *labels;
    int kind; /* of the labels, or -1 for memberships B C V */
    const REAL *mask;
    int has_ignore;
    int64_t ignore;
    int activation, terms;
    REAL gamma;   /* of the focal factor */
    int64_t size; /* voxels of a tile */
    int streams;  /* whether the gradient is so large that it goes past the caches */
} VOLUME;

/* Scratch of one thread. Rows hold `size` voxels; where a row is per class, rows follow each other. */
typedef struct {
    int64_t b, start, n;  /* which voxels the tile holds */
    const REAL *z;        /* its logits ... */
    int64_t step;         /* ... and the step from class to class */
    int careful;          /* whether the softmax takes off the largest logit first; see softmax.h */
    REAL *p;              /* per class: exponentials, then probabilities; and a last row of ones for no class */
    REAL *h;              /* per class: the gradient by the logit before the softmax mixes the classes */
    REAL *staged;         /* per class: logits that do not lie as rows of REAL, then their gradient */
    REAL *weight;         /* all ones, unless voxels weigh differently */
    REAL *top, *norm;     /* the largest logit where careful, else 0; the sum of the exponentials */
    REAL *unit, *inverse; /* 1 / norm, weight / norm */
    REAL *pull;           /* the sum over the classes that the softmax subtracts from each slope */
    REAL *own, *nll;      /* of the true class: probability, minus its logarithm */
    REAL *other;          /* 1 - p, of the true class or of the one at hand */
    REAL *rest;           /* sum over all classes but the certain one, see ../softmax.h */
    int32_t *certain;     /* that class; `classes` stands for none */
    REAL *factor, *slope; /* the focal factor and its derivative */
    REAL *member;         /* how much each voxel belongs to the class at hand */
    int32_t *label;       /* `classes` stands for none */
    uint8_t *keep;
    REAL *coefficients; /* of the gradient, PER_CLASS a class */
    double *lanes;      /* sums over the voxels of each class; see labelled.h */
} TILE;

static inline int NAME(is_weighted)(const VOLUME *v) { return v->mask || v->has_ignore; }

/* Whether a tile's logits must be copied: they are of half precision, or their voxels do not lie side by side. */
static inline int NAME(is_staged)(const VOLUME *v) { return v->type != REAL_OWN || v->voxel_stride != 1; }

/* One piece of memory, cut into rows that begin at cache lines. Returns what is to be freed, or NULL. */
static void *NAME(tile_alloc)(TILE *t, const VOLUME *v) {
    const size_t row = (size_t)v->size * sizeof(REAL), classes = (size_t)v->classes;
    const size_t lanes = LANES * (classes + 1) * PER_LANE * sizeof(double);
    const size_t all = (classes + 1) * row + classes * row * (1 + (size_t)NAME(is_staged)(v)) + 13 * row +
                       (size_t)v->size * 9 + (classes + 1) * PER_CLASS * sizeof(REAL) + lanes;
    unsigned char *memory = malloc(all + 32 * 64);
    if (!memory) return NULL;
    unsigned char *at = memory + 63 - ((uintptr_t)memory + 63) % 64;
#define CARVE(pointer, bytes)                                                                                       \
    t->pointer = (void *)at;                                                                                        \
    at += ((bytes) + 63) / 64 * 64
    CARVE(p, (classes + 1) * row);
    CARVE(h, classes * row);
    CARVE(staged, NAME(is_staged)(v) ? classes * row : 0);
    CARVE(weight, row);
    CARVE(top, row);
    CARVE(norm, row);
    CARVE(unit, row);
    CARVE(inverse, row);
    CARVE(pull, row);
    CARVE(own, row);
    CARVE(nll, row);
    CARVE(factor, row);
    CARVE(slope, row);
    CARVE(member, row);
    CARVE(other, row);
    CARVE(rest, row);
    CARVE(certain, (size_t)v->size * sizeof(int32_t));
    CARVE(label, (size_t)v->size * sizeof(int32_t));
    CARVE(keep, (size_t)v->size);
    CARVE(coefficients, (classes + 1) * PER_CLASS * sizeof(REAL));
    CARVE(lanes, lanes);
#undef CARVE
    for (int64_t i = 0; i < v->size; ++i) t->weight[i] = t->p[v->classes * v->size + i] = 1;
    return memory;
}

/* Labels and weights of the tile's voxels. What weighs nothing is of no class. */
static void NAME(load_voxels)(const VOLUME *v, TILE *t) {
    const int64_t n = t->n, offset = t->b * v->voxels + t->start;
    const int32_t none = (int32_t)v->classes;
    REAL *restrict w = t->weight;
    uint8_t *restrict keep = t->keep;
    int32_t *restrict label = t->label;
    if (v->kind >= 0) {
        fetch_labels(v->labels, v->kind, offset + n, v->size);
        load_labels(v->labels, v->kind, offset, n, label);
        for (int64_t i = 0; i < n; ++i) label[i] = (uint32_t)label[i] < (uint32_t)none ? label[i] : none;
    }
    if (!NAME(is_weighted)(v)) return;
    memset(keep, 1, (size_t)n);
    if (v->has_ignore) drop_ignored(v->labels, v->kind, offset, n, v->ignore, keep);
    if (v->mask)
        for (int64_t i = 0; i < n; ++i) w[i] = keep[i] ? v->mask[offset + i] : 0;
    else
        for (int64_t i = 0; i < n; ++i) w[i] = keep[i];
    if (v->kind >= 0)
        for (int64_t i = 0; i < n; ++i) label[i] = w[i] > 0 ? label[i] : none;
}
