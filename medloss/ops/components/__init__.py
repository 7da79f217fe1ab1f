"""``components``: the connected components of a binary volume, numbered."""

from __future__ import annotations

import torch
from torch import Tensor

from medloss.ops.components import reference
from medloss.ops.components.cpu import NativeComponents
from medloss.ops.components.triton_launch import TritonComponents
from medloss.ops.operator import Operator

__all__ = ["components"]


def _fake(args: reference.Arguments) -> Tensor:
    return args.mask.new_empty(args.mask.shape, dtype=torch.int64)


OPERATOR = Operator(
    "components", reference.Arguments, reference.components, _fake, (NativeComponents(), TritonComponents())
)


def components(mask: Tensor, connectivity: int | None = None) -> Tensor:
    """Number the connected components of every sample and channel.

    Args:
        mask: bool, B C [spatial], any number of spatial axes.
        connectivity: along how many axes at once a step to a neighbour may go: 1 for faces alone, None for all
            (3 in a volume: faces, edges and corners).

    Returns:
        int64, B C [spatial]: 0 outside the mask, and 1, 2, ... for the components, in the order of their first voxels
        in the flattened volume (as ``scipy.ndimage.label`` numbers them). No gradient.

    >>> import torch
    >>> components(torch.tensor([[[True, True, False, True]]]))
    tensor([[[1, 1, 0, 2]]])
    """
    axes = mask.ndim - 2
    return OPERATOR(mask.detach(), axes if connectivity is None else min(int(connectivity), axes))
