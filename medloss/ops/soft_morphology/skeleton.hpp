/* The soft skeleton, plane by plane: a plane of the map goes in, and a few planes behind it one of the skeleton comes
 * out. Each erosion and each ridge keeps only the planes that are still needed, in a ring.
 *
 * At step t erosion j is at plane t - j, ridge j at plane t - j - 2, and the skeleton at plane t - count - 2. */
#include "rows.hpp"

namespace {

/* Planes of one kind: plane z lies in place z modulo `length`. */
template <typename Real>
struct Ring {
    int64_t length;
    Real *planes;
};

/* A plane and the planes around it; at a border the plane itself, which changes no extreme. */
template <typename Real>
struct Around {
    const Real *own, *front, *back;
};

/* One more ridge joined to the skeleton, as probabilities are: s + r - s r. */
template <typename Real>
MEDLOSS_INLINE void join(const Real *joined, const Real *ridge, int64_t n, Real *to) {
#pragma omp simd
    for (int64_t x = 0; x < n; ++x) {
        const Real more = ridge[x] - joined[x] * ridge[x];
        to[x] = joined[x] + (more > 0 ? more : 0);
    }
}

template <typename Real>
struct Stream {
    enum { MARGIN = 8, WIDER = 4, JOINED, PRODUCT }; /* rows of scratch, behind four of the largest of three planes */

    Volumes<Real> v;
    int64_t count, adjoint; /* erosions, of which there are as many ridges and one more; whether the way back follows */
    int64_t pitch, plane;   /* entries of a row and a plane with their margins */
    int64_t low, high;      /* the planes whose skeleton is made */
    const Real *map, *weight; /* of the volume */
    int odd;                  /* whether a voxel that counts is NaN or infinite */
    Ring<Real> *level = nullptr, *ridge, *cotangent;
    Real **ridges = nullptr; /* of the plane that is looked at, the first row of each */
    Real *rows, *memory = nullptr;

    Stream(const Volumes<Real> &volumes, int64_t erosions, int64_t back) : v(volumes), count(erosions), adjoint(back) {}

    /* The way back needs longer rings, and some of its own. What lies around a level stays infinite. */
    int take() {
        const int64_t kinds = count + 2, scratch = count + 20;
        int64_t planes = 0;
        pitch = (v.width + 1 + 7) / 8 * 8 + MARGIN;
        plane = pitch * v.height + MARGIN;
        level = room<Ring<Real>>(3 * kinds);
        ridges = room<Real *>(count + 1);
        if (!level || !ridges) return 1;
        ridge = level + kinds;
        cotangent = ridge + kinds;
        for (int64_t j = 0; j < kinds; ++j) {
            level[j].length = adjoint ? most(2 * count + 5 - 2 * j, count + 4 - j) : 3;
            ridge[j].length = j <= count ? count + 1 - j : 0;
            cotangent[j].length = adjoint && j ? count + 4 - j : 0;
        }
        for (int64_t i = 0; i < 3 * kinds; ++i) planes += level[i].length = least(level[i].length, v.depth);
        memory = room<Real>(planes * plane + scratch * pitch);
        if (!memory) return 1;
        rows = memory;
        for (int64_t i = 0; i < 3 * kinds; ++i) {
            level[i].planes = rows;
            rows += level[i].length * plane;
            for (Real *at = level[i].planes; at < rows; ++at) *at = i < kinds ? INF<Real> : 0;
        }
        memset(rows, 0, sizeof(Real) * (size_t)(scratch * pitch));
        return 0;
    }

    void give() {
        free(level);
        free(ridges);
        free(memory);
    }

    /* Planes `start` to `end` of a volume of `maps`. */
    void begin(const Real *maps, int64_t volume, int64_t start, int64_t end) {
        map = maps + volume * v.voxels();
        weight = v.weight_of(volume);
        low = start;
        high = end;
        odd = 0;
    }

    Real *row(const Ring<Real> &ring, int64_t z, int64_t y) const {
        return ring.planes + z % ring.length * plane + y * pitch + MARGIN;
    }
    Real *scratch(int64_t at) const { return rows + at * pitch + MARGIN; }

    Around<Real> around(const Ring<Real> &ring, int64_t z) const {
        return {row(ring, z, 0), row(ring, most(z - 1, 0), 0), row(ring, least(z + 1, v.depth - 1), 0)};
    }

    /* Whether erosion j of plane z is there, or will be: the further from the map, the fewer planes. */
    bool has_level(int64_t j, int64_t z) const {
        const int64_t reach = count + 2 - j;
        return z >= 0 && z < v.depth && z >= low - reach && z < high + reach;
    }

    void load_plane(int64_t z) {
        for (int64_t y = 0; y < v.height; ++y) {
            const int64_t start = (z * v.height + y) * v.width;
            const Real *from = map + start;
            odd |= fill_counted(at_or_null(weight, start), v.width, INF<Real>, row(level[0], z, y),
                                [=](int64_t x) MEDLOSS_INLINED { return from[x]; });
        }
    }

    void erode_plane(int64_t j, int64_t z) {
        const Around<Real> a = around(level[j], z);
        Real *out = row(level[j + 1], z, 0);
        for (int64_t y = 0; y < v.height; ++y, out += pitch) {
            const int64_t at = y * pitch, above = y ? at - pitch : at, below = y + 1 < v.height ? at + pitch : at;
            with_mask([&](auto masked) MEDLOSS_INLINED {
                erode_row<masked>(a.own + at, a.own + above, a.own + below, a.front + at, a.back + at, v.width, out);
            });
        }
    }

    /* `body(masked)`, compiled for volumes with weights and for those without. */
    template <typename Body>
    MEDLOSS_INLINE void with_mask(Body body) const {
        weight ? body(Number<1>{}) : body(Number<0>{});
    }

    /* Row y of the largest of three planes of an erosion, in its place among four rows of scratch. */
    Real *wide_row(const Around<Real> &a, int64_t y) const {
        Real *out = scratch(y & 3);
        const int64_t at = y * pitch;
        with_mask([&](auto masked) MEDLOSS_INLINED {
            larger_of_planes<masked>(a.own + at, a.front + at, a.back + at, v.width, out);
        });
        return out;
    }

    /* Row y of the largest of three by three, with a margin of -infinity; its neighbours' `wide_row`s come first. */
    Real *wider_row(const Around<Real> &a, int64_t y) const {
        const Real *own = scratch(y & 3), *above = y ? scratch((y - 1) & 3) : own;
        const Real *below = y + 1 < v.height ? wide_row(a, y + 1) : own;
        Real *out = scratch(WIDER);
        larger_of_rows(own, above, below, v.width, out);
        out[-1] = out[v.width] = -INF<Real>;
        return out;
    }

    void ridge_plane(int64_t j, int64_t z) {
        const Around<Real> eroded = around(level[j + 1], z);
        const Real *own = row(level[j], z, 0);
        Real *out = row(ridge[j], z, 0);
        wide_row(eroded, 0);
        for (int64_t y = 0; y < v.height; ++y, own += pitch, out += pitch)
            with_mask([&, wide = wider_row(eroded, y)](auto masked) MEDLOSS_INLINED {
                ridge_row<masked>(own, wide, v.width, out);
            });
    }

    /* One step: then plane t - count - 2 of all ridges is there, where the skeleton is asked for. */
    void advance(int64_t t) {
        if (has_level(0, t)) load_plane(t);
        for (int64_t j = 0; j <= count; ++j) {
            if (has_level(j + 1, t - j - 1)) erode_plane(j, t - j - 1);
            const int64_t z = t - j - 2;
            if (z >= low && z < high) ridge_plane(j, z);
        }
    }

    int64_t first_step() const { return most(low - count - 2, 0); }

    void look_at(int64_t z) {
        for (int64_t j = 0; j <= count; ++j) ridges[j] = row(ridge[j], z, 0);
    }

    /* `use(z)` for each plane, whose skeleton `each_row` then gives. */
    template <typename Use>
    void each_plane(Use use) {
        for (int64_t t = first_step(); t < high + count + 2; ++t) {
            advance(t);
            if (t - count - 2 >= low) use(t - count - 2);
        }
    }

    /* `use(start, row)` for each row of the skeleton of plane z: where it lies in the volume, and the row. */
    template <typename Use>
    void each_row(int64_t z, Use use) {
        Real *joined = scratch(JOINED);
        look_at(z);
        for (int64_t y = 0; y < v.height; ++y) {
            memcpy(joined, ridges[0] + y * pitch, sizeof(Real) * (size_t)v.width);
            for (int64_t j = 1; j <= count; ++j) join(joined, ridges[j] + y * pitch, v.width, joined);
            use((z * v.height + y) * v.width, joined);
        }
    }
};

} // namespace
