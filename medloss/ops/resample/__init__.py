"""``resample``: the values of a volume between its voxels, linearly."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from medloss.ops.masking import accumulation_dtype
from medloss.ops.operator import Operator
from medloss.ops.resample import reference
from medloss.ops.resample.cpu import NativeResample
from medloss.ops.resample.triton_launch import TritonResample

__all__ = ["resample"]


def _fake(args: reference.Arguments) -> Tensor:
    return args.values.new_empty(
        (*args.values.shape[:2], *args.positions.shape[2:]), dtype=accumulation_dtype(args.values)
    )


OPERATOR = Operator("resample", reference.Arguments, reference.resample, _fake, (NativeResample(), TritonResample()))


def resample(values: Tensor, positions: Tensor, *, spacing: Sequence[float] | None = None) -> Tensor:
    """The values at some positions, by linear interpolation along each axis; beyond the border those of the border.

    It is what ``grid_sample`` does with ``align_corners=True`` and ``padding_mode="border"``, with positions in voxels
    and in the order of the array's axes, in 1D too, deterministic on every device, and with second derivatives.

    Args:
        values: B C [spatial] with d spatial axes, any floating dtype.
        positions: in voxels, B d [any axes]; 0 is the centre of the first voxel. With a ``spacing`` a displacement
            field, B d [d axes], which displaces its own voxels.
        spacing: the voxel's size along each axis, in the unit of the field.

    Returns:
        B C [any axes]; float64 for double values and float32 otherwise.
    """
    return OPERATOR(values, positions, None if spacing is None else [float(size) for size in spacing])
