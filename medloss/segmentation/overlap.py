"""What losses of overlapping regions share: the overlap of soft labels, and one value for all classes of a sample."""

from __future__ import annotations

import torch
from torch import Tensor

from medloss.base import RegionLoss
from medloss.labels import LabelView
from medloss.ops import Terms
from medloss.ops.masking import present
from medloss.reduction import reduce
from medloss.sums import RegionSums, all_reduced


class OverlapLoss(RegionLoss):
    r"""A region loss that is a function of the overlap and the two regions' sums.

    Args:
        soft_label: overlap as :math:`(S + T - \sum w |p - t|) / 2`, the same for targets of 0 and 1. A loss that falls
            with the overlap then has its minimum at p = t for soft targets too.
    """

    soft_label: bool = False

    @property
    def needs(self) -> Terms:
        """What overlap and errors are made of."""
        return self._of_errors()

    def _of_errors(self) -> Terms:
        """Minimum and differences for soft labels, and the errors as such where they matter."""
        if self.soft_label:
            return Terms.DIFFERENCE
        return Terms.ERRORS if self._bends else Terms.NONE

    @property
    def _bends(self) -> bool:
        """Whether the slope depends on how small the errors are, so that they must be summed as such."""
        return False

    def overlap(self, sums: RegionSums) -> Tensor:
        """What prediction and target have in common."""
        return sums.common if self.soft_label else sums.overlap

    def errors(self, sums: RegionSums) -> tuple[Tensor, Tensor, Tensor]:
        """The overlap, the false positives and the false negatives."""
        if self.soft_label:
            return sums.common, sums.surplus, sums.lack
        if self._bends:
            return sums.overlap, sums.false_positive, sums.false_negative
        return sums.overlap, sums.input - sums.overlap, sums.target - sums.overlap


class SampleLoss(OverlapLoss):
    """A region loss that joins the classes of a sample into one value; ``"none"`` gives B (1 with ``batch``).

    Args:
        weight: factor on each class inside the formula.
        empty: whether a class that the target lacks takes part: ``"smooth"`` as the formula has it, ``"skip"`` not at
            all; a sample without any class then leaves the mean.
    """

    def combine(self, sums: RegionSums, factors: Tensor) -> Tensor:
        """The formula: from the sums B N and the factor of each class, B N and 0 where it does not count, to B."""
        raise NotImplementedError

    def evaluate(self, view: LabelView, sums: RegionSums) -> Tensor:
        """The formula on the sums of the classes that count, reduced over the samples."""
        classes = view.input.shape[1]
        weights, first = self._factors(classes), self._first(classes)
        sums = sums.classes_from(first)
        if self.batch:
            sums = all_reduced(sums.over_batch(), self.process_group)
        counted = present(sums.voxels)
        if self.empty == "skip":
            counted = counted & present(sums.target)
        factors = counted.to(sums.columns.dtype)
        if weights is not None:
            factors = factors * weights[first:].to(factors)
        return reduce(self.combine(sums, factors), self.reduction, counted.any(1))


def power(base: Tensor, exponent: float) -> Tensor:
    """``base**exponent``, and 0 with a gradient of 0 where the base is 0 or, by rounding, below."""
    some = present(base)
    return torch.where(some, torch.where(some, base, torch.ones_like(base)).pow(exponent), torch.zeros_like(base))
