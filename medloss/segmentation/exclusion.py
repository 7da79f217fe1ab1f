"""Exclusion: an unlabelled class does not lie where another one is labelled."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from medloss import checks
from medloss.base import RegionLoss, compute_region_sums
from medloss.labels import LabelView, view_labels
from medloss.map_loss import label_maps
from medloss.ops.masking import accumulation_dtype, voxel_weight
from medloss.ops.operator import without_autocast
from medloss.reduction import ratio
from medloss.segmentation.partial_labels import check_labelled, counting, labelled_classes, of_label, per_voxel
from medloss.sums import RegionSums


class ExclusionLoss(RegionLoss):
    r"""Overlap of each unlabelled class with the labelled foreground, where classes exclude each other.

    .. math::
        L_c = \frac{2 \sum_i w_i p_{ic} e_i + nr}{\sum_i w_i p_{ic} + \sum_i w_i e_i + dr}, \qquad
        e_i = \sum_{c' > 0 \text{ labelled}} t_{ic'}

    for each sample and unlabelled class, with prediction p, membership t and voxel weight w: the Dice coefficient with
    the voxels that are known to be something else. The form ``"cross_entropy"`` is

    .. math:: L_c = \frac{\sum_i w_i e_i \log(1 + p_{ic})}{\sum_i w_i}

    the mean over all voxels. The loss complements :class:`~medloss.MarginalDiceCELoss`, which leaves the unlabelled
    classes to themselves; add both with :class:`~medloss.WeightedSum`.

    Shape: input B N [spatial], target B N or B 1 [spatial], mask B 1 [spatial], class_present B N; ``"none"`` gives
    B N, ``batch`` 1 N, with 0 for the labelled classes, which are no entries of the mean.

    Range: [0, 1] for hard targets, as a cross-entropy [0, log 2].

    Limits: 0 where all classes are labelled, or none but the background.

    Authors' code: one in use lets the labelled classes and the background enter the mean too; here, as in the paper,
    the mean is over the classes that the sample's labels leave out.

    Args:
        labelled: numbers of the classes that the targets label; the background 0 always counts among them. None: all.
            ``class_present`` in the call, which says so for each sample and class (true where labelled), goes before
            this option.
        batch: sum over the samples that do not label a class, before the formula.
        empty: ``"skip"`` leaves out samples without labelled foreground.
        form: ``"dice"`` or ``"cross_entropy"``.
        smooth_nr: added to the numerator of the Dice form; 0 by default, as what is not there must not overlap.
        smooth_dr: added to the denominator of the Dice form.

    Raises:
        ShapeError: target, mask or class_present does not fit the input.
        ValueError: an unknown form, a class number outside the classes, or the faults of :class:`~medloss.DiceLoss`.

    References:
        [1] Shi et al., Marginal loss and exclusion loss for partially supervised multi-organ segmentation, MedIA 2021.

    >>> import torch, medloss
    >>> p = torch.tensor([[[0.5, 0.5], [0.25, 0.5], [0.25, 0.0]]])
    >>> loss = medloss.ExclusionLoss(labelled=[1], to_onehot_y=True)
    >>> loss(p, torch.tensor([[[1, 0]]]))  # class 2: 2 (1/4) / (1/4 + 1)
    tensor(0.4000)
    >>> loss = medloss.ExclusionLoss(labelled=[1], to_onehot_y=True, form="cross_entropy")
    >>> loss(p, torch.tensor([[[1, 0]]]))  # log(1 + 1/4) at the one of two voxels
    tensor(0.1116)
    """

    labelled: Sequence[int] | None = None
    form: str = "dice"
    smooth_nr: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_labelled(self.labelled)
        checks.choice("form", self.form, ("dice", "cross_entropy"))

    def finalise(self, sums: RegionSums) -> Tensor:
        """(2 I + nr) / (S + T + dr), or with logarithms for the overlap I / V."""
        if self.form == "cross_entropy":
            return ratio(sums.overlap, sums.voxels)
        return (2 * sums.overlap + self.smooth_nr) / (sums.input + sums.target + self.smooth_dr)

    def forward(
        self, input: Tensor, target: Tensor, mask: Tensor | None = None, *, class_present: Tensor | None = None
    ) -> Tensor:
        """The loss. See the class for shapes and errors."""
        view = view_labels(input, target, mask, **self.sweep)
        return self._against(view, labelled_classes(view, self.labelled, class_present))

    def evaluate(self, view: LabelView, sums: RegionSums | None) -> Tensor:
        """The loss from the view: what was summed over it is of other targets."""
        return self._against(view, labelled_classes(view, self.labelled, None))

    def _against(self, view: LabelView, present: Tensor) -> Tensor:
        """The overlap of every class with the labelled foreground, in the mean where the class is not labelled."""
        dtype = accumulation_dtype(view.input)
        foreground = present & (torch.arange(present.shape[1], device=present.device) > 0)
        if view.indexed:
            known = of_label(foreground, view)
        else:
            shown = per_voxel(foreground, view)
            known = torch.where(shown, view.target, torch.zeros_like(view.target)).sum(1, keepdim=True)
        weight = voxel_weight(view.target, view.mask, view.indexed, view.ignore_index, dtype)
        known = known.to(dtype).expand(view.input.shape)
        view = view._replace(target=known, mask=weight, indexed=False, ignore_index=None)
        sums = compute_region_sums(view, [self]) if self.form == "dice" else _logarithms(view)
        return super().evaluate(view, counting(sums, ~present))


def _logarithms(view: LabelView) -> RegionSums:
    """The sums that the cross-entropy looks at: of w e log(1 + p) in place of the overlap."""
    with without_autocast(view.input.device.type):
        maps = label_maps(view)
        costs = maps.weighted(maps.target * torch.log1p(maps.input)).flatten(2).sum(-1)
        target = maps.weighted(maps.target).flatten(2).sum(-1)
        return RegionSums(torch.stack([costs, torch.zeros_like(costs), target, maps.mass()], -1))
