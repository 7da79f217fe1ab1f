"""The names of ``monai.losses.dice``."""

from __future__ import annotations

from medloss.compat.monai.compound import DiceCELoss, DiceFocalLoss, GeneralizedDiceFocalLoss
from medloss.compat.monai.generalized import GeneralizedDiceLoss, GeneralizedWassersteinDiceLoss
from medloss.compat.monai.overlap import DiceLoss, MaskedDiceLoss
from medloss.compat.peers import handing_on

__all__ = [
    "Dice",
    "DiceCELoss",
    "DiceFocalLoss",
    "DiceLoss",
    "GeneralizedDiceFocalLoss",
    "GeneralizedDiceLoss",
    "GeneralizedWassersteinDiceLoss",
    "MaskedDiceLoss",
    "dice_ce",
    "dice_focal",
    "generalized_dice",
    "generalized_dice_focal",
    "generalized_wasserstein_dice",
]

Dice = DiceLoss
dice_ce = DiceCELoss
dice_focal = DiceFocalLoss
generalized_dice = GeneralizedDiceLoss
generalized_dice_focal = GeneralizedDiceFocalLoss
generalized_wasserstein_dice = GeneralizedWassersteinDiceLoss

__getattr__ = handing_on(__name__, "monai.losses.dice")
