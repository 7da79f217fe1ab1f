"""geo-deep-learning's sum of a region and a boundary loss."""

from __future__ import annotations

from torch import Tensor

from medloss import segmentation

OPTIONS = {"theta0": 19, "theta": 19, "ignore_index": None, "only_present": True}


class DuoLoss(segmentation.DuoLoss):
    """geo-deep-learning's ``DuoLoss`` over :class:`medloss.DuoLoss`: half of each of two losses.

    Its options are those of :class:`~medloss.compat.gdl.LovaszSoftmax` and :class:`~medloss.compat.gdl.BoundaryLoss`,
    and each goes to the loss that knows it.
    """

    def __init__(self, **kwargs):
        unknown = sorted(set(kwargs) - set(OPTIONS))
        if unknown:
            raise TypeError(f"unknown options {', '.join(unknown)}: choose among {', '.join(OPTIONS)}")
        options = OPTIONS | kwargs
        classes = "present" if options.pop("only_present") else "all"
        super().__init__(**options, classes=classes, softmax=True, to_onehot_y=True)

    def forward(self, preds: Tensor, labels: Tensor) -> Tensor:
        """The loss."""
        return super().forward(preds, labels.unsqueeze(1))
