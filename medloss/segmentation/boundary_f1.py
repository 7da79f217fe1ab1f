"""Boundary F1: precision and recall of boundaries, each within a tolerance of the other."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from medloss import checks
from medloss.labels import LabelView
from medloss.map_loss import MapLoss, label_maps
from medloss.ops import boundary_sums
from medloss.ops.masking import present
from medloss.reduction import ratio, reduce


class BoundaryF1Loss(MapLoss):
    r"""One minus the F1 score of the boundary: which part of each one's boundary lies near the other's.

    .. math::
        L = 1 - \frac{2 P R}{P + R + \epsilon}, \qquad
        P = \frac{\sum w\, b(p)\, b'(t)}{\sum w\, b(p) + \epsilon}, \quad
        R = \frac{\sum w\, b(t)\, b'(p)}{\sum w\, b(t) + \epsilon}

    for each sample and class, with the boundary :math:`b(x) = x - \min_{\theta_0} x`, its dilation
    :math:`b' = \max_\theta b`, and least and largest values over boxes of :math:`\theta_0` and :math:`\theta` voxels.

    A class without a boundary in the target (absent, or everywhere) has P = R = 0 whatever is predicted. It has nothing
    to teach and is left out of the mean.

    What lies inside of a region, and a class that the target lacks, costs nothing. Mix it with a Dice and a
    cross-entropy.

    Shape: input B N [spatial], target B N or B 1 [spatial], mask B 1 [spatial]; ``"none"`` gives B N.

    Range: [0, 1], near 0 where each boundary lies within :math:`(\theta - 1) / 2` voxels of the other.

    Limits: theta = 1 has no tolerance, and is :class:`~medloss.DiceLoss` of hard boundaries but for the smoothing.

    Args:
        theta0: odd size of the box whose erosion leaves the boundary, at least 3: the boundary is (theta0 - 1) / 2
            voxels thick, inside the region.
        theta: odd size of the box of tolerance, at most the least distance between two parts of the target.
        smooth: the epsilon.
        empty: ``"skip"`` leaves classes without a boundary in the target out of the mean, ``"smooth"`` counts them as
            1, with no gradient.

    Raises:
        ShapeError: target or mask does not fit the input.
        ValueError: an even or too small box, or the faults of :class:`~medloss.DiceLoss`.

    References:
        [1] Bokhovkin and Burnaev, Boundary loss for remote sensing imagery semantic segmentation, ISNN 2019.

    >>> import torch, medloss
    >>> target, shifted = torch.zeros(1, 1, 12), torch.zeros(1, 1, 12)
    >>> target[..., 2:7], shifted[..., 3:8] = 1, 1
    >>> [round(medloss.BoundaryF1Loss(theta=theta)(shifted, target).item(), 4) for theta in (1, 3)]
    [1.0, 0.0]
    """

    theta0: int = 3
    theta: int = 5
    smooth: float = 1e-7
    empty: str = "skip"

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, size, least in (("theta0", self.theta0, 3), ("theta", self.theta, 1)):
            if not isinstance(size, int) or size < least or size % 2 == 0:
                raise ValueError(f"{name}={size!r} must be an odd number of voxels, at least {least}")
        checks.at_least("smooth", self.smooth, 0)

    def _reduced(self, view: LabelView, *_: Any, **__: Any) -> Tensor:
        classes = view.input.shape[1]
        factors, first = self._factors(classes), self._first(classes)
        maps = label_maps(view, first)
        sums = boundary_sums(maps.input, maps.target, maps.weight, inner=self.theta0, outer=self.theta)
        hit, predicted, found, true = sums.unbind(-1)
        precision, recall = ratio(hit, predicted + self.smooth), ratio(found, true + self.smooth)
        values = 1 - ratio(2 * precision * recall, precision + recall + self.smooth)
        if factors is not None:
            values = values * factors[first:].to(values)
        valid = present(maps.mass())
        if self.empty == "skip":
            valid = valid & present(true)
        return reduce(values, self.reduction, valid)
