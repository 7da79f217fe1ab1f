/* Largest values of boxes, plane by plane, and what a boundary loss makes of them, volume by volume.
 *
 * A box is taken along the planes, then the rows, then the columns. The way back is made of the same steps in the other
 * order, and of several equal voxels the last one wins each step, as in pools.py. Minus infinity does not count; the least
 * value is the largest of the negated map.
 */
#define BOX NAME(Box)
typedef struct {
    int64_t depth, height, width, reach, pitch; /* entries of a row with its margins */
    REAL *memory, *deep, *tall, *wide;          /* a plane of the largest along one axis, along two, along all three */
    REAL *left, *to_tall, *to_deep;             /* gradients of a plane that have yet to be handed on */
} BOX;

static int NAME(box_alloc)(BOX *b, int64_t depth, int64_t height, int64_t width, int64_t size) {
    *b = (BOX){.depth = depth, .height = height, .width = width, .reach = size / 2, .pitch = width + size - 1};
    const int64_t plane = height * width, padded = height * b->pitch;
    b->memory = malloc(sizeof(REAL) * (size_t)(4 * plane + 2 * padded));
    if (!b->memory) return 1;
    b->deep = b->memory, b->wide = b->deep + plane, b->left = b->wide + plane, b->to_deep = b->left + plane;
    b->tall = b->to_deep + plane, b->to_tall = b->tall + padded;
    for (int64_t i = 0; i < padded; ++i) b->tall[i] = -INF;
    return 0;
}

static void NAME(larger_into)(REAL *restrict to, const REAL *restrict from, int64_t n) {
    for (int64_t i = 0; i < n; ++i) to[i] = NAME(larger)(to[i], from[i]);
}

/* The entries around `at` that a box holds. */
static inline int64_t NAME(box_low)(const BOX *b, int64_t at) { return at > b->reach ? at - b->reach : 0; }
static inline int64_t NAME(box_high)(const BOX *b, int64_t at, int64_t size) {
    return at + b->reach < size ? at + b->reach + 1 : size;
}

/* The boxes around the voxels of plane z, into `wide`. */
static void NAME(box_plane)(const BOX *b, const REAL *map, int64_t z) {
    const int64_t n = b->width, plane = b->height * n, first = NAME(box_low)(b, z);
    memcpy(b->deep, map + first * plane, sizeof(REAL) * (size_t)plane);
    for (int64_t k = first + 1; k < NAME(box_high)(b, z, b->depth); ++k)
        NAME(larger_into)(b->deep, map + k * plane, plane);
    for (int64_t y = 0; y < b->height; ++y) {
        REAL *tall = b->tall + y * b->pitch, *wide = b->wide + y * n;
        const int64_t low = NAME(box_low)(b, y);
        memcpy(tall + b->reach, b->deep + low * n, sizeof(REAL) * (size_t)n);
        for (int64_t k = low + 1; k < NAME(box_high)(b, y, b->height); ++k)
            NAME(larger_into)(tall + b->reach, b->deep + k * n, n);
        memcpy(wide, tall, sizeof(REAL) * (size_t)n);
        for (int64_t j = 1; j <= 2 * b->reach; ++j) NAME(larger_into)(wide, tall + j, n);
    }
}

static int NAME(any)(const REAL *row, int64_t n) {
    int found = 0;
    for (int64_t x = 0; x < n; ++x) found |= row[x] != 0;
    return found;
}

/* Adds the gradients in `left`, of the boxes of the plane that `box_plane` has last seen, to those of the map. */
static void NAME(box_adjoint)(const BOX *b, const REAL *map, int64_t z, REAL *grad) {
    const int64_t n = b->width, plane = b->height * n;
    if (!NAME(any)(b->left, plane)) return;
    memset(b->to_tall, 0, sizeof(REAL) * (size_t)(b->height * b->pitch));
    memset(b->to_deep, 0, sizeof(REAL) * (size_t)plane);
    for (int64_t y = 0; y < b->height; ++y) {
        const REAL *tall = b->tall + y * b->pitch;
        REAL *to_tall = b->to_tall + y * b->pitch, *left = b->left + y * n;
        if (!NAME(any)(left, n)) continue;
        for (int64_t j = 2 * b->reach; j >= 0; --j) NAME(take)(tall + j, b->wide + y * n, left, to_tall + j, n);
        for (int64_t k = NAME(box_high)(b, y, b->height) - 1; k >= NAME(box_low)(b, y); --k)
            NAME(take)(b->deep + k * n, tall + b->reach, to_tall + b->reach, b->to_deep + k * n, n);
    }
    for (int64_t k = NAME(box_high)(b, z, b->depth) - 1; k >= NAME(box_low)(b, z); --k)
        NAME(take)(map + k * plane, b->deep, b->to_deep, grad + k * plane, plane);
}

/* A map times `sign`, minus infinity where nothing counts; whether all that counts is finite. */
static int NAME(counted)(const REAL *map, const REAL *weight, REAL sign, int64_t n, REAL *restrict out) {
    int odd = 0;
    for (int64_t i = 0; i < n; ++i) {
        const int counts = !weight || weight[i] > 0;
        odd |= counts & !(map[i] - map[i] == 0);
        out[i] = counts ? sign * map[i] : -INF;
    }
    return !odd;
}

/* What erosion takes off a map, minus infinity where nothing counts; `negated` keeps the map that it was taken from. */
static int NAME(boundary)(const BOX *b, const REAL *map, const REAL *weight, REAL *negated, REAL *restrict out) {
    const int64_t plane = b->height * b->width;
    const int finite = NAME(counted)(map, weight, -1, b->depth * plane, negated);
    for (int64_t z = 0; z < b->depth; ++z) {
        NAME(box_plane)(b, negated, z);
        const REAL *own = negated + z * plane;
        REAL *restrict to = out + z * plane;
        for (int64_t i = 0; i < plane; ++i) to[i] = own[i] == -INF ? -INF : b->wide[i] - own[i];
    }
    return finite;
}

/* Sums of a volume: of the boundary `thin` where the other one, dilated, is, and of all of it. */
static void NAME(boundary_within)(const BOX *b, const REAL *thin, const REAL *other, const REAL *weight, double *sums) {
    const int64_t n = b->width, plane = b->height * n;
    sums[0] = sums[1] = 0;
    for (int64_t z = 0; z < b->depth; ++z) {
        double hit[NAME(SUM_LANES)] = {0}, all[NAME(SUM_LANES)] = {0};
        NAME(box_plane)(b, other, z);
        for (int64_t at = 0; at < plane; at += n)
            NAME(sum_row)(thin + z * plane + at, b->wide + at, weight ? weight + z * plane + at : NULL, n, b->left, hit, all);
        sums[0] += NAME(total)(hit);
        sums[1] += NAME(total)(all);
    }
}

/* The gradient of p from the cotangents of the four sums; `scratch` is as large as p, `negated` what p was taken from. */
static void NAME(boundary_back)(const BOX *inner, const BOX *outer, const REAL *negated, const REAL *thin,
                                const REAL *other, const REAL *weight, const double *grad, REAL *restrict scratch,
                                REAL *restrict out) {
    const int64_t plane = inner->height * inner->width, depth = inner->depth;
    const REAL hit = (REAL)grad[0], all = (REAL)grad[1], found = (REAL)grad[2];
    for (int64_t z = 0; z < depth; ++z) {
        const REAL *w = weight ? weight + z * plane : NULL;
        REAL *restrict to = scratch + z * plane;
        NAME(box_plane)(outer, other, z);
        if (!w)
            for (int64_t i = 0; i < plane; ++i) to[i] = hit * outer->wide[i] + all;
        else
            for (int64_t i = 0; i < plane; ++i) to[i] = w[i] > 0 ? w[i] * (hit * outer->wide[i] + all) : 0;
    }
    for (int64_t z = 0; z < depth && found != 0; ++z) {
        const REAL *w = weight ? weight + z * plane : NULL, *own = other + z * plane;
        REAL *restrict left = outer->left;
        for (int64_t i = 0; i < plane; ++i) left[i] = w ? (w[i] > 0 ? w[i] * (found * own[i]) : 0) : found * own[i];
        if (!NAME(any)(left, plane)) continue;
        NAME(box_plane)(outer, thin, z);
        NAME(box_adjoint)(outer, thin, z, scratch);
    }
    memcpy(out, scratch, sizeof(REAL) * (size_t)(depth * plane));
    for (int64_t z = 0; z < depth; ++z) {
        for (int64_t i = 0; i < plane; ++i) inner->left[i] = -scratch[z * plane + i];
        NAME(box_plane)(inner, negated, z);
        NAME(box_adjoint)(inner, negated, z, out);
    }
}
