"""kornia's edge-aware smoothness of an inverse depth."""

from __future__ import annotations

import torch
from torch import nn

from medloss import image as images
from medloss.compat.kornia.base import alike, check, plain, ranked, together

LOSS = images.InverseDepthSmoothnessLoss()


def inverse_depth_smoothness_loss(idepth: torch.Tensor, image: torch.Tensor) -> torch.Tensor:
    """``kornia.losses.inverse_depth_smoothness_loss`` over :class:`medloss.InverseDepthSmoothnessLoss`: a scalar.

    A batch of one, of either, stands beside every sample of the other.
    """
    idepth, image = plain("idepth", idepth, TypeError), plain("image", image, TypeError)
    ranked("idepth", idepth, "BCHW", ValueError)
    ranked("image", image, "BCHW", ValueError)
    alike("image", image, "idepth", (*image.shape[:2], *idepth.shape[2:]), ValueError)
    together("image", image, idepth, ValueError)
    check(idepth.dtype == image.dtype, f"idepth is {idepth.dtype} and image {image.dtype}: make them one", ValueError)
    batch = max(len(idepth), len(image))
    maps = [map.expand(batch, *map.shape[1:]) if len(map) == 1 else map for map in (idepth, image)]
    return LOSS(*maps).to(idepth.dtype)


class InverseDepthSmoothnessLoss(nn.Module):
    """``kornia.losses.InverseDepthSmoothnessLoss``: :func:`inverse_depth_smoothness_loss`."""

    def forward(self, idepth: torch.Tensor, image: torch.Tensor) -> torch.Tensor:
        """The loss."""
        return inverse_depth_smoothness_loss(idepth, image)
