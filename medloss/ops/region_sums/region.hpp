/* One call of region_sums, and the scratch of a thread. */
#include "../focal.hpp"
#include "../label_sweep.hpp"
#include "../region_columns.hpp"

namespace {

enum { BASE, OWN, YES, ALL, SQUARE, FOCAL_SLOPE, OFF, CURVE, PER_CLASS = 8 }; /* of the gradient with labels */
enum { LANES = 4, PER_LANE = 8 };

/* Rows of one thread beside its tile. */
template <typename Real>
struct RegionRows {
    const Real *z;  /* the tile's logits ... */
    int64_t z_step; /* ... and the step from class to class */
    int labelled;   /* whether the true classes of the block are looked at alone */
    double voxels;  /* sum of the block's weights */

    Real *h;              /* per class: the gradient by the logit before the softmax mixes the classes */
    Real *staged;         /* per class: logits that do not lie as rows of Real, then their gradient */
    Real *norm, *inverse; /* the sum of the exponentials, weight / norm */
    Real *pull;           /* the sum over the classes that the softmax subtracts from each slope */
    Real *own, *nll;      /* of the true class: probability, minus its logarithm */
    Real *other;          /* 1 - p, of the true class or of the one at hand */
    Real *factor, *slope; /* the focal factor and its derivative */
    Real *member;         /* how much each voxel belongs to the class at hand */
    Real *coefficients;   /* of the gradient, PER_CLASS a class, and as many in front for no class */
    double *lanes;        /* sums over the voxels of no class and of each; see labelled.hpp */

    template <typename Statistic>
    int take(const Statistic &s, const Tile<Real> *t) {
        const int64_t classes = s.volume.classes, lane_sums = LANES * (classes + 1) * PER_LANE;
        h = lines<Real>((classes * (lies_in_rows(&s.volume) ? 1 : 2) + 9) * t->step);
        lanes = lines<double>(lane_sums + (classes + 1) * PER_CLASS);
        if (!h || !lanes) return 1;
        staged = h + classes * t->step;
        Real *at = lies_in_rows(&s.volume) ? staged : staged + classes * t->step;
        Real **rows[] = {&norm, &inverse, &pull, &own, &nll, &other, &factor, &slope, &member};
        for (Real **row : rows) {
            *row = at;
            at += t->step;
        }
        coefficients = (Real *)(lanes + lane_sums) + PER_CLASS;
        return 0;
    }
    void give() {
        free(h);
        free(lanes);
    }
};

/* One call. */
template <typename Real>
struct Regions : Statistic<Real> {
    using Scratch = RegionRows<Real>;
    using Statistic<Real>::volume;
    int terms;
    Real gamma;            /* of the focal factor */
    const Real *cotangent; /* null where sums are asked for */

    Regions(const Volume<Real> &v, double gamma, int64_t terms, const Real *cotangent)
        : Statistic<Real>{v}, terms((int)terms), gamma((Real)gamma), cotangent(cotangent) {
        this->streams = cotangent && gradient_bytes(v) >= STREAMED;
    }

    int64_t width() const { return volume.classes * COLUMNS; }
    void begin(Tile<Real> *t, RegionRows<Real> *r, const Block &block) const;
    void load(Tile<Real> *t, RegionRows<Real> *r) const;
    void add(Tile<Real> *t, RegionRows<Real> *r, double *sums) const;
    void end(Tile<Real> *t, RegionRows<Real> *r, double *sums) const;
    void write(Tile<Real> *t, RegionRows<Real> *r, void *out) const;
};

/* Whether p - t has the sign that the label gives it: a softmax lies between 0 and 1. */
template <typename Real>
inline int is_sided(const Regions<Real> *s) {
    return (s->terms & DIFFERENCE) && s->volume.kind >= 0 && s->volume.activation == SOFTMAX;
}

/* dL/dp of the voxels that a class has not, and of those that it has, but for what bends. */
template <typename Real>
double slope_of_others(const Regions<Real> *s, const Real *from) {
    double slope = from[INPUT];
    if (s->terms & ERRORS) slope += from[FALSE_POSITIVE];
    if (s->terms & NEGATIVES) slope -= from[TRUE_NEGATIVE];
    return is_sided(s) ? slope + from[SURPLUS] : slope;
}

template <typename Real>
double slope_of_own(const Regions<Real> *s, const Real *from) {
    double slope = (double)from[INPUT] + from[OVERLAP];
    if (s->terms & ERRORS) slope -= from[FALSE_NEGATIVE];
    return is_sided(s) ? slope + from[COMMON] - from[LACK] : slope;
}

/* A slope that several classes share, such as all that a sample lacks; else 0. A softmax has no use for what all
 * slopes have in common, and where equal ones are measured from each other they are exactly equal. */
template <typename Real>
double shared_slope(const Regions<Real> *s, const Real *cotangent) {
    double shared = 0;
    int64_t most = 1;
    for (int64_t c = 0; s->volume.activation == SOFTMAX && c + 1 < s->volume.classes; ++c) {
        const double slope = slope_of_others(s, cotangent + c * COLUMNS);
        int64_t count = 1;
        for (int64_t k = c + 1; k < s->volume.classes; ++k)
            count += slope_of_others(s, cotangent + k * COLUMNS) == slope;
        shared = count > most ? slope : shared;
        most = count > most ? count : most;
    }
    return shared;
}

/* Whether a class has a much steeper slope where it is not than where it is: the labelled path has the former
 * everywhere and takes it off again. */
template <typename Real>
int is_uneven(const Regions<Real> *s, const Real *cotangent) {
    const double shared = shared_slope(s, cotangent);
    for (int64_t c = 0; c < s->volume.classes; ++c) {
        const double others = slope_of_others(s, cotangent + c * COLUMNS) - shared;
        const double own = slope_of_own(s, cotangent + c * COLUMNS) - shared;
        if (fabs(others) > 64 * fabs(own)) return 1;
    }
    return 0;
}

/* Whether the block's true classes are looked at alone; else every class is. */
template <typename Real>
int is_labelled(const Regions<Real> *s, int64_t sample) {
    if (s->volume.kind < 0 || s->volume.activation != SOFTMAX) return 0;
    return !s->cotangent || !is_uneven(s, s->cotangent + sample * s->width());
}

/* What the gradient of the labelled path is made of: by class, a row of zeros for no class in front. */
template <typename Real>
void load_coefficients(const Regions<Real> *s, RegionRows<Real> *r, const Real *cotangent) {
    const int terms = s->terms;
    const double shared = shared_slope(s, cotangent);
    memset(r->coefficients - PER_CLASS, 0, sizeof(Real) * (size_t)((s->volume.classes + 1) * PER_CLASS));
    for (int64_t c = 0; c < s->volume.classes; ++c) {
        const Real *from = cotangent + c * COLUMNS;
        Real *row = r->coefficients + c * PER_CLASS;
        const double of_others = slope_of_others(s, from), of_own = slope_of_own(s, from);
        row[BASE] = (Real)(of_others - shared);
        row[OWN] = (Real)(of_own - of_others);
        row[YES] = terms & LIKELIHOOD ? from[NLL_TRUE] : 0;
        row[ALL] = terms & UNIFORM ? from[NLL_ALL] : 0;
        row[SQUARE] = terms & SQUARES ? 2 * (from[INPUT_SQUARES] + from[SQUARED_ERROR]) : 0;
        row[OFF] = terms & SQUARES ? 2 * from[SQUARED_ERROR] : 0;
        row[CURVE] = terms & SQUARES ? 2 * from[INPUT_SQUARES] : 0;
        row[FOCAL_SLOPE] = terms & FOCAL ? from[FOCAL_TRUE] : 0;
    }
}

} // namespace
