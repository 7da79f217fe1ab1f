"""The cross-entropy of segmentation-models-pytorch."""
# ruff: noqa: UP045 - annotations are part of the signature, the peer's to the letter

from typing import Any, Optional

import torch
from torch import nn

from medloss import checks
from medloss.compat.gdl.base import MisfitError, floating, within
from medloss.ops import pointwise
from medloss.ops.masking import holds


class SoftCrossEntropyLoss(nn.Module):
    """``segmentation_models_pytorch.losses.SoftCrossEntropyLoss``: the penalty of :class:`medloss.CrossEntropyLoss`.

    Labels lack the axis ``dim`` of the classes, or have one entry there. The mean divides by all voxels, the ignored
    ones too; any other reduction is none, which keeps the axis of the classes unless ``ignore_index`` is None. Without
    a ``smooth_factor`` no label is smoothed.

    >>> loss = SoftCrossEntropyLoss(ignore_index=255)
    >>> loss(torch.zeros(1, 4, 2), torch.tensor([[3, 255]]))  # log(4) / 2
    tensor(0.6931)
    """

    def __init__(
        self,
        reduction: str = "mean",
        smooth_factor: Optional[float] = None,
        ignore_index: Optional[int] = -100,
        dim: int = 1,
    ):
        super().__init__()
        self.smooth_factor = smooth_factor
        self.ignore_index = ignore_index
        self.reduction = reduction
        self.dim = dim

    def forward(self, y_pred: torch.Tensor, y_true: torch.Tensor) -> torch.Tensor:
        """The loss."""
        y_pred, y_true = floating(y_pred), checks.plain("y_true", y_true)
        if y_true.ndim == y_pred.ndim - 1:
            y_true = y_true.unsqueeze(self.dim)
        logits, labels = (tensor.movedim(self.dim, 1) for tensor in (y_pred, y_true))
        if labels.shape != (logits.shape[0], 1, *logits.shape[2:]):
            raise MisfitError(f"y_true has shape {checks.shape(y_true)} and y_pred {checks.shape(y_pred)}")
        within(labels, logits.shape[1], self.ignore_index)
        share = self.smooth_factor or 0.0
        options: dict[str, Any] = {"penalty": "softmax", "joined": True}
        values = pointwise(logits, labels, indexed=True, ignore_index=self.ignore_index, **options)
        if share:
            even = torch.full_like(logits[:1, :, :1], 1 / logits.shape[1]).expand_as(logits)
            mask = None if self.ignore_index is None else ~holds(labels, self.ignore_index)
            even = pointwise(logits, even, mask, **options)
            values = (1 - share) * values + share * even
        if self.reduction in ("mean", "sum"):
            return (values.mean() if self.reduction == "mean" else values.sum()).to(y_pred.dtype)
        values = values.movedim(1, self.dim).to(y_pred.dtype)
        return values.squeeze(self.dim) if self.ignore_index is None else values
