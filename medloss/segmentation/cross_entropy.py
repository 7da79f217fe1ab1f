"""Cross-entropy: minus the log-likelihood of the labels, per voxel."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from medloss.base import LabelLoss
from medloss.forms import Share
from medloss.labels import LabelView
from medloss.ops import Column, Terms, pointwise
from medloss.ops.masking import membership, voxel_weight
from medloss.reduction import ratio, times
from medloss.sums import RegionSums, all_reduced


class CrossEntropyLoss(LabelLoss):
    r"""Cross-entropy of logits with class indices, one-hot or soft targets.

    .. math::
        L = \frac{-\sum_i w_i \sum_c a_c t_{ic} \log p_{ic}}{\sum_i w_i \sum_c a_c t_{ic}}

    with softmax probabilities p, memberships t, voxel weights w and class weights a (1 by default): the weighted mean
    over the voxels, as ``torch.nn.CrossEntropyLoss`` takes it. ``label_smoothing`` e adds
    :math:`\frac{e}{N} \sum_c -a_c \log p_{ic}` over all classes to (1 - e) times the sum, at each voxel that counts.

    With ``sigmoid`` each channel is a binary problem of its own,
    :math:`-a_c t \log p - (1 - t) \log(1 - p)`, averaged over voxels and channels; a then weighs the positives. The
    two labels of each channel are smoothed alike: t becomes (1 - e) t + e / 2.

    Shape: input (logits) B N [spatial], target B N or B 1 [spatial], mask B 1 [spatial]; ``"none"`` gives B [spatial],
    with ``sigmoid`` B N [spatial].

    Range: [0, inf).

    Limits: equals :class:`~medloss.FocalLoss` at gamma = 0, times N for the softmax (a focal loss averages over
    elements). Without background it is the loss that ignores label 0.

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

    @property
    def needs(self) -> Terms:
        """Likelihoods, and those of all classes alike for label smoothing."""
        return Terms.LIKELIHOOD | (Terms.UNIFORM if self.label_smoothing and not self._smoothed_apart else Terms.NONE)

    @property
    def _smoothed_apart(self) -> bool:
        """Whether the likelihood of evenly spread labels is none of the columns."""
        return self.label_smoothing > 0 and not (self.softmax and self.include_background)

    def evaluate(self, view: LabelView, sums: RegionSums) -> Tensor:
        """Numerator and denominator from the sums; the voxel map where nothing is reduced."""
        classes = view.input.shape[1]
        first, weight = self._first(classes), self._factors(classes)
        factors = sums.columns.new_ones(classes) if weight is None else weight.to(sums.columns)
        if self.reduction == "none":
            return self._map(view, factors, first)
        share = self._share(classes)
        even = self._even(view, factors, first) if self._smoothed_apart else None
        sums = sums.classes_from(first)
        if self.reduction == "mean" and self.process_group is not None:
            sums = all_reduced(sums.over_batch(), self.process_group)
        total, mass = share.sums(sums)
        if even is not None:
            total = total + times(self.label_smoothing, even)
        return total if self.reduction == "sum" else ratio(total, mass)

    def closed_form(self, classes: int) -> Share | None:
        """The likelihood columns over the mass of the target."""
        if type(self).evaluate is not CrossEntropyLoss.evaluate or self._smoothed_apart:
            return None
        return None if self.reduction == "none" or self.process_group is not None else self._share(classes)

    def _share(self, classes: int) -> Share:
        """Numerator and denominator, but for evenly spread labels that no column has."""
        true = 1 - self.label_smoothing
        above: dict[int, float] = {Column.NLL_TRUE: true}
        if self.sigmoid:
            above[Column.NLL_FALSE] = true
        if self.label_smoothing and not self._smoothed_apart:
            above[Column.NLL_ALL] = self.label_smoothing / classes
        below: dict[int, float] = {Column.VOXELS if self.sigmoid else Column.TARGET: 1.0}
        return Share(above, below, self._factors(classes), None, self._first(classes))

    def _even(self, view: LabelView, factors: Tensor, first: int) -> Tensor:
        """What the labels would cost if they were spread evenly, summed over everything that counts."""
        parts = RegionSums(self._even_voxels(view, factors, first, reduce=True).sum().view(1, 1, 1))
        return (all_reduced(parts, self.process_group) if self.reduction == "mean" else parts).columns.sum()

    def _even_voxels(self, view: LabelView, factors: Tensor, first: int, reduce: bool) -> Tensor:
        """The likelihood terms of evenly spread labels: of the channels, of all classes with a softmax.

        B N [spatial] or B 1 [spatial]; without the spatial axes with ``reduce``.
        """
        dtype = factors.dtype
        mask = voxel_weight(view.target, view.mask, view.indexed, view.ignore_index, dtype)
        if first and self.softmax:  # voxels count as far as they are no background
            others = 1 - membership(view.target, 1, view.indexed, dtype)[:, :1]
            mask = others if mask is None else torch.where(mask > 0, mask * others, torch.zeros_like(mask))
        even = factors.new_full((), 0.5 if self.sigmoid else 1 / factors.numel()).expand_as(view.input)
        terms = pointwise(
            view.input, even, mask, penalty=view.activation, joined=self.softmax, positive=factors, reduce=reduce
        )
        return terms[:, first:] if self.sigmoid else terms

    def _map(self, view: LabelView, factors: Tensor, first: int) -> Tensor:
        counted = (torch.arange(factors.numel(), device=factors.device) >= first).to(factors.dtype)
        voxels = pointwise(
            view.input,
            view.target,
            view.mask,
            penalty=view.activation,
            indexed=view.indexed,
            ignore_index=view.ignore_index,
            positive=factors * counted,
            negative=counted,
            joined=self.softmax,
        )
        voxels = voxels[:, first:] if self.sigmoid else voxels[:, 0]
        if self.label_smoothing:
            even = self._even_voxels(view, factors, first, reduce=False)
            even = even if self.sigmoid else even[:, 0]
            voxels = (1 - self.label_smoothing) * voxels + self.label_smoothing * even
        return voxels
