"""The Lovasz losses of segmentation-models-pytorch and of geo-deep-learning."""
# ruff: noqa: UP045 - annotations are part of the signature, the peer's to the letter

from typing import Optional

import torch
from torch import Tensor
from torch.nn.modules.loss import _Loss

from medloss import segmentation
from medloss.compat.gdl.base import MULTICLASS_MODE, check_mode, flattened
from medloss.ops import sorted_errors
from medloss.ops.masking import accumulation_dtype, blank

SOFTMAX = {one: segmentation.LovaszSoftmaxLoss(to_onehot_y=True, per_image=one) for one in (True, False)}


class LovaszLoss(_Loss):
    """``segmentation_models_pytorch.losses.LovaszLoss`` over the natives: a softmax for ``"multiclass"``, else a hinge.

    The hinge takes all channels of an image for one row of voxels. ``from_logits`` is not looked at, as there.

    >>> loss = LovaszLoss("binary", per_image=True)
    >>> loss(torch.tensor([[[2.0, -0.5]]]), torch.tensor([[[1, 1]]]))  # (1 + 1/2) / 2
    tensor(0.7500)
    """

    def __init__(
        self,
        mode: str,
        per_image: bool = False,
        ignore_index: Optional[int] = None,
        from_logits: bool = True,
    ):
        check_mode(mode)
        super().__init__()
        self.mode = mode
        self.ignore_index = ignore_index
        self.per_image = per_image

    def forward(self, y_pred, y_true):
        """The loss."""
        input, target, mask = flattened(self.mode, y_pred, y_true, self.ignore_index)
        if self.mode == MULTICLASS_MODE:
            return SOFTMAX[bool(self.per_image)](input, target, mask).to(input.dtype)
        return self._hinge(input, target, mask).to(input.dtype)

    def _hinge(self, input: Tensor, target: Tensor, mask: Tensor | None) -> Tensor:
        """The mean over all images; one of which every voxel is ignored counts as 0."""
        weight = None if mask is None else mask.to(accumulation_dtype(input))
        errors = torch.relu(1 - blank(input, weight).to(accumulation_dtype(input)) * (2 * target - 1))
        rows = len(input) if self.per_image else 1
        weight = None if weight is None else weight.reshape(rows, 1, -1)
        return sorted_errors(errors.reshape(rows, 1, -1), target.reshape(rows, 1, -1), weight).mean()


class LovaszSoftmax(segmentation.LovaszSoftmaxLoss):
    """geo-deep-learning's ``LovaszSoftmax`` over :class:`medloss.LovaszSoftmaxLoss`: one loss for each image.

    Of logits B C H W and labels B H W; ``only_present=False`` counts the classes that an image lacks.
    """

    def __init__(self, ignore_index=None, only_present=True):
        classes = "present" if only_present else "all"
        super().__init__(to_onehot_y=True, ignore_index=ignore_index, classes=classes)

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The loss."""
        return super().forward(logits, labels.unsqueeze(1))
