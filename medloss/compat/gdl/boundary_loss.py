"""geo-deep-learning's boundary loss."""

from __future__ import annotations

from torch import Tensor

from medloss import segmentation


class BoundaryLoss(segmentation.BoundaryF1Loss):
    """geo-deep-learning's ``BoundaryLoss`` over :class:`medloss.BoundaryF1Loss`: of logits B C H W and labels B H W.

    A class without a boundary in the target leaves the mean, and so do ignored voxels.
    """

    def __init__(self, theta0=19, theta=19, ignore_index=None):
        super().__init__(theta0=theta0, theta=theta, ignore_index=ignore_index, softmax=True, to_onehot_y=True)

    def forward(self, pred: Tensor, gt: Tensor) -> Tensor:
        """The loss."""
        return super().forward(pred, gt.unsqueeze(1))
