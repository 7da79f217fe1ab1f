"""kornia 0.9.0: say ``import medloss.compat.kornia as losses`` for ``import kornia.losses as losses``.

Every public name of ``kornia.losses`` is here, with its signature, its numbers, its checks and its modules, over the
losses of this package; kornia itself is never imported. What differs stands in
:data:`medloss.compat.KNOWN_DIFFERENCES`.

>>> import torch
>>> import medloss.compat.kornia as losses
>>> losses.PSNRLoss(2.0)(torch.ones(1), 1.2 * torch.ones(1))
tensor(-20.0000)
"""

from medloss.compat.kornia.cauchy import CauchyLoss, cauchy_loss
from medloss.compat.kornia.charbonnier import CharbonnierLoss, charbonnier_loss
from medloss.compat.kornia.depth_smooth import InverseDepthSmoothnessLoss, inverse_depth_smoothness_loss
from medloss.compat.kornia.dice import DiceLoss, dice_loss
from medloss.compat.kornia.divergence import js_div_loss_2d, kl_div_loss_2d
from medloss.compat.kornia.focal import (
    BinaryFocalLossWithLogits,
    FocalLoss,
    binary_focal_loss_with_logits,
    focal_loss,
)
from medloss.compat.kornia.geman_mcclure import GemanMcclureLoss, geman_mcclure_loss
from medloss.compat.kornia.hausdorff import HausdorffERLoss, HausdorffERLoss3D
from medloss.compat.kornia.lovasz_hinge import LovaszHingeLoss, lovasz_hinge_loss
from medloss.compat.kornia.lovasz_softmax import LovaszSoftmaxLoss, lovasz_softmax_loss
from medloss.compat.kornia.ms_ssim import MS_SSIMLoss
from medloss.compat.kornia.mutual_information import (
    MIKernel,
    MILossFromRef,
    MILossFromRef2D,
    MILossFromRef3D,
    NMILossFromRef,
    NMILossFromRef2D,
    NMILossFromRef3D,
    mutual_information_loss,
    mutual_information_loss_2d,
    mutual_information_loss_3d,
    normalized_mutual_information_loss,
    normalized_mutual_information_loss_2d,
    normalized_mutual_information_loss_3d,
)
from medloss.compat.kornia.one_hot import one_hot
from medloss.compat.kornia.psnr import PSNRLoss, psnr_loss
from medloss.compat.kornia.ssim import SSIMLoss, ssim_loss
from medloss.compat.kornia.ssim3d import SSIM3DLoss, ssim3d_loss
from medloss.compat.kornia.total_variation import TotalVariation, total_variation
from medloss.compat.kornia.tversky import TverskyLoss, tversky_loss
from medloss.compat.kornia.welsch import WelschLoss, welsch_loss

__all__ = [
    "BinaryFocalLossWithLogits",
    "CauchyLoss",
    "CharbonnierLoss",
    "DiceLoss",
    "FocalLoss",
    "GemanMcclureLoss",
    "HausdorffERLoss",
    "HausdorffERLoss3D",
    "InverseDepthSmoothnessLoss",
    "LovaszHingeLoss",
    "LovaszSoftmaxLoss",
    "MIKernel",
    "MILossFromRef",
    "MILossFromRef2D",
    "MILossFromRef3D",
    "MS_SSIMLoss",
    "NMILossFromRef",
    "NMILossFromRef2D",
    "NMILossFromRef3D",
    "PSNRLoss",
    "SSIM3DLoss",
    "SSIMLoss",
    "TotalVariation",
    "TverskyLoss",
    "WelschLoss",
    "binary_focal_loss_with_logits",
    "cauchy_loss",
    "charbonnier_loss",
    "dice_loss",
    "focal_loss",
    "geman_mcclure_loss",
    "inverse_depth_smoothness_loss",
    "js_div_loss_2d",
    "kl_div_loss_2d",
    "lovasz_hinge_loss",
    "lovasz_softmax_loss",
    "mutual_information_loss",
    "mutual_information_loss_2d",
    "mutual_information_loss_3d",
    "normalized_mutual_information_loss",
    "normalized_mutual_information_loss_2d",
    "normalized_mutual_information_loss_3d",
    "one_hot",
    "psnr_loss",
    "ssim3d_loss",
    "ssim_loss",
    "total_variation",
    "tversky_loss",
    "welsch_loss",
]
