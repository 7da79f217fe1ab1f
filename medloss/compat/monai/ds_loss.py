"""MONAI's deep supervision."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.functional import interpolate
from torch.nn.modules.loss import _Loss

from medloss import supervision
from medloss.compat.monai.base import MonaiLoss
from medloss.compat.peers import handing_on

__getattr__ = handing_on(__name__, "monai.losses.ds_loss")


class DeepSupervisionLoss(MonaiLoss):
    """``monai.losses.DeepSupervisionLoss``: a loss of each output, the target made as small as it, weighed and added.

    The weights are 1, 1/2, 1/4, ... no less than 1/16 (``"exp"``), 1, 1/2, 1/2, ... (``"two"``), or 1, 1, ...
    (``"same"``, or an unknown mode), and not normalised; ``weights`` goes before them where it is long enough.
    """

    def __init__(self, loss: _Loss, weight_mode: str = "exp", weights: list[float] | None = None) -> None:
        super().__init__()
        self._keep(locals())
        self.weights: list[float] | None = weights
        self.interp_mode = "nearest-exact"

    def get_weights(self, levels: int = 1) -> list[float]:
        """The weights of so many outputs."""
        levels = max(1, levels)
        if self.weights is not None and len(self.weights) >= levels:
            return self.weights[:levels]
        mode = self.weight_mode if self.weight_mode in ("exp", "two") else "same"
        rule = supervision.DeepSupervisionLoss(nn.Identity(), weights=mode, normalise=False, least=0.0625)
        return rule.level_weights(levels)

    def get_loss(self, input: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """The loss of one output."""
        if input.shape[2:] != target.shape[2:]:
            target = interpolate(target, size=input.shape[2:], mode=self.interp_mode)
        return self.loss(input, target)

    def forward(  # the signature is the peer's to the letter
        self,
        input: None | torch.Tensor | list[torch.Tensor],  # noqa: RUF036
        target: torch.Tensor,
    ) -> torch.Tensor:
        """The loss of one output or of a list of them, largest first."""
        if input is None:
            raise ValueError("input is None: expected the output of a network, or a list of outputs")
        if not isinstance(input, (list, tuple)):
            return self.loss(input.float(), target)
        weights = self.get_weights(len(input))
        terms = [w * self.get_loss(output.float(), target) for w, output in zip(weights, input)]
        return sum(terms, start=torch.zeros((), device=target.device))


ds_loss = DeepSupervisionLoss
