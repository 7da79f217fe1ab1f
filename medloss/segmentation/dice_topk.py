"""Dice and the cross-entropy of the hardest voxels, added."""

from __future__ import annotations

from medloss.segmentation.compound import CompoundLoss
from medloss.segmentation.dice import DiceLoss
from medloss.segmentation.hardest import TopKLoss


class DiceTopKLoss(CompoundLoss):
    r"""Weighted sum of Dice and the cross-entropy of the k per cent hardest voxels.

    .. math:: L = \lambda_{dice} L_{Dice} + \lambda_{topk} L_{TopK}

    Shape: input (logits) B N [spatial], target B N or B 1 [spatial], mask B 1 [spatial]; gives a scalar.

    Range: [0, inf).

    Limits: lambda_topk = 0 is :class:`~medloss.DiceLoss`, lambda_dice = 0 is :class:`~medloss.TopKLoss`.

    Args:
        softmax: whether the input is logits of classes; the cross-entropy is that of the classes.
        sigmoid: whether the input is logits of channels that may overlap, in place of softmax; the cross-entropy is
            that of each channel.
        include_background: for the Dice term; the cross-entropy looks at every voxel.
        weight: factor per class in both terms.
        k: per cent of the voxels; see :class:`~medloss.TopKLoss`.
        batch: sum the regions and rank the voxels over the batch, not over each sample.
        squared_pred, jaccard, soft_label, empty, smooth_nr, smooth_dr: see :class:`~medloss.DiceLoss`.
        process_group: for the Dice term; see :class:`~medloss.DiceLoss`. Each process ranks its own voxels.
        lambda_dice: weight of the Dice term, at least 0.
        lambda_topk: weight of the top-k term, at least 0.

    Raises:
        ShapeError: target or mask does not fit the input.
        ValueError: no activation, a negative lambda, or a fault of either loss.

    References:
        [1] Isensee et al., nnU-Net, Nature Methods 2021. [2] Ma et al., Loss odyssey in medical image segmentation,
        MedIA 2021.

    >>> import torch, medloss
    >>> loss = medloss.DiceTopKLoss(softmax=True, to_onehot_y=True)
    >>> terms = loss.terms(torch.zeros(1, 2, 4), torch.tensor([[[0, 0, 1, 1]]]))
    >>> {name: round(term.raw.item(), 4) for name, term in terms.items()}
    {'dice': 0.5, 'top_k': 0.6931}
    """

    squared_pred: bool = False
    jaccard: bool = False
    soft_label: bool = False
    k: float = 10.0
    lambda_dice: float = 1.0
    lambda_topk: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        dice = self._part(DiceLoss)
        hardest = self._part(TopKLoss, include_background=True)
        self._compose({"dice": (self.lambda_dice, dice), "top_k": (self.lambda_topk, hardest)})
