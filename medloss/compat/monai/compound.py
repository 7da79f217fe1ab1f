"""MONAI's sums of an overlap loss and a likelihood loss."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from medloss import checks, segmentation
from medloss.base import RegionLoss, compute_region_sums
from medloss.checks import ShapeError
from medloss.compat.monai.base import (
    LossReduction,
    MisfitError,
    MonaiLoss,
    OptionError,
    Seen,
    Weight,
    floating,
    has_channels,
    indices,
    option,
)
from medloss.compat.monai.focal_loss import FocalLoss
from medloss.compat.monai.generalized import GeneralizedDiceLoss
from medloss.compat.monai.joined import Sweep, joined_sums
from medloss.compat.monai.overlap import DiceLoss
from medloss.compat.peers import earlier_names
from medloss.constants import held
from medloss.labels import LabelView, view_labels
from medloss.reduction import REDUCTIONS
from medloss.sums import RegionSums


class CompoundDropIn(MonaiLoss):
    """A sum of two drop-ins; ``reduction`` is theirs."""

    @property
    def reduction(self) -> str:
        """That of the terms; one that is set later is theirs, too."""
        return next((str(term.reduction) for term in self.children()), "mean")

    @reduction.setter
    def reduction(self, reduction: Any) -> None:
        for term in self.children():
            term.reduction = option("reduction", reduction, REDUCTIONS)  # type: ignore[assignment]  # of any module

    def _weigh(self, **factors: float) -> None:
        """Keep the factors of the terms by name."""
        for name, value in factors.items():
            checks.at_least(name, value, 0)
            setattr(self, name, value)

    @staticmethod
    def _fit(input: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Both as plain tensors, with as many axes, and one channel of labels or as many as the input has."""
        input, target = checks.plain("input", input), checks.plain("target", target)
        given = f"target has shape {checks.shape(target)} and input {checks.shape(input)}"
        if input.ndim != target.ndim:
            raise ShapeError(f"{given}: labels need a channel axis of their own (B1[spatial])")
        if target.shape[1] not in (1, input.shape[1]):
            raise ShapeError(f"{given}: expected 1 channel of labels or as many as the input has")
        return input, target


class _CrossEntropy(MonaiLoss, nn.CrossEntropyLoss):
    """Holds the options of the entropy by PyTorch's names, with buffers that a checkpoint may lack."""

    def __init__(self, **options: Any) -> None:
        nn.CrossEntropyLoss.__init__(self, **options)


class _BinaryCrossEntropy(MonaiLoss, nn.BCEWithLogitsLoss):
    """Holds the options of the entropy of one channel by PyTorch's names."""

    def __init__(self, **options: Any) -> None:
        nn.BCEWithLogitsLoss.__init__(self, **options)


def _weigh_dice_not(loss: Any) -> None:
    """What the earlier keywords meant: the other term alone had weights."""
    loss.dice.class_weight = None


class DiceCELoss(CompoundDropIn):
    """``monai.losses.DiceCELoss`` over :class:`medloss.DiceLoss` and :class:`medloss.CrossEntropyLoss`.

    One channel of labels is a target of indices for the entropy; as many channels as the input has are memberships,
    over whose voxels its mean is taken. An input of one channel has the binary entropy, with ``weight`` on its
    positives. The keyword ``ce_weight`` of earlier releases weighs the entropy alone, as it did there.
    """

    @earlier_names({"ce_weight": "weight"}, then=_weigh_dice_not)
    def __init__(
        self,
        include_background: bool = True,
        to_onehot_y: bool = False,
        sigmoid: bool = False,
        softmax: bool = False,
        other_act: Callable | None = None,
        squared_pred: bool = False,
        jaccard: bool = False,
        reduction: str = "mean",
        smooth_nr: float = 1e-5,
        smooth_dr: float = 1e-5,
        batch: bool = False,
        weight: torch.Tensor | None = None,
        lambda_dice: float = 1.0,
        lambda_ce: float = 1.0,
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__()
        reduction = option("reduction", reduction, ("mean", "sum"))
        weight = None if weight is None else floating(held(weight), "weight")
        partial = weight is not None and weight.ndim > 0 and not include_background
        self.dice = DiceLoss(
            include_background=include_background,
            to_onehot_y=to_onehot_y,
            sigmoid=sigmoid,
            softmax=softmax,
            other_act=other_act,
            squared_pred=squared_pred,
            jaccard=jaccard,
            reduction=reduction,
            smooth_nr=smooth_nr,
            smooth_dr=smooth_dr,
            batch=batch,
            weight=weight[1:] if weight is not None and partial else weight,
        )
        self.cross_entropy = _CrossEntropy(weight=weight, reduction=reduction, label_smoothing=label_smoothing)
        self.binary_cross_entropy = _BinaryCrossEntropy(pos_weight=weight, reduction=reduction)
        self._weigh(lambda_dice=lambda_dice, lambda_ce=lambda_ce)

    def forward(self, input: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """The loss."""
        input, target = self._fit(input, target)
        if input.shape[1] == 1:
            return self.lambda_dice * self.dice(input, target) + self.lambda_ce * self.bce(input, target)
        seen = self.dice._see(input, target)
        if seen.view.activation == "softmax":  # both look at the voxels alike: once is enough
            entropy = self._entropy(seen.view)
            sums = compute_region_sums(seen.view, [self.dice.formula, entropy])
            ce = self._evaluated(entropy, seen.view, sums)
            return self.lambda_dice * self.dice.of(seen, sums) + self.lambda_ce * ce
        return self.lambda_dice * self.dice.of(seen) + self.lambda_ce * self.ce(input, target)

    def ce(self, input: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """The cross-entropy of the classes."""
        input, indexed = floating(input), target.shape[1] == 1 < input.shape[1]
        target = indices(target, input.shape[1]) if indexed else target
        view = view_labels(input, target, activation="softmax", to_onehot_y=indexed)
        entropy = self._entropy(view)
        return self._evaluated(entropy, view, compute_region_sums(view, [entropy]))

    def bce(self, input: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """The cross-entropy of one channel."""
        options = self.binary_cross_entropy
        if options.pos_weight is not None and options.pos_weight.numel() != 1:
            raise MisfitError(f"weight has {options.pos_weight.numel()} entries and input 1 channel: give one")
        loss = segmentation.CrossEntropyLoss(sigmoid=True, weight=options.pos_weight, reduction=options.reduction)
        return loss(floating(input), target)

    def _entropy(self, view: LabelView) -> segmentation.CrossEntropyLoss:
        """The native loss; of memberships the sum, since the peer's mean is over voxels, whatever they weigh."""
        options = self.cross_entropy
        if not 0 <= options.label_smoothing <= 1:
            raise OptionError(f"label_smoothing={options.label_smoothing!r} lies outside [0, 1]")
        return segmentation.CrossEntropyLoss(
            weight=options.weight,
            label_smoothing=options.label_smoothing,
            reduction=options.reduction if view.indexed else "sum",
        )

    def _evaluated(self, entropy: segmentation.CrossEntropyLoss, view: LabelView, sums: RegionSums) -> Tensor:
        value = entropy.evaluate(view, sums)
        if view.indexed or self.cross_entropy.reduction == "sum":
            return value
        return value / (view.input.shape[0] * math.prod(view.input.shape[2:]))


def _looked_at(
    input: Tensor, seen: Seen, formula: RegionLoss, focal: FocalLoss, voxels: Seen
) -> tuple[RegionSums, Tensor | None]:
    """What an overlap loss and a focal loss sum, such that the input has one whole gradient and not one for each.

    The columns of the focal loss are None where it looks at the voxels in another way.
    """
    view = seen.view
    sweep = focal.sweep(voxels, input.shape[1]) if view.input is input else None
    if sweep is None:
        return compute_region_sums(view, [formula]), None
    columns, likelihoods = joined_sums(input, [Sweep(view, 0, int(formula.needs), 0.0), sweep])
    return RegionSums(columns, target_grad=view.target_grad(), whole=view.whole()), likelihoods


class DiceFocalLoss(CompoundDropIn):
    """``monai.losses.DiceFocalLoss``: its Dice with the activation asked for, its focal loss with the sigmoid.

    ``"none"`` gives B N [spatial]. The keyword ``focal_weight`` of earlier releases weighs the focal loss alone, as it
    did there. :class:`medloss.DiceFocalLoss` has one activation for both.
    """

    @earlier_names({"focal_weight": "weight"}, then=_weigh_dice_not)
    def __init__(
        self,
        include_background: bool = True,
        to_onehot_y: bool = False,
        sigmoid: bool = False,
        softmax: bool = False,
        other_act: Callable | None = None,
        squared_pred: bool = False,
        jaccard: bool = False,
        reduction: str = "mean",
        smooth_nr: float = 1e-5,
        smooth_dr: float = 1e-5,
        batch: bool = False,
        gamma: float = 2.0,
        weight: Sequence[float] | float | int | torch.Tensor | None = None,
        lambda_dice: float = 1.0,
        lambda_focal: float = 1.0,
        alpha: float | None = None,
    ) -> None:
        super().__init__()
        shared: dict[str, Any] = {"include_background": include_background, "reduction": reduction, "weight": weight}
        self.dice = DiceLoss(
            sigmoid=sigmoid,
            softmax=softmax,
            other_act=other_act,
            squared_pred=squared_pred,
            jaccard=jaccard,
            smooth_nr=smooth_nr,
            smooth_dr=smooth_dr,
            batch=batch,
            **shared,
        )
        self.focal = FocalLoss(gamma=gamma, alpha=alpha, **shared)
        self._weigh(lambda_dice=lambda_dice, lambda_focal=lambda_focal)
        self.to_onehot_y = to_onehot_y

    def forward(self, input: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """The loss."""
        input, target = self._fit(input, target)
        indexed = has_channels("to_onehot_y", self.to_onehot_y, input.shape[1])
        seen, voxels = self.dice._see(input, target, indexed=indexed), self.focal._see(input, target, indexed=indexed)
        sums, columns = _looked_at(input, seen, self.dice.formula, self.focal, voxels)
        return self.lambda_dice * self.dice.of(seen, sums) + self.lambda_focal * self.focal.of(voxels, columns)


class GeneralizedDiceFocalLoss(CompoundDropIn):
    """``monai.losses.GeneralizedDiceFocalLoss``, with the activation asked for and with the sigmoid.

    ``"none"`` gives B N [spatial].
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
        gamma: float = 2.0,
        weight: Sequence[float] | float | int | torch.Tensor | None = None,
        lambda_gdl: float = 1.0,
        lambda_focal: float = 1.0,
    ) -> None:
        super().__init__()
        shared: dict[str, Any] = {
            "include_background": include_background,
            "to_onehot_y": to_onehot_y,
            "reduction": reduction,
        }
        self.generalized_dice = GeneralizedDiceLoss(
            sigmoid=sigmoid,
            softmax=softmax,
            other_act=other_act,
            w_type=w_type,
            smooth_nr=smooth_nr,
            smooth_dr=smooth_dr,
            batch=batch,
            **shared,
        )
        self.focal = FocalLoss(gamma=gamma, weight=weight, **shared)
        self._weigh(lambda_gdl=lambda_gdl, lambda_focal=lambda_focal)

    def forward(self, input: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """The loss."""
        input, target = self._fit(input, target)
        seen, voxels = self.generalized_dice._see(input, target), self.focal._see(input, target)
        sums, columns = _looked_at(input, seen, self.generalized_dice.formula, self.focal, voxels)
        dice = self.generalized_dice.of(seen, sums)
        return self.lambda_gdl * dice + self.lambda_focal * self.focal.of(voxels, columns)
