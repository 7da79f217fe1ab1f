"""Combo loss: Dice and a cross-entropy with a price for each kind of error, added."""

from __future__ import annotations

from medloss import checks
from medloss.segmentation.dice import DiceLoss
from medloss.segmentation.likelihood_powers import LikelihoodPowerCompound, LikelihoodPowerLoss


class ComboLoss(LikelihoodPowerCompound):
    r"""Combo loss: Dice, and a cross-entropy of each class against its rest that prices both kinds of error.

    .. math::
        L = (1 - \alpha) L_{Dice} + \alpha \operatorname{mean}_{ic} a_c \bigl(
            -\beta\, t_{ic} \log p_{ic} - (1 - \beta) (1 - t_{ic}) \log(1 - p_{ic}) \bigr)

    with class weights a (1 by default); the paper's loss plus 1 - alpha, so that it is 0 where all is right.

    Shape: input (logits) B N [spatial], target B N or B 1 [spatial], mask B 1 [spatial]; gives a scalar.

    Range: [0, inf).

    Limits: alpha = 0 is :class:`~medloss.DiceLoss`; alpha = 1 at beta = 1/2 with ``sigmoid`` is half a
    :class:`~medloss.CrossEntropyLoss`.

    Authors' code: it has the wrong sign on the voxels that are not of the class; here it is the paper's loss, at the
    authors' weights with ``sigmoid=True, batch=True, smooth_nr=1, smooth_dr=1``.

    Args:
        softmax: whether the input is logits of classes, one of which each voxel has; for both terms.
        sigmoid: whether the input is logits of channels that may overlap; for both terms, in place of softmax.
        alpha: share of the cross-entropy, in [0, 1].
        beta: price of false negatives, in [0, 1]; that of false positives is 1 - beta.
        include_background: for both terms.
        weight: factor per class in both terms.
        soft_label, batch, empty, smooth_nr, smooth_dr: see :class:`~medloss.DiceLoss`.
        process_group: see :class:`~medloss.DiceLoss`; for both terms.

    Raises:
        ShapeError: target or mask does not fit the input.
        ValueError: no activation, alpha or beta outside [0, 1], or the faults of :class:`~medloss.DiceLoss`.

    References:
        [1] Taghanaki et al., Combo loss: handling input and output imbalance in multi-organ segmentation, Computerized
        Medical Imaging and Graphics 2019.

    >>> import torch, medloss
    >>> loss = medloss.ComboLoss(softmax=True, to_onehot_y=True)
    >>> terms = loss.terms(torch.zeros(1, 2, 4), torch.tensor([[[0, 0, 1, 1]]]))
    >>> {name: round(term.raw.item(), 4) for name, term in terms.items()}  # 1/2, and half of log 2
    {'dice': 0.5, 'cross_entropy': 0.3466}
    """

    soft_label: bool = False
    alpha: float = 0.5
    beta: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("alpha", "beta"):
            checks.at_least(name, getattr(self, name), 0)
            checks.at_least(f"1 - {name}", 1 - getattr(self, name), 0)
        cross_entropy = self._part(LikelihoodPowerLoss, positive=self.beta, negative=1 - self.beta)
        parts = {"dice": (1 - self.alpha, self._part(DiceLoss)), "cross_entropy": (self.alpha, cross_entropy)}
        self._compose(parts)
