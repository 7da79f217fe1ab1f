/* What the loader asks of the library itself. */
#include "native.h"

#ifndef MEDLOSS_SOURCES
#define MEDLOSS_SOURCES ""
#endif

/* The digest of the sources that this was compiled from. */
MEDLOSS_EXPORT const char *medloss_sources(void) { return MEDLOSS_SOURCES; }

/* The best instruction set of this processor for which kernels were compiled: 4, 3, or 0 for the baseline. */
MEDLOSS_EXPORT int medloss_level(void) {
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (!(__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2"))) return 0;
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512cd"))
        return 4;
    return 3;
#else
    return 0;
#endif
}
