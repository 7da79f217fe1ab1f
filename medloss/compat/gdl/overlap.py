"""The losses of overlapping regions of segmentation-models-pytorch: Dice, Jaccard, Tversky."""
# ruff: noqa: UP006, UP035, UP045 - annotations are part of the signature, the peer's to the letter

from typing import TYPE_CHECKING, Any, List, Optional

import torch
from torch import Tensor
from torch.nn.modules.loss import _Loss

from medloss.compat.gdl.base import MULTICLASS_MODE, check_mode, flattened
from medloss.constants import held
from medloss.ops import Terms, region_sums
from medloss.segmentation.tversky import TverskyLoss as NativeTverskyLoss
from medloss.sums import RegionSums

ERRORS = NativeTverskyLoss(soft_label=True)
"""Overlap and errors by the soft labels' formula, which for hard ones is the plain one."""


class OverlapLoss(_Loss):
    """One value for each class, of the sums over the whole batch; 0 for a class that the target lacks.

    The mean is over all classes (or the ``classes`` that are named), absent ones too.
    """

    alpha: float = 0.5
    beta: float = 0.5
    gamma: float = 1.0

    if TYPE_CHECKING:  # attributes of any kind: `_keep` makes them

        def __getattr__(self, name: str) -> Any: ...

    def _keep(self, given: dict[str, Any]) -> None:
        """Check the options, which ``locals()`` gives, and make attributes of them."""
        check_mode(given["mode"], given["class_weights"], given["classes"])
        for name, value in given.items():
            if name not in ("self", "__class__"):
                setattr(self, name, value)
        classes, weights = given["classes"], given["class_weights"]
        self.classes = None if classes is None else held(classes, torch.long)
        self.class_weights = None if weights is None else held(weights, torch.float)

    def forward(self, y_pred: torch.Tensor, y_true: torch.Tensor) -> torch.Tensor:
        """The loss."""
        indexed = self.mode == MULTICLASS_MODE
        input, target, mask = flattened(self.mode, y_pred, y_true, self.ignore_index)
        activation = ("softmax" if indexed else "sigmoid") if self.from_logits else "none"
        columns = region_sums(input, target, mask, activation=activation, indexed=indexed, terms=Terms.DIFFERENCE)
        sums = RegionSums(columns).over_batch()
        scores = self._scores(sums)
        values = -scores.clamp_min(self.eps).log() if self.log_loss else 1 - scores
        return self._mean((values * (sums.target > 0))[0]).to(input.dtype)

    def _scores(self, sums: RegionSums) -> Tensor:
        """The index of Tversky, whose denominator is at least ``eps``."""
        overlap, false_positive, false_negative = ERRORS.errors(sums)
        total = overlap + self.alpha * false_positive + self.beta * false_negative + self.smooth
        return (overlap + self.smooth) / total.clamp_min(self.eps)

    def _mean(self, values: Tensor) -> Tensor:
        weights = torch.ones_like(values) if self.class_weights is None else self.class_weights.to(values)
        if self.classes is not None:
            values, weights = values[self.classes], weights[self.classes]
        mean = (values * weights).sum() / weights.sum()
        return mean if self.gamma == 1 else mean**self.gamma


class DiceLoss(OverlapLoss):
    """``segmentation_models_pytorch.losses.DiceLoss`` over the sums of :class:`medloss.DiceLoss` with ``soft_label``.

    ``smooth`` is added to half of numerator and denominator.

    >>> losses = [DiceLoss("binary", from_logits=False, smooth=s) for s in (0.0, 1.0)]
    >>> [loss(torch.tensor([[1.0, 1.0, 0.0]]), torch.tensor([[1, 0, 0]])).item() for loss in losses]  # 1 - 1 / 1.5, ...
    [0.3333333134651184, 0.19999998807907104]
    """

    def __init__(
        self,
        mode: str,
        classes: Optional[List[int]] = None,
        log_loss: bool = False,
        from_logits: bool = True,
        smooth: float = 0.0,
        ignore_index: Optional[int] = None,
        eps: float = 1e-7,
        class_weights: Optional[List[float]] = None,
    ):
        super().__init__()
        self._keep(locals())


class JaccardLoss(OverlapLoss):
    """``segmentation_models_pytorch.losses.JaccardLoss`` over the sums of :class:`medloss.JaccardLoss`."""

    alpha = beta = 1.0

    def __init__(
        self,
        mode: str,
        classes: Optional[List[int]] = None,
        log_loss: bool = False,
        from_logits: bool = True,
        smooth: float = 0.0,
        ignore_index: Optional[int] = None,
        eps: float = 1e-7,
        class_weights: Optional[List[float]] = None,
    ):
        super().__init__()
        self._keep(locals())


class TverskyLoss(DiceLoss):
    """``segmentation_models_pytorch.losses.TverskyLoss`` over the sums of :class:`medloss.TverskyLoss`.

    ``gamma`` is the power of the mean over the classes.
    """

    def __init__(
        self,
        mode: str,
        classes: Optional[List[int]] = None,
        log_loss: bool = False,
        from_logits: bool = True,
        smooth: float = 0.0,
        ignore_index: Optional[int] = None,
        eps: float = 1e-7,
        alpha: float = 0.5,
        beta: float = 0.5,
        gamma: float = 1.0,
        class_weights: Optional[List[float]] = None,
    ):
        OverlapLoss.__init__(self)
        self._keep(locals())
