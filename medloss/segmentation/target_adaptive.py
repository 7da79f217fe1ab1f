"""Target-adaptive loss: cross-entropy for targets that label some of the classes."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from medloss.base import compute_region_sums
from medloss.labels import view_labels
from medloss.ops.operator import without_autocast
from medloss.segmentation.cross_entropy import CrossEntropyLoss
from medloss.segmentation.partial_labels import check_labelled, labelled_classes, merged


class TargetAdaptiveLoss(CrossEntropyLoss):
    r"""Cross-entropy of the labelled classes, where whatever else there is counts as background (TAL).

    .. math::
        L = \frac{-\sum_i w_i \sum_{c \text{ labelled}} a_c t_{ic} \log q_{ic}}
                 {\sum_i w_i \sum_{c \text{ labelled}} a_c t_{ic}}, \qquad
        q_{i0} = 1 - \sum_{c > 0 \text{ labelled}} p_{ic}, \quad q_{ic} = p_{ic} \text{ for the others}

    with softmax probabilities p, memberships t, voxel weights w and class weights a (1 by default). What the target
    holds of unlabelled classes counts as background, too, as does what the network finds of them.

    Shape: input (logits) B N [spatial], target B N or B 1 [spatial], mask B 1 [spatial], class_present B N; ``"none"``
    gives B [spatial].

    Range: [0, inf).

    Limits: with all classes labelled, :class:`~medloss.CrossEntropyLoss`; with none but the background, 0. It is the
    cross-entropy of :class:`~medloss.MarginalDiceCELoss`, which merges the probabilities alike.

    Args:
        labelled: numbers of the classes that the targets label; the background 0 always counts among them. None: all.
            ``class_present`` in the call, which says so for each sample and class (true where labelled), goes before
            this option: batches may mix data sets.
        softmax: stands by itself; there is nothing else, and no ``label_smoothing``.
        include_background: whether voxels of the merged background count.
        weight: factor per class; the merged background has that of class 0.
        process_group: add up numerator and denominator over the processes: ``"world"``, or a group.

    Raises:
        ShapeError: target, mask or class_present does not fit the input.
        ValueError: ``sigmoid``, label smoothing, or a class number outside the classes.

    References:
        [1] Fang and Yan, Multi-organ segmentation over partially labeled datasets with multi-scale feature abstraction,
        IEEE TMI 2020.

    >>> import torch, medloss
    >>> logits = torch.tensor([[[0.0], [0.0], [0.0], [0.0]]])  # 1/4 each
    >>> medloss.TargetAdaptiveLoss(to_onehot_y=True, labelled=[1])(logits, torch.zeros(1, 1, 1))  # -log(1 - 1/4)
    tensor(0.2877)
    """

    labelled: Sequence[int] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_labelled(self.labelled)
        if self.sigmoid:
            raise ValueError("classes merge under a softmax alone: TargetAdaptiveLoss takes no sigmoid")
        if self.label_smoothing:
            raise ValueError("label_smoothing would spread labels over classes that are not labelled")

    def forward(
        self, input: Tensor, target: Tensor, mask: Tensor | None = None, *, class_present: Tensor | None = None
    ) -> Tensor:
        """The loss. See the class for shapes and errors."""
        view = view_labels(input, target, mask, **self.sweep)
        with without_autocast(view.input.device.type):
            view = merged(view, labelled_classes(view, self.labelled, class_present))
        return self.evaluate(view, compute_region_sums(view, [self]))
