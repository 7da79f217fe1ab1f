/* Labels of any type, as int32, and which of them are ignored. */
#ifndef MEDLOSS_LABELS_HPP
#define MEDLOSS_LABELS_HPP

#include <stdint.h>

namespace {

/* Codes of the label types, as in medloss/ops/native.py. */
enum { LABEL_U8 = 0, LABEL_I8 = 1, LABEL_I16 = 2, LABEL_I32 = 3, LABEL_I64 = 4, LABEL_F32 = 5, LABEL_F64 = 6 };

/* `use(from)` with the labels from `offset` on as what they are. */
template <typename Use>
inline void with_labels(const void *labels, int kind, int64_t offset, Use use) {
    switch (kind) {
    case LABEL_U8: return use((const uint8_t *)labels + offset);
    case LABEL_I8: return use((const int8_t *)labels + offset);
    case LABEL_I16: return use((const int16_t *)labels + offset);
    case LABEL_I32: return use((const int32_t *)labels + offset);
    case LABEL_I64: return use((const int64_t *)labels + offset);
    case LABEL_F32: return use((const float *)labels + offset);
    default: return use((const double *)labels + offset);
    }
}

/* A label as int32. What does not fit or is no whole number becomes -1, which is no class. */
template <typename Label>
inline int32_t to_class(Label label) {
    const int32_t whole = label >= 0 && label <= 0x7ffffff ? (int32_t)label : -1;
    return (Label)0.5 == 0 || (Label)whole == label ? whole : -1; /* a whole number's type needs no check */
}

/* The commonest labels without comparisons of 64 bits, which are slow: what has upper bits is no class. */
inline int32_t to_class(int64_t label) {
    const uint32_t low = (uint32_t)label, high = (uint32_t)((uint64_t)label >> 32);
    return high == 0 && low <= 0x7ffffff ? (int32_t)low : -1;
}

/* Labels of a tile as int32. */
inline void load_labels(const void *labels, int kind, int64_t offset, int64_t n, int32_t *out) {
    with_labels(labels, kind, offset, [=](const auto *__restrict from) {
        int32_t *__restrict to = out;
        for (int64_t i = 0; i < n; ++i) to[i] = to_class(from[i]);
    });
}

/* Asks for labels that are soon to be loaded; beyond the tensor's end nothing happens. */
inline void fetch_labels(const void *labels, int kind, int64_t offset, int64_t n) {
    with_labels(labels, kind, offset, [=](const auto *from) {
        for (int64_t at = 0; at < n * (int64_t)sizeof *from; at += 64) __builtin_prefetch((const char *)from + at);
    });
}

/* An ignored label as a label's own type has it: real numbers are compared as such, whole ones as int64. */
template <typename Label>
inline bool is_label(Label label, int64_t wanted) {
    return (int64_t)label == wanted;
}
inline bool is_label(float label, int64_t wanted) { return label == (float)wanted; }
inline bool is_label(double label, int64_t wanted) { return label == (double)wanted; }

/* Weight zero where the label is the ignored one, which may be -1 or -100. */
inline void drop_ignored(const void *labels, int kind, int64_t offset, int64_t n, int64_t ignore,
                         uint8_t *keep) {
    with_labels(labels, kind, offset, [=](const auto *__restrict from) {
        uint8_t *__restrict to = keep;
        for (int64_t i = 0; i < n; ++i) to[i] = is_label(from[i], ignore) ? 0 : to[i];
    });
}

} // namespace

#endif
