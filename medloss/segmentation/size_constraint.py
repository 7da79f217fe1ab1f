"""Size constraint: a region may be as large as it likes between two bounds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from medloss import checks
from medloss.base import RegionLoss
from medloss.labels import LabelView
from medloss.ops import Terms
from medloss.reduction import ratio
from medloss.sums import RegionSums


class SizeConstraintLoss(RegionLoss):
    r"""How far the size of a predicted region lies outside its bounds, squared: for targets that are weak or partial.

    .. math:: L = \max(a - s, 0)^2 + \max(s - b, 0)^2, \qquad s = \frac{S}{V}

    for each sample and class, with S the sum of the prediction and V that of the voxels that count. The bounds are
    those given, and where there is a ``tolerance`` r, those of the target's own size T too: a is the larger one of
    ``lower`` and (1 - r) T / V, b the smaller one of ``upper`` and (1 + r) T / V. It says nothing about where the
    region lies: add a loss of the voxels that are labelled, with :class:`~medloss.WeightedSum`.

    Shape: input B N [spatial], target B N or B 1 [spatial], mask B 1 [spatial]; ``"none"`` gives B N, ``batch`` 1 N.

    Range: [0, 1]; 0 within the bounds.

    Limits: at a tolerance of 0 the squared difference of both sizes; for a tolerance of None and bounds of 0 and 1, 0.

    Authors' code: it squares the sizes and divides once by the number V of voxels; here the shares are squared, which
    divides twice: a weight from there is times V here.

    Args:
        lower: the least share of the voxels, in [0, 1]: one number, or one for each channel. A class that is known to
            be there has a lower bound of a voxel's share.
        upper: the largest share of the voxels, given alike. A class that is known to be absent has an upper bound of 0.
        tolerance: r, at least 0, or None for the bounds alone: the target may then be anything of the right shape.
        smooth_nr: nothing depends on it.
        smooth_dr: nothing depends on it, either.

    Raises:
        ShapeError: target or mask does not fit the input.
        ValueError: a bound outside [0, 1], or not as many as channels, a negative tolerance, or the faults of
            :class:`~medloss.DiceLoss`.

    References:
        [1] Kervadec et al., Constrained-CNN losses for weakly supervised segmentation, MedIA 2019 (there of the sizes,
        not of the shares).

    >>> import torch, medloss
    >>> input, target = torch.tensor([[[0.5, 0.5, 0.5, 0.5]]]), torch.tensor([[[1.0, 0.0, 0.0, 0.0]]])
    >>> medloss.SizeConstraintLoss(tolerance=0.2)(input, target)  # (1/2 - 1.2 / 4)^2
    tensor(0.0400)
    """

    lower: Sequence[float] | float = 0.0
    upper: Sequence[float] | float = 1.0
    tolerance: float | None = 0.1
    _lower: ClassVar[Tensor]  # buffers of each instance, and no options
    _upper: ClassVar[Tensor]

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("lower", "upper"):
            values = getattr(self, name)
            values = list(values) if isinstance(values, Sequence) else [values]
            if not all(0 <= value <= 1 for value in values):
                raise ValueError(f"{name}={getattr(self, name)!r} must lie in [0, 1]: it is a share of the voxels")
            self._constant(name, values)
        if self.tolerance is not None:
            checks.at_least("tolerance", self.tolerance, 0)

    def evaluate(self, view: LabelView, sums: RegionSums) -> Tensor:
        """The formula, with bounds for the channels that there are."""
        classes = view.input.shape[1]
        for name in ("lower", "upper"):
            given = getattr(self, f"_{name}").numel()
            if given not in (1, classes):
                raise ValueError(f"{name} has {given} entries and input {classes} channels: give one per channel")
        return super().evaluate(view, sums)

    @property
    def needs(self) -> Terms:
        """The errors, whose difference is how far a size lies from the true one."""
        return Terms.NONE if self.tolerance is None else Terms.ERRORS

    def finalise(self, sums: RegionSums) -> Tensor:
        """max(a - s, 0)^2 + max(s - b, 0)^2."""
        size = ratio(sums.input, sums.voxels)
        classes = size.shape[1]
        lower, upper = (bound[-classes:].to(size).expand_as(size) for bound in (self._lower, self._upper))
        below, above = lower - size, size - upper
        if self.tolerance is not None:  # from the errors: sizes that are nearly equal have no difference
            excess = ratio(sums.false_positive - sums.false_negative, sums.voxels)
            slack = self.tolerance * ratio(sums.target, sums.voxels)
            below, above = torch.maximum(below, -excess - slack), torch.maximum(above, excess - slack)
        return torch.relu(below) ** 2 + torch.relu(above) ** 2
