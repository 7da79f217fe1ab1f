"""MONAI's losses of centrelines."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from medloss import checks, segmentation
from medloss.compat.monai.base import LabelDropIn, LossReduction, has_channels
from medloss.compat.monai.compound import CompoundDropIn
from medloss.compat.monai.overlap import DiceLoss
from medloss.compat.peers import earlier_names, handing_on

__getattr__ = handing_on(__name__, "monai.losses.cldice")

EARLIER = {"y_pred": "input", "y_true": "target"}


class SoftclDiceLoss(LabelDropIn):
    """``monai.losses.SoftclDiceLoss`` over :class:`medloss.SoftclDiceLoss`; ``"none"`` gives B."""

    def __init__(
        self,
        iter_: int = 3,
        smooth_nr: float = 1.0,
        smooth_dr: float = 1.0,
        smooth: float = 1e-4,
        include_background: bool = True,
        to_onehot_y: bool = False,
        sigmoid: bool = False,
        softmax: bool = False,
        other_act: Callable | None = None,
        reduction: LossReduction | str = "mean",
    ) -> None:
        super().__init__(reduction)
        self._labels(locals())
        if not isinstance(iter_, int):
            raise TypeError(f"iter_ must be an integer, not {type(iter_).__name__}")
        checks.at_least("iter_", iter_, 0)
        if not smooth > 0:
            raise ValueError(f"smooth={smooth!r} must be above 0: it guards the harmonic mean")
        self.iter = iter_

    @property
    def iter_(self) -> int:
        """The constructor's name of ``iter``."""
        return self.iter

    @iter_.setter
    def iter_(self, iterations: int) -> None:
        self.iter = iterations

    @earlier_names(EARLIER)
    def forward(self, input: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """The loss."""
        return self._reduced(self.each(input, target))

    def each(self, input: torch.Tensor, target: torch.Tensor, indexed: bool | None = None) -> torch.Tensor:
        """The loss of each sample, B."""
        smoothing = {"smooth_nr": self.smooth_nr, "smooth_dr": self.smooth_dr, "smooth": self.smooth}
        seen = self._see(input, target, indexed=indexed)
        return self._called(seen, segmentation.SoftclDiceLoss, iter_=self.iter, **smoothing)


class SoftDiceclDiceLoss(CompoundDropIn):
    """``monai.losses.SoftDiceclDiceLoss``: (1 - alpha) Dice + alpha clDice; ``"none"`` gives B N 1 ... 1."""

    def __init__(
        self,
        iter_: int = 3,
        alpha: float = 0.5,
        smooth_nr: float = 1.0,
        smooth_dr: float = 1.0,
        smooth: float = 1e-4,
        include_background: bool = True,
        to_onehot_y: bool = False,
        sigmoid: bool = False,
        softmax: bool = False,
        other_act: Callable | None = None,
        reduction: LossReduction | str = "mean",
    ) -> None:
        super().__init__()
        if not 0 <= alpha <= 1:
            raise ValueError(f"alpha={alpha!r} must be from 0 to 1: it is the share of clDice")
        shared: dict[str, Any] = {
            "smooth_nr": smooth_nr,
            "smooth_dr": smooth_dr,
            "include_background": include_background,
            "sigmoid": sigmoid,
            "softmax": softmax,
            "other_act": other_act,
            "reduction": reduction,
        }
        self.dice = DiceLoss(**shared)
        self.cldice = SoftclDiceLoss(iter_=iter_, smooth=smooth, **shared)
        self.alpha, self.to_onehot_y = alpha, to_onehot_y

    @earlier_names(EARLIER)
    def forward(self, input: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """The loss."""
        input, target = self._fit(input, target)
        indexed = has_channels("to_onehot_y", self.to_onehot_y, input.shape[1])
        dice = self.dice.of(self.dice._see(input, target, indexed=indexed))
        cldice = self.cldice.each(input, target, indexed)
        # per sample: beside Dice's values B N 1 ... 1, not along their last axis
        cldice = cldice.view(-1, *[1] * (dice.ndim - 1)) if dice.ndim else self.cldice._reduced(cldice)
        return (1 - self.alpha) * dice + self.alpha * cldice
