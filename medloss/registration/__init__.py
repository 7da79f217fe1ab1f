"""Losses of a registration: between images, and of the field that warps them."""

from medloss.registration.bending_energy import BendingEnergyLoss
from medloss.registration.diffusion import DiffusionLoss
from medloss.registration.lncc import LocalNormalizedCrossCorrelationLoss

__all__ = ["BendingEnergyLoss", "DiffusionLoss", "LocalNormalizedCrossCorrelationLoss"]
