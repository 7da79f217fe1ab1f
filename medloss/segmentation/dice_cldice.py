"""Dice and clDice, mixed."""

from __future__ import annotations

from medloss.segmentation.cldice import SoftclDiceLoss
from medloss.segmentation.compound import Mixture
from medloss.segmentation.dice import DiceLoss


class SoftDiceclDiceLoss(Mixture, SoftclDiceLoss):
    r"""Dice of the regions mixed with Dice of their centrelines, so that width and connection both count.

    .. math:: L = (1 - \alpha) L_{Dice} + \alpha L_{clDice}

    Where a sample is empty the centrelines ask for little, and a false region goes slowly. Mix it with a cross-entropy.

    Shape: input B N [spatial], target B N or B 1 [spatial], mask B 1 [spatial]; gives a scalar.

    Range: [0, 1], near 0 where prediction and target are equal.

    Limits: alpha = 0 is :class:`~medloss.DiceLoss`, alpha = 1 is :class:`~medloss.SoftclDiceLoss`.

    Authors' code: equal for one class, as :class:`~medloss.SoftclDiceLoss` is. With several its Dice is one over all of
    them together; here it is the mean over the classes, as everywhere in this package.

    Args:
        alpha: share of clDice, 0 to 1.
        smooth_nr: added to the numerators of both terms.
        smooth_dr: added to the denominators of both terms.
        iter_, smooth, weight, batch, empty: see :class:`~medloss.SoftclDiceLoss`; the last three are for both terms.

    Raises:
        ShapeError: target or mask does not fit the input.
        ValueError: alpha outside 0 to 1, or the faults of either loss.

    References:
        [1] Shit et al., clDice, a novel topology-preserving loss function for tubular structure segmentation,
        CVPR 2021.

    >>> import torch, medloss
    >>> vessel = torch.tensor([[[[0.0, 0, 0, 0], [1, 1, 1, 1], [0, 0, 0, 0]]]])
    >>> gap = vessel * torch.tensor([1.0, 0, 1, 1])
    >>> loss = medloss.SoftDiceclDiceLoss(smooth_nr=0, smooth_dr=0)
    >>> {name: round(term.raw.item(), 4) for name, term in loss.terms(gap, vessel).items()}
    {'dice': 0.1429, 'cldice': 0.1429}
    """

    alpha: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.alpha <= 1:
            raise ValueError(f"alpha={self.alpha!r} must be from 0 to 1: it is the share of clDice")
        dice, cldice = self._part(DiceLoss), self._part(SoftclDiceLoss)
        self._compose({"dice": (1 - self.alpha, dice), "cldice": (self.alpha, cldice)})
