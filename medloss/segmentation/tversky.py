"""Tversky: Dice with a price for each kind of error."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from medloss import checks
from medloss.reduction import small_or_rest
from medloss.segmentation.overlap import OverlapLoss, power
from medloss.sums import RegionSums


class TverskyLoss(OverlapLoss):
    r"""Tversky index with a weight on false positives and one on false negatives.

    .. math::
        L = 1 - \frac{I + nr}{I + \alpha FP + \beta FN + dr}, \qquad FP = S - I, \quad FN = T - I

    for each sample and class, with I the overlap, S the sum of the prediction and T that of the target.

    Shape: input B N [spatial], target B N or B 1 [spatial], mask B 1 [spatial]; ``"none"`` gives B N, ``batch`` 1 N.

    Range: [0, 1] for hard targets.

    Limits: alpha = beta = 1/2 is Dice, alpha = beta = 1 is Jaccard (intersection over union).

    Args:
        alpha: weight of false positives, at least 0. A large one makes the network careful.
        beta: weight of false negatives, at least 0. A large one makes it find more.
        soft_label: overlap as :math:`(S + T - \sum w |p - t|) / 2`, whose minimum is at p = t for soft targets too.

    Raises:
        ShapeError: target or mask does not fit the input.
        ValueError: a negative alpha or beta, or the faults of :class:`~medloss.DiceLoss`.

    References:
        [1] Salehi et al., Tversky loss function for image segmentation, MLMI 2017, eq. 4.

    >>> import torch, medloss
    >>> input, target = torch.tensor([[[1.0, 1.0, 0.0]]]), torch.tensor([[[1.0, 0.0, 1.0]]])
    >>> loss = medloss.TverskyLoss(alpha=0.25, beta=0.75, smooth_nr=0, smooth_dr=0)
    >>> loss(input, target)  # 1 - 1 / (1 + 0.25 + 0.75)
    tensor(0.5000)
    """

    alpha: float = 0.5
    beta: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.at_least("alpha", self.alpha, 0)
        checks.at_least("beta", self.beta, 0)

    def finalise(self, sums: RegionSums) -> Tensor:
        """1 - (I + nr) / (I + alpha FP + beta FN + dr)."""
        formula = tversky_loss if self._bends else _plain_loss
        return formula(*self.errors(sums), self.alpha, self.beta, self.smooth_nr, self.smooth_dr)


def tversky_index(
    overlap: Tensor,
    false_positive: Tensor,
    false_negative: Tensor,
    alpha: float,
    beta: float,
    nr: float,
    dr: float | Tensor,
) -> Tensor:
    """(I + nr) / (I + alpha FP + beta FN + dr)."""
    return (overlap + nr) / (overlap + alpha * false_positive + beta * false_negative + dr)


def tversky_loss(
    overlap: Tensor, false_positive: Tensor, false_negative: Tensor, alpha: float, beta: float, nr: float, dr: float
) -> Tensor:
    """One minus the index, with the digits that small errors have."""
    wrong = alpha * false_positive + beta * false_negative
    return small_or_rest(wrong + (dr - nr), overlap + nr, overlap + wrong + dr)


def _plain_loss(*options: Any) -> Tensor:
    """The same as a quotient, which one operator computes; enough where nothing bends it."""
    return 1 - tversky_index(*options)


class FocalTverskyLoss(TverskyLoss):
    r"""Tversky loss to a power below one: what is found badly counts more, what is found well counts less.

    .. math:: L = \left( 1 - \frac{I + nr}{I + \alpha FP + \beta FN + dr} \right)^{1 / \gamma}

    for each sample and class, before the mean over them.

    Shape: input B N [spatial], target B N or B 1 [spatial], mask B 1 [spatial]; ``"none"`` gives B N, ``batch`` 1 N.

    Range: [0, 1] for hard targets.

    Limits: gamma = 1 is :class:`~medloss.TverskyLoss`.

    Args:
        gamma: at least 1 in the paper, where 4/3 did best; below 1 (above 0) it looks away from what is found badly.
        alpha: weight of false positives, at least 0 (the paper writes beta).
        beta: weight of false negatives, at least 0 (the paper writes alpha).
        soft_label: see :class:`~medloss.TverskyLoss`.

    Raises:
        ShapeError: target or mask does not fit the input.
        ValueError: a gamma not above 0, or the faults of :class:`~medloss.TverskyLoss`.

    References:
        [1] Abraham and Khan, A novel focal Tversky loss function with improved attention U-Net for lesion segmentation,
        ISBI 2019.

    >>> import torch, medloss
    >>> input, target = torch.tensor([[[1.0, 1.0, 0.0]]]), torch.tensor([[[1.0, 0.0, 1.0]]])
    >>> loss = medloss.FocalTverskyLoss(smooth_nr=0, smooth_dr=0)
    >>> loss(input, target)  # (1 - 1 / (1 + 0.3 + 0.7))^(3 / 4)
    tensor(0.5946)
    """

    alpha: float = 0.3
    beta: float = 0.7
    gamma: float = 4 / 3

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.gamma > 0:
            raise ValueError(f"gamma={self.gamma!r} must be above 0")

    @property
    def _bends(self) -> bool:
        return True

    def finalise(self, sums: RegionSums) -> Tensor:
        """The Tversky loss to the power 1 / gamma."""
        return power(super().finalise(sums), 1 / self.gamma)


class AsymmetricSimilarityLoss(OverlapLoss):
    r"""One minus the F-beta score, which weighs recall beta times as high as precision.

    .. math:: L = 1 - \frac{(1 + \beta^2) I}{(1 + \beta^2) I + \beta^2 FN + FP}

    for each sample and class, with I the overlap; smoothed as :class:`~medloss.TverskyLoss`, of which it is one line.

    Shape: input B N [spatial], target B N or B 1 [spatial], mask B 1 [spatial]; ``"none"`` gives B N, ``batch`` 1 N.

    Range: [0, 1] for hard targets.

    Limits: equals :class:`~medloss.TverskyLoss` at :math:`\alpha = 1 / (1 + \beta^2)` and 1 - alpha; beta = 1 is Dice,
    beta = 0 one minus the precision.

    Args:
        beta: weight of recall over precision, at least 0.
        soft_label: see :class:`~medloss.TverskyLoss`.

    Raises:
        ShapeError: target or mask does not fit the input.
        ValueError: a negative beta, or the faults of :class:`~medloss.DiceLoss`.

    References:
        [1] Hashemi et al., Asymmetric loss functions and deep densely-connected networks for highly-imbalanced medical
        image segmentation, IEEE Access 2019.

    >>> import torch, medloss
    >>> input, target = torch.tensor([[[1.0, 1.0, 0.0]]]), torch.tensor([[[1.0, 0.0, 0.0]]])
    >>> loss = medloss.AsymmetricSimilarityLoss(beta=2, smooth_nr=0, smooth_dr=0)
    >>> loss(input, target)  # 1 - 5 / (5 + 1)
    tensor(0.1667)
    """

    beta: float = 1.5

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.at_least("beta", self.beta, 0)

    def finalise(self, sums: RegionSums) -> Tensor:
        """The Tversky loss with alpha = 1 / (1 + beta^2)."""
        alpha = 1 / (1 + self.beta**2)
        return _plain_loss(*self.errors(sums), alpha, 1 - alpha, self.smooth_nr, self.smooth_dr)
