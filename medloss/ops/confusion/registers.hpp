/* Columns of up to 16 floats, looked up by label in two registers: no compiler finds this by itself. Labels are those
 * of the table, whose first entry is that of no class; rows reach to a multiple of sixteen voxels.
 */
namespace {

#ifdef __AVX2__
enum { BY_REGISTERS = 1 };

inline __m256 looked_up(const float *table, __m256i at) {
    const __m256 low = _mm256_permutevar8x32_ps(_mm256_loadu_ps(table), at);
    const __m256 high = _mm256_permutevar8x32_ps(_mm256_loadu_ps(table + 8), at);
    return _mm256_blendv_ps(low, high, _mm256_castsi256_ps(_mm256_slli_epi32(at, 28)));
}

/* Sum over the classes of p times the class's column. */
inline void sum_looked_up(const float *tables, int64_t width, const int32_t *label, const float *p, int64_t step,
                          int64_t classes, int64_t n, float *total) {
    for (int64_t i = 0; i < n; i += 16) {
        const __m256i one = _mm256_loadu_si256((const __m256i *)(label + i));
        const __m256i two = _mm256_loadu_si256((const __m256i *)(label + i + 8));
        __m256 a = _mm256_setzero_ps(), b = a;
        for (int64_t c = 0; c < classes; ++c) {
            const float *row = p + c * step + i, *table = tables + c * width;
            a = _mm256_add_ps(a, _mm256_mul_ps(_mm256_loadu_ps(row), looked_up(table, one)));
            b = _mm256_add_ps(b, _mm256_mul_ps(_mm256_loadu_ps(row + 8), looked_up(table, two)));
        }
        _mm256_storeu_ps(total + i, a);
        _mm256_storeu_ps(total + i + 8, b);
    }
}

/* scale p (column - total). */
inline void slope_looked_up(const float *table, const int32_t *label, const float *p, const float *scale,
                            const float *total, int64_t n, float *out) {
    for (int64_t i = 0; i < n; i += 8) {
        const __m256 s = looked_up(table, _mm256_loadu_si256((const __m256i *)(label + i)));
        const __m256 share = _mm256_mul_ps(_mm256_loadu_ps(scale + i), _mm256_loadu_ps(p + i));
        _mm256_storeu_ps(out + i, _mm256_mul_ps(share, _mm256_sub_ps(s, _mm256_loadu_ps(total + i))));
    }
}
#else
enum { BY_REGISTERS = 0 };

inline void sum_looked_up(const float *tables, int64_t width, const int32_t *label, const float *p, int64_t step,
                          int64_t classes, int64_t n, float *total) {
    memset(total, 0, sizeof(float) * (size_t)n);
    for (int64_t c = 0; c < classes; ++c)
        for (int64_t i = 0; i < n; ++i) total[i] += p[c * step + i] * tables[c * width + label[i]];
}

inline void slope_looked_up(const float *table, const int32_t *label, const float *p, const float *scale,
                            const float *total, int64_t n, float *out) {
    for (int64_t i = 0; i < n; ++i) out[i] = scale[i] * p[i] * (table[label[i]] - total[i]);
}
#endif

} // namespace
