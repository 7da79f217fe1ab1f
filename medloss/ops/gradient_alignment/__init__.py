"""``gradient_alignment``: whether the edges of two images run alike, wherever they are bright or dark."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from medloss.ops.gradient_alignment import reference
from medloss.ops.gradient_alignment.cpu import NativeGradientAlignment
from medloss.ops.gradient_alignment.triton_launch import TritonGradientAlignment
from medloss.ops.masking import accumulation_dtype
from medloss.ops.operator import Operator

__all__ = ["gradient_alignment"]


def _fake(args: reference.Arguments) -> Tensor:
    input = args.input
    return input.new_empty(input.shape[:2] if args.reduce else input.shape, dtype=accumulation_dtype(input))


OPERATOR = Operator(
    "gradient_alignment",
    reference.Arguments,
    reference.gradient_alignment,
    _fake,
    (NativeGradientAlignment(), TritonGradientAlignment()),
)


def gradient_alignment(
    input: Tensor,
    target: Tensor,
    mask: Tensor | None = None,
    *,
    axis_scale: Sequence[float],
    edge: float,
    relative: bool = True,
    reduce: bool = False,
) -> Tensor:
    r"""One minus the squared cosine between the gradients of two images at every voxel.

    .. math:: 1 - \frac{\langle \nabla x, \nabla y \rangle^2}
        {(|\nabla x|^2 + \epsilon_x^2)(|\nabla y|^2 + \epsilon_y^2)}

    Args:
        input: image, B C [spatial], any floating dtype.
        target: image, B C [spatial].
        mask: weight of each voxel, at least 0, B 1 [spatial] or B C [spatial]. The result is weighted, and nothing
            under a zero is looked at: a voxel at the edge of the mask, or of the image, is compared with the neighbours
            that it has.
        axis_scale: factor on the derivative along each axis, one over the voxel's size.
        edge: epsilon, below which a gradient is noise.
        relative: whether epsilon counts in root mean squares of the gradient of each image, sample and channel.
        reduce: sum over the voxels.

    Returns:
        B C [spatial], or B C with ``reduce``; float64 for double input and float32 otherwise.
    """
    scale = [float(factor) for factor in axis_scale]
    return OPERATOR(input, target, mask, scale, float(edge), relative, reduce)
