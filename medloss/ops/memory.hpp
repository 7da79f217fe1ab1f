/* Room for numbers, and results too large for the caches. */
#ifndef MEDLOSS_MEMORY_HPP
#define MEDLOSS_MEMORY_HPP

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

namespace {

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

/* Large results in large pages, where the system lets a process ask: half of the time of a fresh gradient goes into
 * faulting its small ones. */
inline void prefer_huge_pages(void *start, size_t bytes) {
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
inline void stream_copy(void *__restrict to, const void *__restrict from, size_t bytes) {
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

inline void streamed() {
#ifdef __AVX__
    _mm_sfence();
#endif
}

} // namespace

#endif
