"""Overlap losses and the focal loss, added."""

from __future__ import annotations

from medloss.segmentation.compound import CompoundLoss
from medloss.segmentation.dice import DiceLoss
from medloss.segmentation.focal import FocalLoss
from medloss.segmentation.generalized_dice import GeneralizedDiceLoss
from medloss.segmentation.tversky import TverskyLoss


class FocalCompoundLoss(CompoundLoss):
    """A region loss and a focal loss with common options, from one sweep.

    Args:
        gamma: see :class:`~medloss.FocalLoss`.
        lambda_focal: weight of the focal term, at least 0.
    """

    soft_label: bool = False
    gamma: float = 2.0
    lambda_focal: float = 1.0


class DiceFocalLoss(FocalCompoundLoss):
    r"""Weighted sum of Dice and focal loss, from one softmax (or sigmoid) and one sweep over the voxels.

    .. math:: L = \lambda_{dice} L_{Dice} + \lambda_{focal} L_{Focal}

    Shape: input (logits) B N [spatial], target B N or B 1 [spatial], mask B 1 [spatial]; gives a scalar.

    Range: [0, inf).

    Limits: lambda_focal = 0 is :class:`~medloss.DiceLoss`, lambda_dice = 0 is :class:`~medloss.FocalLoss`; gamma = 0
    with the softmax is :class:`~medloss.DiceCELoss` at a lambda_ce of lambda_focal / N.

    Args:
        softmax: whether the input is logits of classes, one of which each voxel has; for both terms.
        sigmoid: whether the input is logits of channels that may overlap; for both terms, in place of softmax.
        include_background: for both terms.
        weight: factor per class in both terms.
        squared_pred, jaccard, soft_label, batch, empty, smooth_nr, smooth_dr: see :class:`~medloss.DiceLoss`. A focal
            term with gamma above 0 has its minimum beside the target of soft labels all the same.
        gamma, alpha: see :class:`~medloss.FocalLoss`.
        process_group: see :class:`~medloss.DiceLoss`; for both terms.
        lambda_dice: weight of the Dice term, at least 0.
        lambda_focal: weight of the focal term, at least 0.

    Raises:
        ShapeError: target or mask does not fit the input.
        ValueError: no activation, a negative lambda, or a fault of either loss.

    References:
        [1] Zhu et al., AnatomyNet, Medical Physics 2019 (the sum).

    >>> import torch, medloss
    >>> loss = medloss.DiceFocalLoss(softmax=True, to_onehot_y=True)
    >>> terms = loss.terms(torch.zeros(1, 2, 4), torch.tensor([[[0, 0, 1, 1]]]))
    >>> {name: round(term.raw.item(), 4) for name, term in terms.items()}  # 1/2, and (1/2)^2 log 2 over 2 classes
    {'dice': 0.5, 'focal': 0.0866}
    """

    squared_pred: bool = False
    jaccard: bool = False
    alpha: float | tuple[float, ...] | list[float] | None = None
    lambda_dice: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        focal = self._part(FocalLoss)
        self._compose({"dice": (self.lambda_dice, self._part(DiceLoss)), "focal": (self.lambda_focal, focal)})


class GeneralizedDiceFocalLoss(FocalCompoundLoss):
    r"""Weighted sum of generalised Dice and focal loss, from one softmax (or sigmoid) and one sweep over the voxels.

    .. math:: L = \lambda_{gdl} L_{GeneralizedDice} + \lambda_{focal} L_{Focal}

    Shape: input (logits) B N [spatial], target B N or B 1 [spatial], mask B 1 [spatial]; gives a scalar.

    Range: [0, inf).

    Limits: lambda_focal = 0 is :class:`~medloss.GeneralizedDiceLoss`, lambda_gdl = 0 is :class:`~medloss.FocalLoss`.

    Args:
        softmax: whether the input is logits of classes, one of which each voxel has; for both terms.
        sigmoid: whether the input is logits of channels that may overlap; for both terms, in place of softmax.
        include_background: for both terms.
        weight: factor per class in both terms.
        w_type, normalize, soft_label, batch, empty, smooth_nr, smooth_dr: see
            :class:`~medloss.GeneralizedDiceLoss`.
        gamma, alpha: see :class:`~medloss.FocalLoss`.
        process_group: see :class:`~medloss.DiceLoss`; for both terms.
        lambda_gdl: weight of the generalized Dice term, at least 0.
        lambda_focal: weight of the focal term, at least 0.

    Raises:
        ShapeError: target or mask does not fit the input.
        ValueError: no activation, a negative lambda, or a fault of either loss.

    References:
        [1] Sudre et al., DLMIA 2017 (generalised Dice). [2] Lin et al., ICCV 2017 (focal loss).

    >>> import torch, medloss
    >>> loss = medloss.GeneralizedDiceFocalLoss(softmax=True, to_onehot_y=True)
    >>> terms = loss.terms(torch.zeros(1, 2, 4), torch.tensor([[[0, 0, 1, 1]]]))
    >>> {name: round(term.raw.item(), 4) for name, term in terms.items()}
    {'generalized_dice': 0.5, 'focal': 0.0866}
    """

    w_type: str = "square"
    normalize: bool = True
    alpha: float | tuple[float, ...] | list[float] | None = None
    lambda_gdl: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        dice, focal = self._part(GeneralizedDiceLoss), self._part(FocalLoss)
        self._compose({"generalized_dice": (self.lambda_gdl, dice), "focal": (self.lambda_focal, focal)})


class TverskyFocalLoss(FocalCompoundLoss):
    r"""Weighted sum of Tversky and focal loss, from one softmax (or sigmoid) and one sweep over the voxels.

    .. math:: L = \lambda_{tversky} L_{Tversky} + \lambda_{focal} L_{Focal}

    Shape: input (logits) B N [spatial], target B N or B 1 [spatial], mask B 1 [spatial]; gives a scalar.

    Range: [0, inf).

    Limits: lambda_focal = 0 is :class:`~medloss.TverskyLoss`, lambda_tversky = 0 is :class:`~medloss.FocalLoss`.

    Args:
        softmax: whether the input is logits of classes, one of which each voxel has; for both terms.
        sigmoid: whether the input is logits of channels that may overlap; for both terms, in place of softmax.
        include_background: for both terms.
        weight: factor per class in both terms.
        alpha, beta: see :class:`~medloss.TverskyLoss`.
        soft_label, batch, empty, smooth_nr, smooth_dr: see :class:`~medloss.TverskyLoss`.
        gamma: see :class:`~medloss.FocalLoss`.
        focal_alpha: alpha of :class:`~medloss.FocalLoss`.
        process_group: see :class:`~medloss.DiceLoss`; for both terms.
        lambda_tversky: weight of the Tversky term, at least 0.
        lambda_focal: weight of the focal term, at least 0.

    Raises:
        ShapeError: target or mask does not fit the input.
        ValueError: no activation, a negative lambda, or a fault of either loss.

    References:
        [1] Salehi et al., MLMI 2017 (Tversky loss). [2] Lin et al., ICCV 2017 (focal loss).

    >>> import torch, medloss
    >>> loss = medloss.TverskyFocalLoss(softmax=True, to_onehot_y=True)
    >>> terms = loss.terms(torch.zeros(1, 2, 4), torch.tensor([[[0, 0, 1, 1]]]))
    >>> {name: round(term.raw.item(), 4) for name, term in terms.items()}
    {'tversky': 0.5, 'focal': 0.0866}
    """

    alpha: float = 0.5
    beta: float = 0.5
    focal_alpha: float | tuple[float, ...] | list[float] | None = None
    lambda_tversky: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        tversky, focal = self._part(TverskyLoss), self._part(FocalLoss, alpha=self.focal_alpha)
        self._compose({"tversky": (self.lambda_tversky, tversky), "focal": (self.lambda_focal, focal)})
