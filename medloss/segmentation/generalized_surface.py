"""Generalised surface loss: how much of the distance-weighted error is avoided, between 0 and 1."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from medloss import checks
from medloss.labels import LabelView
from medloss.map_loss import LabelMaps, label_maps
from medloss.ops import signed_distance
from medloss.ops.masking import present
from medloss.reduction import ratio, reduce
from medloss.segmentation.distances import DistanceLoss, counted, inside


class GeneralizedSurfaceLoss(DistanceLoss):
    r"""One minus the distance-weighted agreement with the target, over that of a perfect prediction.

    .. math::
        L = 1 - \frac{\sum_c a_c \sum_i w_i \bigl(\phi_{ic} (1 - t_{ic} - p_{ic})\bigr)^2}
        {\sum_c a_c \sum_i w_i \phi_{ic}^2}

    for each sample, with class weights a (``weight``, 1 by default) and the signed distance :math:`\phi` to the border
    of each class, as of :class:`~medloss.BoundaryLoss`; only its size matters. A class that is empty or full has
    :math:`\phi = 0` and leaves both sums; a sample with no other class costs 0.

    A class that the target lacks costs nothing, whatever is predicted, and voxels at a border hardly anything. Mix it
    with a Dice and a cross-entropy, as the authors do.

    Shape: input B N [spatial], target B N or B 1 [spatial], mask B 1 [spatial], distance_map B N [spatial]; ``"none"``
    gives B.

    Range: [0, 1] for hard targets: 0 where prediction and target are equal, 1 where every voxel off the inner side of
    a border is wrong. The unit of the spacing cancels.

    Limits: for hard predictions, the share of the squared distances that lies on wrong voxels.

    Authors' code: equal for given weights. Its own are ``weighting="inverse_square"``, those of MIST, the authors'
    framework, ``weighting="per_class", include_background=False``.

    Args:
        weight: factor per class; the paper takes the inverse of the class's share of the voxels of all targets.
        weighting: what else the classes weigh. ``"none"``: nothing. ``"inverse_square"``: one over :math:`T^2 + 1`,
            with the size T of the class in the sample in voxels. ``"per_class"``: each class has a ratio of its own,
            and the sample their mean over the classes that have a border.
        spacing: size of a voxel along each axis; also an argument of the call.

    The call takes ``distance_map``, the signed distances of all N classes, in place of computing them:
    :class:`medloss.transforms.DistanceMap` makes it.

    Raises:
        ShapeError: target, mask or distance_map does not fit the input.
        ValueError: an unknown weighting, a spacing that is not above 0, or the faults of :class:`~medloss.DiceLoss`.

    References:
        [1] Celaya et al., A generalized surface loss for reducing the Hausdorff distance in medical imaging
        segmentation, 2023.

    >>> import torch, medloss
    >>> target = torch.tensor([[[0.0, 0, 1, 1, 1, 0]]])  # squares of phi: 4, 1, 0, 1, 0, 1
    >>> medloss.GeneralizedSurfaceLoss()(torch.ones(1, 1, 6), target)  # wrong: 4, 1 and the last 1, of 7
    tensor(0.8571)
    """

    weighting: str = "none"

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.choice("weighting", self.weighting, ("none", "inverse_square", "per_class"))

    def compare(self, maps: LabelMaps, spacing: list[float], distance_map: Tensor | None) -> Tensor:
        """Agreement and its bound, of each sample and class: 2 B N."""
        if distance_map is None:
            phi = signed_distance(inside(maps.target), maps.valid, spacing, maps.input.dtype)
        else:
            phi = counted(distance_map, maps)
        square = maps.weighted(phi * phi)
        # the error 1 - t - p as a probability, or its complement, less how soft the target is: with digits, and small
        mostly = inside(maps.target)
        softness = torch.where(mostly, 1 - maps.target, maps.target)
        agreement = square * (torch.where(mostly, maps.input, maps.complement) - softness) ** 2
        return torch.stack([agreement.flatten(2).sum(-1), square.flatten(2).sum(-1)])

    def _reduced(self, view: LabelView, *args: Any, **given: Any) -> Tensor:
        classes = view.input.shape[1]
        factors, first = self._factors(classes), self._first(classes)
        maps = label_maps(view, first, with_complement=True)
        pair = self.compare(maps, *args, **given)
        if self.weighting == "inverse_square":
            pair = pair / (maps.weighted(maps.target).flatten(2).sum(-1) ** 2 + 1)
        if self.weighting == "per_class":
            pair = torch.stack([ratio(pair[0], pair[1]) + 0 * pair[0], present(pair[1]).to(pair.dtype)])
        pair = pair if factors is None else pair * factors[first:].to(pair)
        agreement, best = pair.sum(-1)
        bordered = present(best) | agreement.isnan()
        values = torch.where(bordered, 1 - agreement / torch.where(bordered, best, 1), 0)
        valid = present(maps.mass().sum(-1))
        if self.empty == "skip":
            valid = valid & present(maps.target.flatten(1).amax(-1))
        return reduce(values, self.reduction, valid)
