/* The lower envelope of parabolas along each axis in turn, in time linear in the voxels (Felzenszwalb and Huttenlocher,
 * Distance transforms of sampled functions, 2012).
 *
 * Axes go from the last to the first, and the first candidate of a line wins among equals: it is the source of the
 * lowest index.
 */
enum { COLUMNS = 8 }; /* lines across the memory are taken side by side: a cache line holds eight doubles */

/* Scratch of one thread: the lines as they were, and the envelope's parabolas with their left ends. */
typedef struct {
    double *value, *left;
    int64_t *index, *apex;
} LINES;

static int lines_alloc(LINES *lines, int64_t size) {
    lines->value = malloc(sizeof(double) * (size_t)(COLUMNS * size));
    lines->left = malloc(sizeof(double) * (size_t)size);
    lines->index = malloc(sizeof(int64_t) * (size_t)(COLUMNS * size));
    lines->apex = malloc(sizeof(int64_t) * (size_t)size);
    return !lines->value || !lines->left || !lines->index || !lines->apex;
}

static void lines_free(LINES *lines) {
    free(lines->value);
    free(lines->left);
    free(lines->index);
    free(lines->apex);
}

/* The last axis, whose values are sources or not: the nearer of the last source before and the first behind. */
static void scan_line(const uint8_t *sources, int64_t size, double square, int64_t base, double *squared,
                      int64_t *nearest) {
    int64_t last = -1;
    for (int64_t i = 0; i < size; ++i) {
        if (sources[i]) last = i;
        squared[i] = last < 0 ? INFINITY : square * (double)((i - last) * (i - last));
        if (nearest) nearest[i] = last < 0 ? -1 : base + last;
    }
    last = -1;
    for (int64_t i = size - 1; i >= 0; --i) {
        if (sources[i]) last = i;
        if (last < 0) continue;
        const double found = square * (double)((last - i) * (last - i));
        if (found < squared[i]) {
            squared[i] = found;
            if (nearest) nearest[i] = base + last;
        }
    }
}

/* One line of values: the envelope of value[j] + square (x - j)^2, read at every x, into a line of some stride. */
static void envelope_line(const double *value, const int64_t *index, int64_t size, double square, LINES *lines,
                          double *squared, int64_t *nearest, int64_t stride) {
    int64_t count = 0, *apex = lines->apex;
    double *left = lines->left;
    for (int64_t j = 0; j < size; ++j) {
        if (value[j] == INFINITY) continue;
        double meeting = -INFINITY;
        while (count) {
            const int64_t k = apex[count - 1];
            const double rise = (value[j] + square * (double)(j * j)) - (value[k] + square * (double)(k * k));
            meeting = rise / (2 * square * (double)(j - k));
            if (meeting > left[count - 1]) break;
            meeting = -INFINITY;
            --count;
        }
        apex[count] = j;
        left[count++] = meeting;
    }
    if (!count) return; /* no source on the line: it stays infinite */
    for (int64_t x = 0, k = 0; x < size; ++x) {
        while (k + 1 < count && left[k + 1] < (double)x) ++k;
        const int64_t j = apex[k];
        squared[x * stride] = value[j] + square * (double)((x - j) * (x - j));
        if (nearest) nearest[x * stride] = index[j];
    }
}

/* COLUMNS lines across the memory, copied out and written back. */
static void envelope_columns(double *squared, int64_t *nearest, int64_t size, int64_t stride, int64_t columns,
                             double square, LINES *lines) {
    for (int64_t i = 0; i < size; ++i)
        for (int64_t c = 0; c < columns; ++c) {
            lines->value[c * size + i] = squared[i * stride + c];
            if (nearest) lines->index[c * size + i] = nearest[i * stride + c];
        }
    for (int64_t c = 0; c < columns; ++c)
        envelope_line(lines->value + c * size, lines->index + c * size, size, square, lines, squared + c,
                      nearest ? nearest + c : NULL, stride);
}

/* One volume: squares of distances (infinite without a source), and the index of the nearest source where asked for. */
static int transform(const uint8_t *sources, const int64_t *sizes, const double *steps, double *squared,
                     int64_t *nearest, int threads) {
    const int64_t longest = sizes[0] > sizes[1] ? sizes[0] : sizes[1], last = sizes[2];
    int failed = 0;
#pragma omp parallel num_threads(threads) reduction(| : failed)
    {
        LINES lines;
        failed |= lines_alloc(&lines, longest);
#pragma omp for schedule(static)
        for (int64_t line = 0; line < sizes[0] * sizes[1]; ++line)
            scan_line(sources + line * last, last, steps[2] * steps[2], line * last, squared + line * last,
                      nearest ? nearest + line * last : NULL);
        for (int axis = 1; axis >= 0; --axis) {
            const int64_t size = sizes[axis], stride = axis ? last : sizes[1] * last, outer = axis ? sizes[0] : 1;
            const int64_t blocks = (stride + COLUMNS - 1) / COLUMNS;
            if (size == 1) continue;
#pragma omp for collapse(2) schedule(static)
            for (int64_t o = 0; o < outer; ++o)
                for (int64_t block = 0; block < blocks; ++block) {
                    const int64_t first = block * COLUMNS, start = o * size * stride + first;
                    const int64_t columns = stride - first < COLUMNS ? stride - first : COLUMNS;
                    if (!failed)
                        envelope_columns(squared + start, nearest ? nearest + start : NULL, size, stride, columns,
                                         steps[axis] * steps[axis], &lines);
                }
        }
        lines_free(&lines);
    }
    return failed;
}
