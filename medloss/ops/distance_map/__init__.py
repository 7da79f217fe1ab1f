"""``distance_map``: exact Euclidean distance to a set of voxels, and which of them is the nearest.

No gradient flows through either: a distance changes by jumps where a voxel enters or leaves the set.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from medloss.ops.distance_map import reference
from medloss.ops.distance_map.cpu import LONGEST_SEARCH, NativeBorderDistance, NativeDistanceMap, NativeNearestSource
from medloss.ops.distance_map.triton_launch import TritonBorderDistance, TritonDistanceMap, TritonNearestSource
from medloss.ops.operator import Operator

__all__ = ["border_distance", "distance_map", "nearest_source", "signed_distance"]


def _fake(args: reference.DistanceArguments) -> Tensor:
    return args.sources.new_empty(args.sources.shape, dtype=args.dtype)


def _fake_border(args: reference.BorderArguments) -> Tensor:
    return args.inside.new_empty(args.inside.shape, dtype=args.dtype)


def _fake_nearest(args: reference.NearestArguments) -> Tensor:
    return args.sources.new_empty(args.sources.shape, dtype=torch.int64)


OPERATOR = Operator(
    "distance_map",
    reference.DistanceArguments,
    reference.distance_map,
    _fake,
    (NativeDistanceMap(), TritonDistanceMap()),
)
BORDER = Operator(
    "border_distance",
    reference.BorderArguments,
    reference.border_distance,
    _fake_border,
    (NativeBorderDistance(), TritonBorderDistance()),
)
NEAREST = Operator(
    "nearest_source",
    reference.NearestArguments,
    reference.nearest_source,
    _fake_nearest,
    (NativeNearestSource(), TritonNearestSource()),
)


def distance_map(sources: Tensor, spacing: Sequence[float] | None = None, dtype: torch.dtype = torch.float32) -> Tensor:
    """The exact Euclidean distance of every voxel to the nearest source of its sample and channel.

    Args:
        sources: bool, B C [spatial], any number of spatial axes. Sources are at distance 0.
        spacing: size of a voxel along each axis, above 0; 1 along all without it.
        dtype: of the result, float32 or float64. The transform computes in float64 either way.

    Returns:
        B C [spatial], in the unit of the spacing. Where a channel has no source at all the distance is **0**, not
        infinite: that is what the distance losses define for empty and full classes, and zeros make no NaN.

    >>> import torch
    >>> distance_map(torch.tensor([[[False, True, False, False]]]), [2.0])
    tensor([[[2., 0., 2., 4.]]])
    """
    return OPERATOR(sources.detach(), _sizes(sources, spacing), dtype)


def nearest_source(sources: Tensor, spacing: Sequence[float] | None = None) -> Tensor:
    """Which source is nearest to every voxel: its index in the flattened spatial axes.

    Args:
        sources: bool, B C [spatial].
        spacing: as in :func:`distance_map`.

    Returns:
        int64, B C [spatial]. Among sources at one distance it is that of the lowest index (of two distances that only
        rounding tells apart, either). -1 where a channel has no source.

    >>> import torch
    >>> nearest_source(torch.tensor([[[False, True, False, True]]]))
    tensor([[[1, 1, 1, 3]]])
    """
    return NEAREST(sources.detach(), _sizes(sources, spacing))


def border_distance(
    inside: Tensor,
    valid: Tensor | None = None,
    spacing: Sequence[float] | None = None,
    dtype: torch.dtype = torch.float32,
    *,
    squared: bool = False,
) -> Tensor:
    """The distance of every voxel to the nearest valid one on the other side of the border of ``inside``.

    Args:
        inside: bool, B C [spatial].
        valid: bool, B 1 or B C [spatial]; voxels that are not are on neither side, and at distance 0.
        spacing: as in :func:`distance_map`.
        dtype: as in :func:`distance_map`.
        squared: give the square of the distance, which is what is computed.

    Returns:
        B C [spatial]; 0 where there is nothing on the other side, as for empty and full regions.
    """
    return _of_border(inside, valid, spacing, dtype, "square" if squared else "distance")


def signed_distance(
    inside: Tensor,
    valid: Tensor | None = None,
    spacing: Sequence[float] | None = None,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """The distance to the border of ``inside``, negative inside, and 0 on the inner side of the border.

    Outside it is the distance to the nearest voxel inside. Inside it is that to the nearest voxel outside, less one
    voxel, negated; a voxel's size is here the smallest spacing, so that the map is never positive inside.

    Args and result: as in :func:`border_distance`.

    >>> import torch
    >>> signed_distance(torch.tensor([[[False, False, True, True, True, False]]]))
    tensor([[[ 2.,  1.,  0., -1.,  0.,  1.]]])
    """
    return _of_border(inside, valid, spacing, dtype, "signed")


def _of_border(
    inside: Tensor, valid: Tensor | None, spacing: Sequence[float] | None, dtype: torch.dtype, kind: str
) -> Tensor:
    inside, sizes = inside.detach(), _sizes(inside, spacing)
    if valid is None and all(size <= LONGEST_SEARCH for size in inside.shape[3:]):
        return BORDER(inside, sizes, dtype, kind)
    pair = [inside, ~inside] if valid is None else [inside & valid, ~inside & valid]
    to_inside, to_outside = distance_map(torch.cat(pair, 1), spacing, dtype).chunk(2, 1)
    distance = torch.where(inside, to_outside, to_inside)
    distance = distance if valid is None else torch.where(valid, distance, 0.0)
    return reference.of_kind(distance, inside, sizes, kind)


def _sizes(sources: Tensor, spacing: Sequence[float] | None) -> list[float]:
    return [1.0] * (sources.ndim - 2) if spacing is None else [float(size) for size in spacing]
