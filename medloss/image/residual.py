"""What the losses of a residual share: a penalty of the difference of two images, averaged over the voxels."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from medloss.base import ImageLoss
from medloss.ops import pointwise
from medloss.reduction import voxel_mean


class ResidualLoss(ImageLoss):
    """Mean penalty of the difference of two images over voxels and channels; a subclass names the penalty."""

    @property
    def penalty(self) -> dict[str, Any]:
        """The penalty and its parameters, as ``pointwise`` knows them."""
        raise NotImplementedError

    def forward(self, input: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        """The loss. See the class for shapes and errors."""
        input, target, mask = self._images(input, target, mask)
        if self.reduction == "none":
            return pointwise(input, target, mask, **self.penalty)
        return voxel_mean(
            pointwise(input, target, mask, **self.penalty, reduce=True), mask, input.shape, self.reduction
        )


def above_zero(name: str, value: float) -> None:
    """Raise a ValueError where a number is not above 0 (or infinite)."""
    if not 0 < value < float("inf"):
        raise ValueError(f"{name}={value!r} must be a number above 0")
