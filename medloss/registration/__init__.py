"""Losses of a registration: between images, and of the field that warps them."""

from medloss.registration.bending_energy import BendingEnergyLoss
from medloss.registration.chamfer import ChamferLoss
from medloss.registration.correlation_ratio import CorrelationRatioLoss
from medloss.registration.curvature import CurvatureLoss
from medloss.registration.cycle_consistency import CycleConsistencyLoss
from medloss.registration.diffusion import DiffusionLoss
from medloss.registration.elasticity import DivergenceLoss, LinearElasticityLoss
from medloss.registration.field_variation import FieldGradientLoss, FieldTotalVariationLoss
from medloss.registration.hyperelasticity import HyperelasticLoss
from medloss.registration.inverse_consistency import GradICONLoss, InverseConsistencyLoss
from medloss.registration.jacobian import JacobianLoss
from medloss.registration.landmark import LandmarkLoss
from medloss.registration.lncc import LocalNormalizedCrossCorrelationLoss
from medloss.registration.local_mutual_information import LocalMutualInformationLoss
from medloss.registration.mind import MINDSSCLoss
from medloss.registration.mutual_information import GlobalMutualInformationLoss
from medloss.registration.normalized_cross_correlation import NormalizedCrossCorrelationLoss
from medloss.registration.normalized_gradient_field import NormalizedGradientFieldLoss
from medloss.registration.normalized_mutual_information import NormalizedMutualInformationLoss

__all__ = [
    "BendingEnergyLoss",
    "ChamferLoss",
    "CorrelationRatioLoss",
    "CurvatureLoss",
    "CycleConsistencyLoss",
    "DiffusionLoss",
    "DivergenceLoss",
    "FieldGradientLoss",
    "FieldTotalVariationLoss",
    "GlobalMutualInformationLoss",
    "GradICONLoss",
    "HyperelasticLoss",
    "InverseConsistencyLoss",
    "JacobianLoss",
    "LandmarkLoss",
    "LinearElasticityLoss",
    "LocalMutualInformationLoss",
    "LocalNormalizedCrossCorrelationLoss",
    "MINDSSCLoss",
    "NormalizedCrossCorrelationLoss",
    "NormalizedGradientFieldLoss",
    "NormalizedMutualInformationLoss",
]
