/* Weighted sums of rows, and what the energies of a row of stencils are made of. */
#include "../stencil_rows.hpp"

namespace {

/* One call's field and stencils: those of term k are taps start[k] to start[k + 1]. */
template <typename Real>
struct Field {
    Frame frame;
    const Real *u, *mask; /* of a volume: the components that an energy joins */
    int64_t shared;       /* volumes that share a mask */
    int64_t terms;
    const int64_t *start, *offset;       /* of each tap four: component, plane, row and column from the centre */
    const Real *weight, *factor, *scale; /* of the taps; of the terms' energies; of all energies of a volume */
    int64_t components, absolute;

    int64_t taps() const { return start[terms]; }

    Field of(int64_t volume) const {
        Field f = *this;
        f.u += volume * components * frame.voxels();
        if (mask) f.mask += volume / shared * frame.voxels();
        f.scale += volume;
        return f;
    }
};

/* The usual numbers of taps are compiled for their own sake. */
template <typename Body>
MEDLOSS_INLINE void with_taps(int64_t taps, Body body) {
    switch (taps) {
    case 2: body(Number<2>{}); break;
    case 3: body(Number<3>{}); break;
    case 4: body(Number<4>{}); break;
    default: body(taps);
    }
}

/* `count` vectors of the sum of rows, each times its weight. */
template <int count, typename Real, typename Taps>
MEDLOSS_INLINE void sum_vectors(const Real *weight, const Real *const *from, Taps taps, int64_t x, Vector<Real> *out) {
    for (int i = 0; i < count; ++i) out[i] = Vector<Real>{};
    for (int64_t t = 0; t < taps; ++t) {
        const Real *at = from[t] + x, w = weight[t];
        for (int i = 0; i < count; ++i) out[i] += w * load(at + i * LANES<Real>);
    }
}

template <typename Real>
inline Real sum_one(const Real *weight, const Real *const *from, int64_t taps, int64_t x) {
    Real total = 0;
    for (int64_t t = 0; t < taps; ++t) total += weight[t] * from[t][x];
    return total;
}

/* A row of the adjoint. */
template <typename Real>
void sum_row(const Real *weight, const Real *const *from, int64_t taps, int64_t n, Real *out) {
    by_blocks<Real>(
        n,
        [&](int64_t x, auto count) MEDLOSS_INLINED {
            Vector<Real> total[4];
            sum_vectors<count>(weight, from, taps, x, total);
            for (int i = 0; i < count; ++i) store(out + x + i * LANES<Real>, total[i]);
        },
        [&](int64_t x) MEDLOSS_INLINED { out[x] = sum_one(weight, from, taps, x); });
}

/* `count` vectors of the energies of a row. */
template <int absolute, int count, typename Real>
MEDLOSS_INLINE void energy_vectors(const Field<Real> &f, const Real *const *from, int64_t x, Vector<Real> *energy) {
    for (int i = 0; i < count; ++i) energy[i] = Vector<Real>{};
    for (int64_t k = 0; k < f.terms; ++k) {
        const int64_t start = f.start[k];
        with_taps(f.start[k + 1] - start, [&](auto taps) MEDLOSS_INLINED {
            const Real factor = f.factor[k];
            Vector<Real> slope[4];
            sum_vectors<count>(f.weight + start, from + start, taps, x, slope);
            for (int i = 0; i < count; ++i)
                energy[i] += factor * slope[i] * (absolute ? sign<Real>(slope[i]) : slope[i]);
        });
    }
}

template <int absolute, typename Real>
Real energy_one(const Field<Real> &f, const Real *const *from, int64_t x) {
    Real energy = 0;
    for (int64_t k = 0; k < f.terms; ++k) {
        const int64_t start = f.start[k];
        const Real slope = sum_one(f.weight + start, from + start, f.start[k + 1] - start, x);
        energy += f.factor[k] * (absolute ? (Real)fabs((double)slope) : slope * slope);
    }
    return energy;
}

/* `count` vectors of a row's energies into `out`, where there is one; their sum begins with lane `fresh`. */
template <int absolute, int count, typename Real>
MEDLOSS_INLINE Vector<Real> energy_block(const Field<Real> &f, const Real *const *from, const Real *weight, int64_t x,
                                         int64_t fresh, Real *out) {
    const Real scale = *f.scale;
    Vector<Real> energy[4], total = {};
    energy_vectors<absolute, count>(f, from, x, energy);
    for (int i = 0; i < count; ++i) {
        const int64_t to = x + i * LANES<Real>;
        energy[i] *= scale;
        if (weight) energy[i] *= load(weight + to);
        if (out) store(out + to, energy[i]);
        for (int64_t lane = 0; lane < least(fresh - i * LANES<Real>, LANES<Real>); ++lane) energy[i][lane] = 0;
        total += energy[i];
    }
    return total;
}

/* The energies of a row, times a weight (where there is one), into `out` (where there is one); returns their sum. */
template <int absolute, typename Real>
double energy_row(const Field<Real> &f, const Real *const *from, const Real *weight, Real *out) {
    constexpr int64_t lanes = LANES<Real>, block = 4 * lanes;
    const int64_t n = f.frame.inner[2];
    Vector<Real> total = {};
    double sum = 0;
    int64_t x = 0;
    for (; x + block <= n; x += block) total += energy_block<absolute, 4>(f, from, weight, x, 0, out);
    if (x && x < n) {
        total += energy_block<absolute, 4>(f, from, weight, n - block, x - n + block, out);
        x = n;
    }
    for (; x < n && n >= lanes; x += lanes) {
        const int64_t at = least(x, n - lanes);
        total += energy_block<absolute, 1>(f, from, weight, at, x - at, out);
    }
    for (; x < n; ++x) {
        const Real each = energy_one<absolute>(f, from, x) * (*f.scale * (weight ? weight[x] : 1));
        if (out) out[x] = each;
        sum += (double)each;
    }
    for (int i = 0; i < lanes; ++i) sum += (double)total[i];
    return sum;
}

/* How a term passes a row back: the slope of its energy, times what comes from above and the weight. */
template <typename Real>
struct Back {
    const Real *taps, *const *from; /* weights of the term's taps, and where they read */
    Real factor;
    const Real *grad, *weight; /* of each stencil, or null */
};

template <int absolute, typename Real, typename Taps>
MEDLOSS_INLINE void slope_row(Taps taps, Back<Real> b, int64_t n, Real *out) {
    by_blocks<Real>(
        n,
        [=](int64_t x, auto count) MEDLOSS_INLINED {
            Vector<Real> slope[4];
            sum_vectors<count>(b.taps, b.from, taps, x, slope);
            for (int i = 0; i < count; ++i) {
                const int64_t to = x + i * LANES<Real>;
                Vector<Real> each = (absolute ? sign<Real>(slope[i]) : slope[i]) * b.factor;
                if (b.grad) each *= load(b.grad + to);
                if (b.weight) each *= load(b.weight + to);
                store(out + to, each);
            }
        },
        [=](int64_t x) MEDLOSS_INLINED {
            Real each = sum_one(b.taps, b.from, taps, x);
            if (absolute) each = each == each ? (Real)((each > 0) - (each < 0)) : each;
            out[x] = each * b.factor * (b.grad ? b.grad[x] : 1) * (b.weight ? b.weight[x] : 1);
        });
}

} // namespace
