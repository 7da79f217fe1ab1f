"""Losses between two images of the same kind."""

from medloss.image.focal_frequency import FocalFrequencyLoss
from medloss.image.gradient_difference import GradientDifferenceLoss
from medloss.image.heatmap import HeatmapJSDivLoss, HeatmapKLDivLoss
from medloss.image.inverse_depth import InverseDepthSmoothnessLoss
from medloss.image.l1 import HuberLoss, L1Loss
from medloss.image.ms_ssim_l1 import MSSSIML1Loss
from medloss.image.mse import MSELoss
from medloss.image.multi_scale_ssim import MultiScaleSSIMLoss
from medloss.image.psnr import PSNRLoss
from medloss.image.robust import CauchyLoss, CharbonnierLoss, GemanMcClureLoss, RobustLoss, TukeyLoss, WelschLoss
from medloss.image.spectral_amplitude import SpectralAmplitudeLoss
from medloss.image.ssim import SSIMLoss
from medloss.image.total_variation import TotalVariationLoss

__all__ = [
    "CauchyLoss",
    "CharbonnierLoss",
    "FocalFrequencyLoss",
    "GemanMcClureLoss",
    "GradientDifferenceLoss",
    "HeatmapJSDivLoss",
    "HeatmapKLDivLoss",
    "HuberLoss",
    "InverseDepthSmoothnessLoss",
    "L1Loss",
    "MSELoss",
    "MSSSIML1Loss",
    "MultiScaleSSIMLoss",
    "PSNRLoss",
    "RobustLoss",
    "SSIMLoss",
    "SpectralAmplitudeLoss",
    "TotalVariationLoss",
    "TukeyLoss",
    "WelschLoss",
]
