"""Landmarks: how far points end up from those that they should be at (TRE)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from medloss.base import PointLoss
from medloss.reduction import ratio
from medloss.registration.points import alike, displaced, length, points, visible


class LandmarkLoss(PointLoss):
    r"""Mean distance between corresponding points: the target registration error (TRE).

    .. math:: L = \frac{1}{\sum_{b, n} w_{bn}} \sum_{b, n} w_{bn} \lVert p_{bn} + u_b(p_{bn}) - q_{bn} \rVert

    with u = 0 where no field is given.

    Shape: input p and target q B N d, mask w B N, field u B d [spatial] with d spatial axes; a scalar, ``"none"`` gives
    B N.

    Range: [0, inf), in the unit of the points.

    Limits: of one point its distance, and with ``squared`` d times :class:`MSELoss` of the coordinates.

    Args:
        squared: the square of the distance.

    ``field`` (in the call): a displacement, read linearly at the input points, which it moves: the fixed image's
    landmarks, if it pulls the moving image onto the fixed one, and the target is where the moving image has them. It
    has a gradient too. Points and field are in one unit along the array's axes, from the centre of the first voxel;
    ``spacing`` is a voxel's size in it, 1 for voxels.

    Raises:
        ShapeError: points, mask or field of unlike shapes.

    References:
        [1] Fitzpatrick, West and Maurer, Predicting error in rigid-body point-based registration, IEEE TMI 1998: the
            target registration error.

    >>> import torch, medloss
    >>> fixed, moving = torch.tensor([[[1.0, 1.0], [2.0, 0.0]]]), torch.tensor([[[4.0, 5.0], [2.0, 1.0]]])
    >>> medloss.LandmarkLoss()(fixed, moving)  # 5 and 1
    tensor(3.)
    >>> medloss.LandmarkLoss()(fixed, moving, field=torch.ones(1, 2, 4, 4))  # one step nearer: sqrt(13) and 1
    tensor(2.3028)
    """

    squared: bool = False

    def forward(
        self,
        input: Tensor,
        target: Tensor,
        mask: Tensor | None = None,
        field: Tensor | None = None,
        spacing: Sequence[float] | float | None = None,
    ) -> Tensor:
        """The loss. See the class for shapes and errors."""
        input, target = points("input", input), points("target", target)
        alike(input, target, lengths=True)
        (input, weight), (target, _) = (visible("mask", mask, each) for each in (input, target))
        distances = length(displaced(input, field, spacing) - target, self.squared)
        if weight is not None:
            distances = distances * weight
        if self.reduction != "mean":
            return distances.sum() if self.reduction == "sum" else distances
        return distances.mean() if weight is None else ratio(distances.sum(), weight.sum())
