"""MONAI 1.6.1: say ``import medloss.compat.monai as losses`` for ``import monai.losses as losses``.

Every public name of ``monai.losses`` is here, with its signature, its numbers, its errors and warnings, over the
losses of this package; the names of release 0.6 are too. Losses of other things than voxels (adversarial, perceptual,
contrastive, of boxes, ...) are MONAI's own, imported by the first look at one. What differs stands in
:data:`medloss.compat.KNOWN_DIFFERENCES`.

>>> import medloss.compat.monai as losses
>>> losses.DiceCELoss(softmax=True, to_onehot_y=True).lambda_ce
1.0
"""

from medloss.compat.monai.boundary_loss import BoundaryLoss
from medloss.compat.monai.cldice import SoftclDiceLoss, SoftDiceclDiceLoss
from medloss.compat.monai.deform import BendingEnergyLoss, DiffusionLoss
from medloss.compat.monai.dice import (
    Dice,
    DiceCELoss,
    DiceFocalLoss,
    DiceLoss,
    GeneralizedDiceFocalLoss,
    GeneralizedDiceLoss,
    GeneralizedWassersteinDiceLoss,
    MaskedDiceLoss,
    dice_ce,
    dice_focal,
    generalized_dice,
    generalized_dice_focal,
    generalized_wasserstein_dice,
)
from medloss.compat.monai.ds_loss import DeepSupervisionLoss
from medloss.compat.monai.focal_loss import FocalLoss
from medloss.compat.monai.hausdorff_loss import HausdorffDTLoss, LogHausdorffDTLoss
from medloss.compat.monai.image_dissimilarity import (
    GlobalMutualInformationLoss,
    LocalNormalizedCrossCorrelationLoss,
)
from medloss.compat.monai.mcc_loss import MCCLoss
from medloss.compat.monai.multi_scale import MultiScaleLoss
from medloss.compat.monai.nacl_loss import NACLLoss
from medloss.compat.monai.spatial_mask import MaskedLoss
from medloss.compat.monai.ssim_loss import SSIMLoss
from medloss.compat.monai.tversky import TverskyLoss
from medloss.compat.monai.unified_focal_loss import AsymmetricUnifiedFocalLoss
from medloss.compat.peers import handing_on

__all__ = [
    "AsymmetricUnifiedFocalLoss",
    "BendingEnergyLoss",
    "BoundaryLoss",
    "DeepSupervisionLoss",
    "Dice",
    "DiceCELoss",
    "DiceFocalLoss",
    "DiceLoss",
    "DiffusionLoss",
    "FocalLoss",
    "GeneralizedDiceFocalLoss",
    "GeneralizedDiceLoss",
    "GeneralizedWassersteinDiceLoss",
    "GlobalMutualInformationLoss",
    "HausdorffDTLoss",
    "LocalNormalizedCrossCorrelationLoss",
    "LogHausdorffDTLoss",
    "MCCLoss",
    "MaskedDiceLoss",
    "MaskedLoss",
    "MultiScaleLoss",
    "NACLLoss",
    "SSIMLoss",
    "SoftDiceclDiceLoss",
    "SoftclDiceLoss",
    "TverskyLoss",
    "dice",
    "dice_ce",
    "dice_focal",
    "generalized_dice",
    "generalized_dice_focal",
    "generalized_wasserstein_dice",
]

HANDED_ON = (
    # losses of other things than voxels
    "AUCMLoss",
    "BarlowTwinsLoss",
    "BoxGIoULoss",
    "ContrastiveLoss",
    "JukeboxLoss",
    "PatchAdversarialLoss",
    "PerceptualLoss",
    "SURELoss",
    "giou",
    # their modules
    "adversarial_loss",
    "aucm_loss",
    "barlow_twins",
    "contrastive",
    "giou_loss",
    "perceptual",
    "spectral_loss",
    "sure_loss",
    "utils",
)
__getattr__ = handing_on(__name__, "monai.losses", HANDED_ON)

dice = DiceLoss  # as in release 0.6; the module of this name is medloss.compat.monai.dice


def __dir__() -> list[str]:
    return sorted({*globals(), *HANDED_ON})
