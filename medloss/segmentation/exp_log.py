"""Exponential logarithmic loss: minus the logarithm of Dice and of each likelihood, to a power."""

from __future__ import annotations

import torch
from torch import Tensor

from medloss.segmentation.dice import DiceLoss
from medloss.segmentation.likelihood_powers import LikelihoodPowerCompound, LikelihoodPowerLoss
from medloss.segmentation.overlap import power
from medloss.sums import RegionSums


class LogDiceLoss(DiceLoss):
    """Minus the logarithm of Dice, to a power: the Dice term of :class:`ExpLogLoss`."""

    gamma_dice: float = 0.3

    @property
    def _bends(self) -> bool:
        return True

    def finalise(self, sums: RegionSums) -> Tensor:
        """(-log D)^gamma of the Dice score D; without any overlap, of the smallest number."""
        twice, total, wrong = self._parts(sums)
        right, wrong = twice + self.smooth_nr, wrong + (self.smooth_dr - self.smooth_nr)
        total = total + self.smooth_dr
        mostly = wrong > right
        near = -torch.log1p(-torch.where(mostly, 0.0, wrong / total))
        far = -torch.where(mostly, right / total, 1.0).clamp_min(torch.finfo(right.dtype).tiny).log()
        return power(torch.where(mostly, far, near), self.gamma_dice)


class ExpLogLoss(LikelihoodPowerCompound):
    r"""Exponential logarithmic loss: powers of minus the logarithm of Dice and of the likelihoods, added.

    .. math::
        L = \lambda_{dice} \operatorname{mean}_{bc} \left( -\log \frac{2 I + nr}{S + T + dr} \right)^{\gamma_{dice}}
          + \lambda_{ce} \operatorname{mean}_{i} \sum_c a_c t_{ic} (-\log p_{ic})^{\gamma_{ce}}

    with the overlap I, the sums S of the prediction and T of the target, and class weights a. Powers below one look at
    what is nearly right as well as at what is wrong. With ``sigmoid`` each channel is a problem of its own, in which
    what is not of the class has the likelihood 1 - p, and the second mean runs over the channels too.

    Shape: input (logits) B N [spatial], target B N or B 1 [spatial], mask B 1 [spatial]; gives a scalar.

    Range: [0, inf).

    Limits: lambda_dice = 0 at gamma_ce = 1 without weights is :class:`~medloss.CrossEntropyLoss`.

    Authors' code: none was published. PyMIC's moves the probabilities into [0.005, 0.995], SegLoss's gives the
    cross-entropy no power; here it is the paper's, with ``batch=True`` and a ``weight`` of the square root of one over
    each class's share.

    Args:
        softmax: whether the input is logits of classes, one of which each voxel has.
        sigmoid: whether the input is logits of channels that may overlap, in place of softmax.
        gamma_dice: the power of the Dice term, above 0; the paper does best with 0.3.
        gamma_ce: the power of the cross-entropy, above 0; the paper does best with 0.3.
        weight: a, of the likelihoods alone; the paper takes the root of one over each class's share of the voxels.
        include_background: for the Dice term; the other always counts every voxel.
        soft_label: for the Dice term, see :class:`~medloss.DiceLoss`.
        batch, empty: for the Dice term, see :class:`~medloss.DiceLoss`.
        smooth_nr: added to the numerator of the Dice term; the paper adds 1.
        smooth_dr: added to the denominator of the Dice term; the paper adds 1.
        process_group: see :class:`~medloss.DiceLoss`; for both terms.
        lambda_dice: weight of the Dice term, at least 0.
        lambda_ce: weight of the cross-entropy term, at least 0.

    Raises:
        ShapeError: target or mask does not fit the input.
        ValueError: no activation, a negative lambda, or a power that is not above 0.

    References:
        [1] Wong et al., 3D segmentation with exponential logarithmic loss for highly unbalanced object sizes, MICCAI
        2018.

    >>> import torch, medloss
    >>> loss = medloss.ExpLogLoss(softmax=True, to_onehot_y=True, smooth_nr=0, smooth_dr=0)
    >>> terms = loss.terms(torch.zeros(1, 2, 4), torch.tensor([[[0, 0, 1, 1]]]))
    >>> {name: round(term.raw.item(), 4) for name, term in terms.items()}  # both of 1/2: (log 2)^0.3
    {'dice': 0.8959, 'cross_entropy': 0.8959}
    """

    soft_label: bool = False
    gamma_dice: float = 0.3
    gamma_ce: float = 0.3
    lambda_dice: float = 0.8
    lambda_ce: float = 0.2
    smooth_nr: float = 1.0
    smooth_dr: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("gamma_dice", "gamma_ce"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name}={getattr(self, name)!r} must be above 0")
        likelihoods = {"exponent": self.gamma_ce, "negative": float(self.sigmoid), "per_voxel": self.softmax}
        dice = self._part(LogDiceLoss, weight=None)
        cross_entropy = self._part(LikelihoodPowerLoss, include_background=True, **likelihoods)
        self._compose({"dice": (self.lambda_dice, dice), "cross_entropy": (self.lambda_ce, cross_entropy)})
