"""Active contour: the length of the predicted border, and what lies on its wrong side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from medloss import checks
from medloss.base import RegionLoss
from medloss.labels import LabelView, view_labels
from medloss.map_loss import label_maps
from medloss.ops import adjacent_differences
from medloss.ops.operator import without_autocast
from medloss.reduction import ratio
from medloss.sums import RegionSums


class ActiveContourLoss(RegionLoss):
    r"""Length of the border of the prediction, plus what is predicted outside of the target and missed inside.

    .. math::
        L = \frac{1}{V} \Bigl( \mu \sum_i w_i |\nabla p_i|
            + \sum_i w_i \bigl( p_i (1 - t_i)^2 + (1 - p_i) t_i^2 \bigr) \Bigr)

    for each sample and class, with forward differences between voxels that both count, and V the sum of the weights w.
    The length is a total variation: it favours regions with smooth borders over frayed ones, and closes small holes.

    Shape: input B N [spatial], target B N or B 1 [spatial], mask B 1 [spatial]; ``"none"`` gives B N, ``batch`` 1 N.

    Range: [0, inf). Where prediction and target are equal it is the length of the border alone.

    Limits: mu = 0 is, for hard targets, the mean absolute error.

    Authors' code: its part per region is equal. Its length pairs differences of voxels that lie apart and leaves out
    the rim of the image; here it is the total variation, as in the paper.

    Args:
        mu: price of the border's length, at least 0.
        spacing: size of a voxel along each axis (one number for all), of which the length is counted in; also an
            argument of the call, which goes first.
        smooth_nr: nothing depends on it.
        smooth_dr: nothing depends on it, either.

    Raises:
        ShapeError: target or mask does not fit the input.
        ValueError: a negative mu, a spacing that is not above 0, or the faults of :class:`~medloss.DiceLoss`.

    References:
        [1] Chen et al., Learning active contour models for medical image segmentation, CVPR 2019 (there a weight on the
        second part).

    >>> import torch, medloss
    >>> input, target = torch.tensor([[[0.0, 1.0, 1.0, 0.5]]]), torch.tensor([[[0.0, 1.0, 1.0, 0.0]]])
    >>> medloss.ActiveContourLoss(mu=2)(input, target)  # (2 (1 + 1/2) + 1/2) / 4
    tensor(0.8750)
    """

    mu: float = 1.0
    spacing: Sequence[float] | float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.at_least("mu", self.mu, 0)
        checks.voxel_sizes(self.spacing, None)

    def forward(
        self,
        input: Tensor,
        target: Tensor,
        mask: Tensor | None = None,
        *,
        spacing: Sequence[float] | float | None = None,
    ) -> Tensor:
        """The loss. See the class for shapes and errors."""
        view = view_labels(input, target, mask, **self.sweep)
        return self._measured(view, self.spacing if spacing is None else spacing)

    def evaluate(self, view: LabelView, sums: RegionSums | None) -> Tensor:
        """The loss, from the voxels: the length is no sum over each of them."""
        return self._measured(view, self.spacing)

    def _measured(self, view: LabelView, spacing: Any) -> Tensor:
        sizes = checks.voxel_sizes(spacing, view.input.ndim - 2)
        with without_autocast(view.input.device.type):
            maps = label_maps(view, with_complement=True)
            length = adjacent_differences(
                maps.input,
                None,
                maps.weight,
                penalty="isotropic",
                axis_scale=[1 / size for size in sizes],
                average=False,
            )
            wrong = maps.input * (1 - maps.target) ** 2 + maps.complement * maps.target**2
            target = maps.weighted(maps.target).flatten(2).sum(-1)
            columns = [maps.weighted(wrong).flatten(2).sum(-1), length, target, maps.mass()]
            return super().evaluate(view, RegionSums(torch.stack(columns, -1)))

    def finalise(self, sums: RegionSums) -> Tensor:
        """(mu length + wrong) / V."""
        wrong, length = sums.columns[..., 0], sums.columns[..., 1]
        return ratio(self.mu * length + wrong, sums.voxels)
