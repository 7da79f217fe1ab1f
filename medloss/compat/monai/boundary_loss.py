"""MONAI's boundary loss."""

from __future__ import annotations

from collections.abc import Callable

import torch

from medloss import checks, segmentation
from medloss.compat.monai.base import LabelDropIn, LossReduction
from medloss.compat.peers import handing_on
from medloss.ops import signed_distance

__getattr__ = handing_on(__name__, "monai.losses.boundary_loss")


class BoundaryLoss(LabelDropIn):
    """``monai.losses.BoundaryLoss`` over :class:`medloss.BoundaryLoss`, of planes and volumes.

    Labels may come without a channel axis; ``"none"`` gives B N, with ``batch`` N.
    """

    def __init__(
        self,
        include_background: bool = True,
        to_onehot_y: bool = False,
        sigmoid: bool = False,
        softmax: bool = False,
        other_act: Callable | None = None,
        reduction: LossReduction | str = "mean",
        batch: bool = False,
    ) -> None:
        super().__init__(reduction)
        self._labels(locals())

    def compute_distance_map(self, target: torch.Tensor) -> torch.Tensor:
        """The signed distance of each class, B N [spatial]: negative inside, 0 without a border."""
        planes_or_volumes(target)
        return signed_distance(target > 0.5).float()

    def forward(self, input: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """The loss."""
        planes_or_volumes(input)
        if self.to_onehot_y and target.ndim == input.ndim - 1:
            target = target.unsqueeze(1)
        values = self._called(self._see(input, target), segmentation.BoundaryLoss)
        return self._reduced(values.mean(0) if self.batch else values)


def planes_or_volumes(input: torch.Tensor) -> None:
    """Raise where there are not two or three spatial axes."""
    if input.ndim not in (4, 5):
        raise checks.ShapeError(f"input has shape {checks.shape(input)}: expected two or three spatial axes")
