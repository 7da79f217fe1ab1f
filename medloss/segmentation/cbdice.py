"""cbDice: Dice of centrelines in which every vessel weighs alike, and being off its middle costs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from medloss import checks
from medloss.labels import view_labels
from medloss.maps import LabelMaps, MapLoss
from medloss.ops import border_distance, soft_skeleton
from medloss.ops.operator import without_autocast
from medloss.segmentation.distances import inside, voxel_sizes


class Tubes(NamedTuple):
    """What is known of the tubes of a map, B N [spatial] each; nothing flows back but through ``skeleton``.

    Attributes:
        depth: distance to the border over the largest radius, 0 outside.
        line: whether a voxel lies on the skeleton.
        skeleton: the soft skeleton there, 0 elsewhere.
        gain: what a voxel of the skeleton weighs, the more the thinner the tube.
    """

    depth: Tensor
    line: Tensor
    skeleton: Tensor
    gain: Tensor


@dataclass(eq=False, kw_only=True)
class CenterlineBoundaryDiceLoss(MapLoss):
    r"""Dice of centrelines weighed by radii (cbDice): thin vessels count like thick ones, in their middle.

    .. math::
        L = 1 - \frac{2 P R}{P + R + \epsilon}, \qquad
        P = \frac{\sum w g_p s_p d_t + nr}{\sum w g_p s_p r_{tp} + dr}, \quad
        R = \frac{\sum w g_t s_t d_p + nr}{\sum w g_t s_t r_{pt} + dr}

    for each sample and class, over the voxels of the skeletons s of prediction p and target t, where the soft skeleton
    is above one half. The depth d of a voxel is its distance to the region's border over the largest radius of the
    region's skeleton; r is the depth on the skeleton, :math:`r_{tp}` that of the target where it has a skeleton at the
    voxel, else that of the prediction, and :math:`r_{pt}` the other way round. Depths of the prediction are times its
    probabilities. A skeleton's voxel weighs :math:`g = (1 - r + r_{min})^{k - 1}` in k dimensions, with the radius
    :math:`r_{min}` of its thinnest tube. So a centreline on the target's costs nothing, one beside it, where the target
    is less deep, does. Mix it with a Dice and a cross-entropy.

    Shape: input B N [spatial], target B N or B 1 [spatial], mask B 1 [spatial]; ``"none"`` gives B N.

    Range: mostly [0, 1], near 0 where both are equal. It can fall below 0 where the prediction is off the target's
    middle in a tube that it has much thinner.

    Limits: for hard predictions and lines one voxel wide everywhere it is :class:`~medloss.SoftclDiceLoss` of each
    class.

    Args:
        iter_: how often the soft skeleton erodes, at least the radius of the widest vessel in voxels.
        smooth_nr, smooth_dr: added to the numerators and denominators of P and R.
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

    iter_: int = 3
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
        voxel_sizes(self.spacing, None)

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
        sizes = voxel_sizes(self.spacing if spacing is None else spacing, view.input.ndim - 2)
        with without_autocast(view.input.device.type):
            return self._reduced(view, spacing=sizes)

    def compare(self, maps: LabelMaps, spacing: list[float]) -> Tensor:
        """One minus the harmonic mean of precision and recall of the centrelines."""
        predicted, true = (tubes(map, maps, self.iter_, spacing) for map in (maps.input, maps.target))
        depth = predicted.depth * maps.input
        precision = self._share(maps, predicted, true.depth, torch.where(true.line, true.depth, depth))
        recall = self._share(maps, true, depth, torch.where(predicted.line, depth, true.depth))
        return 1 - 2 * precision * recall / (precision + recall + self.smooth)

    def _share(self, maps: LabelMaps, own: Tubes, depth: Tensor, radius: Tensor) -> Tensor:
        """How deep a skeleton lies in the other region, of how deep it should."""
        weight = maps.weighted(own.gain * own.skeleton)
        found, whole = ((weight * part).flatten(2).sum(-1) for part in (depth, radius))
        whole = whole + self.smooth_dr
        some = whole > 0
        return torch.where(some, found + self.smooth_nr, 0) / torch.where(some, whole, 1)


def tubes(map: Tensor, maps: LabelMaps, iterations: int, spacing: list[float]) -> Tubes:
    """Depths, skeleton and weights of a map of probabilities."""
    skeleton = soft_skeleton(map, maps.weight, iterations=iterations)
    region, valid = inside(map), maps.valid
    distance = torch.where(region, border_distance(region, valid, spacing, map.dtype), 0)
    distance = distance if valid is None else torch.where(valid, distance, 0)
    line = inside(skeleton) & region
    radius = torch.where(line, distance, 0)
    axes = tuple(range(2, map.ndim))
    largest = radius.amax(axes, keepdim=True)
    thinnest = torch.where(line, distance, torch.inf).amin(axes, keepdim=True)
    known = largest > 0
    largest = torch.where(known, largest, 1)
    depth = torch.where(known, torch.minimum(distance, largest) / largest, 0)
    gain = (1 - depth + torch.where(known, thinnest, 0) / largest).clamp_min(0) ** (len(spacing) - 1)
    return Tubes(depth, line, torch.where(line, skeleton, 0), gain)
