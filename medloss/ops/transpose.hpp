/* Channels side by side to rows and back: a transpose in blocks that fit the registers. */
#ifndef MEDLOSS_TRANSPOSE_HPP
#define MEDLOSS_TRANSPOSE_HPP

#include "native.hpp"

namespace {

enum { TRANSPOSED = 8 }; /* numbers along either side of a block */

/* A block: to[c * to_step + r] = from[r * from_step + c]. */
template <typename Real>
inline void transpose_block(const Real *__restrict from, int64_t from_step, Real *__restrict to, int64_t to_step) {
    for (int c = 0; c < TRANSPOSED; ++c)
        for (int r = 0; r < TRANSPOSED; ++r) to[c * to_step + r] = from[r * from_step + c];
}

#ifdef __AVX__
inline void transpose_block(const float *__restrict from, int64_t from_step, float *__restrict to, int64_t to_step) {
    __m256 a[8], b[8];
    for (int i = 0; i < 4; ++i) { /* halves of rows i and i + 4 side by side */
        const __m256 one = _mm256_loadu_ps(from + i * from_step), two = _mm256_loadu_ps(from + (i + 4) * from_step);
        a[i] = _mm256_permute2f128_ps(one, two, 0x20);
        a[i + 4] = _mm256_permute2f128_ps(one, two, 0x31);
    }
    for (int i = 0; i < 8; i += 4) {
        const __m256 low = _mm256_unpacklo_ps(a[i], a[i + 1]), high = _mm256_unpackhi_ps(a[i], a[i + 1]);
        const __m256 low2 = _mm256_unpacklo_ps(a[i + 2], a[i + 3]), high2 = _mm256_unpackhi_ps(a[i + 2], a[i + 3]);
        b[i] = _mm256_shuffle_ps(low, low2, 0x44);
        b[i + 1] = _mm256_shuffle_ps(low, low2, 0xee);
        b[i + 2] = _mm256_shuffle_ps(high, high2, 0x44);
        b[i + 3] = _mm256_shuffle_ps(high, high2, 0xee);
    }
    for (int i = 0; i < 8; ++i) _mm256_storeu_ps(to + i * to_step, b[i]);
}
#endif

/* Few rows or columns: their number is known when this is compiled, and the compiler shuffles registers. */
template <int rows, typename Real>
inline void interleave(const Real *__restrict from, int64_t from_step, int64_t columns, Real *__restrict to) {
    for (int64_t c = 0; c < columns; ++c)
        for (int r = 0; r < rows; ++r) to[c * rows + r] = from[r * from_step + c];
}

template <int columns, typename Real>
inline void split(const Real *__restrict from, int64_t rows, Real *__restrict to, int64_t to_step) {
    for (int64_t r = 0; r < rows; ++r)
        for (int c = 0; c < columns; ++c) to[c * to_step + r] = from[r * columns + c];
}

/* Whether one of the loops above is meant for these sizes, and done. */
template <typename Real>
inline int transpose_few(const Real *from, int64_t from_step, int64_t rows, int64_t columns, Real *to,
                         int64_t to_step) {
    if (to_step == rows && rows == 2) interleave<2>(from, from_step, columns, to);
    else if (to_step == rows && rows == 3) interleave<3>(from, from_step, columns, to);
    else if (to_step == rows && rows == 4) interleave<4>(from, from_step, columns, to);
    else if (from_step == columns && columns == 2) split<2>(from, rows, to, to_step);
    else if (from_step == columns && columns == 3) split<3>(from, rows, to, to_step);
    else if (from_step == columns && columns == 4) split<4>(from, rows, to, to_step);
    else return 0;
    return 1;
}

/* to[c * to_step + r] = from[r * from_step + c]. The last blocks overlap those before them. */
template <typename Real>
void transpose(const Real *from, int64_t from_step, int64_t rows, int64_t columns, Real *to, int64_t to_step) {
    if (transpose_few(from, from_step, rows, columns, to, to_step)) return;
    if (rows < TRANSPOSED || columns < TRANSPOSED) {
        for (int64_t r = 0; r < rows; ++r)
            for (int64_t c = 0; c < columns; ++c) to[c * to_step + r] = from[r * from_step + c];
        return;
    }
    for (int64_t row = 0; row < rows; row += TRANSPOSED)
        for (int64_t column = 0; column < columns; column += TRANSPOSED) {
            const int64_t r = row + TRANSPOSED <= rows ? row : rows - TRANSPOSED;
            const int64_t c = column + TRANSPOSED <= columns ? column : columns - TRANSPOSED;
            transpose_block(from + r * from_step + c, from_step, to + c * to_step + r, to_step);
        }
}

} // namespace

#endif
