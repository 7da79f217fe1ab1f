"""MONAI's regularisers of displacement fields."""

from __future__ import annotations

from typing import Any

import torch

from medloss import checks, registration
from medloss.base import FieldLoss
from medloss.compat.monai.base import LossReduction, MonaiLoss, floating
from medloss.compat.peers import earlier_order, handing_on

__getattr__ = handing_on(__name__, "monai.losses.deform")


class FieldDropIn(MonaiLoss):
    """A drop-in of a field B d [spatial], of one to three spatial axes."""

    def _of(self, kind: type[FieldLoss], stencil: str, pred: torch.Tensor) -> torch.Tensor:
        pred = floating(pred, "pred")
        if pred.ndim not in (3, 4, 5):
            raise checks.ShapeError(f"pred has shape {checks.shape(pred)}: expected 1 to 3 spatial axes")
        options: dict[str, Any] = {"stencil": stencil, "border": "interior", "normalize": bool(self.normalize)}
        return kind(**options, reduction=self.reduction)(pred)


class BendingEnergyLoss(FieldDropIn):
    """``monai.losses.BendingEnergyLoss`` over :class:`medloss.BendingEnergyLoss`; ``"none"`` gives B d [interior].

    In a call by position the reduction may come first, as in the releases without ``normalize``.
    """

    @earlier_order(str, False)
    def __init__(self, normalize: bool = False, reduction: LossReduction | str = "mean") -> None:
        super().__init__(reduction)
        self.normalize = normalize

    def forward(self, pred: torch.Tensor) -> torch.Tensor:
        """The loss."""
        return self._of(registration.BendingEnergyLoss, "compact", pred)


class DiffusionLoss(FieldDropIn):
    """``monai.losses.DiffusionLoss`` over :class:`medloss.DiffusionLoss`; ``"none"`` gives B d [interior].

    Central differences, as there, see nothing of a field that alternates from voxel to voxel; the native loss also has
    forward ones.
    """

    def __init__(self, normalize: bool = False, reduction: LossReduction | str = "mean") -> None:
        super().__init__(reduction)
        self.normalize = normalize

    def forward(self, pred: torch.Tensor) -> torch.Tensor:
        """The loss."""
        return self._of(registration.DiffusionLoss, "central", pred)
