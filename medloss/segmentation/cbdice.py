"""cbDice: Dice of centrelines in which every vessel weighs alike, and being off its middle costs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor

from medloss import checks
from medloss.labels import view_labels
from medloss.map_loss import LabelMaps, SummedMapLoss
from medloss.ops import border_distance, soft_skeleton
from medloss.ops.masking import present
from medloss.ops.operator import without_autocast
from medloss.segmentation.distances import inside
from medloss.segmentation.skeletons import warn_where_lost


class Tubes(NamedTuple):
    """What is known of the tubes of a map, B N [spatial] each; no gradient flows through any of it.

    Attributes:
        depth: distance to the border over the largest radius, 0 outside.
        line: whether a voxel lies on the skeleton.
        gain: what a voxel of the skeleton weighs, the more the thinner the tube; 0 off the skeleton.
    """

    depth: Tensor
    line: Tensor
    gain: Tensor


class CenterlineBoundaryDiceLoss(SummedMapLoss):
    r"""Dice of centrelines weighed by radii (cbDice): thin vessels count like thick ones, in their middle.

    .. math::
        L = 1 - \frac{2 P R}{P + R + \epsilon}, \qquad
        P = \frac{\sum w g_p s_p d_t + nr}{\sum w g_p s_p r_{tp} + dr}, \quad
        R = \frac{\sum w g_t s_t d_p + nr}{\sum w g_t s_t r_{pt} + dr}

    for each sample and class. A region is where the map is above one half, and s is the map on the skeleton of its
    region, 0 elsewhere: the skeleton has no gradient, the map on it has. The depth d of a voxel is its distance to the
    region's border over the largest radius of the region's skeleton; r is the depth on the skeleton, :math:`r_{tp}`
    that of the target where it has a skeleton at the voxel, else that of the prediction, and :math:`r_{pt}` the other
    way round. Depths of the prediction are times its probabilities. A skeleton's voxel weighs
    :math:`g = (1 - r + r_1)^{k - 1}` in k dimensions, with :math:`r_1` the depth of one voxel (of its shortest side).
    So a centreline on the target's costs nothing, one beside it, where the target is less deep, does. Mix it with a
    Dice and a cross-entropy.

    Shape: input B N [spatial], target B N or B 1 [spatial], mask B 1 [spatial]; ``"none"`` gives B N, ``batch`` 1 N.

    Range: mostly [0, 1], near 0 where both are equal. It can fall below 0 where the prediction is off the target's
    middle in a tube that it has much thinner.

    Limits: for hard predictions and lines one voxel wide everywhere it is :class:`~medloss.SoftclDiceLoss` of each
    class.

    Authors' code: equal for one class with ``batch=True, smooth=1e-12``; it merges the classes of the foreground into
    one.

    Args:
        iter_: how often the skeleton of a region is eroded, at least the radius of the widest vessel in voxels. A
            region that these erosions do not use up may have no skeleton at all, and then no part in the loss: a
            warning says so, once (on a GPU under :func:`~medloss.check_values`).
        batch: sum over the batch before the formula, not after, as in the authors' code.
        smooth_nr: added to the numerators of P and R.
        smooth_dr: added to the denominators of P and R.
        smooth: epsilon, added to the denominator of their harmonic mean, above 0.
        spacing: size of a voxel along each axis, of distances; also an argument of the call.

    Raises:
        ShapeError: target or mask does not fit the input.
        TypeError: ``iter_`` is no integer.
        ValueError: a negative ``iter_`` or smoothing, a spacing that is not above 0, or the faults of
            :class:`~medloss.DiceLoss`.

    References:
        [1] Shi et al., Centerline boundary Dice loss for vascular segmentation, MICCAI 2024, with the weights of the
        authors' later, linear form.

    >>> import torch, medloss
    >>> vessel = torch.tensor([[[[0.0, 0, 0, 0], [1, 1, 1, 1], [0, 0, 0, 0]]]])
    >>> gap = vessel * torch.tensor([1.0, 0, 1, 1])
    >>> loss = medloss.CenterlineBoundaryDiceLoss(smooth_nr=0, smooth_dr=0)
    >>> round(loss(gap, vessel).item(), 4)  # P = 1, R = 3 / 4
    0.1429
    """

    iter_: int = 10
    smooth_nr: float = 1.0
    smooth_dr: float = 1.0
    smooth: float = 1e-4
    spacing: Iterable[float] | float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.iter_, int):
            raise TypeError(f"iter_ must be an integer, not {type(self.iter_).__name__}")
        for name in ("iter_", "smooth_nr", "smooth_dr"):
            checks.at_least(name, getattr(self, name), 0)
        if not self.smooth > 0:
            raise ValueError(f"smooth={self.smooth!r} must be above 0: it guards the harmonic mean")
        checks.voxel_sizes(self.spacing, None)

    def forward(
        self,
        input: Tensor,
        target: Tensor,
        mask: Tensor | None = None,
        *,
        spacing: Iterable[float] | float | None = None,
    ) -> Tensor:
        """The loss. See the class for shapes and errors."""
        view = view_labels(input, target, mask, **self.sweep)
        sizes = checks.voxel_sizes(self.spacing if spacing is None else spacing, view.input.ndim - 2)
        with without_autocast(view.input.device.type):
            return self._reduced(view, spacing=sizes)

    def compare(self, maps: LabelMaps, spacing: list[float]) -> Tensor:
        """One minus the harmonic mean of precision and recall of the centrelines."""
        predicted, true = (tubes(map, maps, self.iter_, spacing) for map in (maps.input, maps.target))
        depth = predicted.depth * maps.input
        weight = maps.weighted(predicted.gain * maps.input)
        precision = self._share(weight, true.depth, torch.where(true.line, true.depth, depth))
        weight = maps.weighted(true.gain * maps.target)
        recall = self._share(weight, depth, torch.where(predicted.line, depth, true.depth))
        return 1 - 2 * precision * recall / (precision + recall + self.smooth)

    def _share(self, weight: Tensor, depth: Tensor, radius: Tensor) -> Tensor:
        """How deep a skeleton lies in the other region, of how deep it should."""
        found, whole = self.total(weight * depth), self.total(weight * radius) + self.smooth_dr
        some = present(whole)
        return torch.where(some, found + self.smooth_nr, 0) / torch.where(some, whole, 1)


def tubes(map: Tensor, maps: LabelMaps, iterations: int, spacing: list[float]) -> Tubes:
    """Depths, skeleton and weights of the region of a map of probabilities."""
    region, valid = inside(map), maps.valid
    line = inside(soft_skeleton(region.to(map.dtype), maps.weight, iterations=iterations)) & region
    warn_where_lost(region, line, iterations)
    distance = torch.where(region, border_distance(region, valid, spacing, map.dtype), 0)
    distance = distance if valid is None else torch.where(valid, distance, 0)
    voxel, axes = min(spacing), tuple(range(2, map.ndim))
    largest = torch.where(line, distance, 0).amax(axes, keepdim=True).clamp_min(voxel)
    depth = torch.minimum(distance, largest) / largest
    gain = torch.where(line, (1 - depth + voxel / largest) ** (len(spacing) - 1), 0)
    return Tubes(depth, line, gain)
