"""Tversky: Dice with a price for each kind of error."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from medloss import checks
from medloss.base import RegionLoss
from medloss.sums import RegionSums


@dataclass(eq=False, kw_only=True)
class TverskyLoss(RegionLoss):
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
        false_positive, false_negative = sums.input - sums.overlap, sums.target - sums.overlap
        total = sums.overlap + self.alpha * false_positive + self.beta * false_negative
        return 1 - (sums.overlap + self.smooth_nr) / (total + self.smooth_dr)
