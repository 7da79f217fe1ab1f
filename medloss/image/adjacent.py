"""What the losses of an image's differences between neighbouring voxels share: spacing, and what counts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from medloss import checks
from medloss.base import ImageLoss
from medloss.ops import adjacent_differences
from medloss.ops.masking import present
from medloss.reduction import mass, reduce


class AdjacentLoss(ImageLoss):
    """A loss of differences between neighbours, of which a mask must hold both.

    Args:
        spacing: size of a voxel along each axis (one number for all); differences are per unit of it.
    """

    spacing: Sequence[float] | float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.voxel_sizes(self.spacing, None)

    def _costs(self, input: Tensor, target: Tensor | None, mask: Tensor | None, **options: Any) -> Tensor:
        """The reduced loss from the operator's value of each sample and channel."""
        sizes = checks.voxel_sizes(self.spacing, input.ndim - 2)
        values = adjacent_differences(input, target, mask, axis_scale=[1 / size for size in sizes], **options)
        return reduce(values, self.reduction, present(mass(mask, input.shape, values)))
