/* power_sums on the CPU: powers of each voxel's error, and what region_sums knows beside them, in one sweep; and the
 * gradient in another. A tile's logits are read once, and no map is made.
 *
 * A volume is cut into blocks of fixed size, each with sums of its own in double, added in order: the result does not
 * depend on the number of threads.
 */
#include "../native.h"

/* Columns as region_sums numbers them; the powers stand behind. */
enum { OVERLAP, INPUT, TARGET, VOXELS, INPUT_SQUARES, TARGET_SQUARES, FALSE_POSITIVE = 12, FALSE_NEGATIVE,
       REGION_COLUMNS = 18, TRUE_POWERS = 18, FALSE_POWERS, COLUMNS };
enum { BLOCK = 16384, LANES = 4 };

#define REAL float
#define SUFFIX f32
#define EXP exp_f32
#define LOG log_from_one_f32
#define LOG1P log1p_unit_f32
#include "sweep.h"
#undef REAL
#undef SUFFIX
#undef EXP
#undef LOG
#undef LOG1P
#define REAL double
#define SUFFIX f64
#define EXP exp_f64
#define LOG log_from_one_f64
#define LOG1P log1p_unit_f64
#include "sweep.h"
