"""Skeleton recall: how much of the target's centreline the prediction has found."""

from __future__ import annotations

import torch
from torch import Tensor

from medloss import checks
from medloss.labels import view_labels
from medloss.map_loss import LabelMaps, SummedMapLoss
from medloss.ops import soft_skeleton
from medloss.ops.masking import blank, membership
from medloss.ops.operator import without_autocast
from medloss.ops.tubes import TUBES, widened


class SkeletonRecallLoss(SummedMapLoss):
    r"""The part of the target's skeleton that the prediction misses.

    .. math:: L = 1 - \frac{\sum_i w_i p_i s_i + nr}{\sum_i w_i s_i + dr}

    for each sample and class, with prediction p and the target's skeleton s, widened to a tube. A vessel counts by its
    length, not by its volume; false positives cost nothing, so add a Dice and a cross-entropy. Only the target needs a
    skeleton: compute it once, on the CPU, with :class:`medloss.transforms.SkeletonMap`, and pass it in. Otherwise it is
    the soft skeleton of the target, which may have gaps.

    Shape: input B N [spatial], target B N or B 1 [spatial], mask B 1 [spatial], skeleton B N [spatial], or B 1
    [spatial] with the class along the skeleton and 0 elsewhere (background then has no skeleton); ``"none"`` gives B N,
    ``batch`` 1 N.

    Range: [0, 1].

    Limits: with the target as its own skeleton equals :class:`~medloss.TverskyLoss` at alpha = 0, beta = 1.

    Args:
        iter_: how often the soft skeleton erodes, at least the radius of the widest vessel in voxels. For lack of a
            skeleton.
        radius: by how many voxels that skeleton is widened inside its class, as by
            :class:`medloss.transforms.SkeletonMap`.
        tube: what it is widened by: ``"cross"``, the voxels within ``radius`` steps along the axes (a diamond, as in
            the paper's own code), or ``"box"``, those within ``radius`` along every axis, corners and all.
        batch: sum over the batch before the formula, not after, as the authors' trainer does where the plan says so.
        smooth_nr: added to the numerator.
        smooth_dr: added to the denominator.

    Raises:
        ShapeError: target, mask or skeleton does not fit the input.
        TypeError: ``iter_`` or radius is no integer.
        ValueError: a negative ``iter_``, radius or smoothing, an unknown tube, or the faults of
            :class:`~medloss.DiceLoss`.

    References:
        [1] Kirchhoff et al., Skeleton recall loss for connectivity conserving and resource efficient segmentation of
        thin tubular structures, ECCV 2024 (there without the one).

    >>> import torch, medloss
    >>> vessel = torch.tensor([[[[0.0, 0, 0, 0], [1, 1, 1, 1], [0, 0, 0, 0]]]])
    >>> gap = vessel * torch.tensor([1.0, 0, 1, 1])
    >>> round(medloss.SkeletonRecallLoss()(gap, vessel).item(), 4)
    0.25
    """

    iter_: int = 3
    radius: int = 2
    tube: str = "cross"
    smooth_nr: float = 1e-5
    smooth_dr: float = 1e-5

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.choice("tube", self.tube, TUBES)
        for name in ("iter_", "radius", "smooth_nr", "smooth_dr"):
            checks.at_least(name, getattr(self, name), 0)
        for name in ("iter_", "radius"):
            if not isinstance(getattr(self, name), int):
                raise TypeError(f"{name} must be an integer, not {type(getattr(self, name)).__name__}")

    def forward(
        self, input: Tensor, target: Tensor, mask: Tensor | None = None, *, skeleton: Tensor | None = None
    ) -> Tensor:
        """The loss. See the class for shapes and errors."""
        view = view_labels(input, target, mask, **self.sweep)
        skeleton = None if skeleton is None else fitting_skeleton(skeleton, view.input)
        with without_autocast(view.input.device.type):
            return self._reduced(view, skeleton=skeleton)

    def compare(self, maps: LabelMaps, skeleton: Tensor | None) -> Tensor:
        """One minus the recall of the skeleton."""
        if skeleton is None:
            skeleton = soft_skeleton(maps.target, maps.weight, iterations=self.iter_)
            skeleton = widened(skeleton, self.radius, self.tube) * maps.target
        else:
            first = skeleton.shape[1] - maps.input.shape[1]
            skeleton = blank(skeleton[:, first:].to(maps.input.dtype), maps.weight)
        skeleton = maps.weighted(skeleton)
        found, whole = self.total(maps.input * skeleton), self.total(skeleton)
        return 1 - (found + self.smooth_nr) / (whole + self.smooth_dr)


def fitting_skeleton(skeleton: Tensor, input: Tensor) -> Tensor:
    """The skeleton of each class, B N [spatial]; of a map of classes the background has none."""
    skeleton = checks.without_gradient("skeleton", checks.plain("skeleton", skeleton))
    checks.same_device("skeleton", skeleton, input)
    if skeleton.ndim == 2 and input.shape[2:] == (1,):  # batch x classes: one voxel each
        skeleton = skeleton.unsqueeze(-1)
    if skeleton.shape == input.shape:
        return skeleton
    batch, classes, *spatial = input.shape
    if list(skeleton.shape) != [batch, 1, *spatial]:
        given, expected = checks.shape(skeleton), checks.shape(input)
        raise checks.ShapeError(f"skeleton has shape {given}: expected {expected}, or one channel of classes")
    of_classes = membership(skeleton, classes, True, torch.uint8)
    return torch.cat([torch.zeros_like(of_classes[:, :1]), of_classes[:, 1:]], 1)
