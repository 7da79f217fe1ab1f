"""MONAI's neighbour-aware calibration."""

from __future__ import annotations

from typing import Any

import torch

from medloss import checks, segmentation
from medloss.compat.monai.base import MisfitError, MonaiLoss, floating, indices
from medloss.compat.peers import handing_on

__getattr__ = handing_on(__name__, "monai.losses.nacl_loss")


class NACLLoss(MonaiLoss):
    """``monai.losses.NACLLoss`` over :class:`medloss.NACLLoss`: labels have no channel axis, B [spatial]."""

    def __init__(
        self,
        classes: int,
        dim: int,
        kernel_size: int = 3,
        kernel_ops: str = "mean",
        distance_type: str = "l1",
        alpha: float = 0.1,
        sigma: float = 1.0,
    ) -> None:
        super().__init__()
        checks.choice("kernel_ops", kernel_ops, ("mean", "gaussian"))
        checks.choice("dim", dim, (2, 3))
        checks.choice("distance_type", distance_type, ("l1", "l2"))
        self._keep(locals())
        self.nc, self.ks = classes, kernel_size

    def forward(self, inputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """The loss."""
        inputs, targets = floating(inputs, "inputs"), checks.plain("targets", targets)
        expected = [inputs.shape[0], *inputs.shape[2:]]
        if list(targets.shape) != expected or inputs.ndim != self.dim + 2 or inputs.shape[1] != self.nc:
            raise MisfitError(
                f"inputs have shape {checks.shape(inputs)} and targets {checks.shape(targets)}: expected {self.nc} "
                f"channels and {self.dim} spatial axes, and labels without a channel"
            )
        loss = segmentation.NACLLoss(
            to_onehot_y=True,
            alpha=self.alpha,
            distance=self.distance_type,
            kernel_type=self.kernel_ops,
            kernel_size=self.ks,
            sigma=self.sigma,
            border="zero",
        )
        return loss(inputs, indices(targets, self.nc).unsqueeze(1))

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *args: Any) -> None:
        """The peer keeps the widths of its Gaussian as parameters; here they are an option."""
        mine = {key: value for key, value in state_dict.items() if not key.startswith(f"{prefix}svls_layer.")}
        super()._load_from_state_dict(mine, prefix, *args)
