"""The Matthews correlation of segmentation-models-pytorch."""

import torch
from torch.nn.modules.loss import _Loss

from medloss import segmentation
from medloss.compat.gdl.base import BINARY_MODE, flattened
from medloss.ops import region_sums
from medloss.ops.region_sums import Column
from medloss.sums import RegionSums

FORMULA = segmentation.MCCLoss(smooth_nr=0.0, smooth_dr=0.0)
COUNTS = {
    Column.OVERLAP: 1,
    Column.FALSE_POSITIVE: 1,
    Column.FALSE_NEGATIVE: 1,
    Column.TRUE_NEGATIVE: 1,
    Column.INPUT: 2,
    Column.TARGET: 2,
    Column.VOXELS: 4,
}
"""Of how many of the four counts a column is the sum."""


class MCCLoss(_Loss):
    """``segmentation_models_pytorch.losses.MCCLoss`` over :class:`medloss.MCCLoss`: of probabilities, no logits.

    One value of the whole batch, all channels together; ``eps`` is added to each of the four counts.
    """

    def __init__(self, eps: float = 1e-5):
        super().__init__()
        self.eps = eps

    def forward(self, y_pred: torch.Tensor, y_true: torch.Tensor) -> torch.Tensor:
        """The loss."""
        input, target, _ = flattened(BINARY_MODE, y_pred, y_true, None)
        columns = region_sums(input, target, terms=FORMULA.needs).sum(0, keepdim=True)
        more = torch.zeros_like(columns)
        for column, counts in COUNTS.items():
            more[..., int(column)] = counts * self.eps
        return FORMULA.finalise(RegionSums(columns + more)).sum().to(input.dtype)
