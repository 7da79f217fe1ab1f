"""``soft_morphology``: skeletons, boundaries and erosions of maps of probabilities, and their sums.

Everywhere a voxel of weight zero lies beyond the border: it wins in no pool, counts in no mean, and gives 0. Where
several voxels of a window are equally large (or small), one of them has the whole gradient.
"""

from __future__ import annotations

from torch import Tensor

from medloss.ops.masking import accumulation_dtype
from medloss.ops.operator import Operator
from medloss.ops.soft_morphology import reference
from medloss.ops.soft_morphology.cpu import (
    NativeBoundarySums,
    NativeErosions,
    NativeMaxPool,
    NativeSkeleton,
    NativeSkeletonSums,
)
from medloss.ops.soft_morphology.erosion_triton_launch import TritonErosions
from medloss.ops.soft_morphology.pool_triton_launch import TritonBoundarySums, TritonMaxPool
from medloss.ops.soft_morphology.reference import (
    Arguments,
    BoundarySumsArguments,
    ErosionArguments,
    PoolArguments,
    SkeletonArguments,
    SkeletonSumsArguments,
)
from medloss.ops.soft_morphology.triton_launch import TritonSkeleton, TritonSkeletonSums

__all__ = ["boundary_sums", "erosion_hausdorff", "max_pool", "skeleton_sums", "soft_skeleton"]


def _fake_map(args: Arguments) -> Tensor:
    map = reference.maps_of(args)[0]
    return map.new_empty(map.shape, dtype=accumulation_dtype(map))


def _fake_sums(args: Arguments) -> Tensor:
    map = reference.maps_of(args)[0]
    return map.new_empty((*map.shape[:2], 4), dtype=accumulation_dtype(map))


SOFT_SKELETON = Operator(
    "soft_skeleton", SkeletonArguments, reference.soft_skeleton, _fake_map, (NativeSkeleton(), TritonSkeleton())
)
MAX_POOL = Operator("max_pool", PoolArguments, reference.max_pool, _fake_map, (NativeMaxPool(), TritonMaxPool()))
SKELETON_SUMS = Operator(
    "skeleton_sums",
    SkeletonSumsArguments,
    reference.skeleton_sums,
    _fake_sums,
    (NativeSkeletonSums(), TritonSkeletonSums()),
)
BOUNDARY_SUMS = Operator(
    "boundary_sums",
    BoundarySumsArguments,
    reference.boundary_sums,
    _fake_sums,
    (NativeBoundarySums(), TritonBoundarySums()),
)
EROSION_HAUSDORFF = Operator(
    "erosion_hausdorff",
    ErosionArguments,
    reference.erosion_hausdorff,
    _fake_map,
    (NativeErosions(), TritonErosions()),
)


def soft_skeleton(map: Tensor, mask: Tensor | None = None, *, iterations: int) -> Tensor:
    r"""The soft skeleton: what opening takes off a map, and off its erosions.

    With the erosion e (least of a voxel and its neighbours along the axes) and the dilation d (largest in a box of 3),
    :math:`r_j = \max(e^j(x) - d(e^{j+1}(x)), 0)`, joined as :math:`s \leftarrow s + \max(r_j - s r_j, 0)`.

    Args:
        map: probabilities, B C [spatial], any floating dtype.
        mask: weight of each voxel, B 1 [spatial] or B C [spatial]; a zero lies beyond the border.
        iterations: how often the map is eroded, at least the largest radius in voxels.

    Returns:
        B C [spatial]; float64 for double input and float32 otherwise.
    """
    return SOFT_SKELETON(map, mask, iterations)


def max_pool(map: Tensor, mask: Tensor | None = None, *, size: int) -> Tensor:
    """The largest value in the box around each voxel.

    Args:
        map: B C [spatial], any floating dtype.
        mask: weight of each voxel, B 1 [spatial] or B C [spatial]; a zero lies beyond the border.
        size: odd length of the box along each axis, in voxels.

    Returns:
        B C [spatial]; float64 for double input and float32 otherwise.
    """
    return MAX_POOL(map, mask, _odd("size", size))


def skeleton_sums(input: Tensor, target: Tensor, mask: Tensor | None = None, *, iterations: int) -> Tensor:
    r"""How much of each one's soft skeleton lies in the other.

    Args:
        input: probabilities p, B C [spatial], any floating dtype.
        target: memberships t, B C [spatial].
        mask: weight w of each voxel, B 1 [spatial] or B C [spatial]; a zero lies beyond the border.
        iterations: see :func:`soft_skeleton`, written s here.

    Returns:
        B C 4: :math:`\sum w s(p) t, \sum w s(p), \sum w s(t) p, \sum w s(t)`; float64 for double input and float32
        otherwise.
    """
    return SKELETON_SUMS(input, target, mask, iterations)


def boundary_sums(input: Tensor, target: Tensor, mask: Tensor | None = None, *, inner: int, outer: int) -> Tensor:
    r"""How much of each one's boundary lies near the other's.

    The boundary b(x) is what erosion by a box of ``inner`` takes off x; b'(x) is its dilation by one of ``outer``.

    Args:
        input: probabilities p, B C [spatial], any floating dtype.
        target: memberships t, B C [spatial].
        mask: weight w of each voxel, B 1 [spatial] or B C [spatial]; a zero lies beyond the border.
        inner, outer: odd lengths in voxels.

    Returns:
        B C 4: :math:`\sum w b(p) b'(t), \sum w b(p), \sum w b(t) b'(p), \sum w b(t)`; float64 for double input and
        float32 otherwise.
    """
    return BOUNDARY_SUMS(input, target, mask, _odd("inner", inner), _odd("outer", outer))


def erosion_hausdorff(input: Tensor, target: Tensor, mask: Tensor | None = None, *, alpha: float, k: int) -> Tensor:
    r"""Errors that outlive erosions, the longer the dearer: :math:`\sum_{j=1}^k j^\alpha q_j`.

    :math:`q_0 = (p - t)^2`, and :math:`q_j` is the mean of :math:`q_{j-1}` over each voxel and its neighbours along the
    axes (zeros beyond the border), less one half, at least 0, then scaled to run from 0 to 1 over the voxels of a
    sample and class; a constant map stays as it is.

    Args:
        input: probabilities p, B C [spatial], any floating dtype.
        target: memberships t, B C [spatial].
        mask: weight of each voxel, B 1 [spatial] or B C [spatial]; a zero lies beyond the border.
        alpha: the exponent.
        k: the number of erosions.

    Returns:
        B C [spatial], not weighted; float64 for double input and float32 otherwise.
    """
    return EROSION_HAUSDORFF(input, target, mask, float(alpha), k)


def _odd(name: str, size: int) -> int:
    if size < 1 or size % 2 == 0:
        raise ValueError(f"{name}={size} must be an odd number of voxels")
    return size
