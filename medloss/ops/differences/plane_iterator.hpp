/* Iterates over the planes of a tile of rows: what the stencils read, their weights, and the rings of what they pass
 * back.
 *
 * Without a mask and a replicated border the stencils read the field itself. Otherwise a ring of planes holds it
 * prepared: continued beyond the border, and zero where the mask is. */
#include "sums.hpp"

namespace {

template <typename Real>
struct PlaneIterator {
    Field<Real> f;
    int64_t backward, first, rows; /* stencils' rows of the rings, of which those outside the volume stay zero */
    int64_t ready;          /* the next plane of the frame to prepare */
    int64_t pitch, plane;   /* entries of a row and of a plane of one component or term */
    Real *memory = nullptr;
    Real *slopes, *source, *seen;           /* rings: terms; prepared components, and the mask, or null */
    Real *row, *box, *kept, *adjoint;       /* of the frame; weights of one row of stencils; of the adjoint's taps */
    const Real **base = nullptr, **from;    /* where each tap reads in the first row of a plane, and in a row */
    const Real **adjoint_base, **adjoint_from;
    int64_t adjoint_taps;

    PlaneIterator(const Field<Real> &field, int64_t tile, int64_t back)
        : f(field), backward(back), rows(tile + back * (1 + f.frame.replicate) * (f.frame.span[1] - 1)) {}

    int take() {
        const int64_t taps = f.taps(), components = f.mask || f.frame.replicate ? f.components : 0;
        pitch = f.frame.whole[2] + f.frame.span[2] - 1;
        plane = pitch * (rows + f.frame.span[1] - 1);
        const int64_t ring = f.frame.span[0] * plane, terms = backward ? f.terms : 0;
        memory = cleared<Real>(ring * (terms + components + (f.mask != nullptr)) + 3 * pitch + taps);
        base = room<const Real *>(4 * taps);
        if (!memory || !base) return 1;
        slopes = memory;
        source = components ? slopes + ring * terms : nullptr;
        seen = f.mask ? source + ring * components : nullptr;
        row = memory + ring * (terms + components + (f.mask != nullptr));
        box = row + pitch;
        kept = box + pitch;
        adjoint = kept + pitch;
        from = base + taps;
        adjoint_base = from + taps;
        adjoint_from = adjoint_base + taps;
        return 0;
    }

    void give() {
        free(memory);
        free(base);
    }

    /* The stencils of a volume's rows low to high, and of its planes from `start` on. */
    void begin(const Field<Real> &volume, int64_t low, int64_t high, int64_t start) {
        f = volume;
        first = low;
        rows = high - low;
        ready = start;
        if (backward && (low < 0 || high > f.frame.inner[1])) /* another tile may have filled what lies outside now */
            memset(slopes, 0, sizeof(Real) * (size_t)(f.frame.span[0] * f.terms * plane));
    }

    /* The planes of the frame up to `end`, prepared where they must be. */
    void prepare_until(int64_t end) {
        const Frame &g = f.frame;
        for (; source && ready < end; ++ready) {
            const int64_t slot = ready % g.span[0], last = least(first + rows + g.span[1] - 1, g.whole[1]);
            for (int64_t line = most(first, 0); line < last; ++line) {
                const int64_t at = g.row(ready, line), to = (line - first) * pitch;
                const Real *mask = f.mask ? f.mask + at : nullptr;
                for (int64_t c = 0; c < f.components; ++c) {
                    const Real *u = f.u + c * g.voxels() + at;
                    continue_row(g, 0, g.whole[2], source + (slot * f.components + c) * plane + to,
                                 [=](int64_t x) { return !mask || mask[x] > 0 ? u[x] : 0; });
                }
                if (mask)
                    continue_row(g, 0, g.whole[2], seen + slot * plane + to, [=](int64_t x) { return mask[x]; });
            }
        }
    }

    /* Where each tap reads for the first stencil of the first row of plane z. */
    void plane_pointers(int64_t z) {
        const Frame &g = f.frame;
        for (int64_t t = 0; t < f.taps(); ++t) {
            const int64_t *o = f.offset + 4 * t, depth = z + g.before[0] + o[1], line = g.before[1] + o[2];
            const int64_t slot = depth % g.span[0] * f.components + o[0];
            const Real *to = source ? source + slot * plane + (line - first) * pitch
                                    : f.u + ((o[0] * g.size[0] + depth) * g.size[1] + line) * g.size[2];
            base[t] = to + g.before[2] + o[3];
        }
    }

    /* Where each tap reads for the first stencil of a row. */
    void row_pointers(int64_t y) {
        const int64_t shift = y * (source ? pitch : f.frame.size[2]);
        for (int64_t t = 0; t < f.taps(); ++t) from[t] = base[t] + shift;
    }

    /* The weights of a row of stencils, null where all are 1. */
    const Real *row_weight(int64_t z, int64_t y) {
        if (!seen) return nullptr;
        const auto row_of = [&](int64_t depth, int64_t line) {
            return seen + depth % f.frame.span[0] * plane + (line - first) * pitch;
        };
        box_weights(f.frame, z, y, row_of, box, kept);
        return kept;
    }

    /* The energies of planes low to high, into the map, where there is one; and their sums. */
    void energies(int64_t low, int64_t high, Real *map, double *sums) {
        const int64_t height = f.frame.inner[1], width = f.frame.inner[2];
        for (int64_t z = low; z < high; ++z) {
            prepare_until(z + f.frame.span[0]);
            plane_pointers(z);
            double sum = 0;
            for (int64_t y = first; y < first + rows; ++y) {
                row_pointers(y);
                const Real *weight = row_weight(z, y);
                Real *to = map ? map + (z * height + y) * width : nullptr;
                sum += f.absolute ? energy_row<1>(f, from, weight, to) : energy_row<0>(f, from, weight, to);
            }
            sums[z] = sum;
        }
    }

    /* What the stencils of plane z pass back, into its place in the ring. */
    void slopes_of_plane(int64_t z, const Real *grad, Real all) {
        const Frame &g = f.frame;
        const int64_t height = g.inner[1], width = g.inner[2], last = least(first + rows, height);
        Real *slot = slopes + z % g.span[0] * f.terms * plane;
        prepare_until(z + g.span[0]);
        plane_pointers(z);
        for (int64_t y = most(first, 0); y < last; ++y) {
            row_pointers(y);
            const Real *weight = row_weight(z, y), *above = grad ? grad + (z * height + y) * width : nullptr;
            Real *to = slot + (y - first) * pitch + g.span[2] - 1;
            for (int64_t k = 0; k < f.terms; ++k, to += plane) {
                const Real factor = (f.absolute ? 1 : 2) * f.factor[k] * *f.scale * (grad ? 1 : all);
                const Back<Real> back = {f.weight + f.start[k], from + f.start[k], factor, above, weight};
                with_taps(f.start[k + 1] - f.start[k], [&](auto taps) MEDLOSS_INLINED {
                    f.absolute ? slope_row<1>(taps, back, width, to) : slope_row<0>(taps, back, width, to);
                });
            }
        }
    }

    /* Where the adjoint reads for the first row of a plane: tap o of a slope counts at the voxel o away, so that the
     * voxel gathers from the slopes -o away. */
    void adjoint_pointers(int64_t component, int64_t depth) {
        const Frame &g = f.frame;
        adjoint_taps = 0;
        for (int64_t k = 0; k < f.terms; ++k)
            for (int64_t t = f.start[k]; t < f.start[k + 1]; ++t) {
                const int64_t *o = f.offset + 4 * t, at = depth - o[1] - g.before[0];
                if (o[0] != component || at < 0 || at >= g.inner[0]) continue;
                const Real *ring = slopes + (at % g.span[0] * f.terms + k) * plane;
                ring -= (o[2] + g.before[1] + first) * pitch;
                adjoint[adjoint_taps] = f.weight[t];
                adjoint_base[adjoint_taps++] = ring + g.span[2] - 1 - g.before[2] - o[3];
            }
    }

    /* A row of the frame's gradient. */
    void adjoint_row(int64_t line, Real *out) {
        for (int64_t t = 0; t < adjoint_taps; ++t) adjoint_from[t] = adjoint_base[t] + line * pitch;
        sum_row(adjoint, adjoint_from, adjoint_taps, f.frame.whole[2], out);
    }

    /* A plane of the frame's gradient into rows low to high of the volume's plane z. What lies beyond the border comes
     * on top of the border's, which it repeats. */
    void gradient_plane(int64_t depth, int64_t z, int64_t low, int64_t high, Real *out) {
        const Frame &g = f.frame;
        for (int64_t c = 0; c < f.components; ++c) {
            adjoint_pointers(c, depth);
            for (int64_t y = low; y < high; ++y) {
                Real *to = out + ((c * g.size[0] + z) * g.size[1] + y) * g.size[2];
                if (!g.replicate) {
                    adjoint_row(y, to);
                    continue;
                }
                const int64_t end = y == g.size[1] - 1 ? g.whole[1] : y + g.pad[1] + 1;
                for (int64_t line = y ? y + g.pad[1] : 0; line < end; ++line) {
                    adjoint_row(line, row);
                    add_continued(g, 0, g.whole[2], row, to);
                }
            }
        }
    }

    /* The gradient of output planes start to end and rows low to high. */
    void gradient(int64_t start, int64_t end, int64_t low, int64_t high, const Real *grad, Real all, Real *out) {
        const Frame &g = f.frame;
        const int64_t row_bytes = g.size[2] * (int64_t)sizeof(Real);
        int64_t next = ready;
        for (int64_t z = start; z < end; ++z) {
            const int64_t past = z == g.size[0] - 1 ? g.whole[0] : z + g.pad[0] + 1;
            const int64_t from_line = z * g.size[1] + low;
            for (int64_t c = 0; g.replicate && c < f.components; ++c)
                memset(out + c * g.voxels() + from_line * g.size[2], 0, (size_t)((high - low) * row_bytes));
            for (int64_t depth = z == 0 ? 0 : z + g.pad[0]; depth < past; ++depth) {
                for (; next <= depth && next < g.inner[0]; ++next) slopes_of_plane(next, grad, all);
                gradient_plane(depth, z, low, high, out);
            }
            for (int64_t c = 0; f.mask && c < f.components; ++c)
                blank(f.mask + from_line * g.size[2], (high - low) * g.size[2],
                      out + c * g.voxels() + from_line * g.size[2]);
        }
    }

    /* No gradient where the mask is zero. */
    static void blank(const Real *__restrict mask, int64_t n, Real *__restrict out) {
        for (int64_t i = 0; i < n; ++i) out[i] = mask[i] > 0 ? out[i] : 0;
    }
};

} // namespace
