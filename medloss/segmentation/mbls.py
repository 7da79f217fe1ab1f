"""Margin-based label smoothing (MbLS): logits that lie no further apart than a margin."""

from __future__ import annotations

from torch import Tensor

from medloss import checks
from medloss.labels import LabelView
from medloss.ops import pointwise
from medloss.segmentation.constrained import ConstrainedCrossEntropyLoss


class MbLSLoss(ConstrainedCrossEntropyLoss):
    r"""Cross-entropy, plus how far logits fall behind the largest of their voxel, beyond a margin.

    .. math::
        L = CE(z, t) + \alpha \frac{1}{N \sum_i w_i} \sum_i w_i \sum_c \max(0, \max_k z_{ik} - z_{ic} - m)

    with logits z and N classes. A margin of 0 pulls towards equal probabilities, as label smoothing does; a larger one
    leaves a network free to be sure, up to the margin.

    Shape: input (logits) B N [spatial], target B N or B 1 [spatial], mask B 1 [spatial]; ``"none"`` gives B [spatial].

    Range: [0, inf).

    Limits: alpha = 0, or a margin above all distances, is :class:`~medloss.CrossEntropyLoss`.

    Args:
        alpha: weight of the constraint, at least 0.
        margin: m, at least 0.
        include_background: whether voxels of class 0 count in the cross-entropy, and its logits in the constraint.
        weight, label_smoothing, process_group: of the cross-entropy; see :class:`~medloss.CrossEntropyLoss`.

    Raises:
        ShapeError: target or mask does not fit the input.
        ValueError: a negative alpha or margin, or ``sigmoid``.

    References:
        [1] Liu et al., The devil is in the margin: margin-based label smoothing for network calibration, CVPR 2022.

    >>> import torch, medloss
    >>> loss = medloss.MbLSLoss(alpha=0.5, margin=1, to_onehot_y=True)
    >>> loss(torch.tensor([[[0.0], [0.0], [-4.0]]]), torch.tensor([[[0]]]))  # log(2 + e^-4) + 0.5 (0 + 0 + 3) / 3
    tensor(1.2023)
    """

    margin: float = 10.0

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.at_least("margin", self.margin, 0)

    def constraint(self, view: LabelView, reduce: bool) -> Tensor:
        """How far each logit falls behind."""
        return pointwise(
            view.input,
            view.target,
            view.mask,
            penalty="margin",
            indexed=view.indexed,
            ignore_index=view.ignore_index,
            gamma=self.margin,
            reduce=reduce,
        )
