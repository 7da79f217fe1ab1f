"""Boundary loss: a prediction costs as much as it is far from the border of its target."""

from __future__ import annotations

import torch
from torch import Tensor

from medloss import checks
from medloss.map_loss import LabelMaps
from medloss.ops import signed_distance
from medloss.reduction import ratio
from medloss.segmentation.distances import DistanceLoss, counted, inside


class BoundaryLoss(DistanceLoss):
    r"""Mean of the prediction times the signed distance to the border of the target.

    .. math::
        L = \frac{\sum_i w_i p_i \phi_i}{\sum_i w_i}, \qquad
        \phi_i = \begin{cases} d(i, \text{inside}) & \text{outside} \\
        -(d(i, \text{outside}) - s) & \text{inside} \end{cases}

    for each sample and class, with Euclidean distances d between voxel centres and the smallest voxel size s: the map
    is negative inside and 0 on the inner side of the border. A class that is empty or full has no border:
    :math:`\phi = 0`. Inside means a membership above 1/2. Under a mask distances go to the nearest voxel that counts.

    The value falls below 0. It has no part in a class that the target lacks, and a tiny gradient near the border: add
    it to a Dice or a cross-entropy, with a weight that grows over the epochs (:class:`~medloss.Schedule`).

    A class that the target lacks has no border and costs nothing, whatever is predicted, and the missed one of two
    regions is far from the other's border. Mix it with a Dice and a cross-entropy, as the authors do.

    Shape: input B N [spatial], target B N or B 1 [spatial], mask B 1 [spatial], distance_map B N [spatial]; ``"none"``
    gives B N.

    Range: (-inf, inf) in the unit of the spacing, least where prediction and target are equal.

    Limits: for hard predictions, L(p) - L(t) is the mean over the voxels of :math:`|\phi|` where p and t differ.
    Scales with the spacing.

    Authors' code: equal at a spacing of 1. Elsewhere it takes 1 off the distances inside, not the smallest side of a
    voxel. Its loader rounds the distances down where the labels are integers: that is its fault, and not followed.

    Args:
        spacing: size of a voxel along each axis, in mm for instance; also an argument of the call.

    The call takes ``distance_map``, the map :math:`\phi` of all N classes, in place of computing it:
    :class:`medloss.transforms.DistanceMap` makes it.

    Raises:
        ShapeError: target, mask or distance_map does not fit the input.
        ValueError: a spacing that is not above 0, or the faults of :class:`~medloss.DiceLoss`.

    References:
        [1] Kervadec et al., Boundary loss for highly unbalanced segmentation, MIDL 2019; extended in MedIA 2021.

    >>> import torch, medloss
    >>> target = torch.tensor([[[0.0, 0, 1, 1, 1, 0]]])  # phi = 2, 1, 0, -1, 0, 1
    >>> loss = medloss.BoundaryLoss()
    >>> loss(target, target), loss(torch.ones(1, 1, 6), target)  # -1/6 and 3/6
    (tensor(-0.1667), tensor(0.5000))
    """

    def compare(self, maps: LabelMaps, spacing: list[float], distance_map: Tensor | None) -> Tensor:
        """The weighted mean of p phi over the voxels."""
        checks.without_gradient("target", maps.target)  # a region has a border, or it has none
        if distance_map is None:
            phi = signed_distance(inside(maps.target), maps.valid, spacing, maps.input.dtype)
        else:
            phi = counted(distance_map, maps)
        phi = torch.where(maps.target.isnan(), maps.target, phi)  # it lies on no side of a border
        return ratio(maps.weighted(maps.input * phi).flatten(2).sum(-1), maps.mass())
