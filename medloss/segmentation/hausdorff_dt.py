"""Hausdorff distance by distance transforms: an error costs as much as it is far from either border."""

from __future__ import annotations

import torch
from torch import Tensor

from medloss import checks
from medloss.labels import LabelView
from medloss.map_loss import label_maps
from medloss.ops import border_distance, squared_errors
from medloss.reduction import ratio
from medloss.segmentation.distances import DistanceLoss, counted, inside


class HausdorffDTLoss(DistanceLoss):
    r"""Hausdorff distance estimated by squared errors times their distances from both borders.

    .. math::
        L = \frac{1}{\sum_i w_i} \sum_i w_i (p_i - t_i)^2 \bigl(d_p(i)^\alpha + d_t(i)^\alpha\bigr)

    for each sample and class. :math:`d_p(i)` is the Euclidean distance from voxel i to the nearest one on the other
    side of the border of the prediction (probability above 1/2), :math:`d_t` that of the target; both are constants
    for the gradient. A region that is empty or full has no border: d = 0. Under a mask distances go to the nearest
    voxel that counts.

    A call computes four distance transforms per class: inside and outside, of prediction and target.

    Shape: input B N [spatial], target B N or B 1 [spatial], mask B 1 [spatial], distance_map B N [spatial]; ``"none"``
    gives B N.

    Range: [0, inf), 0 where prediction and target are equal, and where neither has a border.

    Limits: alpha = 0 is twice the mean squared error. Scales with the spacing to the power of alpha.

    Authors' code: that of SegLoss is equal. The ``HausdorffLoss`` of the boundary loss's authors measures inside the
    regions alone and is another loss.

    Args:
        alpha: exponent of the distances, at least 0: how much more a far error costs than a near one.
        spacing: size of a voxel along each axis, in mm for instance; also an argument of the call.

    The call takes ``distance_map``, the distances :math:`d_t` of all N classes, which saves two of the transforms:
    :class:`medloss.transforms.DistanceMap` makes it with ``signed=False``.

    Raises:
        ShapeError: target, mask or distance_map does not fit the input.
        ValueError: alpha below 0, a spacing that is not above 0, or the faults of :class:`~medloss.DiceLoss`.

    References:
        [1] Karimi and Salcudean, Reducing the Hausdorff distance in medical image segmentation with convolutional
        neural networks, IEEE TMI 2020 (the loss from distance transforms).

    >>> import torch, medloss
    >>> target, input = torch.tensor([[[0.0, 0, 1, 1]]]), torch.tensor([[[0.0, 1, 1, 1]]])
    >>> medloss.HausdorffDTLoss()(input, target)  # one error, at distance 1 from either border: (1 + 1) / 4
    tensor(0.5000)
    """

    alpha: float = 2.0

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.at_least("alpha", self.alpha, 0)

    def valued(self, means: Tensor) -> Tensor:
        """The value of each sample and class from its weighted mean over the voxels, B N."""
        return means

    def _reduced(self, view: LabelView, spacing: list[float], distance_map: Tensor | None) -> Tensor:
        # the sums are taken from the logits: maps of probabilities and memberships would be most of the memory
        classes = view.input.shape[1]
        first = self._first(classes)
        if view.mask is not None:
            checks.without_gradient("mask", view.mask)
        with torch.no_grad():
            costs, mass, valid = self._costs(view, spacing, distance_map)
        sums = squared_errors(
            view.input,
            view.target,
            costs,
            view.mask,
            activation=view.activation,
            indexed=view.indexed,
            ignore_index=view.ignore_index,
            first=first,
        )
        return self._pooled(self.valued(ratio(sums, mass)), valid, classes)

    def _costs(
        self, view: LabelView, spacing: list[float], distance_map: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Of each voxel both distances to the power of alpha, of each class the weight, and whether it counts."""
        maps = label_maps(view, self._first(view.input.shape[1]))
        mass, valid, everywhere = maps.mass(), self._counting(maps), maps.valid
        regions, given, dtype = [inside(maps.input)], None, maps.input.dtype
        if distance_map is None:
            regions.append(inside(maps.target))
        else:
            given = counted(distance_map, maps)
        del maps  # before the distances come
        costs = self._powers(regions.pop(), everywhere, spacing, dtype)
        if regions:
            costs.add_(self._powers(regions.pop(), everywhere, spacing, dtype))
        return costs if given is None else costs.add_(given.pow(self.alpha)), mass, valid

    def _powers(self, region: Tensor, valid: Tensor | None, spacing: list[float], dtype: torch.dtype) -> Tensor:
        """Distances to the power of alpha, whose square is what the transform comes with."""
        squared = self.alpha == 2
        far = border_distance(region, valid, spacing, dtype, squared=squared)
        return far if squared else far.pow_(self.alpha)


class LogHausdorffDTLoss(HausdorffDTLoss):
    r"""Logarithm of one plus the Hausdorff distance of :class:`HausdorffDTLoss`: of the size of a Dice loss.

    .. math:: L = \log(1 + L_{\text{HausdorffDT}})

    for each sample and class, before the mean over them.

    Shape, options, errors: see :class:`HausdorffDTLoss`.

    Range: [0, inf).

    Limits: equals :class:`HausdorffDTLoss` where that is small.

    References: as :class:`HausdorffDTLoss`.

    >>> import torch, medloss
    >>> target, input = torch.tensor([[[0.0, 0, 1, 1]]]), torch.tensor([[[0.0, 1, 1, 1]]])
    >>> medloss.LogHausdorffDTLoss()(input, target)  # log 1.5
    tensor(0.4055)
    """

    def valued(self, means: Tensor) -> Tensor:
        """log(1 + L)."""
        return torch.log1p(means)
