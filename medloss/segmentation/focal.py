"""Focal loss: cross-entropy that looks away from voxels that are right already."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from medloss import checks
from medloss.base import LabelLoss
from medloss.forms import Share
from medloss.labels import LabelView
from medloss.ops import Column, Terms, pointwise
from medloss.reduction import ratio
from medloss.sums import RegionSums, all_reduced


class FocalLoss(LabelLoss):
    r"""Focal loss of logits, per class (sigmoid) or over the classes (``softmax=True``).

    .. math::
        \text{sigmoid:}\quad f_{ic} = (1 - q_{ic})^\gamma
            \bigl(-\alpha t \log p - (1 - \alpha)(1 - t) \log(1 - p)\bigr), \qquad q = p t + (1 - p)(1 - t)

    .. math::
        \text{softmax:}\quad f_{ic} = -\alpha_c (1 - p_{ic})^\gamma t_{ic} \log p_{ic}

    The mean runs over the elements, voxels times classes; class weights multiply their class's elements.

    Shape: input (logits) B N [spatial], target B N or B 1 [spatial], mask B 1 [spatial]; ``"none"`` gives
    B N [spatial].

    Range: [0, inf).

    Limits: gamma = 0 without alpha is :class:`~medloss.CrossEntropyLoss`, over N for the softmax.

    Args:
        gamma: how fast the weight of an easy voxel falls, at least 0.
        alpha: balance of the positives against the negatives in [0, 1], or one factor on the positives for each class
            (the negatives' is then 1). With the softmax, one number weighs class 0 with 1 - alpha and the others with
            alpha. None weighs all alike.
        softmax: classes exclude each other. The default is a sigmoid per class.
        include_background: whether channel 0 counts; it leaves after the activation.
        process_group: add up numerator and denominator over the processes: ``"world"``, or a group.

    Raises:
        ShapeError: target or mask does not fit the input.
        ValueError: gamma or alpha out of range, or the faults of :class:`~medloss.DiceLoss`.

    References:
        [1] Lin et al., Focal loss for dense object detection, ICCV 2017, eq. 5.
        [2] Zhu et al., AnatomyNet, Medical Physics 2019 (softmax, for volumes).

    >>> import torch, medloss
    >>> input, target = torch.zeros(1, 1, 1), torch.ones(1, 1, 1)
    >>> medloss.FocalLoss(gamma=2)(input, target)  # (1 - 1/2)^2 log 2
    tensor(0.1733)
    """

    gamma: float = 2.0
    alpha: float | tuple[float, ...] | list[float] | None = None
    process_group: Any = None
    _alpha: ClassVar[Tensor | None]  # a buffer of each instance, and no option

    def __post_init__(self) -> None:
        if not self.softmax:
            if self.other_act is not None:
                raise ValueError("a focal loss needs logits: other_act cannot stand before it")
            self.sigmoid = True
        super().__post_init__()
        checks.at_least("gamma", self.gamma, 0)
        if isinstance(self.alpha, (int, float)) and not 0 <= self.alpha <= 1:
            raise ValueError(f"alpha={self.alpha!r} lies outside [0, 1]")
        alpha = self.alpha
        self._constant("alpha", [alpha] if isinstance(alpha, (int, float)) else alpha)

    @property
    def needs(self) -> Terms:
        """The focal columns."""
        return Terms.FOCAL

    def evaluate(self, view: LabelView, sums: RegionSums) -> Tensor:
        """The sums of the focal columns over the number of elements; the map where nothing is reduced."""
        classes = view.input.shape[1]
        first = self._first(classes)
        positive, negative = self._balance(classes, sums.columns)
        if self.reduction == "none":
            voxels = pointwise(
                view.input,
                view.target,
                view.mask,
                penalty=view.activation,
                indexed=view.indexed,
                ignore_index=view.ignore_index,
                gamma=self.gamma,
                positive=positive,
                negative=negative,
            )
            return voxels[:, first:]
        sums = sums.over_batch().classes_from(first)
        if self.reduction == "mean":
            sums = all_reduced(sums, self.process_group)
        total, mass = self._share(positive, negative, first).sums(sums)
        return total if self.reduction == "sum" else ratio(total, mass)

    def closed_form(self, classes: int) -> Share | None:
        """The focal columns over the number of elements."""
        if type(self).evaluate is not FocalLoss.evaluate or self.reduction == "none" or self.process_group is not None:
            return None
        like = self._weight if self._alpha is None else self._alpha  # one of the numbers per class
        positive, negative = (None, None) if like is None else self._balance(classes, like)
        return self._share(positive, negative, self._first(classes))

    def _share(self, positive: Tensor | None, negative: Tensor | None, first: int) -> Share:
        above: dict[int, float] = {Column.FOCAL_TRUE: 1.0}
        if self.sigmoid:
            above[Column.FOCAL_FALSE] = 1.0
        return Share(above, {Column.VOXELS: 1.0}, positive, negative, first)

    def _balance(self, classes: int, like: Tensor) -> tuple[Tensor, Tensor]:
        """The factor of each class on its true and on its false terms."""
        ones = like.new_ones(classes)
        positive, negative, alpha = ones, ones, self._alpha
        if alpha is not None and not isinstance(self.alpha, (int, float)):
            if alpha.numel() != classes:
                raise ValueError(
                    f"alpha has {alpha.numel()} entries and input {classes} channels: give one per channel"
                )
            positive = alpha.to(like)
        elif alpha is not None and self.softmax:
            background = torch.arange(classes, device=like.device) == 0
            alpha = alpha.to(like)
            positive = torch.where(background, 1 - alpha, alpha)
        elif alpha is not None:
            positive, negative = ones * alpha.to(like), ones * (1 - alpha).to(like)
        factors = self._factors(classes)
        if factors is not None:
            positive, negative = positive * factors.to(like), negative * factors.to(like)
        return positive, negative
