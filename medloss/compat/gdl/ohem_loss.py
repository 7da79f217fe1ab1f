"""geo-deep-learning's cross-entropy of the hard voxels."""

from __future__ import annotations

from torch import Tensor

from medloss import segmentation
from medloss.checks import ShapeError, shape


class OhemCrossEntropy2d(segmentation.OhemCrossEntropyLoss):
    """geo-deep-learning's ``OhemCrossEntropy2d`` over :class:`medloss.OhemCrossEntropyLoss`.

    Of logits B C H W and labels B H W, the voxels of the whole batch together; 0 where nothing is hard.

    >>> import torch
    >>> p = torch.tensor([[[[0.5, 0.25, 0.9, 0.8]], [[0.5, 0.75, 0.1, 0.2]]]])
    >>> OhemCrossEntropy2d()(p.log(), torch.zeros(1, 1, 4).long())  # (log 2 + log 4) / 2
    tensor(1.0397)
    """

    def __init__(self, thresh=0.6, min_kept=0, weight=None, ignore_index=255):
        options = {"thresh": float(thresh), "min_kept": int(min_kept), "weight": weight, "ignore_index": ignore_index}
        super().__init__(**options, to_onehot_y=True, batch=True)

    def forward(self, predict: Tensor, target: Tensor) -> Tensor:
        """The loss."""
        if predict.ndim != 4 or target.ndim != 3:
            raise ShapeError(
                f"predict has shape {shape(predict)} and target {shape(target)}: expected B C H W and B H W"
            )
        return super().forward(predict, target.unsqueeze(1))
