"""MONAI's focal loss."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from medloss import checks
from medloss.compat.monai.base import (
    LabelDropIn,
    LossReduction,
    Seen,
    fitting,
    floating,
    has_channels,
    indices,
    kept,
    multiplied,
)
from medloss.compat.monai.joined import Sweep
from medloss.compat.peers import earlier_order, handing_on
from medloss.constants import held
from medloss.labels import LabelView
from medloss.ops import Terms, pointwise
from medloss.ops.masking import accumulation_dtype, spatial_axes
from medloss.reduction import ratio
from medloss.sums import RegionSums

__getattr__ = handing_on(__name__, "monai.losses.focal_loss")


class FocalLoss(LabelDropIn):
    """``monai.losses.FocalLoss`` over the sums and maps that :class:`medloss.FocalLoss` is made of.

    The mean runs over elements, ``"sum"`` adds up the means over the voxels of each sample and class, ``"none"`` gives
    B N [spatial]. ``weight`` and ``alpha`` have no entry for a background that does not count, and with ``use_softmax``
    that background leaves before the softmax. Where a voxel belongs to a class in part, t, the focal factor of the
    sigmoid is that of the logit times 2 t - 1. A call whose fifth argument by position is the reduction is that
    of the releases without ``alpha``.
    """

    @earlier_order(str, None, at=3, seen_at=4)
    def __init__(
        self,
        include_background: bool = True,
        to_onehot_y: bool = False,
        gamma: float = 2.0,
        alpha: float | Sequence[float] | None = None,
        weight: Sequence[float] | float | int | torch.Tensor | None = None,
        reduction: LossReduction | str = "mean",
        use_softmax: bool = False,
        ignore_index: int | None = None,
    ) -> None:
        super().__init__(reduction)
        self._keep(locals())
        if alpha is not None:
            self.alpha = float(alpha) if isinstance(alpha, (int, float)) else held(alpha)
        self.weight = weight

    @property
    def weight(self) -> Any:
        """The class weights as they were given; ``class_weight`` is their buffer."""
        return self._given_weight

    @weight.setter
    def weight(self, weight: Any) -> None:
        self._given_weight = weight
        self._keep_weight(weight)

    def forward(self, input: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """The loss."""
        return self.of(self._see(input, target))

    def _see(self, input: Any, target: Any, activated: bool = False, indexed: bool | None = None) -> Seen:
        """Logits and labels of the classes that count, with what an ignored label leaves as the mask."""
        input, target, ignore = floating(input), checks.plain("target", target), self.ignore_index
        classes, rank = input.shape[1], input.ndim
        indexed = has_channels("to_onehot_y", self.to_onehot_y, classes) if indexed is None else indexed
        first = int(has_channels("include_background", not self.include_background, classes, False))
        fitting(input, target, indexed)
        target = indices(target, classes, ignore) if indexed else target
        mask = None if ignore is None else kept(target, ignore)
        input, target = input[:, first:], target.long() - first if indexed else target[:, first:]
        if rank == 2:
            input, target, mask = (None if x is None else x.unsqueeze(-1) for x in (input, target, mask))
        if mask is not None and not indexed and target.is_floating_point():  # it may be soft
            input, target = multiplied(input, mask), multiplied(target, mask)
        activation = "softmax" if self.use_softmax else "sigmoid"
        return Seen(LabelView(input, target, mask, activation, indexed, None), 0, rank)

    def sweep(self, seen: Seen, classes: int) -> Sweep | None:
        """What the loss sums of an input of so many classes; None where it looks at each voxel in another way."""
        if self.reduction == "none" or seen.rank == 2 or self._in_part(seen.view):
            return None
        return Sweep(seen.view, classes - seen.classes, Terms.FOCAL, float(self.gamma))

    def of(self, seen: Seen, columns: Tensor | None = None) -> Tensor:
        """The loss of what was seen, reduced. The caller may pass sums that it has computed already."""
        checks.choice("reduction", self.reduction, ("mean", "sum", "none"))
        view, classes = seen.view, seen.classes
        dtype = accumulation_dtype(view.input)
        factor = self._factor(classes, view.input.device, dtype)
        if self.reduction == "none":
            values = self._map(view) * factor.view(-1, *[1] * (view.input.ndim - 2))
            return values if seen.rank > 2 else values.squeeze(-1)
        totals = self._totals(view, columns) * factor
        voxels = totals.new_full((totals.shape[0], 1), math.prod(view.input.shape[2:]))
        if view.mask is not None:
            voxels = view.mask.to(dtype).flatten(1).sum(1, keepdim=True)
        if self.reduction == "sum" and seen.rank > 2:
            return ratio(totals, voxels.expand_as(totals)).sum()
        # without spatial axes MONAI's sum is a mean over no axes, which to PyTorch means over all
        return ratio(totals.sum(), voxels.sum() * classes)

    def _totals(self, view: LabelView, columns: Tensor | None) -> Tensor:
        """The focal terms, summed over the voxels, B N."""
        if columns is None and self._in_part(view):
            return self._map(view).flatten(2).sum(-1)
        positive, negative = self._balance(view)
        sweep = Sweep(view, 0, Terms.FOCAL, float(self.gamma))
        sums = RegionSums(sweep.columns(view.input) if columns is None else columns)
        return positive * sums.focal_true + negative * sums.focal_false

    def _map(self, view: LabelView) -> Tensor:
        """The focal terms, B N [spatial]."""
        positive, negative = self._balance(view)
        if not self._in_part(view):
            factors = {"gamma": self.gamma, "positive": positive, "negative": negative, "indexed": view.indexed}
            return pointwise(view.input, view.target, view.mask, penalty=view.activation, **factors)
        entropy = pointwise(view.input, view.target, view.mask, penalty="sigmoid")
        t = view.target.to(entropy.dtype)
        factor = (self.gamma * logsigmoid(-view.input.to(entropy.dtype) * (2 * t - 1))).exp()
        if isinstance(self.alpha, float):
            factor = factor * (t * self.alpha + (1 - t) * (1 - self.alpha))
        elif self.alpha is not None:
            factor = factor * torch.where(t == 1, positive.view(-1, *[1] * len(spatial_axes(t))), 1)
        return factor * entropy

    @staticmethod
    def _in_part(view: LabelView) -> bool:
        """Whether a voxel may belong to a class in part, and the sigmoid's focal factor be MONAI's own.

        On the CPU, where looking costs no waiting, memberships of 0 and 1 take the fast sums.
        """
        if view.activation != "sigmoid" or view.indexed or not view.target.is_floating_point():
            return False
        if view.target.device.type != "cpu" or torch.compiler.is_compiling():
            return True
        return not bool((view.target == view.target * view.target).all())

    def _balance(self, view: LabelView) -> tuple[Tensor, Tensor]:
        """The factor of each class on its true and on its false terms."""
        classes = view.input.shape[1]
        ones = view.input.new_ones(classes, dtype=accumulation_dtype(view.input))
        if self.alpha is None:
            return ones, ones
        if isinstance(self.alpha, Tensor):
            if self.alpha.numel() != classes:
                raise ValueError(f"alpha has {self.alpha.numel()} entries for {classes} classes: give one per class")
            return self.alpha.to(ones), ones
        if not self.use_softmax:
            return ones * self.alpha, ones * (1 - self.alpha)
        if not self.include_background:
            warnings.warn(f"alpha={self.alpha} is ignored: there is no background to balance against.", stacklevel=6)
            return ones, ones
        return torch.where(torch.arange(classes, device=ones.device) == 0, 1 - self.alpha, self.alpha * ones), ones

    def _factor(self, classes: int, device: torch.device, dtype: torch.dtype) -> Tensor:
        """The weight of each class, N or of one entry for all."""
        if self.class_weight is None:
            return torch.ones(1, device=device, dtype=dtype)
        weight = self.class_weight.to(device=device, dtype=dtype)
        if weight.ndim and (classes == 1 or weight.numel() != classes):
            raise ValueError(
                f"weight has {weight.numel()} entries for {classes} classes: give one per class that counts"
            )
        if not weight.is_meta and (weight < 0).any():
            raise ValueError(f"weight holds negative values: {weight.tolist()}")
        return weight.reshape(-1)
