"""Losses that bend each voxel's error by an exponent before they sum it over a region."""

from __future__ import annotations

from torch import Tensor

from medloss import checks
from medloss.base import RegionLoss
from medloss.labels import LabelView, view_labels
from medloss.ops import power_sums
from medloss.ops.masking import added
from medloss.ops.region_sums import COLUMNS
from medloss.reduction import ratio, small_or_rest
from medloss.sums import RegionSums


class ErrorPowerLoss(RegionLoss):
    """A region loss that knows the sums of :math:`t |p - t|^a` and :math:`(1 - t) |p - t|^a` too."""

    @property
    def exponent(self) -> float:
        """a."""
        return 2.0

    def forward(self, input: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        """The loss. See the class for shapes and errors."""
        return self.evaluate(view_labels(input, target, mask, **self.sweep), None)

    def evaluate(self, view: LabelView, sums: RegionSums | None) -> Tensor:
        """The formula on sums of its own, those of the powers among them; what others have summed is not looked at."""
        columns = power_sums(
            view.input,
            view.target,
            view.mask,
            error="difference",
            exponent=self.exponent,
            activation=view.activation,
            indexed=view.indexed,
            ignore_index=view.ignore_index,
            regions=True,
        )
        return super().evaluate(view, RegionSums(columns))

    @staticmethod
    def powers(sums: RegionSums) -> tuple[Tensor, Tensor]:
        """The sums over the errors on what is of the class, and on what is not."""
        return sums.columns[..., COLUMNS], sums.columns[..., COLUMNS + 1]


class NoiseRobustDiceLoss(ErrorPowerLoss):
    r"""Dice in which each error counts with an exponent between those of an absolute and a squared one.

    .. math:: L = \frac{\sum_i w_i |p_i - t_i|^\gamma + dr - nr}{\sum_i w_i p_i + \sum_i w_i t_i + dr}

    for each sample and class. Below 2, a voxel that is wholly wrong, as one with a wrong label is, counts less beside
    those that are a little wrong.

    The denominator is that of the authors' code. The formula is printed with squares, :math:`\sum_i w_i p_i^2 + \sum_i
    w_i t_i^2`: then a class that the target lacks and that is predicted with a small p costs about
    :math:`p^{\gamma - 2}`, the more the *less* is predicted, and descent fills slices without a lesion. With sums of p
    it costs about :math:`p^{\gamma - 1}`, and descent empties them. Take ``denominator="squares"`` where every class is
    in every target, or with ``empty="skip"``.

    Shape: input B N [spatial], target B N or B 1 [spatial], mask B 1 [spatial]; ``"none"`` gives B N, ``batch`` 1 N.

    Range: [0, 1], 0 where prediction and target are equal; with squares [0, inf), at gamma = 2 [0, 1].

    Limits: gamma = 1 is for hard targets :class:`~medloss.DiceLoss`, and with squares gamma = 2 is the one with
    ``squared_pred``, smoothing included.

    Args:
        gamma: the exponent, in [1, 2].
        denominator: ``"linear"``, sums of p and t; or ``"squares"``, of their squares.
        smooth_nr: the one of that Dice loss, added to its numerator.
        smooth_dr: the one of that Dice loss, added to its denominator.

    Raises:
        ShapeError: target or mask does not fit the input.
        ValueError: gamma outside [1, 2], an unknown denominator, or the faults of :class:`~medloss.DiceLoss`.

    References:
        [1] Wang et al., A noise-robust framework for automatic segmentation of COVID-19 pneumonia lesions from CT
        images, IEEE TMI 2020.

    >>> import torch, medloss
    >>> input, target = torch.tensor([[[1.0, 0.25, 0.0]]]), torch.tensor([[[1.0, 0.0, 0.0]]])
    >>> loss = medloss.NoiseRobustDiceLoss(smooth_nr=0, smooth_dr=0)
    >>> loss(input, target)  # 0.25^1.5 / (1 + 0.25 + 1)
    tensor(0.0556)
    """

    gamma: float = 1.5
    denominator: str = "linear"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1 <= self.gamma <= 2:
            raise ValueError(f"gamma={self.gamma!r} lies outside [1, 2]")
        checks.choice("denominator", self.denominator, ("linear", "squares"))

    @property
    def exponent(self) -> float:
        """gamma."""
        return self.gamma

    def finalise(self, sums: RegionSums) -> Tensor:
        """(sum |p - t|^gamma + dr - nr) / (sum p + sum t + dr), or with their squares."""
        errors = sum(self.powers(sums))
        squares = self.denominator == "squares"
        total = sums.input_squares + sums.target_squares if squares else sums.input + sums.target
        return (errors + self.smooth_dr - self.smooth_nr) / (total + self.smooth_dr)


class DSCPlusPlusLoss(ErrorPowerLoss):
    r"""Dice in which only confident errors count in full: each voxel's error stands to the power of gamma.

    .. math:: L = 1 - \frac{2 I + nr}{2 I + \sum_i w_i |p_i - t_i|^\gamma + dr}

    for each sample and class, with I the overlap. For hard targets the sum is that of :math:`p^\gamma` over the false
    positives and of :math:`(1 - p)^\gamma` over the false negatives; the Dice loss has the sum of the plain errors, to
    which a sure mistake is no worse than two unsure ones, and makes networks overconfident.

    Shape: input B N [spatial], target B N or B 1 [spatial], mask B 1 [spatial]; ``"none"`` gives B N, ``batch`` 1 N.

    Range: [0, 1].

    Limits: gamma = 1 is :class:`~medloss.DiceLoss` for hard targets.

    Args:
        gamma: the exponent, at least 1.

    Raises:
        ShapeError: target or mask does not fit the input.
        ValueError: gamma below 1, or the faults of :class:`~medloss.DiceLoss`.

    References:
        [1] Yeung et al., Calibrating the Dice loss to handle neural network overconfidence for biomedical image
        segmentation, Journal of Digital Imaging 2023.

    >>> import torch, medloss
    >>> input, target = torch.tensor([[[1.0, 0.5, 0.0]]]), torch.tensor([[[1.0, 0.0, 0.0]]])
    >>> medloss.DSCPlusPlusLoss(smooth_nr=0, smooth_dr=0)(input, target)  # 1 - 2 / (2 + 0.5^2)
    tensor(0.1111)
    """

    gamma: float = 2.0

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.at_least("gamma", self.gamma, 1)

    @property
    def exponent(self) -> float:
        """gamma."""
        return self.gamma

    def finalise(self, sums: RegionSums) -> Tensor:
        """1 - (2 I + nr) / (2 I + sum |p - t|^gamma + dr)."""
        errors = added(self.powers(sums))
        wrong, twice = errors + (self.smooth_dr - self.smooth_nr), 2 * sums.overlap
        return small_or_rest(wrong, twice + self.smooth_nr, twice + errors + self.smooth_dr)


class SensitivitySpecificityLoss(ErrorPowerLoss):
    r"""Mean squared error on what is of the class and on what is not, each over its own size.

    .. math::
        L = r \frac{\sum_i w_i t_i (t_i - p_i)^2}{\sum_i w_i t_i + dr}
          + (1 - r) \frac{\sum_i w_i (1 - t_i) (t_i - p_i)^2}{\sum_i w_i (1 - t_i) + dr}

    for each sample and class: one minus sensitivity and one minus specificity, of hard predictions.

    Shape: input B N [spatial], target B N or B 1 [spatial], mask B 1 [spatial]; ``"none"`` gives B N, ``batch`` 1 N.

    Range: [0, 1]; 0 where prediction and target are equal.

    Limits: r = 1 sees only what the class has, r = 0 only what it has not.

    Authors' code: that of SegLoss is equal with ``r=0.1``.

    Args:
        r: weight of the sensitivity, in [0, 1].
        smooth_nr: nothing depends on it.
        smooth_dr: added to both denominators.

    Raises:
        ShapeError: target or mask does not fit the input.
        ValueError: r outside [0, 1], or the faults of :class:`~medloss.DiceLoss`.

    References:
        [1] Brosch et al., Deep convolutional encoder networks for multiple sclerosis lesion segmentation, MICCAI 2015.

    >>> import torch, medloss
    >>> input, target = torch.tensor([[[0.5, 1.0, 0.0]]]), torch.tensor([[[1.0, 0.0, 0.0]]])
    >>> medloss.SensitivitySpecificityLoss(r=0.4, smooth_dr=0)(input, target)  # 0.4 * 0.5^2 + 0.6 * 1 / 2
    tensor(0.4000)
    """

    r: float = 0.05

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.r <= 1:
            raise ValueError(f"r={self.r!r} lies outside [0, 1]")

    def finalise(self, sums: RegionSums) -> Tensor:
        """r sensitivity error + (1 - r) specificity error."""
        missed, invented = self.powers(sums)
        sensitivity = ratio(missed, sums.target + self.smooth_dr)
        specificity = ratio(invented, sums.voxels - sums.target + self.smooth_dr)
        return self.r * sensitivity + (1 - self.r) * specificity
