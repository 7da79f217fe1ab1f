"""Adam on one tensor, without ``torch.optim.Adam``, at whose first use torch imports its compiler: a second or more."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.optim.adam import adam


class Adam:
    """Kingma and Ba, Adam, ICLR 2015, with its usual betas.

    Args:
        parameter: what is changed in place.
        eps: beside the root of the mean squared gradient, which is small where a loss is a mean over voxels.
    """

    def __init__(self, parameter: Tensor, eps: float = 1e-12) -> None:
        self.parameter, self.eps = parameter, eps
        self.mean, self.square = torch.zeros_like(parameter), torch.zeros_like(parameter)
        self.steps = parameter.new_zeros((), dtype=torch.float32)

    @torch.no_grad()
    def step(self, gradient: Tensor, lr: float) -> None:
        """One step of about ``lr`` in each entry."""
        adam(
            [self.parameter],
            [gradient],
            [self.mean],
            [self.square],
            [],
            [self.steps],
            fused=True,
            amsgrad=False,
            beta1=0.9,
            beta2=0.999,
            lr=lr,
            weight_decay=0.0,
            eps=self.eps,
            maximize=False,
        )
