"""Losses between two images of the same kind."""

from medloss.image.mse import MSELoss

__all__ = ["MSELoss"]
