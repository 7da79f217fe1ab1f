"""Chamfer distance: two sets of points without correspondence, such as those of two surfaces."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from medloss.base import PointLoss
from medloss.ops.operator import without_autocast
from medloss.reduction import ratio, reduce
from medloss.registration.points import alike, displaced, length, points, visible


class ChamferLoss(PointLoss):
    r"""Mean distance from each point of either set to the nearest of the other.

    .. math:: L = \frac{1}{B} \sum_b \Bigl( \frac{1}{N} \sum_n \min_m \lVert p_n - q_m \rVert^2 +
        \frac{1}{M} \sum_m \min_n \lVert p_n - q_m \rVert^2 \Bigr)

    Shape: input p B N d, target q B M d, mask B N and target_mask B M, field B d [spatial] with d spatial axes; a
    scalar, ``"none"`` gives B. A sample with no point left in either set gives 0, and does not count in the mean.

    Range: [0, inf), in the squared unit of the points; 0 where the sets are equal, whatever their order.

    Limits: symmetric in the two sets. Of one point each it is twice :class:`LandmarkLoss`.

    Args:
        squared: as above; False takes the distances themselves.

    ``target_mask`` (in the call): weights of the target's points, as ``mask`` has those of the input's. ``field`` and
    ``spacing``: as in :class:`LandmarkLoss`. Each pair of points is looked at once, outside the graph: N M numbers per
    sample for a moment, and the nearest points for the gradient.

    Raises:
        ShapeError: the sets differ in batch or coordinates, or a mask or the field do not fit.

    References:
        [1] Fan, Su and Guibas, A point set generation network for 3D object reconstruction from a single image, CVPR
            2017: sums in place of the means.

    >>> import torch, medloss
    >>> one, two = torch.tensor([[[0.0], [4.0]]]), torch.tensor([[[1.0], [1.0], [3.0]]])
    >>> medloss.ChamferLoss()(one, two)  # (1 + 1) / 2, and (1 + 1 + 1) / 3
    tensor(2.)
    """

    squared: bool = True

    def forward(
        self,
        input: Tensor,
        target: Tensor,
        mask: Tensor | None = None,
        field: Tensor | None = None,
        spacing: Sequence[float] | float | None = None,
        target_mask: Tensor | None = None,
    ) -> Tensor:
        """The loss. See the class for shapes and errors."""
        input, target = points("input", input), points("target", target)
        alike(input, target, lengths=False)
        (input, here), (target, there) = visible("mask", mask, input), visible("target_mask", target_mask, target)
        input = displaced(input, field, spacing)
        both = torch.promote_types(input.dtype, target.dtype)
        input, target = input.to(both), target.to(both)
        valid = torch.ones_like(input[:, 0, 0], dtype=torch.bool)
        for weight in (here, there):
            valid = valid if weight is None else valid & (weight > 0).any(1)
        with without_autocast(input.device.type):
            towards = self._mean(input, target, here, there)
            back = self._mean(target, input, there, here)
        return reduce(towards + back, self.reduction, None if here is None and there is None else valid)

    def _mean(self, ours: Tensor, theirs: Tensor, weight: Any, others: Any) -> Tensor:
        """The mean distance of our points from their nearest, B."""
        pairs = torch.cdist(ours.detach(), theirs.detach(), compute_mode="donot_use_mm_for_euclid_dist")
        if others is not None:
            pairs = torch.where(others.unsqueeze(1) > 0, pairs, torch.full_like(pairs, torch.inf))
        nearest = theirs.gather(1, pairs.argmin(2, keepdim=True).expand(-1, -1, theirs.shape[2]))
        distances = length(ours - nearest, self.squared)
        return distances.mean(1) if weight is None else ratio((distances * weight).sum(1), weight.sum(1))
