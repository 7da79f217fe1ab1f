/* What region_sums counts, and the terms that ask for it. Written by docs/columns.py; do not edit. */
#pragma once

namespace {

enum {
    OVERLAP = 0, /* w p t */
    INPUT = 1, /* w p */
    TARGET = 2, /* w t */
    VOXELS = 3, /* w */
    INPUT_SQUARES = 4, /* w p p */
    TARGET_SQUARES = 5, /* w t t */
    SURPLUS = 6, /* w max(p - t, 0) */
    NLL_TRUE = 7, /* w t (-log p) */
    NLL_FALSE = 8, /* w (1 - t) (-log(1 - p)), sigmoid only */
    NLL_ALL = 9, /* w (-log p) */
    FOCAL_TRUE = 10, /* w t (1 - q)^gamma (-log p) */
    FOCAL_FALSE = 11, /* w (1 - t) (1 - q)^gamma (-log(1 - p)), sigmoid only */
    FALSE_POSITIVE = 12, /* w p (1 - t) */
    FALSE_NEGATIVE = 13, /* w (1 - p) t */
    TRUE_NEGATIVE = 14, /* w (1 - p) (1 - t) */
    COMMON = 15, /* w min(p, t) */
    LACK = 16, /* w max(t - p, 0) */
    SQUARED_ERROR = 17, /* w (p - t)^2 */
    COLUMNS = 18,
};
enum {
    SQUARES = 1, /* squares of both, and of the difference */
    DIFFERENCE = 2, /* minimum, and difference by its sign */
    LIKELIHOOD = 4,
    UNIFORM = 8,
    FOCAL = 16,
    ERRORS = 32, /* false positives and false negatives */
    NEGATIVES = 64, /* true negatives */
};

} // namespace
