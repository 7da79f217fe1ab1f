"""From what is optimised or predicted, a displacement or a velocity, to the displacement that warps: ``ddf`` or
``dvf``.
"""

from __future__ import annotations

import warnings

from monai.networks.blocks import DVF2DDF, Warp
from torch import Tensor, nn


def warp_layer(mode: str = "bilinear") -> Warp:
    """MONAI's Warp with the border continued, without its notice that the compiled extension is absent."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return Warp(mode, "border")


class ToDisplacement(nn.Module):
    """Displacement ``(B, d, *spatial)`` in voxels of a field that is one (``ddf``) or is its stationary velocity
    (``dvf``).
    """

    def __init__(self, transform: str, integration_steps: int = 6) -> None:
        super().__init__()
        self.integrate: nn.Module | None = None
        if transform == "dvf":
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)
                # the border continued: with zeros outside, a velocity at the border would tear there
                self.integrate = DVF2DDF(integration_steps, "bilinear", "border")

    def forward(self, field: Tensor) -> Tensor:
        return self.integrate(field) if self.integrate else field

    def inverse(self, field: Tensor) -> Tensor | None:
        """The inverse displacement: the velocity integrated backwards. None for a ``ddf``, which has none for free."""
        return self.integrate(-field) if self.integrate else None
