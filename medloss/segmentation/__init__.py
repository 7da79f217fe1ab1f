"""Losses between a segmentation and its labels."""

from medloss.segmentation.ace import ACELoss
from medloss.segmentation.active_contour import ActiveContourLoss
from medloss.segmentation.boundary import BoundaryLoss
from medloss.segmentation.boundary_dou import BoundaryDoULoss
from medloss.segmentation.boundary_f1 import BoundaryF1Loss
from medloss.segmentation.cbdice import CenterlineBoundaryDiceLoss
from medloss.segmentation.cldice import SoftclDiceLoss
from medloss.segmentation.combo import ComboLoss
from medloss.segmentation.cross_entropy import CrossEntropyLoss
from medloss.segmentation.dice import DiceLoss, JaccardLoss, LogCoshDiceLoss, MaskedDiceLoss
from medloss.segmentation.dice_ce import DiceCELoss
from medloss.segmentation.dice_cldice import SoftDiceclDiceLoss
from medloss.segmentation.dice_focal import DiceFocalLoss, GeneralizedDiceFocalLoss, TverskyFocalLoss
from medloss.segmentation.dice_topk import DiceTopKLoss
from medloss.segmentation.distance_penalised_ce import DistancePenalisedCELoss
from medloss.segmentation.duo import DuoLoss
from medloss.segmentation.error_powers import DSCPlusPlusLoss, NoiseRobustDiceLoss, SensitivitySpecificityLoss
from medloss.segmentation.exclusion import ExclusionLoss
from medloss.segmentation.exp_log import ExpLogLoss
from medloss.segmentation.focal import FocalLoss
from medloss.segmentation.generalized_dice import GeneralizedDiceLoss, PenaltyGeneralizedDiceLoss
from medloss.segmentation.generalized_surface import GeneralizedSurfaceLoss
from medloss.segmentation.hardest import OhemCrossEntropyLoss, TopKLoss
from medloss.segmentation.hausdorff_dt import HausdorffDTLoss, LogHausdorffDTLoss
from medloss.segmentation.hausdorff_er import HausdorffERLoss
from medloss.segmentation.instance_dice import BlobDiceLoss, CCDiceLoss
from medloss.segmentation.instance_wrappers import BlobLoss, ConnectedComponentLoss
from medloss.segmentation.lovasz import LovaszHingeLoss, LovaszSoftmaxLoss
from medloss.segmentation.marginal_dice_ce import MarginalDiceCELoss
from medloss.segmentation.matthews import MCCLoss
from medloss.segmentation.mbls import MbLSLoss
from medloss.segmentation.nacl import NACLLoss
from medloss.segmentation.noisy_labels import GeneralizedCrossEntropyLoss, SymmetricCrossEntropyLoss
from medloss.segmentation.poly import PolyLoss
from medloss.segmentation.size_constraint import SizeConstraintLoss
from medloss.segmentation.skeleton_recall import SkeletonRecallLoss
from medloss.segmentation.soft_bce import SoftBCELoss
from medloss.segmentation.svls import SpatiallyVaryingLabelSmoothingLoss
from medloss.segmentation.t_loss import TLoss
from medloss.segmentation.target_adaptive import TargetAdaptiveLoss
from medloss.segmentation.tversky import AsymmetricSimilarityLoss, FocalTverskyLoss, TverskyLoss
from medloss.segmentation.tversky_ce import TverskyCELoss
from medloss.segmentation.unified_focal import AsymmetricUnifiedFocalLoss, UnifiedFocalLoss
from medloss.segmentation.wasserstein_dice import GeneralizedWassersteinDiceLoss

__all__ = [
    "ACELoss",
    "ActiveContourLoss",
    "AsymmetricSimilarityLoss",
    "AsymmetricUnifiedFocalLoss",
    "BlobDiceLoss",
    "BlobLoss",
    "BoundaryDoULoss",
    "BoundaryF1Loss",
    "BoundaryLoss",
    "CCDiceLoss",
    "CenterlineBoundaryDiceLoss",
    "ComboLoss",
    "ConnectedComponentLoss",
    "CrossEntropyLoss",
    "DSCPlusPlusLoss",
    "DiceCELoss",
    "DiceFocalLoss",
    "DiceLoss",
    "DiceTopKLoss",
    "DistancePenalisedCELoss",
    "DuoLoss",
    "ExclusionLoss",
    "ExpLogLoss",
    "FocalLoss",
    "FocalTverskyLoss",
    "GeneralizedCrossEntropyLoss",
    "GeneralizedDiceFocalLoss",
    "GeneralizedDiceLoss",
    "GeneralizedSurfaceLoss",
    "GeneralizedWassersteinDiceLoss",
    "HausdorffDTLoss",
    "HausdorffERLoss",
    "JaccardLoss",
    "LogCoshDiceLoss",
    "LogHausdorffDTLoss",
    "LovaszHingeLoss",
    "LovaszSoftmaxLoss",
    "MCCLoss",
    "MarginalDiceCELoss",
    "MaskedDiceLoss",
    "MbLSLoss",
    "NACLLoss",
    "NoiseRobustDiceLoss",
    "OhemCrossEntropyLoss",
    "PenaltyGeneralizedDiceLoss",
    "PolyLoss",
    "SensitivitySpecificityLoss",
    "SizeConstraintLoss",
    "SkeletonRecallLoss",
    "SoftBCELoss",
    "SoftDiceclDiceLoss",
    "SoftclDiceLoss",
    "SpatiallyVaryingLabelSmoothingLoss",
    "SymmetricCrossEntropyLoss",
    "TLoss",
    "TargetAdaptiveLoss",
    "TopKLoss",
    "TverskyCELoss",
    "TverskyFocalLoss",
    "TverskyLoss",
    "UnifiedFocalLoss",
]
