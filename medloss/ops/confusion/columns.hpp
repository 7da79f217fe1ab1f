/* Eight voxels of eight classes turned from rows into columns, so that a voxel's probabilities can be added to the
 * row of its label at once. For float where there are registers of eight. */
namespace {

#ifdef __AVX__
enum { EIGHT = 8, TURNED_CLASSES = 64, TURNED_LABELS = 6 };

inline void turn(const float *rows[EIGHT], int64_t at, __m256 column[EIGHT]) {
    __m256 row[EIGHT], pair[EIGHT], four[EIGHT];
    for (int k = 0; k < EIGHT; ++k) row[k] = _mm256_loadu_ps(rows[k] + at);
    for (int k = 0; k < EIGHT; k += 2) {
        pair[k] = _mm256_unpacklo_ps(row[k], row[k + 1]);
        pair[k + 1] = _mm256_unpackhi_ps(row[k], row[k + 1]);
    }
    for (int k = 0; k < EIGHT; k += 4) {
        four[k] = _mm256_shuffle_ps(pair[k], pair[k + 2], 0x44);
        four[k + 1] = _mm256_shuffle_ps(pair[k], pair[k + 2], 0xEE);
        four[k + 2] = _mm256_shuffle_ps(pair[k + 1], pair[k + 3], 0x44);
        four[k + 3] = _mm256_shuffle_ps(pair[k + 1], pair[k + 3], 0xEE);
    }
    for (int k = 0; k < 4; ++k) {
        column[k] = _mm256_permute2f128_ps(four[k], four[k + 4], 0x20);
        column[k + 4] = _mm256_permute2f128_ps(four[k], four[k + 4], 0x31);
    }
}

/* Adds, for each of `n` voxels (a multiple of eight), `weight` times its column of `p` to the row label + 1 of one of
 * two tables: two, since neighbours mostly have one label, and a sum waits for the sum before it. */
inline void add_columns(const float *p, int64_t step, int64_t classes, const float *zeros, const float *weight,
                        const int32_t *label, int64_t n, float *table, int64_t width, int64_t second) {
    for (int64_t c = 0; c < classes; c += EIGHT) {
        const float *rows[EIGHT];
        for (int64_t k = 0; k < EIGHT; ++k) rows[k] = c + k < classes ? p + (c + k) * step : zeros;
        for (int64_t i = 0; i < n; i += EIGHT) {
            __m256 column[EIGHT];
            turn(rows, i, column);
            for (int64_t k = 0; k < EIGHT; ++k) {
                float *to = table + (k % 2) * second + (label[i + k] + 1) * width + c;
                const __m256 w = _mm256_broadcast_ss(weight + i + k);
                _mm256_storeu_ps(to, _mm256_add_ps(_mm256_loadu_ps(to), _mm256_mul_ps(w, column[k])));
            }
        }
    }
}
#endif

} // namespace
