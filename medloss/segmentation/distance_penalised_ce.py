"""Cross-entropy that counts more the nearer a voxel lies to a border."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from medloss import checks
from medloss.base import LabelLoss
from medloss.labels import LabelView, view_labels
from medloss.ops import border_distance, pointwise
from medloss.ops.masking import accumulation_dtype, blank, membership, voxel_weight
from medloss.ops.operator import without_autocast
from medloss.reduction import ratio
from medloss.segmentation.distances import inside


class DistancePenalisedCELoss(LabelLoss):
    r"""Cross-entropy of logits with a penalty on voxels near the border of their class.

    .. math::
        L = \frac{\sum_i w_i (1 + \Phi_i) \sum_c -a_c t_{ic} \log p_{ic}}{\sum_i w_i \sum_c a_c t_{ic}}, \qquad
        \Phi_i = 1 - \frac{d_i}{\max_{j : c_j = c_i} d_j}

    with softmax probabilities p, memberships t, voxel weights w, class weights a (1 by default), and the Euclidean
    distance :math:`d_i` from voxel i to the nearest one of another class: :math:`\Phi` falls from near 1 at the border
    of a region to 0 in its depth, for each class and sample by itself. A class without a border has
    :math:`\Phi = 0`. Under a mask distances go to the nearest voxel that counts.

    With ``sigmoid`` each channel is a binary problem of its own, with a penalty on either side of its border.

    Shape: input (logits) B N [spatial], target B N or B 1 [spatial], mask B 1 [spatial]; ``"none"`` gives B [spatial],
    with ``sigmoid`` B N [spatial].

    Range: [0, inf), between :class:`~medloss.CrossEntropyLoss` and twice that. The unit of the spacing cancels.

    Limits: :class:`~medloss.CrossEntropyLoss` where no class has a border, or none has a depth.

    Authors' code: that of SegLoss computes its weight, (max - d) / (max - 1), and then returns the plain mean of the
    cross-entropy; here it is the formula of [1] and [2]. Over max - 1 a region of one voxel's depth has a weight of 0 /
    0.

    Args:
        softmax: stands by itself; there is nothing else but ``sigmoid``.
        include_background: whether voxels of class 0 (with ``sigmoid``: channel 0) count.
        spacing: size of a voxel along each axis; also an argument of the call.

    Raises:
        ShapeError: target or mask does not fit the input.
        ValueError: an activation other than these two, or a spacing that is not above 0.

    References:
        [1] Caliva et al., Distance map loss penalty term for semantic segmentation, MIDL 2019 abstracts, eq. 2.
        [2] Ma et al., Loss odyssey in medical image segmentation, MedIA 2021 (distances over the largest of each side).

    >>> import torch, medloss
    >>> labels = torch.tensor([[[0, 0, 1, 1]]])  # d = 2, 1, 1, 2
    >>> loss = medloss.DistancePenalisedCELoss(to_onehot_y=True)
    >>> loss(torch.zeros(1, 2, 4), labels)  # log 2 times (1 + 3/2 + 3/2 + 1) / 4
    tensor(0.8664)
    """

    spacing: Iterable[float] | float = 1.0

    def __post_init__(self) -> None:
        if self.sigmoid and self.softmax:
            raise ValueError("sigmoid and softmax exclude each other: cross-entropy takes the softmax by itself")
        self.softmax = not self.sigmoid
        super().__post_init__()
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
            return self._reduced(view, sizes)

    def _reduced(self, view: LabelView, sizes: list[float]) -> Tensor:
        classes, dtype = view.input.shape[1], accumulation_dtype(view.input)
        first, factors = self._first(classes), self._factors(classes)
        counted = (torch.arange(classes, device=view.input.device) >= first).to(dtype)
        positive = counted if factors is None else counted * factors.to(counted)
        weight = voxel_weight(view.target, view.mask, view.indexed, view.ignore_index, dtype)
        members = blank(membership(view.target, classes, view.indexed, dtype), weight)
        weight = torch.ones_like(view.target[:, :1], dtype=dtype) if weight is None else weight
        penalty = weight * (1 + self._nearness(members, weight, sizes))
        voxels = pointwise(
            view.input,
            view.target,
            penalty,
            penalty=view.activation,
            indexed=view.indexed,
            ignore_index=view.ignore_index,
            positive=positive,
            negative=counted,
            joined=self.softmax,
        )
        if self.sigmoid:
            voxels, mass = voxels[:, first:], weight.expand_as(voxels)[:, first:]
        else:
            shares = members * positive.view(-1, *[1] * (members.ndim - 2))
            voxels, mass = voxels[:, 0], weight * shares
        if self.reduction == "none":
            return voxels
        return voxels.sum() if self.reduction == "sum" else ratio(voxels.sum(), mass.sum())

    def _nearness(self, members: Tensor, weight: Tensor, sizes: list[float]) -> Tensor:
        """How near each voxel is to the border of its class, B 1 [spatial]; of each channel with a sigmoid."""
        region, valid = inside(members), weight > 0
        distance = border_distance(region, valid, sizes, members.dtype)
        within = _nearness_of(distance, region & valid)
        return within + _nearness_of(distance, ~region & valid) if self.sigmoid else within.sum(1, keepdim=True)


def _nearness_of(distance: Tensor, region: Tensor) -> Tensor:
    """One less the distance over the largest one of a region; 0 outside, and where the region has no border."""
    distance = torch.where(region, distance, 0)
    largest = distance.flatten(2).amax(-1).view(*distance.shape[:2], *[1] * (distance.ndim - 2))
    return torch.where(distance > 0, 1 - distance / torch.where(largest > 0, largest, 1), 0)
