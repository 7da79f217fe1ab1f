"""MONAI's Dice, without and with a mask."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from medloss import segmentation
from medloss.compat.monai.base import LabelDropIn, LossReduction, Seen, floating, multiplied, native, weighted
from medloss.compat.monai.spatial_mask import usable
from medloss.sums import RegionSums


class DiceLoss(LabelDropIn):
    """``monai.losses.DiceLoss`` over :class:`medloss.DiceLoss`.

    ``weight`` has no entry for a background that does not count, one number stands for all classes, and ``"none"``
    gives B N 1 ... 1 (with ``batch`` N 1 ... 1).

    >>> from medloss.compat import monai as losses
    >>> losses.DiceLoss(sigmoid=True, reduction="none")(torch.zeros(2, 3, 4, 4), torch.zeros(2, 3, 4, 4)).shape
    torch.Size([2, 3, 1, 1])
    """

    def __init__(
        self,
        include_background: bool = True,
        to_onehot_y: bool = False,
        sigmoid: bool = False,
        softmax: bool = False,
        other_act: Callable | None = None,
        squared_pred: bool = False,
        jaccard: bool = False,
        reduction: LossReduction | str = "mean",
        smooth_nr: float = 1e-5,
        smooth_dr: float = 1e-5,
        batch: bool = False,
        weight: Sequence[float] | float | int | torch.Tensor | None = None,
        soft_label: bool = False,
        ignore_index: int | None = None,
    ) -> None:
        super().__init__(reduction)
        self._labels(locals())
        self._keep_weight(weight)

    @property
    def formula(self) -> segmentation.DiceLoss:
        """The native loss."""
        return native(
            segmentation.DiceLoss,
            squared_pred=self.squared_pred,
            jaccard=self.jaccard,
            soft_label=self.soft_label,
            smooth_nr=self.smooth_nr,
            smooth_dr=self.smooth_dr,
        )

    def of(self, seen: Seen, sums: RegionSums | None = None) -> torch.Tensor:
        """The loss of what was seen, reduced. The caller may pass sums that it has computed already."""
        values = weighted(self._values(seen, self.formula, sums), self.class_weight, seen.classes)
        return self._broadcastable(values, seen.rank)

    def forward(self, input: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """The loss."""
        return self.of(self._see(input, target))


class MaskedDiceLoss(DiceLoss):
    """``monai.losses.MaskedDiceLoss``: Dice of prediction and target, both multiplied by a mask B 1 or 1 1 [spatial].

    A masked voxel thereby is background to ``to_onehot_y``, and in a target of memberships belongs to no class.
    :class:`medloss.MaskedDiceLoss` takes it out of the sums instead.
    """

    def __init__(
        self,
        include_background: bool = True,
        to_onehot_y: bool = False,
        sigmoid: bool = False,
        softmax: bool = False,
        other_act: Callable | None = None,
        squared_pred: bool = False,
        jaccard: bool = False,
        reduction: LossReduction | str = "mean",
        smooth_nr: float = 1e-5,
        smooth_dr: float = 1e-5,
        batch: bool = False,
        weight: Sequence[float] | float | int | torch.Tensor | None = None,
        soft_label: bool = False,
    ) -> None:
        options = {name: value for name, value in locals().items() if name not in ("self", "__class__")}
        super().__init__(**options)

    def forward(self, input: torch.Tensor, target: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        """The loss under the mask."""
        if not usable(input, target, mask) or mask is None:  # it warns
            return super().forward(input, target)
        input = floating(input)
        input = self._activated(input, mask, self._activation(input.shape[1]))
        return self.of(self._see(multiplied(input, mask), multiplied(target, mask), activated=True))
