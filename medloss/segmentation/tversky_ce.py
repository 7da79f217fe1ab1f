"""Tversky and cross-entropy, added."""

from __future__ import annotations

from medloss.segmentation.compound import CompoundLoss
from medloss.segmentation.cross_entropy import CrossEntropyLoss
from medloss.segmentation.tversky import TverskyLoss


class TverskyCELoss(CompoundLoss):
    r"""Weighted sum of Tversky and cross-entropy, from one softmax (or sigmoid) and one sweep over the voxels.

    .. math:: L = \lambda_{tversky} L_{Tversky} + \lambda_{ce} L_{CE}

    Shape: input (logits) B N [spatial], target B N or B 1 [spatial], mask B 1 [spatial]; gives a scalar.

    Range: [0, inf).

    Limits: lambda_ce = 0 is :class:`~medloss.TverskyLoss`, lambda_tversky = 0 is :class:`~medloss.CrossEntropyLoss`;
    alpha = beta = 1/2 is :class:`~medloss.DiceCELoss` but for the smoothing.

    Args:
        softmax: whether the input is logits of classes; the cross-entropy is that of the classes.
        sigmoid: whether the input is logits of channels that may overlap, in place of softmax; the cross-entropy is
            that of each channel.
        include_background: for the Tversky term; the cross-entropy always counts every voxel.
        weight: factor per class in both terms.
        alpha, beta: see :class:`~medloss.TverskyLoss`.
        soft_label, batch, empty, smooth_nr, smooth_dr: see :class:`~medloss.TverskyLoss`.
        label_smoothing: see :class:`~medloss.CrossEntropyLoss`.
        process_group: see :class:`~medloss.DiceLoss`; for both terms.
        lambda_tversky: weight of the Tversky term, at least 0.
        lambda_ce: weight of the cross-entropy term, at least 0.

    Raises:
        ShapeError: target or mask does not fit the input.
        ValueError: no activation, a negative lambda, or a fault of either loss.

    References:
        [1] Salehi et al., MLMI 2017 (Tversky loss).

    >>> import torch, medloss
    >>> loss = medloss.TverskyCELoss(softmax=True, to_onehot_y=True, lambda_ce=0.5)
    >>> terms = loss.terms(torch.zeros(1, 2, 4), torch.tensor([[[0, 0, 1, 1]]]))
    >>> {name: round(term.value.item(), 4) for name, term in terms.items()}
    {'tversky': 0.5, 'cross_entropy': 0.3466}
    """

    alpha: float = 0.5
    beta: float = 0.5
    soft_label: bool = False
    label_smoothing: float = 0.0
    lambda_tversky: float = 1.0
    lambda_ce: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        tversky = self._part(TverskyLoss)
        cross_entropy = self._part(CrossEntropyLoss, include_background=True)
        self._compose({"tversky": (self.lambda_tversky, tversky), "cross_entropy": (self.lambda_ce, cross_entropy)})
