"""Unified focal losses: a focal loss per voxel and a focal Tversky loss per region, with one gamma and one delta."""

from __future__ import annotations

import torch
from torch import Tensor

from medloss import checks
from medloss.base import RegionLoss
from medloss.ops import Terms
from medloss.reduction import ratio
from medloss.segmentation.overlap import power
from medloss.segmentation.tversky import tversky_loss
from medloss.sums import RegionSums


class UnifiedFocalLoss(RegionLoss):
    r"""Symmetric unified focal loss: focal and focal Tversky loss with one gamma, and one delta for the rare classes.

    .. math::
        L_c = \frac{\lambda}{V} \sum_i -d_c (1 - p_{ic})^\gamma t_{ic} \log p_{ic}
            + (1 - \lambda) (1 - TI_c)^{1 - \gamma}, \qquad
        TI_c = \frac{I + nr}{I + \delta FN + (1 - \delta) FP + dr}

    for each sample and class, with softmax probabilities p and V voxels. Class 0 is the common one, :math:`d_0 = 1 -
    \delta`; the others, any number of them, are rare, :math:`d_c = \delta`.

    With ``sigmoid`` each channel is a problem of two classes of its own, the rare one that it predicts and the common
    rest; its value is the mean of both.

    The mean over the classes averages both parts. The authors' code and MONAI *sum* the part per voxel over the classes
    and average the part per region, so that at the same ``lambda_focal`` the first weighs N times as much, N classes
    (with ``sigmoid`` 2): ``focal_over_classes="sum"`` is theirs, with ``smooth_nr=smooth_dr=1e-7``.

    Shape: input (logits) B N [spatial], target B N or B 1 [spatial], mask B 1 [spatial]; ``"none"`` gives B N,
    ``batch`` 1 N.

    Range: [0, inf).

    Limits: gamma = 0 and delta = 1/2 is half a :class:`~medloss.CrossEntropyLoss` over N plus a
    :class:`~medloss.TverskyLoss` at 1/2, weighed by lambda and 1 - lambda.

    Args:
        gamma: focus, in [0, 1): how far easy voxels count less, and badly found regions more.
        delta: weight of the rare classes and of false negatives, in [0, 1].
        lambda_focal: weight of the part per voxel, in [0, 1]; the part per region has the rest.
        focal_over_classes: ``"mean"``; or ``"sum"``: the part per voxel is times the number of classes that count, so
            that the mean over them is its sum.
        softmax: stands by itself; there is nothing else but ``sigmoid``.
        include_background: whether class 0 (with ``sigmoid``: channel 0) counts.

    Raises:
        ShapeError: target or mask does not fit the input.
        ValueError: gamma, delta or lambda_focal out of range, an unknown ``focal_over_classes``, or an activation other
            than these two.

    References:
        [1] Yeung et al., Unified focal loss, Computerized Medical Imaging and Graphics 2022. Its symmetric form is
        given here with the exponents of its asymmetric one, as in the authors' code, so that gamma = 0 stands for no
        focus in both; written with 1 - gamma for gamma it is the same at the default of 1/2.

    >>> import torch, medloss
    >>> loss = medloss.UnifiedFocalLoss(gamma=0.5, delta=0.5, to_onehot_y=True, smooth_nr=0, smooth_dr=0)
    >>> loss(torch.zeros(1, 2, 2), torch.tensor([[[0, 1]]]))  # (0.5^0.5 log 2 / 4 + 0.5^0.5) / 2
    tensor(0.4148)
    """

    gamma: float = 0.5
    delta: float = 0.6
    lambda_focal: float = 0.5
    focal_over_classes: str = "mean"

    def __post_init__(self) -> None:
        if self.sigmoid and self.softmax:
            raise ValueError("sigmoid and softmax exclude each other: the softmax stands by itself")
        self.softmax = not self.sigmoid
        super().__post_init__()
        if not 0 <= self.gamma < 1:
            raise ValueError(f"gamma={self.gamma!r} lies outside [0, 1)")
        checks.choice("focal_over_classes", self.focal_over_classes, ("mean", "sum"))
        for name in ("delta", "lambda_focal"):
            checks.at_least(name, getattr(self, name), 0)
            checks.at_least(f"1 - {name}", 1 - getattr(self, name), 0)

    @property
    def needs(self) -> Terms:
        """Likelihoods with and without the focal factor, and the errors."""
        common = Terms.NEGATIVES if self.sigmoid else Terms.NONE
        return Terms.LIKELIHOOD | Terms.FOCAL | Terms.ERRORS | common

    def finalise(self, sums: RegionSums) -> Tensor:
        """lambda focal / V + (1 - lambda) (1 - TI)^(1 - gamma)."""
        found = self._region(sums.overlap, sums.false_positive, sums.false_negative)
        if not self.sigmoid:
            voxels, regions = self._joined(sums, found)
        else:  # what a channel does not predict is the common class
            rest = self._region(sums.true_negative, sums.false_negative, sums.false_positive)
            common, rare = (1 - self.delta) * sums.focal_false, self.delta * self._rare(sums)
            voxels, regions = (common + rare) / 2, (self._common_region(rest) + self._rare_region(found)) / 2
        if self.focal_over_classes == "sum":
            voxels = voxels * (2 if self.sigmoid else voxels.shape[1])
        return self.lambda_focal * ratio(voxels, sums.voxels) + (1 - self.lambda_focal) * regions

    def _joined(self, sums: RegionSums, found: Tensor) -> tuple[Tensor, Tensor]:
        """The two parts of exclusive classes, of which the first is the common one unless it has left."""
        rare, rare_region = self.delta * self._rare(sums), self._rare_region(found)
        if not self.include_background:
            return rare, rare_region
        is_common = torch.arange(found.shape[1], device=found.device) == 0
        common, common_region = (1 - self.delta) * sums.focal_true, self._common_region(found)
        return torch.where(is_common, common, rare), torch.where(is_common, common_region, rare_region)

    def _region(self, overlap: Tensor, false_positive: Tensor, false_negative: Tensor) -> Tensor:
        return tversky_loss(
            overlap, false_positive, false_negative, 1 - self.delta, self.delta, self.smooth_nr, self.smooth_dr
        )

    def _rare(self, sums: RegionSums) -> Tensor:
        """The likelihood terms of a rare class."""
        return sums.focal_true

    def _common_region(self, loss: Tensor) -> Tensor:
        return power(loss, 1 - self.gamma)

    def _rare_region(self, loss: Tensor) -> Tensor:
        return power(loss, 1 - self.gamma)


class AsymmetricUnifiedFocalLoss(UnifiedFocalLoss):
    r"""Asymmetric unified focal loss: the focus takes from the common class only, and gives to the rare ones only.

    .. math::
        L_0 = \frac{\lambda}{V} \sum_i -(1 - \delta) (1 - p_{i0})^\gamma t_{i0} \log p_{i0}
            + (1 - \lambda) (1 - TI_0)

    .. math::
        L_c = \frac{\lambda}{V} \sum_i -\delta\, t_{ic} \log p_{ic}
            + (1 - \lambda) (1 - TI_c)^{1 - \gamma}, \qquad c > 0

    for each sample and class; see :class:`~medloss.UnifiedFocalLoss` for the symbols. Class 0 is the common one; the
    others, any number of them, are rare and count alike.

    Shape, range, options, errors: see :class:`~medloss.UnifiedFocalLoss`.

    Limits: gamma = 0 is :class:`~medloss.UnifiedFocalLoss` at gamma = 0.

    References:
        [1] Yeung et al., Unified focal loss, Computerized Medical Imaging and Graphics 2022.

    >>> import torch, medloss
    >>> loss = medloss.AsymmetricUnifiedFocalLoss(gamma=0.5, delta=0.5, reduction="none", smooth_nr=0, smooth_dr=0)
    >>> loss(torch.zeros(1, 2, 2), torch.eye(2)[None])  # (0.5^0.5 log 2 / 4 + 0.5) / 2, (log 2 / 4 + 0.5^0.5) / 2
    tensor([[0.3113, 0.4402]])
    """

    def _rare(self, sums: RegionSums) -> Tensor:
        return sums.nll_true

    def _common_region(self, loss: Tensor) -> Tensor:
        return loss
