"""The names of what ``region_sums`` counts; the order is that of the C and Triton kernels."""

from __future__ import annotations

from enum import IntEnum, IntFlag


class Column(IntEnum):
    """The last axis of the operator's result. Sums run over the voxels of one sample, each with its weight w."""

    OVERLAP = 0  # w p t
    INPUT = 1  # w p
    TARGET = 2  # w t
    VOXELS = 3  # w
    INPUT_SQUARES = 4  # w p p
    TARGET_SQUARES = 5  # w t t
    DIFFERENCE = 6  # w |p - t|
    NLL_TRUE = 7  # w t (-log p)
    NLL_FALSE = 8  # w (1 - t) (-log(1 - p)), sigmoid only
    NLL_ALL = 9  # w (-log p)
    FOCAL_TRUE = 10  # w t (1 - q)^gamma (-log p)
    FOCAL_FALSE = 11  # w (1 - t) (1 - q)^gamma (-log(1 - p)), sigmoid only


COLUMNS = len(Column)


class Terms(IntFlag):
    """The groups of columns beyond the first four that a loss asks for; the others stay zero."""

    NONE = 0
    SQUARES = 1
    DIFFERENCE = 2
    LIKELIHOOD = 4
    UNIFORM = 8
    FOCAL = 16
