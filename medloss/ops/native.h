/* What every cpu_kernel.c shares: names with the suffix of the instruction set, labels of any width, half precision, exp and
 * log that the compiler can vectorise and that keep NaN. */
#ifndef MEDLOSS_NATIVE_H
#define MEDLOSS_NATIVE_H

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#ifdef __AVX__
#include <immintrin.h>
#endif
#ifdef __linux__
#include <sys/mman.h>
#include <unistd.h>
#endif

#ifndef MEDLOSS_LEVEL
#define MEDLOSS_LEVEL base
#endif
#define MEDLOSS_PASTE2(a, b, c) a##_##b##_##c
#define MEDLOSS_PASTE(a, b, c) MEDLOSS_PASTE2(a, b, c)
#define MEDLOSS_EXPORT __attribute__((visibility("default")))

/* Codes of the label types, as in medloss/ops/native.py. */
enum { LABEL_U8 = 0, LABEL_I8 = 1, LABEL_I16 = 2, LABEL_I32 = 3, LABEL_I64 = 4, LABEL_F32 = 5, LABEL_F64 = 6 };

/* Labels of a tile as int32. What does not fit becomes -1, which is no class. */
#define MEDLOSS_COPY_LABELS(type)                                                                                   \
    {                                                                                                               \
        const type *from = (const type *)labels + offset;                                                           \
        for (int64_t i = 0; i < n; ++i) out[i] = from[i] >= 0 && from[i] <= 0x7ffffff ? (int32_t)from[i] : -1;      \
    }                                                                                                               \
    break
#define MEDLOSS_COPY_REAL_LABELS(type)                                                                              \
    {                                                                                                               \
        const type *from = (const type *)labels + offset;                                                           \
        for (int64_t i = 0; i < n; ++i) {                                                                           \
            int32_t whole = from[i] >= 0 && from[i] <= 0x7ffffff ? (int32_t)from[i] : -1;                           \
            out[i] = (type)whole == from[i] ? whole : -1;                                                           \
        }                                                                                                           \
    }                                                                                                               \
    break

/* The commonest labels without comparisons of 64 bits, which are slow: what has upper bits is no class. */
#define MEDLOSS_COPY_LONG_LABELS                                                                                    \
    {                                                                                                               \
        const int64_t *from = (const int64_t *)labels + offset;                                                     \
        for (int64_t i = 0; i < n; ++i) {                                                                           \
            const uint32_t low = (uint32_t)from[i], high = (uint32_t)((uint64_t)from[i] >> 32);                     \
            out[i] = high == 0 && low <= 0x7ffffff ? (int32_t)low : -1;                                             \
        }                                                                                                           \
    }                                                                                                               \
    break

static inline void load_labels(const void *labels, int kind, int64_t offset, int64_t n, int32_t *restrict out) {
    switch (kind) {
    case LABEL_U8: MEDLOSS_COPY_LABELS(uint8_t);
    case LABEL_I8: MEDLOSS_COPY_LABELS(int8_t);
    case LABEL_I16: MEDLOSS_COPY_LABELS(int16_t);
    case LABEL_I32: MEDLOSS_COPY_LABELS(int32_t);
    case LABEL_I64: MEDLOSS_COPY_LONG_LABELS;
    case LABEL_F32: MEDLOSS_COPY_REAL_LABELS(float);
    default: MEDLOSS_COPY_REAL_LABELS(double);
    }
}

/* Asks for labels that are soon to be loaded; beyond the tensor's end nothing happens. */
static inline void fetch_labels(const void *labels, int kind, int64_t offset, int64_t n) {
    static const int64_t bytes[] = {1, 1, 2, 4, 8, 4, 8};
    const char *from = (const char *)labels + offset * bytes[kind];
    for (int64_t at = 0; at < n * bytes[kind]; at += 64) __builtin_prefetch(from + at);
}

/* Weight zero where the label is the ignored one; compared in the label's own type, so that -1 or -100 can be ignored. */
#define MEDLOSS_DROP_IGNORED(type, T)                                                                               \
    {                                                                                                               \
        const type *from = (const type *)labels + offset;                                                           \
        for (int64_t i = 0; i < n; ++i) keep[i] = (T)from[i] == (T)ignore ? 0 : keep[i];                            \
    }                                                                                                               \
    break

static inline void drop_ignored(const void *labels, int kind, int64_t offset, int64_t n, int64_t ignore,
                                uint8_t *restrict keep) {
    switch (kind) {
    case LABEL_U8: MEDLOSS_DROP_IGNORED(uint8_t, int64_t);
    case LABEL_I8: MEDLOSS_DROP_IGNORED(int8_t, int64_t);
    case LABEL_I16: MEDLOSS_DROP_IGNORED(int16_t, int64_t);
    case LABEL_I32: MEDLOSS_DROP_IGNORED(int32_t, int64_t);
    case LABEL_I64: MEDLOSS_DROP_IGNORED(int64_t, int64_t);
    case LABEL_F32: MEDLOSS_DROP_IGNORED(float, float);
    default: MEDLOSS_DROP_IGNORED(double, double);
    }
}

/* exp in float: 2^n times a polynomial on [-ln2/2, ln2/2] (minimax of the relative error, 1e-7, and 1 at 0). Below -87
 * it gives 0, above 88 something beyond 1e38, and NaN stays: it fails the comparison and passes the polynomial. */
static inline float exp_f32(float x) {
    const float magic = 12583039.0f; /* 1.5 * 2^23 + 127: adding it rounds to n, and the last bits hold n + 127 */
    union { float f; int32_t i; uint32_t u; } power = {.f = x * 1.44269504f + magic};
    power.i = power.i < 0x4b4000fe ? power.i : 0x4b4000fe; /* n at most 127; a large x meets a large polynomial */
    float n = power.f - magic;
    float r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
    float q = 8.290284047e-3f;
    q = q * r + 4.189815940e-2f;
    q = q * r + 1.666763796e-1f;
    q = q * r + 4.999914785e-1f;
    q = q * r + 9.999997063e-1f;
    q = q * r + 1.0f;
    power.u <<= 23;
    return x < -87.0f ? 0.0f : q * power.f;
}

/* log(1 + e) for e in [0, 1]: twice the area tangent of e / (2 + e), which keeps tiny e. */
static inline float log1p_unit_f32(float e) {
    float u = e / (2.0f + e), s = u * u;
    float q = 1.0f / 15.0f;
    q = q * s + 1.0f / 13.0f;
    q = q * s + 1.0f / 11.0f;
    q = q * s + 1.0f / 9.0f;
    q = q * s + 1.0f / 7.0f;
    q = q * s + 1.0f / 5.0f;
    q = q * s + 1.0f / 3.0f;
    q = q * s + 1.0f;
    return 2.0f * u * q;
}

/* log of a number of at least one: exponent plus log1p of the mantissa's rest. */
static inline float log_from_one_f32(float x) {
    union { float f; uint32_t i; } bits = {.f = x};
    float exponent = (float)((int32_t)(bits.i >> 23) - 127);
    bits.i = (bits.i & 0x007fffffu) | 0x3f800000u;
    float value = exponent * 0.693147181f + log1p_unit_f32(bits.f - 1.0f);
    return x < 3.0e38f ? value : x; /* NaN and Inf stay */
}

/* Half precision. A tile is widened on loading and rounded to nearest even on storing; NaN and Inf stay. */
enum { REAL_OWN = 0, REAL_BF16 = 1, REAL_F16 = 2 };

static inline float from_bf16(uint16_t h) {
    union { uint32_t u; float f; } bits = {.u = (uint32_t)h << 16};
    return bits.f;
}

static inline uint16_t to_bf16(float x) {
    union { float f; uint32_t u; } bits = {.f = x};
    uint32_t rounded = (bits.u + 0x7fffu + ((bits.u >> 16) & 1u)) >> 16;
    return (uint16_t)(x == x ? rounded : 0x7fc0u);
}

static inline float from_f16(uint16_t h) {
    union { uint32_t u; float f; } bits = {.u = (uint32_t)(h & 0x7fffu) << 13};
    bits.f *= 5.192296858534828e33f; /* 2^112: the difference of the exponents' biases, right for denormals too */
    bits.u |= (h & 0x7c00u) == 0x7c00u ? 0x7f800000u : 0;
    bits.u |= (uint32_t)(h & 0x8000u) << 16;
    return bits.f;
}

static inline uint16_t to_f16(float x) {
    union { float f; uint32_t u; } bits = {.f = x}, small;
    uint32_t sign = bits.u & 0x80000000u;
    bits.u ^= sign;
    small.f = bits.f + 0.5f; /* aligns a denormal's digits with the end of the mantissa */
    uint32_t normal = (bits.u + 0xc8000fffu + ((bits.u >> 13) & 1u)) >> 13;
    uint32_t special = bits.u > 0x7f800000u ? 0x7e00u : 0x7c00u;
    uint32_t found = bits.u >= 0x47800000u ? special : bits.u < 0x38800000u ? small.u - 0x3f000000u : normal;
    return (uint16_t)(found | (sign >> 16));
}

/* Large results in large pages, where the system lets a process ask: half of the time of a fresh gradient goes into
 * faulting its small ones. */
static inline void prefer_huge_pages(void *start, size_t bytes) {
#if defined(__linux__) && defined(MADV_HUGEPAGE)
    const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), huge = (uintptr_t)1 << 21;
    if (bytes < 4 * huge) return;
    uintptr_t first = ((uintptr_t)start + page - 1) / page * page, last = ((uintptr_t)start + bytes) / page * page;
    (void)madvise((void *)first, last - first, MADV_HUGEPAGE); /* a hint: a refusal costs nothing */
#else
    (void)start;
    (void)bytes;
#endif
}

enum { STREAMED = 1 << 23 }; /* bytes of a result that no cache holds until it is read */

/* A copy past the caches, for results too large to be found there again: a plain store would first read what it
 * overwrites. A thread that has streamed calls `streamed` before others look. */
static inline void stream_copy(void *restrict to, const void *restrict from, size_t bytes) {
#ifdef __AVX__
    char *out = (char *)to;
    const char *in = (const char *)from;
    size_t at = (32 - (uintptr_t)out % 32) % 32;
    if (at > bytes) at = bytes;
    memcpy(out, in, at);
    for (; at + 32 <= bytes; at += 32)
        _mm256_stream_si256((__m256i *)(out + at), _mm256_loadu_si256((const __m256i *)(in + at)));
    memcpy(out + at, in + at, bytes - at);
#else
    memcpy(to, from, bytes);
#endif
}

static inline void streamed(void) {
#ifdef __AVX__
    _mm_sfence();
#endif
}

static inline double exp_f64(double x) { return exp(x); }
static inline double log1p_unit_f64(double e) { return log1p(e); }
static inline double log_from_one_f64(double x) { return log(x); }

#endif
