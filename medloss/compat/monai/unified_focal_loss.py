"""MONAI's unified focal loss."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor

from medloss import checks, segmentation
from medloss.checks import ShapeError
from medloss.compat.monai.base import LossReduction, MonaiLoss, floating, indices, kept, multiplied, native
from medloss.compat.peers import handing_on
from medloss.ops import region_sums
from medloss.ops.masking import membership
from medloss.sums import RegionSums

__getattr__ = handing_on(__name__, "monai.losses.unified_focal_loss")

SMALL = 1e-7


class AsymmetricUnifiedFocalLoss(MonaiLoss):
    """``monai.losses.AsymmetricUnifiedFocalLoss`` over :class:`medloss.AsymmetricUnifiedFocalLoss`.

    It takes probabilities, class by class as they are; one channel is that of the foreground. The mean runs over all
    voxels, those of the ignored label too, and there is no other reduction. More than two classes count, all of them.
    """

    def __init__(
        self,
        to_onehot_y: bool = False,
        num_classes: int = 2,
        weight: float = 0.5,
        gamma: float = 0.5,
        delta: float = 0.7,
        reduction: LossReduction | str = "mean",
        ignore_index: int | None = None,
    ):
        super().__init__(reduction)
        self._keep(locals())
        self.weight = weight

    def forward(self, y_pred: torch.Tensor, y_true: torch.Tensor) -> torch.Tensor:
        """The loss."""
        probabilities, members = self._both(floating(y_pred, "y_pred"), checks.plain("y_true", y_true))
        loss = native(
            segmentation.AsymmetricUnifiedFocalLoss,
            gamma=float(self.gamma),
            delta=float(self.delta),
            lambda_focal=float(self.weight),
            smooth_nr=SMALL,
            smooth_dr=SMALL,
        )
        return loss.finalise(sums_of(probabilities.clamp(SMALL, 1 - SMALL), members, loss)).mean()

    def _both(self, input: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Probabilities and memberships of all classes, without the ignored label."""
        self._check(input, target)
        mask = None if self.ignore_index is None else kept(target, self.ignore_index)
        if input.shape[1] == 1:
            input, target = (torch.cat([1 - x, x], 1) for x in (input, target.to(input.dtype)))
        elif self.to_onehot_y:
            target = membership(
                indices(target, self.num_classes, self.ignore_index), self.num_classes, True, input.dtype
            )
        target = target.to(input.dtype)
        if self.ignore_index is None and not target.is_meta and target.max() > self.num_classes - 1:
            raise ValueError(f"y_true holds {target.max().item()}: the largest of {self.num_classes} classes is lower")
        if target.shape != input.shape:
            raise ShapeError(f"y_pred has {input.shape[1]} channels and num_classes is {self.num_classes}")
        return (input, target) if mask is None else (multiplied(input, mask), multiplied(target, mask))

    def _check(self, input: Tensor, target: Tensor) -> None:
        if input.ndim not in (4, 5):
            raise ShapeError(f"y_pred has shape {checks.shape(input)}: expected two or three spatial axes")
        channels = input.shape[1]
        if channels == 1 and self.to_onehot_y:
            warnings.warn("single channel prediction, `to_onehot_y=True` has no meaning and is ignored.", stacklevel=5)
        if channels == 1 and self.ignore_index is not None:
            warnings.warn("single channel prediction, `ignore_index` stands for a label of the target.", stacklevel=5)
        expected = [input.shape[0], 1 if self.to_onehot_y else channels, *input.shape[2:]]
        if list(target.shape) != expected:
            given = f"y_true has shape {checks.shape(target)} and y_pred {checks.shape(input)}"
            raise ShapeError(f"{given}: expected a target of {'x'.join(map(str, expected))}")


def sums_of(p: Tensor, members: Tensor, loss: segmentation.AsymmetricUnifiedFocalLoss) -> RegionSums:
    """The sums of the regions from probabilities that need not add up to one, B N.

    Each class against the rest is a softmax of two logits, log p and log(1 - p).
    """
    batch, classes = p.shape[:2]
    logits = torch.stack([p.log(), torch.log1p(-p)], 2).flatten(0, 1)
    target = torch.stack([members, torch.zeros_like(members)], 2).flatten(0, 1)
    columns = region_sums(logits, target, activation="softmax", terms=loss.needs, gamma=loss.gamma)
    return RegionSums(columns[:, 0].view(batch, classes, -1))
