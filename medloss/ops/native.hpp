/* What every cpu_kernel.cpp shares beside native.h: entry points for both types, and functions of one name for both.
 *
 * A kernel is a set of templates over Real, all of them in unnamed namespaces: objects of several instruction sets
 * are linked into one library, and none may take another's instance of a template. */
#ifndef MEDLOSS_NATIVE_HPP
#define MEDLOSS_NATIVE_HPP

#include <float.h>

/* native.h is of C, whose word for pointers that meet no other C++ has not. */
#define restrict __restrict
#include "native.h"
#undef restrict
#undef MEDLOSS_EXPORT
#define MEDLOSS_EXPORT extern "C" __attribute__((visibility("default")))

/* A function of a row by itself: within a larger one the compiler keeps its pointers in memory. */
#define MEDLOSS_APART __attribute__((noinline))

/* An entry point for float and one for double: `name`_f32 and `name`_f64, each with the level behind. In its
 * parameters and in its body, which is best one call, Real is the type. */
#define MEDLOSS_ENTRY(name, parameters, ...)             \
    MEDLOSS_ENTRY_OF(name, f32, parameters, __VA_ARGS__) \
    MEDLOSS_ENTRY_OF(name, f64, parameters, __VA_ARGS__)
#define MEDLOSS_ENTRY_OF(name, suffix, parameters, ...)                                      \
    namespace suffix {                                                                       \
    MEDLOSS_EXPORT int MEDLOSS_PASTE(name, suffix, MEDLOSS_LEVEL) parameters { __VA_ARGS__ } \
    }
namespace f32 {
using Real = float;
}
namespace f64 {
using Real = double;
}

namespace {

inline float exp_of(float x) { return exp_f32(x); }
inline double exp_of(double x) { return exp_f64(x); }
inline float log1p_unit(float e) { return log1p_unit_f32(e); }
inline double log1p_unit(double e) { return log1p_unit_f64(e); }
inline float log_from_one(float x) { return log_from_one_f32(x); }
inline double log_from_one(double x) { return log_from_one_f64(x); }
inline float root_of(float x) { return sqrtf(x); }
inline double root_of(double x) { return sqrt(x); }

/* The smallest number with all its digits, and the step from one to the next number. */
template <typename Real>
inline Real smallest() {
    return sizeof(Real) == 4 ? (Real)FLT_MIN : (Real)DBL_MIN;
}
template <typename Real>
inline Real epsilon() {
    return sizeof(Real) == 4 ? (Real)FLT_EPSILON : (Real)DBL_EPSILON;
}

/* A sigmoid of a logit z: p and q = 1 - p, each with its digits, and exp(-|z|), of which their logarithms are made. */
template <typename Real>
struct Sigmoid {
    Real p, q, small;
};
template <typename Real>
inline __attribute__((always_inline)) Sigmoid<Real> sigmoid_of(Real z) {
    const Real e = exp_of(z > 0 ? -z : z), near = 1 / (1 + e), far = e * near;
    return {z > 0 ? near : far, z > 0 ? far : near, e};
}

/* A type that the other arguments of a function tell, so that null can be passed for a pointer to it. */
template <typename T>
struct Told {
    using Type = T;
};
template <typename T>
using Itself = typename Told<T>::Type;

/* Room for `count` of a type, or null; `cleared` of zeros. What is taken is given back by free. */
template <typename T>
T *room(int64_t count) {
    return (T *)malloc(sizeof(T) * (size_t)count);
}

template <typename T>
T *cleared(int64_t count) {
    return (T *)calloc((size_t)count, sizeof(T));
}

/* Room that begins at a line of the cache. */
template <typename T>
T *lines(int64_t count) {
    return (T *)aligned_alloc(64, (sizeof(T) * (size_t)count + 63) / 64 * 64);
}

} // namespace

#endif
