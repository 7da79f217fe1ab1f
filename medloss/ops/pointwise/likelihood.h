/* pointwise on the CPU: penalties of the likelihood of labels, and of all logits of a voxel. A sweep for the
 * map, its sum over the classes or over the voxels, and one for the gradient of the logits; no map of
 * probabilities is made.
 *
 * Sums are taken of blocks of fixed size and added in order: the result does not depend on the number of
 * threads. A voxel's value does not depend on where it lies, so that voxels which tie stay tied.
 */

/* Codes of the penalties and of what is handed over for the map, as in cpu.py. */
enum { PLAIN, POLY, POWER, MIXED, MARGIN, REVERSE };
enum { EACH_CLASS, ALL_CLASSES, SUMS };

#define REAL float
#define SUFFIX f32
#define EXP exp_f32
#define EXPM1 expm1_f32
#define LOG log_from_one_f32
#define LOG1P log1p_unit_f32
#include "likelihood_sweep.h"
#undef REAL
#undef SUFFIX
#undef EXP
#undef EXPM1
#undef LOG
#undef LOG1P
#define REAL double
#define SUFFIX f64
#define EXP exp_f64
#define EXPM1 expm1_f64
#define LOG log_from_one_f64
#define LOG1P log1p_unit_f64
#include "likelihood_sweep.h"
