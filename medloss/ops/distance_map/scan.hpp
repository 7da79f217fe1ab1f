/* Squared distances to the nearest voxel on the other side of a border: sweeps along the first axis, and along the
 * others minima over sums, a block of voxels at once. The reader defines CELL and UCELL, COUNT, HUGE_CELL, OWN, FLIP and
 * SCAN (for names): whole numbers of 16 or 32 bits where all squares are such, doubles otherwise.
 *
 * A cell holds a voxel's squared distance so far, and by its sign the voxel's side. Seen from the other side a voxel is
 * at distance zero, from its own side at what the cell holds: one array is the transform of both sides. The search for
 * a better candidate ends where the way alone costs as much as the worst voxel of a block has.
 */
enum { SCAN(BLOCK) = 64 / sizeof(CELL) };

static inline CELL SCAN(square)(COUNT n, double square) {
    return (CELL)((UCELL)square * (UCELL)((UCELL)n * (UCELL)n));
}

/* What a block of voxels has against what four blocks elsewhere offer, two at a way that costs `near`, two at `far`: so
 * many at once because what is best so far goes through memory. */
static inline void SCAN(offer)(const CELL *a, const CELL *b, const CELL *c, const CELL *d, UCELL near, UCELL far,
                               const CELL *restrict own, UCELL *restrict best) {
    for (int i = 0; i < SCAN(BLOCK); ++i) {
        const CELL side = own[i], e = FLIP(a[i], side), f = FLIP(b[i], side);
        const CELL g = FLIP(c[i], side), h = FLIP(d[i], side);
        const CELL nearer = e < f ? e : f, further = g < h ? g : h;
        const UCELL one = (UCELL)((UCELL)(nearer > 0 ? nearer : 0) + near);
        const UCELL two = (UCELL)((UCELL)(further > 0 ? further : 0) + far);
        const UCELL least = one < two ? one : two;
        best[i] = least < best[i] ? least : best[i];
    }
}

static inline int SCAN(any_above)(const UCELL *restrict best, UCELL way) {
    UCELL most = 0;
    for (int i = 0; i < SCAN(BLOCK); ++i) most = best[i] > most ? best[i] : most;
    return most > way;
}

/* One block against `before` candidates before and `behind` ones behind it, `step` cells apart. */
static inline void SCAN(search)(const CELL *here, int64_t step, int64_t before, int64_t behind, double square,
                                CELL *restrict out) {
    CELL own[SCAN(BLOCK)];
    UCELL best[SCAN(BLOCK)];
    const int64_t most = before > behind ? before : behind;
    for (int i = 0; i < SCAN(BLOCK); ++i) {
        own[i] = OWN(here[i]);
        best[i] = (UCELL)FLIP(here[i], own[i]);
    }
    for (int64_t d = 1; d <= most; d += 2) {
        const UCELL near = (UCELL)SCAN(square)((COUNT)d, square), far = (UCELL)SCAN(square)((COUNT)(d + 1), square);
        if (!SCAN(any_above)(best, near)) break;
        /* where there is no such block the own one stands in, which has nothing to offer */
        SCAN(offer)(d <= before ? here - d * step : here, d <= behind ? here + d * step : here,
                    d < before ? here - (d + 1) * step : here, d < behind ? here + (d + 1) * step : here, near, far,
                    own, best);
    }
    for (int i = 0; i < SCAN(BLOCK); ++i) out[i] = FLIP((CELL)best[i], own[i]);
}

/* The columns of row y along the first axis: squared steps to the next voxel on the other side. With `alone` the inside
 * is at distance zero itself, and its other side is left out. `count`: scratch for a row. */
static void SCAN(sweep)(const uint8_t *inside, const int64_t *size, int64_t pitch, double step, int alone,
                        COUNT *restrict count, int64_t y, CELL *cells) {
    const int64_t n = size[2];
    const COUNT never = sizeof(COUNT) == 2 ? 16384 : 1 << 30;
    for (int64_t x = 0; x < n; ++x) count[x] = never;
    for (int64_t z = 0; z < size[0]; ++z) {
        const uint8_t *own = inside + (z * size[1] + y) * n, *before = z ? own - size[1] * n : own;
        CELL *restrict out = cells + (z * size[1] + y) * pitch;
        for (int64_t x = 0; x < n; ++x) {
            const COUNT kept = count[x] < never ? count[x] + 1 : never;
            count[x] = own[x] != before[x] ? 1 : kept;
            out[x] = (CELL)count[x];
        }
    }
    for (int64_t x = 0; x < n; ++x) count[x] = never;
    for (int64_t z = size[0] - 1; z >= 0; --z) {
        const uint8_t *own = inside + (z * size[1] + y) * n, *behind = z + 1 < size[0] ? own + size[1] * n : own;
        CELL *restrict out = cells + (z * size[1] + y) * pitch;
        for (int64_t x = 0; x < n; ++x) {
            const COUNT kept = count[x] < never ? count[x] + 1 : never;
            count[x] = own[x] != behind[x] ? 1 : kept;
            const COUNT before = (COUNT)out[x], least = before < count[x] ? before : count[x];
            const CELL far = least < never ? SCAN(square)(least, step) : HUGE_CELL;
            out[x] = own[x] ? (alone ? 0 : far) : FLIP(far, OWN((CELL)-1));
        }
        for (int64_t x = n; x < pitch; ++x) out[x] = out[n - 1];
    }
}

/* Plane z along its two axes; `plane`: scratch of its size; `line`: scratch of three rows. Gives the squares of a row to
 * `finish`, which knows where they go. */
static void SCAN(plane)(const CELL *cells, const int64_t *size, int64_t pitch, const double *steps, int64_t z,
                        CELL *plane, CELL *line, const FINISH *finish) {
    const CELL *from = cells + z * size[1] * pitch;
    for (int64_t y = 0; y < size[1]; ++y)
        for (int64_t x = 0; x < pitch; x += SCAN(BLOCK))
            SCAN(search)(from + y * pitch + x, pitch, y, size[1] - 1 - y, steps[1], plane + y * pitch + x);
    for (int64_t y = 0; y < size[1]; ++y) {
        CELL *row = line + pitch, *found = plane + y * pitch;
        /* beyond the border stands the last voxel again: further away than it is, it changes nothing */
        for (int64_t x = 0; x < pitch; ++x) line[x] = found[0], row[pitch + x] = found[size[2] - 1];
        memcpy(row, found, sizeof(CELL) * (size_t)pitch);
        for (int64_t x = 0; x < pitch; x += SCAN(BLOCK))
            SCAN(search)(row + x, 1, size[2] - 1, size[2] - 1, steps[2], found + x);
        for (int64_t x = 0; x < size[2]; ++x) {
            const CELL square = FLIP(found[x], OWN(found[x]));
            finish->squares[x] = square == HUGE_CELL ? INFINITY : (double)square;
        }
        finish->row(finish, z * size[1] + y);
    }
}

/* All of a volume, by several threads: rows, then planes. */
static int SCAN(volume)(const uint8_t *inside, const int64_t *size, const double *steps, int alone, FINISH finish,
                        int threads) {
    const int64_t pitch = (size[2] + SCAN(BLOCK) - 1) / SCAN(BLOCK) * SCAN(BLOCK), plane = size[1] * pitch;
    CELL *cells = aligned_alloc(64, sizeof(CELL) * (size_t)(size[0] * plane));
    int failed = !cells;
    if (failed) return 1;
#pragma omp parallel num_threads(threads) firstprivate(finish) reduction(| : failed)
    {
        CELL *scratch = aligned_alloc(64, sizeof(CELL) * (size_t)(plane + 3 * pitch));
        COUNT *count = malloc(sizeof(COUNT) * (size_t)size[2]);
        finish.squares = malloc(sizeof(double) * (size_t)size[2]);
        failed = !scratch || !count || !finish.squares;
#pragma omp for schedule(static)
        for (int64_t y = 0; y < size[1]; ++y)
            if (!failed) SCAN(sweep)(inside, size, pitch, steps[0], alone, count, y, cells);
#pragma omp for schedule(dynamic)
        for (int64_t z = 0; z < size[0]; ++z)
            if (!failed) SCAN(plane)(cells, size, pitch, steps, z, scratch, scratch + plane, &finish);
        free(scratch);
        free(count);
        free(finish.squares);
    }
    free(cells);
    return failed;
}

#undef SCAN
#undef CELL
#undef UCELL
#undef COUNT
#undef HUGE_CELL
#undef OWN
#undef FLIP
