"""Cross-entropy of the hardest voxels alone: so many per cent of them, or those below a likelihood."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from medloss import checks
from medloss.labels import LabelView
from medloss.ops import nth_largest, pointwise
from medloss.ops.masking import present
from medloss.reduction import ratio, reduce
from medloss.segmentation.voxelwise import VoxelwiseLoss

PARTS = 10**6
"""Of a per cent: so finely k is told, since integers count the voxels of any volume exactly."""


def number(where: Tensor) -> Tensor:
    """How many voxels of each row, R 1. ``sum`` copies the voxels to its dtype first: half as many bytes by int32."""
    return where.sum(1, keepdim=True, dtype=torch.int32 if where.shape[1] < 2**31 else torch.int64).long()


class HardestVoxelsLoss(VoxelwiseLoss):
    """Cross-entropy averaged over some of the voxels of each sample; a subclass says which, in :meth:`chosen`."""

    batch: bool = False

    def penalise(self, view: LabelView, positive: Tensor, negative: Tensor) -> Tensor:
        """The cross-entropy of each voxel."""
        return pointwise(
            view.input,
            view.target,
            view.mask,
            penalty=view.activation,
            indexed=view.indexed,
            ignore_index=view.ignore_index,
            positive=positive,
            negative=negative,
            joined=not self.sigmoid,
        )

    def chosen(self, hardness: Tensor, counted: Tensor) -> Tensor:
        """How much each voxel of a row is one of the hardest, in [0, 1]."""
        raise NotImplementedError

    def ranking_factors(self, positive: Tensor, negative: Tensor) -> Tensor:
        """The factors of the classes on their true part, by which voxels are ranked."""
        return positive

    def look(self, view: LabelView) -> Tensor:
        """The mean over the voxels chosen in each row, then over the rows that have any voxel."""
        positive, negative = self.class_factors(view)
        values, mass = self.penalties(view, positive, negative), self.mass(view, positive)
        with torch.no_grad():  # which voxels are hard is no matter of degree
            ranking = self.ranking_factors(positive, negative)
            hardness = values.detach()
            if ranking is not positive or (view.mask is not None and view.mask.is_floating_point()):
                # a mask says how much voxels weigh, not how hard they are
                sighted = view if view.mask is None else view._replace(mask=view.mask > 0)
                hardness = self.penalties(sighted._replace(input=view.input.detach()), ranking, negative)
            counted = self._rows(mass) if mass.dtype == torch.bool else present(self._rows(mass))
            share = self.chosen(self._rows(hardness), counted)
        total = (self._rows(values) * share).sum(1)
        mass = share.sum(1) if mass.dtype == torch.bool else (self._rows(mass) * share).sum(1)
        return reduce(ratio(total, mass), self.reduction, counted.any(1))

    def _rows(self, map: Tensor) -> Tensor:
        """The voxels of each sample, B V, or of the batch, 1 V."""
        return map.flatten().unsqueeze(0) if self.batch else map.flatten(1)


class TopKLoss(HardestVoxelsLoss):
    r"""Cross-entropy averaged over the k per cent of the voxels where it is largest.

    .. math::
        L = \frac{\sum_{i \in H} w_i \ell_i}{\sum_{i \in H} w_i a_{t_i}}, \qquad
        \ell_i = -\sum_c a_c t_{ic} \log p_{ic}

    for each sample, with softmax probabilities p, voxel weights w, class weights a (1 by default), and H the
    :math:`\max(1, \lfloor k n / 100 \rfloor)` of its n valid voxels with the largest :math:`\ell`; the mask weighs a
    voxel, but makes it no harder. Voxels that tie for the last places share them. With ``sigmoid`` the elements,
    voxels of all channels, are ranked together.

    Shape: input (logits) B N [spatial], target B N or B 1 [spatial], mask B 1 [spatial]; ``"none"`` gives B, or 1 with
    ``batch``.

    Range: [0, inf).

    Limits: with ``batch``, k = 100 is :class:`~medloss.CrossEntropyLoss`.

    Args:
        k: per cent of the voxels, in (0, 100].
        batch: rank the voxels of the whole batch together, as nnU-Net does; otherwise those of each sample.
        softmax: stands by itself; there is nothing else but ``sigmoid``.
        include_background: whether voxels of class 0 (with ``sigmoid``: channel 0) count.

    Raises:
        ShapeError: target or mask does not fit the input.
        ValueError: k outside (0, 100], or the faults of :class:`~medloss.CrossEntropyLoss`.

    References:
        [1] Wu et al., Bridging category-level and instance-level semantic image segmentation, 2016 (bootstrapping).
        [2] Isensee et al., nnU-Net, Nature Methods 2021 (TopK10).

    >>> import torch, medloss
    >>> p = torch.tensor([[[0.5, 0.25, 0.9, 0.8], [0.5, 0.75, 0.1, 0.2]]])
    >>> loss = medloss.TopKLoss(k=50, to_onehot_y=True)
    >>> loss(p.log(), torch.zeros(1, 1, 4))  # (log 2 + log 4) / 2
    tensor(1.0397)
    """

    k: float = 10.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.k <= 100:
            raise ValueError(f"k={self.k!r} per cent lies outside (0, 100]")

    def chosen(self, hardness: Tensor, counted: Tensor) -> Tensor:
        """Those above the last place, and those that tie for it by the places left."""
        n = number(counted)
        places = (n * round(self.k * PARTS) // (100 * PARTS)).clamp_min(1)
        last = nth_largest(hardness, counted, places)
        above, tied = counted & ~(hardness <= last), counted & (hardness == last)  # NaN is above
        left = (places - number(above)) / number(tied).clamp_min(1)
        return torch.where(tied, left.to(hardness.dtype), above.to(hardness.dtype))


class OhemCrossEntropyLoss(HardestVoxelsLoss):
    r"""Cross-entropy averaged over the hard voxels: those whose label the network gives a small probability (OHEM).

    .. math::
        L = \frac{\sum_{i \in H} w_i \ell_i}{\sum_{i \in H} w_i a_{t_i}}, \qquad
        \ell_i = -\sum_c a_c t_{ic} \log p_{ic}, \quad
        H = \{i : q_i \le \max(\text{thresh}, q_{(m)})\}

    for each sample, with softmax probabilities p, :math:`q_i = \exp \sum_c t_{ic} \log p_{ic}` that of the label, voxel
    weights w, class weights a (1 by default), and :math:`q_{(m)}` the m-th smallest of the sample, m = ``min_kept``:
    as many are always kept (all, where there are fewer). The loss is 0 where nothing is hard. With ``sigmoid`` the
    elements, voxels of all channels, are judged one by one.

    Shape: input (logits) B N [spatial], target B N or B 1 [spatial], mask B 1 [spatial]; ``"none"`` gives B, or 1 with
    ``batch``.

    Range: [0, inf).

    Limits: with ``batch``, thresh = 1 is :class:`~medloss.CrossEntropyLoss`.

    Args:
        thresh: largest probability of a hard voxel's label, in (0, 1].
        min_kept: how many voxels are kept at least.
        batch: look at the voxels of the whole batch together, as the authors do; otherwise at those of each sample.
        softmax: stands by itself; there is nothing else but ``sigmoid``.
        include_background: whether voxels of class 0 (with ``sigmoid``: channel 0) count.

    Raises:
        ShapeError: target or mask does not fit the input.
        ValueError: thresh outside (0, 1], a negative number, or the faults of :class:`~medloss.CrossEntropyLoss`.

    References:
        [1] Shrivastava et al., Training region-based object detectors with online hard example mining, CVPR 2016.
        [2] Yuan and Wang, OCNet: object context network for scene parsing, 2018 (of voxels).

    >>> import torch, medloss
    >>> p = torch.tensor([[[0.5, 0.25, 0.9, 0.8], [0.5, 0.75, 0.1, 0.2]]])
    >>> loss = medloss.OhemCrossEntropyLoss(thresh=0.6, to_onehot_y=True)
    >>> loss(p.log(), torch.zeros(1, 1, 4))  # (log 2 + log 4) / 2
    tensor(1.0397)
    """

    thresh: float = 0.6
    min_kept: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.thresh <= 1:
            raise ValueError(f"thresh={self.thresh!r} lies outside (0, 1]")
        if not isinstance(self.min_kept, int):
            raise TypeError(f"min_kept={self.min_kept!r} must be a number of voxels")
        checks.at_least("min_kept", self.min_kept, 0)

    def ranking_factors(self, positive: Tensor, negative: Tensor) -> Tensor:
        """A likelihood knows no class weights."""
        return positive if self._weight is None else negative

    def chosen(self, hardness: Tensor, counted: Tensor) -> Tensor:
        """Those above the threshold, which falls until enough are."""
        least = torch.full_like(hardness[:, :1], -math.log(self.thresh))
        if self.min_kept:
            n = number(counted).clamp_max(self.min_kept)
            least = torch.minimum(least, nth_largest(hardness, counted, n))
        return (counted & ~(hardness < least)).to(hardness.dtype)
