/* What every cpu_kernel.cpp shares: numbers, labels and memory, entry points for both types of numbers.
 *
 * A kernel is a set of templates over Real, all of them in unnamed namespaces: objects of several instruction sets
 * are linked into one library, and none may take another's instance of a template. */
#ifndef MEDLOSS_NATIVE_HPP
#define MEDLOSS_NATIVE_HPP

#include <stdlib.h>
#include <string.h>

#include "half_precision.hpp"
#include "labels.hpp"
#include "memory.hpp"
#include "native.h"
#include "numbers.hpp"

/* What holds vectors, or whose arguments become constants, is inlined before all else. Of a lambda, behind its
 * parameters: INLINED. */
#define MEDLOSS_INLINED __attribute__((always_inline))
#define MEDLOSS_INLINE inline MEDLOSS_INLINED

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

/* A type that the other arguments of a function tell, so that null can be passed for a pointer to it. */
template <typename T>
struct Told {
    using Type = T;
};
template <typename T>
using Itself = typename Told<T>::Type;

} // namespace

#endif
