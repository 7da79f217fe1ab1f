"""The binary cross-entropy of segmentation-models-pytorch."""
# ruff: noqa: UP045 - annotations are part of the signature, the peer's to the letter

from typing import Optional

import torch
from torch import Tensor, nn

from medloss import checks
from medloss.compat.gdl.base import floating
from medloss.ops import pointwise
from medloss.ops.masking import holds


class SoftBCEWithLogitsLoss(nn.Module):
    """``segmentation_models_pytorch.losses.SoftBCEWithLogitsLoss``: the penalty of :class:`medloss.SoftBCELoss`.

    Of tensors of any one shape, to which the weights are broadcast; labels s and 1 - s stand for 0 and 1 with a
    ``smooth_factor`` s. The mean divides by all voxels, the ignored ones too. Any other reduction is none.

    >>> SoftBCEWithLogitsLoss(smooth_factor=0.1)(torch.tensor([1.0986]), torch.ones(1))  # p = 3/4
    tensor(0.3975)
    """

    weight: Tensor | None
    pos_weight: Tensor | None

    def __init__(
        self,
        weight: Optional[torch.Tensor] = None,
        ignore_index: Optional[int] = -100,
        reduction: str = "mean",
        smooth_factor: Optional[float] = None,
        pos_weight: Optional[torch.Tensor] = None,
    ):
        super().__init__()
        self.ignore_index = ignore_index
        self.reduction = reduction
        self.smooth_factor = smooth_factor
        self.register_buffer("weight", weight)
        self.register_buffer("pos_weight", pos_weight)

    def forward(self, y_pred: torch.Tensor, y_true: torch.Tensor) -> torch.Tensor:
        """The loss."""
        y_pred, y_true = floating(y_pred), checks.plain("y_true", y_true)
        checks.same_shape("y_true", y_true, y_pred)
        mask = None if self.ignore_index is None else ~holds(y_true, self.ignore_index)
        if self.pos_weight is None:
            values = self._part(y_pred, y_true, mask)
        else:
            one, nothing = y_pred.new_ones(1), y_pred.new_zeros(1)
            values = self.pos_weight * self._part(y_pred, y_true, mask, one, nothing)
            values = values + self._part(y_pred, y_true, mask, nothing, one)
        values = values if self.weight is None else values * self.weight
        values = values.mean() if self.reduction == "mean" else values.sum() if self.reduction == "sum" else values
        return values.to(y_pred.dtype)

    def _part(
        self, y_pred: Tensor, y_true: Tensor, mask: Tensor | None, positive: Tensor | None = None, negative=None
    ) -> Tensor:
        """The entropy of each voxel, with factors on its true and false part."""
        values = pointwise(
            y_pred.reshape(1, 1, -1),
            y_true.reshape(1, 1, -1),
            None if mask is None else mask.reshape(1, 1, -1),
            penalty="smoothed_sigmoid",
            gamma=self.smooth_factor or 0.0,
            positive=positive,
            negative=negative,
        )
        return values.view(y_pred.shape)
