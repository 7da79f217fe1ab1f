"""MONAI's overlap losses with one value for all classes of a sample: generalised Dice, Wasserstein Dice."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from medloss import checks, segmentation
from medloss.base import compute_region_sums
from medloss.compat.monai.base import (
    LabelDropIn,
    LossReduction,
    MisfitError,
    MonaiLoss,
    Seen,
    Weight,
    floating,
    indices,
    native,
    option,
)
from medloss.sums import RegionSums


class GeneralizedDiceLoss(LabelDropIn):
    """``monai.losses.GeneralizedDiceLoss`` over :class:`medloss.GeneralizedDiceLoss`.

    ``"none"`` gives B 1 ... 1, with ``batch`` 1 1 ... 1 of one axis less.
    """

    def __init__(
        self,
        include_background: bool = True,
        to_onehot_y: bool = False,
        sigmoid: bool = False,
        softmax: bool = False,
        other_act: Callable | None = None,
        w_type: Weight | str = "square",
        reduction: LossReduction | str = "mean",
        smooth_nr: float = 1e-5,
        smooth_dr: float = 1e-5,
        batch: bool = False,
        soft_label: bool = False,
    ) -> None:
        super().__init__(reduction)
        self._labels(locals())
        self.w_type = option("w_type", w_type, ("square", "simple", "uniform"))

    def forward(self, input: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """The loss."""
        return self.of(self._see(input, target))

    @property
    def formula(self) -> segmentation.GeneralizedDiceLoss:
        """The native loss."""
        return native(
            segmentation.GeneralizedDiceLoss,
            w_type=self.w_type,
            normalize=False,  # MONAI smooths beside 1 / T
            soft_label=self.soft_label,
            smooth_nr=self.smooth_nr,
            smooth_dr=self.smooth_dr,
        )

    def of(self, seen: Seen, sums: RegionSums | None = None) -> torch.Tensor:
        """The loss of what was seen, reduced. The caller may pass sums that it has computed already."""
        formula = self.formula
        sums = (compute_region_sums(seen.view, [formula]) if sums is None else sums).classes_from(seen.first)
        sums = sums.over_batch() if self.batch else sums
        values = formula.combine(sums, torch.ones_like(sums.target))  # B, or 1
        return self._broadcastable(values if self.batch else values.unsqueeze(1), seen.rank)


class GeneralizedWassersteinDiceLoss(MonaiLoss):
    """``monai.losses.GeneralizedWassersteinDiceLoss`` over :class:`medloss.GeneralizedWassersteinDiceLoss`.

    The target holds class indices, with or without a channel axis, or flat; ``"none"`` gives B.

    >>> from medloss.compat import monai as losses
    >>> loss = losses.GeneralizedWassersteinDiceLoss(np.array([[0.0, 1, 1], [1, 0, 0.5], [1, 0.5, 0]]))
    >>> loss(1000 * torch.eye(3), torch.tensor([0, 1, 2]))
    tensor(0.)
    """

    def __init__(
        self,
        dist_matrix: np.ndarray | torch.Tensor,
        weighting_mode: str = "default",
        reduction: LossReduction | str = "mean",
        smooth_nr: float = 1e-5,
        smooth_dr: float = 1e-5,
    ) -> None:
        super().__init__(reduction)
        self._loss = segmentation.GeneralizedWassersteinDiceLoss(
            dist_matrix=dist_matrix, weighting_mode=weighting_mode, reduction="none"
        )
        self.smooth_nr, self.smooth_dr = float(smooth_nr), float(smooth_dr)
        self.alpha_mode, self.num_classes = weighting_mode, self._loss._distances.shape[0]

    def forward(self, input: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """The loss."""
        input, target = floating(input), checks.plain("target", target)
        input = input.reshape(input.shape[0], input.shape[1], -1)
        if input.shape[1] != self.num_classes:
            raise MisfitError(f"input has {input.shape[1]} channels and dist_matrix {self.num_classes} rows")
        target = indices(target.reshape(target.shape[0], 1, -1), self.num_classes)
        loss = self._loss
        present = {"smooth_nr": self.smooth_nr, "smooth_dr": self.smooth_dr, "weighting_mode": self.alpha_mode}
        for name, value in present.items():
            if getattr(loss, name) != value:
                setattr(loss, name, value)
        return self._reduced(loss(input, target))

    def wasserstein_distance_map(self, flat_proba: torch.Tensor, flat_target: torch.Tensor) -> torch.Tensor:
        """The Wasserstein distance of each voxel, B voxels: from B N voxels of probabilities and B voxels of labels."""
        return self._loss.wasserstein_distance_map(flat_proba, flat_target)
