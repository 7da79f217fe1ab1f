/* Squared distances to the nearest voxel on the other side of a border: sweeps along the first axis, and along the
 * others minima over sums, a block of voxels at once.
 *
 * A cell holds a voxel's squared distance so far, and by its sign the voxel's side. Seen from the other side a voxel is
 * at distance zero, from its own side at what the cell holds: one array is the transform of both sides. The search for
 * a better candidate ends where the way alone costs as much as the worst voxel of a block has. */
#include "../ordered_sums.hpp"
#include "../vector.hpp"

namespace {

/* Cells of whole numbers, where all squares are such. */
template <typename Signed, typename Unsigned, Signed far, Signed never>
struct Integers {
    using Cell = Signed;
    using Square = Unsigned;
    using Count = Signed;
    static constexpr Cell FAR = far;      /* where there is no other side */
    static constexpr Count NEVER = never; /* steps to what is not there */
    static constexpr int BLOCK = 64 / sizeof(Cell);

    /* A cell's side, and the cell as its own side sees it, or with its side again. */
    static Cell side(Cell cell) { return (Cell)(cell < 0 ? -1 : 0); }
    static Cell turn(Cell cell, Cell side) { return (Cell)(cell ^ side); }
};
using Shorts = Integers<int16_t, uint16_t, 32767, 16384>;
using Words = Integers<int32_t, uint32_t, 1 << 30, 1 << 30>;

struct Doubles {
    using Cell = double;
    using Square = double;
    using Count = int32_t;
    static constexpr Cell FAR = INFINITY;
    static constexpr Count NEVER = 1 << 30;
    static constexpr int BLOCK = 64 / sizeof(Cell);

    static Cell side(Cell cell) { return cell < 0 ? -1.0 : 1.0; }
    static Cell turn(Cell cell, Cell side) { return cell * side; }
};

template <typename Kind>
struct Scan {
    using Cell = typename Kind::Cell;
    using Square = typename Kind::Square;
    using Count = typename Kind::Count;
    enum { BLOCK = Kind::BLOCK };

    static Square square(Count n, double step) { return (Square)((Square)step * (Square)((Square)n * (Square)n)); }

    /* What a block of voxels has against what four blocks elsewhere offer, two at a way that costs `near`, two at
     * `far`: so many at once because what is best so far goes through memory. */
    static void offer(const Cell *a, const Cell *b, const Cell *c, const Cell *d, Square near, Square far,
                      const Cell *__restrict own, Square *__restrict best) {
        for (int i = 0; i < BLOCK; ++i) {
            const Cell side = own[i], e = Kind::turn(a[i], side), f = Kind::turn(b[i], side);
            const Cell g = Kind::turn(c[i], side), h = Kind::turn(d[i], side);
            const Cell nearer = e < f ? e : f, further = g < h ? g : h;
            const Square one = (Square)((Square)(nearer > 0 ? nearer : 0) + near);
            const Square two = (Square)((Square)(further > 0 ? further : 0) + far);
            const Square lower = one < two ? one : two;
            best[i] = lower < best[i] ? lower : best[i];
        }
    }

    static bool any_above(const Square *best, Square way) {
        Square worst = 0;
        for (int i = 0; i < BLOCK; ++i) worst = best[i] > worst ? best[i] : worst;
        return worst > way;
    }

    /* One block against `before` candidates before and `behind` ones behind it, `step` cells apart. */
    static void search(const Cell *here, int64_t step, int64_t before, int64_t behind, double way,
                       Cell *__restrict out) {
        Cell own[BLOCK];
        Square best[BLOCK];
        const int64_t furthest = most(before, behind);
        for (int i = 0; i < BLOCK; ++i) {
            own[i] = Kind::side(here[i]);
            best[i] = (Square)Kind::turn(here[i], own[i]);
        }
        for (int64_t d = 1; d <= furthest; d += 2) {
            const Square near = square((Count)d, way), far = square((Count)(d + 1), way);
            if (!any_above(best, near)) break;
            /* where there is no such block the own one stands in, which has nothing to offer */
            offer(d <= before ? here - d * step : here, d <= behind ? here + d * step : here,
                  d < before ? here - (d + 1) * step : here, d < behind ? here + (d + 1) * step : here, near, far, own,
                  best);
        }
        for (int i = 0; i < BLOCK; ++i) out[i] = Kind::turn((Cell)best[i], own[i]);
    }

    /* One more voxel along the first axis: how many steps it is to the last one on the other side. */
    static void step_on(const uint8_t *own, const uint8_t *last, int64_t n, Count *__restrict count) {
        for (int64_t x = 0; x < n; ++x) {
            const Count kept = count[x] < Kind::NEVER ? count[x] + 1 : Kind::NEVER;
            count[x] = own[x] != last[x] ? 1 : kept;
        }
    }

    /* The columns of row y along the first axis: squared steps to the next voxel on the other side. With `alone` the
     * inside is at distance zero itself, and its other side is left out. `count`: scratch for a row. */
    static void sweep(const uint8_t *inside, const int64_t *size, int64_t pitch, double step, int alone,
                      Count *__restrict count, int64_t y, Cell *cells) {
        const int64_t n = size[2], plane = size[1] * n;
        for (int64_t x = 0; x < n; ++x) count[x] = Kind::NEVER;
        for (int64_t z = 0; z < size[0]; ++z) {
            const uint8_t *own = inside + z * plane + y * n;
            Cell *__restrict out = cells + (z * size[1] + y) * pitch;
            step_on(own, z ? own - plane : own, n, count);
            for (int64_t x = 0; x < n; ++x) out[x] = (Cell)count[x];
        }
        for (int64_t x = 0; x < n; ++x) count[x] = Kind::NEVER;
        for (int64_t z = size[0] - 1; z >= 0; --z) {
            const uint8_t *own = inside + z * plane + y * n;
            Cell *__restrict out = cells + (z * size[1] + y) * pitch;
            step_on(own, z + 1 < size[0] ? own + plane : own, n, count);
            for (int64_t x = 0; x < n; ++x) {
                const Count before = (Count)out[x], nearest = before < count[x] ? before : count[x];
                const Cell far = nearest < Kind::NEVER ? (Cell)square(nearest, step) : Kind::FAR;
                out[x] = own[x] ? (alone ? 0 : far) : Kind::turn(far, Kind::side((Cell)-1));
            }
            for (int64_t x = n; x < pitch; ++x) out[x] = out[n - 1];
        }
    }

    /* Plane z along its two axes, into `plane`; `line`: scratch of three rows. */
    static void search_plane(const Cell *cells, const int64_t *size, int64_t pitch, const double *steps, int64_t z,
                             Cell *plane, Cell *line) {
        const Cell *from = cells + z * size[1] * pitch;
        for (int64_t y = 0; y < size[1]; ++y)
            for (int64_t x = 0; x < pitch; x += BLOCK)
                search(from + y * pitch + x, pitch, y, size[1] - 1 - y, steps[1], plane + y * pitch + x);
        for (int64_t y = 0; y < size[1]; ++y) {
            Cell *row = line + pitch, *found = plane + y * pitch;
            /* beyond the border stands the last voxel again: further away than it is, it changes nothing */
            for (int64_t x = 0; x < pitch; ++x) line[x] = found[0], row[pitch + x] = found[size[2] - 1];
            memcpy(row, found, sizeof(Cell) * (size_t)pitch);
            for (int64_t x = 0; x < pitch; x += BLOCK)
                search(row + x, 1, size[2] - 1, size[2] - 1, steps[2], found + x);
        }
    }

    /* All of a volume, by several threads: rows, then planes. `finish(row, squares)` takes the squares of each row. */
    template <typename Finish>
    static int volume(const uint8_t *inside, const int64_t *size, const double *steps, int alone, int threads,
                      Finish finish) {
        const int64_t n = size[2], pitch = (n + BLOCK - 1) / BLOCK * BLOCK, plane = size[1] * pitch;
        Cell *cells = lines<Cell>(size[0] * plane);
        if (!cells) return 1;
        int failed = share_out(size[1], threads, Row<Count>{n}, [=](Row<Count> *count, int64_t y) {
            sweep(inside, size, pitch, steps[0], alone, count->first, y, cells);
        });
        if (!failed)
            failed = share_out(size[0], threads, Scratch{plane + 3 * pitch, n}, [=](Scratch *own, int64_t z) {
                search_plane(cells, size, pitch, steps, z, own->cells, own->cells + plane);
                for (int64_t y = 0; y < size[1]; ++y) {
                    squares_of(own->cells + y * pitch, n, own->squares);
                    finish(z * size[1] + y, own->squares);
                }
            });
        free(cells);
        return failed;
    }

    static void squares_of(const Cell *found, int64_t n, double *__restrict squares) {
        for (int64_t x = 0; x < n; ++x) {
            const Cell square = Kind::turn(found[x], Kind::side(found[x]));
            squares[x] = square == Kind::FAR ? INFINITY : (double)square;
        }
    }

    /* A plane and three rows of cells, and the squares of a row. */
    struct Scratch {
        int64_t size, width;
        Cell *cells = nullptr;
        double *squares = nullptr;

        int take() { return !(cells = lines<Cell>(size)) | !(squares = room<double>(width)); }
        void give() {
            free(cells);
            free(squares);
        }
    };
};

} // namespace
