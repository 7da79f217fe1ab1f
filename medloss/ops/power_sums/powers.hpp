/* One call of power_sums, and the scratch of a thread. */
#include "../focal.hpp"
#include "../label_sweep.hpp"
#include "../log_softmax.hpp"
#include "../region_columns.hpp"

namespace {

/* The powers stand behind the columns of region_sums. */
enum { TRUE_POWERS = COLUMNS, FALSE_POWERS, POWER_COLUMNS };
enum { LANES = 4 };

/* Rows of one thread beside its tile, each of the tile's step. */
template <typename Real>
struct PowerRows {
    Real *p; /* of a likelihood: exponentials, then probabilities, classes x step; the logits stay in the tile */
    Real *u; /* the gradient before the softmax mixes the classes, classes x step */
    Real *yes, *no, *member, *log_norm, *others, *sure, *k, *h, *shared, *other, *own, *once;
    Real *q;       /* 1 - p of the class at hand */
    double *lanes; /* sums of the true classes, see sums.hpp */

    template <typename Statistic>
    int take(const Statistic &s, Tile<Real> *t) {
        const int64_t classes = s.volume.classes, step = t->step;
        t->exact |= s.exponent < 1; /* a low power makes much of a rounding */
        lanes = room<double>(LANES * (classes + 1));
        p = room<Real>((2 * classes + 13) * step);
        if (!lanes || !p) return 1;
        Real *at = u = p + classes * step,
             **rows[] = {&yes, &no, &member, &log_norm, &others, &sure, &k, &h, &shared, &other, &own, &once, &q};
        for (Real **row : rows) *row = at += row == rows[0] ? classes * step : step;
        return 0;
    }
    void give() {
        free(lanes);
        free(p);
    }
};

/* One call's volume and errors; the sums are in `POWER_COLUMNS`, whatever is asked for. */
template <typename Real>
struct Powers : Statistic<Real> {
    using Scratch = PowerRows<Real>;
    using Statistic<Real>::volume;
    int likelihood; /* the error; else the difference */
    int both;       /* whether what a voxel is not of is asked for */
    int regions;    /* whether the columns of region_sums are */
    Real exponent;
    const Real *cotangent; /* null where sums are asked for */

    Powers(const Volume<Real> &v, int64_t likelihood, double exponent, int64_t regions, int64_t both,
           const Real *cotangent)
        : Statistic<Real>{v}, likelihood(likelihood != 0), both(both != 0), regions(regions != 0),
          exponent((Real)exponent), cotangent(cotangent) {
        this->streams = cotangent && gradient_bytes(v) >= STREAMED && lies_in_rows(&v);
    }

    int64_t width() const { return volume.classes * POWER_COLUMNS; }
    void begin(Tile<Real> *, PowerRows<Real> *r, const Block &) const;
    void load(Tile<Real> *t, PowerRows<Real> *r) const;
    void add(Tile<Real> *t, PowerRows<Real> *r, double *sums) const;
    void end(Tile<Real> *, PowerRows<Real> *r, double *sums) const;
    void write(Tile<Real> *t, PowerRows<Real> *r, void *out) const;
};

} // namespace
