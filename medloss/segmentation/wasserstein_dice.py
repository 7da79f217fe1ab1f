"""Generalised Wasserstein Dice: mistakes between classes that are near each other cost less."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from medloss import checks
from medloss.base import RegionLoss
from medloss.constants import held
from medloss.labels import LabelView, view_labels
from medloss.ops import confusion
from medloss.ops.masking import present
from medloss.reduction import reduce, small_or_rest
from medloss.sums import RegionSums, all_reduced


class GeneralizedWassersteinDiceLoss(RegionLoss):
    r"""Dice of all classes together in which a mistake costs the distance between the two classes.

    .. math::
        W_i = \sum_c M_{t_i c} p_{ic}, \qquad
        L = 1 - \frac{2 \sum_i a_{t_i} (1 - W_i) + nr}{\sum_i a_{t_i} (2 - W_i) + dr}

    for each sample, with softmax probabilities p, true class t, and the distances M divided by the largest one. W is
    the Wasserstein distance between the prediction of a voxel and its label. By default the background has a = 0 and
    the other classes a = 1, and the denominator is :math:`2 \sum_i a_{t_i} (1 - W_i) + \sum_i W_i + dr`, so that the
    background's mistakes count. With ``weighting_mode="GDL"`` it is as above, and a is one over the number of voxels of
    the class plus one. Memberships in place of a true class share a voxel out between its classes.

    Everything follows from the soft confusion matrix of the sample.

    Shape: input (logits) B N [spatial], target B 1 [spatial] or B [spatial] of indices, or B N [spatial], mask
    B 1 [spatial]; ``"none"`` gives B, ``batch`` 1.

    Range: [0, 1].

    Limits: with two classes the default is :class:`~medloss.DiceLoss` of the foreground.

    Args:
        dist_matrix: distances between the classes, N x N: at least 0, and 0 between a class and itself.
        weighting_mode: ``"default"`` or ``"GDL"``.
        softmax: stands by itself; there is nothing else.
        to_onehot_y: need not be said: a target with one channel holds class indices.
        include_background: whether voxels of class 0 count.
        weight: factor on the voxels of each true class.
        batch: sum over the batch before the formula, not after.
        empty: nothing depends on it: a class that the target lacks has no part in the sums.
        process_group: see :class:`~medloss.DiceLoss`.
        smooth_nr: added to the numerator.
        smooth_dr: added to the denominator.

    Raises:
        ShapeError: target or mask does not fit the input, or dist_matrix not the classes.
        ValueError: a dist_matrix that is not square or no table of distances, an unknown weighting_mode, or another
            activation.

    References:
        [1] Fidon et al., Generalised Wasserstein Dice score for imbalanced multi-class segmentation, BrainLes 2017.
        [2] Tilborghs et al., Comparative study of deep learning methods for automatic segmentation of lung, lesion and
        lesion type in CT scans of COVID-19 patients, 2020 (``"GDL"``).

    >>> import torch, medloss
    >>> logits = torch.tensor([[[0.0, -99.0], [0.0, 99.0], [-99.0, -99.0]]])  # one voxel undecided, one sure of class 1
    >>> distances = [[0, 1, 1], [1, 0, 0.5], [1, 0.5, 0]]
    >>> loss = medloss.GeneralizedWassersteinDiceLoss(dist_matrix=distances, smooth_nr=0, smooth_dr=0)
    >>> loss(logits, torch.tensor([[[0, 2]]]))  # W is 0.5 and 0.5: 1 - 2 * 0.5 / (2 * 0.5 + 1)
    tensor(0.5000)
    """

    dist_matrix: Sequence[Sequence[float]] | Any
    weighting_mode: str = "default"
    _distances: ClassVar[Tensor]  # a buffer of each instance, and no option

    def __post_init__(self) -> None:
        if self.sigmoid or self.other_act is not None:
            raise ValueError("sigmoid and other_act make no sense between exclusive classes: the softmax is taken here")
        self.softmax = True
        super().__post_init__()
        checks.choice("weighting_mode", self.weighting_mode, ("default", "GDL"))
        matrix = held(self.dist_matrix, torch.float32)
        if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
            raise checks.ShapeError(
                f"dist_matrix has shape {checks.shape(matrix)} and must be square: classes x classes"
            )
        distances = bool(((matrix >= 0) & matrix.isfinite()).all()) and not bool(matrix.diagonal().any())
        if not distances or not bool(matrix.any()):
            raise ValueError("dist_matrix must hold distances: 0 on its diagonal, at least 0 and somewhere more off it")
        self.register_buffer("_distances", matrix, persistent=False)

    def forward(self, input: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        """The loss. See the class for shapes and errors."""
        rank: int = getattr(input, "ndim", 0)
        shape: tuple[int, ...] = getattr(target, "shape", ())
        indices = len(shape) == rank - 1 or (len(shape) == rank > 1 and shape[1] == 1)
        sweep = {**self.sweep, "to_onehot_y": self.to_onehot_y or indices}
        return self.evaluate(view_labels(input, target, mask, **sweep), None)

    def evaluate(self, view: LabelView, sums: RegionSums | None) -> Tensor:
        """The formula on the confusion matrix, reduced over the samples; the sums of the regions are not looked at."""
        classes = view.input.shape[1]
        factors, first = self._factors(classes), self._first(classes)
        matrix = confusion(
            view.input,
            view.target,
            view.mask,
            activation=view.activation,
            indexed=view.indexed,
            ignore_index=view.ignore_index,
        )
        if self.batch:
            matrix = all_reduced(RegionSums(matrix.sum(0, keepdim=True)), self.process_group).columns
        table = self._table(matrix)  # products of both: no sum is the difference of two
        distance, nearness = ((matrix * part).sum(-1)[:, first:] for part in (table, 1 - table))
        # the probabilities of a voxel add up to one: the sizes have no gradient by them
        sizes = (matrix if view.target_grad() else matrix.detach()).sum(-1)[:, first:]
        factors = sizes.new_ones(classes)[first:] if factors is None else factors[first:].to(sizes)
        return reduce(self._formula(distance, nearness, sizes, factors, first), self.reduction, present(sizes.sum(-1)))

    def _formula(self, distance: Tensor, nearness: Tensor, sizes: Tensor, factors: Tensor, first: int) -> Tensor:
        """From the sum of the distances and the voxels of each true class, B N, to B."""
        if self.weighting_mode == "GDL":
            factors = factors / (sizes + 1)
            right = (factors * nearness).sum(-1)
            wrong = (factors * distance).sum(-1)
        else:
            foreground = (torch.arange(sizes.shape[-1], device=sizes.device) + first > 0).to(sizes.dtype)
            right = (foreground * factors * nearness).sum(-1)
            wrong = (factors * distance).sum(-1)
        smooth = self.smooth_dr - self.smooth_nr
        return small_or_rest(wrong + smooth, 2 * right + self.smooth_nr, 2 * right + wrong + self.smooth_dr)

    def _table(self, like: Tensor) -> Tensor:
        """The distances over the largest one."""
        distances = self._distances.to(like)
        if distances.shape[0] != like.shape[-1]:
            raise checks.ShapeError(
                f"dist_matrix is {checks.shape(distances)} and input has {like.shape[-1]} channels: one row per class"
            )
        return distances / distances.max()

    def wasserstein_distance_map(self, flat_proba: Tensor, flat_target: Tensor) -> Tensor:
        """W of every voxel, B voxels: from probabilities B N voxels and class indices B voxels.

        >>> loss = GeneralizedWassersteinDiceLoss(dist_matrix=[[0, 2], [2, 0]])
        >>> loss.wasserstein_distance_map(torch.tensor([[[0.75, 0.5], [0.25, 0.5]]]), torch.tensor([[0, 1]]))
        tensor([[0.2500, 0.5000]])
        """
        rows = self._table(flat_proba.transpose(1, 2))[flat_target.long()]
        return (rows * flat_proba.transpose(1, 2)).sum(-1)
