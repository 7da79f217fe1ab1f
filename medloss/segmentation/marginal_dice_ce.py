"""Dice and cross-entropy for targets that label some of the classes."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from medloss.base import Term, compute_region_sums
from medloss.joint import total, weighted
from medloss.labels import view_labels
from medloss.ops.operator import without_autocast
from medloss.segmentation.compound import CompoundLoss
from medloss.segmentation.cross_entropy import CrossEntropyLoss
from medloss.segmentation.dice import DiceLoss
from medloss.segmentation.partial_labels import check_labelled, counting, labelled_classes, merged


class MarginalDiceCELoss(CompoundLoss):
    r"""Dice and cross-entropy of the labelled classes, where the background of a target may hold all others.

    .. math::
        L = \lambda_{dice} L_{Dice}(q, t) + \lambda_{ce} L_{CE}(q, t), \qquad
        q_0 = p_0 + \sum_{c \text{ unlabelled}} p_c, \quad q_c = p_c \text{ for the labelled classes}

    with the softmax probabilities p. A data set that labels the liver alone has kidneys in its background: a network
    with a class for kidneys may find them there at no cost. What the target holds of unlabelled classes counts as
    background, too. Unlabelled classes leave the mean of the Dice term, sample by sample (with ``batch``, where no
    sample labels them).

    Shape: input (logits) B N [spatial], target B N or B 1 [spatial], mask B 1 [spatial], class_present B N; gives a
    scalar.

    Range: [0, inf).

    Limits: with all classes labelled, equals :class:`~medloss.DiceCELoss`; with none but the background, 0 (up to the
    smoothing).

    Args:
        labelled: numbers of the classes that the targets label; the background 0 always counts among them. None: all.
            ``class_present`` in the call, which says so for each sample and class (true where labelled), goes before
            this option: batches may mix data sets.
        softmax: must be True.
        include_background: whether the merged background counts in the Dice term; in the cross-entropy it does.
        weight: factor per class in both terms; the merged background has that of class 0.
        squared_pred, jaccard, batch, empty, process_group, smooth_nr, smooth_dr: see :class:`~medloss.DiceCELoss`.
        lambda_dice: weight of the Dice term, at least 0.
        lambda_ce: weight of the cross-entropy term, at least 0.

    Raises:
        ShapeError: target, mask or class_present does not fit the input.
        ValueError: no softmax, a class number outside the classes, or a fault of either loss.

    References:
        [1] Shi et al., Marginal loss and exclusion loss for partially supervised multi-organ segmentation, MedIA 2021.

    >>> import torch, medloss
    >>> logits = torch.tensor([[[0.0], [0.0], [0.0], [0.0]]])  # 1/4 each
    >>> loss = medloss.MarginalDiceCELoss(softmax=True, to_onehot_y=True, lambda_dice=0)
    >>> loss(logits, torch.zeros(1, 1, 1), class_present=torch.tensor([[True, True, False, False]]))  # -log(3/4)
    tensor(0.2877)
    """

    labelled: Sequence[int] | None = None
    squared_pred: bool = False
    jaccard: bool = False
    lambda_dice: float = 1.0
    lambda_ce: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_labelled(self.labelled)
        if not self.softmax:
            raise ValueError("classes merge under a softmax alone: pass softmax=True")
        dice = self._part(DiceLoss)
        cross_entropy = self._part(CrossEntropyLoss, include_background=True)
        self._compose({"dice": (self.lambda_dice, dice), "cross_entropy": (self.lambda_ce, cross_entropy)})

    def terms(
        self, input: Tensor, target: Tensor, mask: Tensor | None = None, *, class_present: Tensor | None = None
    ) -> dict[str, Term]:
        """Each term by name: raw, weight, and weight times raw."""
        view = view_labels(input, target, mask, **self.sweep)
        with without_autocast(view.input.device.type):
            present = labelled_classes(view, self.labelled, class_present)
            view = merged(view, present)
        sums = counting(compute_region_sums(view, list(self._parts.values())), present)
        return weighted({name: part.evaluate(view, sums) for name, part in self._parts.items()}, self._weights)

    def forward(
        self, input: Tensor, target: Tensor, mask: Tensor | None = None, *, class_present: Tensor | None = None
    ) -> Tensor:
        """The sum of the weighted terms."""
        return total(self.terms(input, target, mask, class_present=class_present).values())
