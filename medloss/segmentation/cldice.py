"""clDice: overlap of each one's centreline with the other, for vessels, airways, roads and nerves."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from medloss import checks
from medloss.labels import LabelView
from medloss.map_loss import MapLoss, label_maps
from medloss.ops import skeleton_sums
from medloss.ops.masking import present
from medloss.reduction import ratio, reduce


class SoftclDiceLoss(MapLoss):
    r"""Dice of centrelines (clDice): how much of each one's soft skeleton lies inside the other.

    .. math::
        L = 1 - \frac{2 P R}{P + R + \epsilon}, \qquad
        P = \frac{\sum w s(p) t + nr}{\sum w s(p) + dr}, \quad R = \frac{\sum w s(t) p + nr}{\sum w s(t) + dr}

    for each sample, with sums over classes and voxels, prediction p, membership t and the soft skeleton s. A gap in a
    vessel costs about its share of the vessel's length, whatever the vessel's width. A constant map has no skeleton:
    with the smoothing, to call everything vessel costs nothing, so mix it with a Dice
    (:class:`~medloss.SoftDiceclDiceLoss`).

    Shape: input B N [spatial], target B N or B 1 [spatial], mask B 1 [spatial]; ``"none"`` gives B (1 with ``batch``).

    Range: [0, 1], near 0 where prediction and target are equal.

    Limits: where both are one voxel thin their skeletons are they themselves, and without smoothing the loss is that of
    :class:`~medloss.DiceLoss` for one class.

    Authors' code: equal with ``iter_=10, batch=True, smooth=1e-12``; it takes 10 erosions whatever its own ``iter_``
    says. The 3 here are MONAI's.

    Args:
        iter_: how often the soft skeleton erodes, at least the radius of the widest vessel in voxels.
        smooth_nr: added to the numerators of P and R.
        smooth_dr: added to the denominators of P and R.
        smooth: added to the denominator of their harmonic mean, above 0.
        batch: sum over the batch before the formula, not after.
        weight: factor per class in the sums.
        empty: ``"skip"`` leaves samples without any target out of the mean.

    Raises:
        ShapeError: target or mask does not fit the input.
        TypeError: ``iter_`` is no integer.
        ValueError: a negative ``iter_`` or smoothing, or the faults of :class:`~medloss.DiceLoss`.

    References:
        [1] Shit et al., clDice, a novel topology-preserving loss function for tubular structure segmentation,
        CVPR 2021.

    >>> import torch, medloss
    >>> vessel = torch.tensor([[[[0.0, 0, 0, 0], [1, 1, 1, 1], [0, 0, 0, 0]]]])
    >>> gap = vessel * torch.tensor([1.0, 0, 1, 1])
    >>> loss = medloss.SoftclDiceLoss(smooth_nr=0, smooth_dr=0)
    >>> round(loss(gap, vessel).item(), 4)  # P = 1, R = 3 / 4
    0.1429
    """

    iter_: int = 3
    smooth_nr: float = 1.0
    smooth_dr: float = 1.0
    smooth: float = 1e-4
    batch: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.iter_, int):
            raise TypeError(f"iter_ must be an integer, not {type(self.iter_).__name__}")
        checks.at_least("iter_", self.iter_, 0)
        checks.at_least("smooth_nr", self.smooth_nr, 0)
        checks.at_least("smooth_dr", self.smooth_dr, 0)
        if not self.smooth > 0:
            raise ValueError(f"smooth={self.smooth!r} must be above 0: it guards the harmonic mean")

    def _reduced(self, view: LabelView, *_: Any, **__: Any) -> Tensor:
        classes = view.input.shape[1]
        factors, first = self._factors(classes), self._first(classes)
        maps = label_maps(view, first)
        sums = skeleton_sums(maps.input, maps.target, maps.weight, iterations=self.iter_)
        if factors is not None:
            sums = sums * factors[first:, None].to(sums)
        sums, valid = sums.sum(1), present(maps.mass().sum(1))
        there = present(maps.target.flatten(1).amax(1)) if self.empty == "skip" else valid
        if self.batch:
            sums, valid, there = sums.sum(0, keepdim=True), valid.any(0, keepdim=True), there.any(0, keepdim=True)
        valid = valid & there
        return reduce(self._harmonic(*sums.unbind(-1)), self.reduction, valid)

    def _harmonic(self, hit: Tensor, predicted: Tensor, found: Tensor, true: Tensor) -> Tensor:
        """One minus the harmonic mean of precision and recall."""
        precision = ratio(hit + self.smooth_nr, predicted + self.smooth_dr)
        recall = ratio(found + self.smooth_nr, true + self.smooth_dr)
        return 1 - 2 * precision * recall / (precision + recall + self.smooth)
