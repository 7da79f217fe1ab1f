"""Cross-entropy: minus the log-likelihood of the labels, per voxel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from medloss.base import LabelLoss
from medloss.labels import LabelView
from medloss.ops import Terms, pointwise
from medloss.ops.voxels import voxel_weight
from medloss.reduction import ratio
from medloss.sums import RegionSums, all_reduced


@dataclass(eq=False, kw_only=True)
class CrossEntropyLoss(LabelLoss):
    r"""Cross-entropy of logits with class indices, one-hot or soft targets.

    .. math::
        L = \frac{-\sum_i w_i \sum_c a_c t_{ic} \log p_{ic}}{\sum_i w_i \sum_c a_c t_{ic}}

    with softmax probabilities p, memberships t, voxel weights w and class weights a (1 by default): the weighted mean
    over the voxels, as ``torch.nn.CrossEntropyLoss`` takes it. ``label_smoothing`` e adds
    :math:`\frac{e}{N} \sum_c -a_c \log p_{ic}` to (1 - e) times the sum.

    With ``sigmoid`` each channel is a binary problem of its own,
    :math:`-a_c t \log p - (1 - t) \log(1 - p)`, averaged over voxels and channels; a then weighs the positives.

    Shape: input (logits) B N [spatial], target B N or B 1 [spatial], mask B 1 [spatial]; ``"none"`` gives B [spatial],
    with ``sigmoid`` B N [spatial].

    Range: [0, inf).

    Limits: equals :class:`~medloss.FocalLoss` at gamma = 0, times N for the softmax (a focal loss averages over
    elements).

    Args:
        softmax: stands by itself; there is nothing else but ``sigmoid``.
        include_background: whether voxels of class 0 (with ``sigmoid``: channel 0) count.
        label_smoothing: e, in [0, 1].
        process_group: add up numerator and denominator over the processes: ``"world"``, or a group.

    Raises:
        ShapeError: target or mask does not fit the input.
        ValueError: an activation other than these two, or label smoothing outside [0, 1].

    References:
        [1] Bishop, Pattern Recognition and Machine Learning, 2006, eq. 4.108.
        [2] Szegedy et al., Rethinking the Inception architecture, CVPR 2016, section 7 (label smoothing).

    >>> import torch, medloss
    >>> loss = medloss.CrossEntropyLoss(to_onehot_y=True)
    >>> loss(torch.zeros(1, 4, 2), torch.tensor([[[0, 3]]]))  # log 4
    tensor(1.3863)
    """

    label_smoothing: float = 0.0
    process_group: Any = None

    def __post_init__(self) -> None:
        if self.sigmoid and self.softmax:
            raise ValueError("sigmoid and softmax exclude each other: cross-entropy takes the softmax by itself")
        self.softmax = not self.sigmoid
        super().__post_init__()
        if not 0 <= self.label_smoothing <= 1:
            raise ValueError(f"label_smoothing={self.label_smoothing!r} lies outside [0, 1]")
        if self.label_smoothing and (self.sigmoid or not self.include_background):
            raise ValueError("label_smoothing spreads over all classes of a softmax: it needs include_background=True")

    @property
    def needs(self) -> Terms:
        """Likelihoods, and those of all classes alike for label smoothing."""
        return Terms.LIKELIHOOD | (Terms.UNIFORM if self.label_smoothing else Terms.NONE)

    def evaluate(self, view: LabelView, sums: RegionSums) -> Tensor:
        """Numerator and denominator from the sums; the voxel map where nothing is reduced."""
        classes = view.input.shape[1]
        first, factors = self._first(classes), self._factors(classes)
        factors = sums.columns.new_ones(classes) if factors is None else factors.to(sums.columns.dtype)
        if self.reduction == "none":
            return self._map(view, factors, first)
        sums, factors = sums.over_batch().classes_from(first), factors[first:]
        if self.reduction == "mean":
            sums = all_reduced(sums, self.process_group)
        total = factors * sums.nll_true
        if self.sigmoid:
            total, mass = total + sums.nll_false, sums.voxels
        else:
            mass = factors * sums.target
        if self.label_smoothing:
            smooth = self.label_smoothing
            total = (1 - smooth) * total + smooth / classes * factors * sums.nll_all
        return total.sum() if self.reduction == "sum" else ratio(total.sum(), mass.sum())

    def _map(self, view: LabelView, factors: Tensor, first: int) -> Tensor:
        counted = (torch.arange(factors.numel(), device=factors.device) >= first).to(factors.dtype)
        penalty = {"penalty": view.activation, "positive": factors * counted, "negative": counted}
        where = {"indexed": view.indexed, "ignore_index": view.ignore_index}
        voxels = pointwise(view.input, view.target, view.mask, **where, **penalty)
        if self.sigmoid:
            return voxels[:, first:]
        if self.label_smoothing:
            mask = voxel_weight(view.target, view.mask, **where, dtype=voxels.dtype)
            uniform = pointwise(view.input, torch.ones_like(view.input), mask, **penalty)
            smooth = self.label_smoothing
            voxels = (1 - smooth) * voxels + smooth / factors.numel() * uniform
        return voxels.sum(1)
