/* region_sums on the CPU: softmax or sigmoid, overlap sums and likelihoods in one sweep, and the gradient in another.
 *
 * The volume is cut into tiles whose classes fit a near cache; a tile's logits are read once, its activation lives in
 * scratch. Tiles are grouped into blocks of fixed size, each with its own row of partial sums in double, added in order
 * at the end: the result depends neither on the number of threads nor on their timing.
 */
#include "../native.h"

enum { OVERLAP, INPUT, TARGET, VOXELS, INPUT_SQUARES, TARGET_SQUARES, SURPLUS, NLL_TRUE, NLL_FALSE, NLL_ALL,
       FOCAL_TRUE, FOCAL_FALSE, FALSE_POSITIVE, FALSE_NEGATIVE, TRUE_NEGATIVE, COMMON, LACK, SQUARED_ERROR, COLUMNS };
enum { SQUARES = 1, WITH_DIFFERENCE = 2, LIKELIHOOD = 4, UNIFORM = 8, FOCAL = 16, ERRORS = 32, NEGATIVES = 64 };
enum { NONE, SIGMOID, SOFTMAX };
enum { BASE, OWN, YES, ALL, SQUARE, FOCAL_SLOPE, OFF, CURVE, PER_CLASS = 8 }; /* of the gradient with labels */
enum { LANES = 4, PER_LANE = 8 };
enum { BLOCK = 16384 };

#define REAL float
#define SUFFIX f32
#define EXP exp_f32
#define LOG1P log1p_unit_f32
#define LOG log_from_one_f32
#include "sweep.h"
#undef REAL
#undef SUFFIX
#undef EXP
#undef LOG1P
#undef LOG
#define REAL double
#define SUFFIX f64
#define EXP exp_f64
#define LOG1P log1p_unit_f64
#define LOG log_from_one_f64
#include "sweep.h"
