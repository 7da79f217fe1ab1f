/* Names with the suffix of the instruction set, and what is exported: of native.c and of every kernel. */
#ifndef MEDLOSS_NATIVE_H
#define MEDLOSS_NATIVE_H

#ifndef MEDLOSS_LEVEL
#define MEDLOSS_LEVEL base
#endif
#define MEDLOSS_PASTE2(a, b, c) a##_##b##_##c
#define MEDLOSS_PASTE(a, b, c) MEDLOSS_PASTE2(a, b, c)
#ifdef __cplusplus
#define MEDLOSS_EXPORT extern "C" __attribute__((visibility("default")))
#else
#define MEDLOSS_EXPORT __attribute__((visibility("default")))
#endif

#endif
