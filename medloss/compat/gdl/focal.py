"""The focal loss of segmentation-models-pytorch."""
# ruff: noqa: UP006, UP035, UP045 - annotations are part of the signature, the peer's to the letter

from typing import List, Optional, cast

import torch
from torch import Tensor
from torch.nn.modules.loss import _Loss

from medloss import checks
from medloss.compat.gdl.base import BINARY_MODE, MULTICLASS_MODE, check_mode, flattened
from medloss.constants import held
from medloss.ops import Terms, pointwise, region_sums
from medloss.ops.masking import accumulation_dtype, membership
from medloss.reduction import ratio
from medloss.sums import RegionSums

LEAST_NORM = 1e-6


class FocalLoss(_Loss):
    """``segmentation_models_pytorch.losses.FocalLoss`` over the sums and maps of :class:`medloss.FocalLoss`.

    A sigmoid per class, also where classes exclude each other. Each class has its own mean over the voxels that count,
    or the sum for ``"sum"``; several classes are averaged whatever the reduction, and ``"none"`` gives the voxels of
    ``"binary"`` alone, in one row. ``from_logits=False`` takes probabilities, of which ``"multiclass"`` takes the
    logarithm for logits.
    """

    def __init__(
        self,
        mode: str,
        alpha: Optional[float] = None,
        gamma: Optional[float] = 2.0,
        ignore_index: Optional[int] = None,
        from_logits: bool = True,
        eps: float = 1e-7,
        reduction: Optional[str] = "mean",
        normalized: bool = False,
        reduced_threshold: Optional[float] = None,
        class_weights: Optional[List[float]] = None,
    ):
        check_mode(mode, class_weights)
        super().__init__()
        self.mode = mode
        self.from_logits = from_logits
        self.ignore_index = ignore_index
        self.reduction = cast(str, reduction)  # the peer takes None, for no reduction
        self.eps = eps
        self.alpha, self.normalized, self.reduced_threshold = alpha, normalized, reduced_threshold
        self.gamma = cast(float, gamma)  # the signature is the peer's, whose first call fails on None as this one does
        self.class_weights = None if class_weights is None else held(class_weights, torch.float)

    def forward(self, y_pred: torch.Tensor, y_true: torch.Tensor) -> torch.Tensor:
        """The loss."""
        input, target, mask = flattened(self.mode, self._logits(y_pred), y_true, self.ignore_index)
        plain = not self.normalized and self.reduced_threshold is None and not target.is_floating_point()
        if plain and self.reduction in ("mean", "sum"):
            values = self._map_by_operator(input, target, mask)
        else:
            values = self._looked(input, target, mask, y_pred.shape)
            if self.mode == BINARY_MODE:
                return values.to(input.dtype)
        weights = torch.ones_like(values) if self.class_weights is None else self.class_weights.to(values)
        return ((values * weights).sum() / weights.sum()).to(input.dtype)

    def _logits(self, y_pred: Tensor) -> Tensor:
        if self.from_logits:
            return y_pred
        p = checks.plain("y_pred", y_pred).clamp(self.eps, 1 - self.eps)
        return p.log() if self.mode == MULTICLASS_MODE else torch.logit(p)

    def _map_by_operator(self, input: Tensor, target: Tensor, mask: Tensor | None) -> Tensor:
        """The value of each class, from one sweep."""
        columns = region_sums(
            input,
            target,
            mask,
            activation="sigmoid",
            indexed=self.mode == MULTICLASS_MODE,
            terms=Terms.FOCAL,
            gamma=float(self.gamma),
        )
        sums = RegionSums(columns.sum(0))
        alpha, beta = (1, 1) if self.alpha is None else (self.alpha, 1 - self.alpha)
        total = alpha * sums.focal_true + beta * sums.focal_false
        return total if self.reduction == "sum" else ratio(total, sums.voxels)

    def _looked(self, input: Tensor, target: Tensor, mask: Tensor | None, shape: torch.Size) -> Tensor:
        """The value of each class, or of each voxel of one, from the map of the entropy."""
        t = membership(target, input.shape[1], self.mode == MULTICLASS_MODE, accumulation_dtype(input))
        entropy = pointwise(input, t, mask, penalty="sigmoid")
        distance = (-torch.expm1(-entropy)).clamp_min(torch.finfo(entropy.dtype).tiny)
        threshold = self.reduced_threshold
        factor = (distance if threshold is None else distance / threshold).pow(self.gamma)
        if threshold is not None:
            factor = torch.where(1 - distance < threshold, 1, factor)
        counted = torch.ones_like(t) if mask is None else mask.to(t.dtype).expand_as(t)
        values = factor * entropy
        if self.alpha is not None:
            values = values * (self.alpha * t + (1 - self.alpha) * (1 - t))
        if self.normalized:
            values = values / (factor * counted).sum((0, 2), keepdim=True).clamp_min(LEAST_NORM)
        return self._reduced(values, counted, mask, shape)

    def _reduced(self, values: Tensor, counted: Tensor, mask: Tensor | None, shape: torch.Size) -> Tensor:
        if self.mode == BINARY_MODE and self.reduction not in ("mean", "sum", "batchwise_mean"):
            return values.flatten() if mask is None else values[mask]
        total, voxels = values.sum((0, 2)), counted.sum((0, 2))
        if self.reduction == "batchwise_mean" and self.mode != BINARY_MODE and mask is None:
            voxels = voxels / shape[0]  # a mean of the samples' sums, whose voxels are those of one sample
        elif self.reduction in ("sum", "batchwise_mean"):
            return total.sum() if self.mode == BINARY_MODE else total
        means = ratio(total, voxels)
        return means.sum() if self.mode == BINARY_MODE else means
