"""What losses share that are a penalty of each voxel's logits: how the classes weigh, and what the mean divides by."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from medloss.base import LabelLoss
from medloss.labels import LabelView, view_labels
from medloss.ops import pointwise
from medloss.ops.masking import accumulation_dtype, blank, membership, voxel_weight
from medloss.ops.operator import without_autocast
from medloss.reduction import mass, ratio
from medloss.sums import RegionSums, all_reduced


class VoxelwiseLoss(LabelLoss):
    """A penalty of each voxel's logits: a softmax by itself, or with ``sigmoid`` a problem of its own per channel.

    A subclass writes :meth:`penalise`. The mean is that of :class:`~medloss.CrossEntropyLoss`: with a softmax over
    voxels that weigh as their classes do, with ``sigmoid`` over voxels and channels.
    """

    def __post_init__(self) -> None:
        if self.sigmoid and self.softmax:
            raise ValueError(
                f"sigmoid and softmax exclude each other: {type(self).__name__} takes the softmax by itself"
            )
        self.softmax = not self.sigmoid
        super().__post_init__()

    def penalise(self, view: LabelView, positive: Tensor, negative: Tensor) -> Tensor:
        """The penalty times the voxel's weight and the factor of the class's true or false part.

        B N [spatial] with ``sigmoid``; with a softmax the sum over the classes, B 1 [spatial].
        """
        raise NotImplementedError

    def forward(self, input: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        """The loss. See the class for shapes and errors."""
        return self.evaluate(view_labels(input, target, mask, **self.sweep), None)

    def evaluate(self, view: LabelView, sums: RegionSums | None) -> Tensor:
        """The loss, reduced; from the voxels, whatever was summed over them."""
        with without_autocast(view.input.device.type):
            return self.look(view)

    def look(self, view: LabelView) -> Tensor:
        """The loss, reduced."""
        raise NotImplementedError

    def penalties(self, view: LabelView, positive: Tensor, negative: Tensor) -> Tensor:
        """The weighted penalty of each voxel, B [spatial]; with ``sigmoid`` B N [spatial]."""
        values = self.penalise(view, positive, negative)
        return values[:, self._first(view.input.shape[1]) :] if self.sigmoid else values.squeeze(1)

    def class_factors(self, view: LabelView) -> tuple[Tensor, Tensor]:
        """The factor of each class on its true and on its false part; 0 where it does not count."""
        classes, dtype = view.input.shape[1], accumulation_dtype(view.input)
        first, factors = self._first(classes), self._factors(classes)
        counted = (torch.arange(classes, device=view.input.device) >= first).to(dtype)
        return (counted if factors is None else counted * factors.to(counted)), counted

    def mass(self, view: LabelView, factors: Tensor) -> Tensor:
        """What each voxel adds to the denominator of the mean, of the shape of :meth:`penalties`.

        bool, at a quarter of the memory, where a voxel adds 1 or nothing as its label alone says.
        """
        weight = voxel_weight(view.target, view.mask, view.indexed, view.ignore_index, factors.dtype)
        if self.sigmoid:
            first = self._first(view.input.shape[1])
            ones = torch.ones_like(view.input[:, first:], dtype=factors.dtype)
            if weight is None:
                return ones
            return ones * (weight[:, first:] if weight.shape[1] > 1 else weight)
        if weight is not None and weight.shape[1] > 1:  # a weight for each class of a voxel
            members = blank(membership(view.target, factors.numel(), view.indexed, factors.dtype), weight)
            return (members * weight * factors.view(1, -1, *[1] * (members.ndim - 2))).sum(1)
        alike = self._factors(factors.numel()) is None and self._first(factors.numel()) == 0
        mass = class_weight(view, factors, alike)
        return (mass if weight is None else blank(mass, weight) * weight).squeeze(1)


def class_weight(view: LabelView, factors: Tensor, alike: bool) -> Tensor:
    """The factor of the class of each voxel, B 1 [spatial]; nothing for a label outside the classes.

    ``alike`` says that every factor is 1: then it is bool, and no table is looked up, whose indices take 8 bytes each.
    """
    if not view.indexed:
        members = view.target.to(factors.dtype)
        return (members * factors.view(1, -1, *[1] * (members.ndim - 2))).sum(1, keepdim=True)
    index, classes = view.target.long(), factors.numel()
    known = (index >= 0) & (index < classes)
    if view.target.is_floating_point():
        known = known & (index == view.target)
    if alike:
        return known
    table = torch.cat([factors, factors.new_zeros(1)])  # the last entry is that of no class
    return table.index_select(0, torch.where(known, index, classes).flatten()).view(index.shape)


class LikelihoodLoss(VoxelwiseLoss):
    """A function of the likelihood of the labels, averaged over the voxels; a subclass says which of ``pointwise``."""

    process_group: Any = None

    def penalty(self) -> tuple[str, float]:
        """The name of the penalty and its parameter."""
        raise NotImplementedError

    def penalise(self, view: LabelView, positive: Tensor, negative: Tensor, reduce: bool = False) -> Tensor:
        """The penalty of each voxel, with ``sigmoid`` of each channel; summed over the voxels with ``reduce``."""
        return self.likelihood(view, self.penalty(), positive, negative, reduce)

    def likelihood(
        self, view: LabelView, penalty: tuple[str, float], positive: Tensor, negative: Tensor, reduce: bool
    ) -> Tensor:
        """A penalty, with its parameter, of each voxel; see :meth:`penalise`."""
        return pointwise(
            view.input,
            view.target,
            view.mask,
            penalty=penalty[0],
            indexed=view.indexed,
            ignore_index=view.ignore_index,
            gamma=penalty[1],
            positive=positive,
            negative=negative,
            reduce=reduce,
            joined=not self.sigmoid,
        )

    def look(self, view: LabelView) -> Tensor:
        """The map, its sum, or the sum over the mass."""
        positive, negative = self.class_factors(view)
        if self.reduction == "none":
            return self.penalties(view, positive, negative)
        sums = self.penalise(view, positive, negative, reduce=True)
        total = (sums[:, self._first(view.input.shape[1]) :] if self.sigmoid else sums).sum()
        if self.reduction == "sum":
            return total
        pair = torch.stack([total, self._total_mass(view, positive)])
        total, mass = all_reduced(RegionSums(pair), self.process_group).columns
        return ratio(total, mass)

    def _total_mass(self, view: LabelView, factors: Tensor) -> Tensor:
        """The denominator of the mean; with ``sigmoid`` without a map of it."""
        if not self.sigmoid:
            return self.mass(view, factors).sum(dtype=factors.dtype)
        weight = voxel_weight(view.target, view.mask, view.indexed, view.ignore_index, factors.dtype)
        return mass(weight, view.input.shape, factors)[:, self._first(view.input.shape[1]) :].sum()
