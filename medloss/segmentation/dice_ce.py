"""Dice and cross-entropy, added."""

from __future__ import annotations

from medloss.segmentation.compound import CompoundLoss
from medloss.segmentation.cross_entropy import CrossEntropyLoss
from medloss.segmentation.dice import DiceLoss


class DiceCELoss(CompoundLoss):
    r"""Weighted sum of Dice and cross-entropy, from one softmax (or sigmoid) and one sweep over the voxels.

    .. math:: L = \lambda_{dice} L_{Dice} + \lambda_{ce} L_{CE}

    Shape: input (logits) B N [spatial], target B N or B 1 [spatial], mask B 1 [spatial]; gives a scalar.

    Range: [0, inf).

    Limits: lambda_ce = 0 is :class:`~medloss.DiceLoss`, lambda_dice = 0 is :class:`~medloss.CrossEntropyLoss`.

    Args:
        softmax: whether the input is logits of classes; the cross-entropy is that of the classes.
        sigmoid: whether the input is logits of channels that may overlap, in place of softmax; the cross-entropy is
            that of each channel.
        include_background: for the Dice term; the cross-entropy always counts every voxel.
        weight: factor per class in both terms.
        squared_pred, jaccard, soft_label, batch, empty, smooth_nr, smooth_dr: see :class:`~medloss.DiceLoss`.
        label_smoothing: see :class:`~medloss.CrossEntropyLoss`.
        process_group: see :class:`~medloss.DiceLoss`; for both terms.
        lambda_dice: weight of the Dice term, at least 0.
        lambda_ce: weight of the cross-entropy term, at least 0.

    Raises:
        ShapeError: target or mask does not fit the input.
        ValueError: no activation, a negative lambda, or a fault of either loss.

    References:
        [1] Isensee et al., nnU-Net, Nature Methods 2021 (the sum). [2] Taghanaki et al., Combo loss, 2019.

    >>> import torch, medloss
    >>> loss = medloss.DiceCELoss(softmax=True, to_onehot_y=True)
    >>> terms = loss.terms(torch.zeros(1, 2, 4), torch.tensor([[[0, 0, 1, 1]]]))
    >>> {name: round(term.raw.item(), 4) for name, term in terms.items()}
    {'dice': 0.5, 'cross_entropy': 0.6931}
    """

    squared_pred: bool = False
    jaccard: bool = False
    soft_label: bool = False
    label_smoothing: float = 0.0
    lambda_dice: float = 1.0
    lambda_ce: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        dice = self._part(DiceLoss)
        cross_entropy = self._part(CrossEntropyLoss, include_background=True)
        self._compose({"dice": (self.lambda_dice, dice), "cross_entropy": (self.lambda_ce, cross_entropy)})
