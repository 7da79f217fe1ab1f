"""Losses of a registration: between images, and of the field that warps them."""

from medloss.registration.lncc import LocalNormalizedCrossCorrelationLoss
from medloss.registration.smoothness import BendingEnergyLoss, DiffusionLoss

__all__ = ["BendingEnergyLoss", "DiffusionLoss", "LocalNormalizedCrossCorrelationLoss"]
