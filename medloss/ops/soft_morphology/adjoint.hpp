/* The way back through the soft skeleton, in the same stream: count + 2 planes behind the map all ridges of a plane
 * are there, and with them their cotangents. A ridge hands its own to its level and, with the other sign, to the winner
 * of each opened voxel; each erosion hands what it got to its winners in the erosion before, which is what one chain of
 * pools gives. Erosion j is complete at plane t - 2 count - 4 + j.
 *
 * Every voxel of the result gets its parts in an order that follows from its place alone: where runs of planes begin
 * and end changes nothing. */
#include "skeleton.hpp"

namespace {

/* Where a ridge was joined: its cotangent, in its place, and what is left for those before it. */
template <typename Real>
MEDLOSS_APART void unjoin(const Real *joined, Real *__restrict ridge, Real *__restrict up, int64_t n) {
    for (int64_t x = 0; x < n; ++x) {
        const Real r = ridge[x], g = up[x], more = r - joined[x] * r;
        ridge[x] = more > 0 ? g - g * joined[x] : 0;
        up[x] = more > 0 ? g - g * r : g;
    }
}

template <typename Real>
MEDLOSS_APART void gather_along(const Real *behind, const Real *here, const Real *before, Real *__restrict to,
                                int64_t n) {
    for (int64_t x = 0; x < n; ++x) to[x] = (behind[x - 1] + here[x]) + before[x + 1];
}

template <typename Real>
MEDLOSS_APART void add_along(const Real *behind, const Real *here, const Real *before, Real *__restrict to, int64_t n) {
    for (int64_t x = 0; x < n; ++x) to[x] += (behind[x - 1] + here[x]) + before[x + 1];
}

template <typename Real>
MEDLOSS_APART void open_row(const Real *wider, const Real *cotangent, Real *__restrict opened, Real *__restrict left,
                            int64_t n) {
    for (int64_t x = 0; x < n; ++x) {
        left[x] = -cotangent[x];
        opened[x] = larger(larger(wider[x - 1], wider[x]), wider[x + 1]);
    }
}

template <typename Real>
MEDLOSS_APART void add_to(Real *__restrict to, const Real *__restrict from, int64_t n) {
    for (int64_t x = 0; x < n; ++x) to[x] += from[x];
}

template <typename Real>
struct Adjoint : Stream<Real> {
    using Base = Stream<Real>;
    using Base::v, Base::count, Base::pitch, Base::row, Base::scratch, Base::ridges, Base::level, Base::cotangent;
    /* Rows of scratch, behind those of the stream: four that follow the largest of three planes, then single ones. */
    enum { SPREAD = 5, LEFT = 9, BEHIND, HERE, BEFORE, ALONG, UPSTREAM, NOWHERE, PREFIX };

    int64_t first, last; /* the planes of the result that this run is for */
    const Real *grad;    /* the cotangent of the skeleton as a map, or */
    const Real *other;   /* the other map of the sums, whose */
    Real hit, thin;      /* cotangents these are */
    Real *out;           /* is added to */

    Adjoint(const Volumes<Real> &volumes, int64_t erosions) : Base(volumes, erosions, 1) {}

    /* A plane of a gradient, and the step to its next row. */
    struct Target {
        Real *rows;
        int64_t pitch;

        Real *operator[](int64_t y) const { return rows + y * pitch; }
    };

    /* The plane z of the gradient of erosion j. Where the plane is not this run's, its rows are all one that nobody
     * reads. */
    Target gradient_plane(int64_t j, int64_t z) const {
        if (z < 0 || z >= v.depth || z < first - j || z >= last + j) return {scratch(NOWHERE), 0};
        if (!j) return {out + z * v.plane(), v.width};
        return {row(cotangent[j], z, 0), pitch};
    }

    /* The cotangent of row y of the skeleton; zero where nothing counts. */
    void upstream_row(int64_t z, int64_t y, Real *__restrict to) const {
        const int64_t start = (z * v.height + y) * v.width, n = v.width;
        const Real *w = at_or_null(this->weight, start);
        if (grad) keep_counted(w, n, to, [g = grad + start](int64_t x) MEDLOSS_INLINED { return g[x]; });
        else slope_row(other + start, w, hit, thin, n, to);
    }

    /* Ridges of row y into their cotangents, in their place. */
    void ridge_cotangents(int64_t z, int64_t y) const {
        const int64_t n = v.width, at = y * pitch;
        Real *up = scratch(UPSTREAM);
        upstream_row(z, y, up);
        memcpy(scratch(PREFIX), ridges[0] + at, sizeof(Real) * (size_t)n);
        for (int64_t j = 1; j < count; ++j) /* what was joined before each ridge */
            join(scratch(PREFIX + j - 1), ridges[j] + at, n, scratch(PREFIX + j));
        for (int64_t j = count; j > 0; --j) unjoin(scratch(PREFIX + j - 1), ridges[j] + at, up, n);
        Real *__restrict ridge = ridges[0] + at;
        for (int64_t x = 0; x < n; ++x) ridge[x] = ridge[x] > 0 ? up[x] : 0;
    }

    /* From the opened row y back along it: to the largest of three by three. */
    Real *back_along(const Real *from, const Real *wider) const {
        const int64_t n = v.width;
        Real *left = scratch(LEFT), *opened = scratch(ALONG);
        Real *behind = scratch(BEHIND), *here = scratch(HERE), *before = scratch(BEFORE);
        open_row(wider, from, opened, left, n);
        pass_back_along(wider, opened, left, behind, here, before, n);
        gather_along(behind, here, before, left, n);
        return left;
    }

    /* The cotangents of ridges j of plane z: to their level, and from what was opened to the erosion. */
    void back_from_ridges(int64_t j, int64_t z) const {
        const int64_t n = v.width, end = v.height - 1;
        const Around<Real> eroded = this->around(level[j + 1], z);
        const Real *planes[3] = {eroded.back, eroded.own, eroded.front}, *from = row(this->ridge[j], z, 0);
        const Target own = gradient_plane(j, z);
        const Target to[3] = {gradient_plane(j + 1, z + 1), gradient_plane(j + 1, z), gradient_plane(j + 1, z - 1)};
        const int first_plane = z < v.depth - 1 ? 0 : 1, last_plane = z ? 2 : 1;
        const auto spread = [&](int64_t y) { return scratch(SPREAD + (y & 3)); };
        this->wide_row(eroded, 0);
        memset(spread(0), 0, sizeof(Real) * (size_t)n);
        for (int64_t y = 0; y <= end + 1; ++y) {
            if (y <= end) {
                const Real *wider = this->wider_row(eroded, y);
                Real *left = back_along(from + y * pitch, wider);
                add_to(own[y], from + y * pitch, n);
                memset(spread(y + 1), 0, sizeof(Real) * (size_t)n);
                for (int64_t at = least(y + 1, end); at >= most(y - 1, 0); --at)
                    pass_back(scratch(at & 3), wider, left, spread(at), n);
            }
            for (int k = first_plane; y && k <= last_plane; ++k) /* row y - 1 of the largest of three is complete */
                pass_back(planes[k] + (y - 1) * pitch, scratch((y - 1) & 3), spread(y - 1), to[k][y - 1], n);
        }
    }

    /* The gradient of erosion j at plane z, which is complete, back to the erosion before; its place is then free. */
    void back_from_erosion(int64_t j, int64_t z) const {
        const int64_t n = v.width;
        const Around<Real> before = this->around(level[j - 1], z);
        const Target own = gradient_plane(j - 1, z), back = gradient_plane(j - 1, z + 1),
                     front = gradient_plane(j - 1, z - 1);
        const Real *winner = row(level[j], z, 0);
        Real *left = row(cotangent[j], z, 0), *along[] = {scratch(BEHIND), scratch(HERE), scratch(BEFORE)};
        for (int64_t y = 0; y < v.height; ++y, winner += pitch, left += pitch) {
            const Real *candidate = before.own + y * pitch;
            pass_back_along(candidate, winner, left, along[0], along[1], along[2], n);
            add_along(along[0], along[1], along[2], own[y], n);
            if (y + 1 < v.height) pass_back(candidate + pitch, winner, left, own[y + 1], n);
            if (y) pass_back(candidate - pitch, winner, left, own[y - 1], n);
            if (z + 1 < v.depth) pass_back(before.back + y * pitch, winner, left, back[y], n);
            if (z) pass_back(before.front + y * pitch, winner, left, front[y], n);
            memset(left, 0, sizeof(Real) * (size_t)n);
        }
    }

    /* Adds the gradient of planes `start` to `end` of a volume of `maps`. */
    void add(const Real *maps, int64_t volume, int64_t start, int64_t end) {
        const int64_t reach = count + 2;
        first = start;
        last = end;
        this->begin(maps, volume, most(start - reach, 0), least(end + reach, v.depth));
        for (int64_t t = this->first_step(); t <= end + 2 * count + 3; ++t) {
            this->advance(t);
            const int64_t z = t - reach;
            if (z >= this->low && z < this->high) {
                this->look_at(z);
                for (int64_t y = 0; y < v.height; ++y) ridge_cotangents(z, y);
                for (int64_t j = 0; j <= count; ++j) back_from_ridges(j, z);
            }
            for (int64_t j = count + 1; j > 0; --j) {
                const int64_t at = t - 2 * count - 4 + j;
                if (at >= 0 && at < v.depth && at >= start - j && at < end + j) back_from_erosion(j, at);
            }
        }
    }
};

} // namespace
