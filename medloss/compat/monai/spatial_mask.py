"""MONAI's mask around any loss."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch.nn.modules.loss import _Loss

from medloss.checks import ShapeError, shape
from medloss.compat.monai.base import MonaiLoss, multiplied
from medloss.compat.peers import handing_on

__getattr__ = handing_on(__name__, "monai.losses.spatial_mask")


class MaskedLoss(MonaiLoss):
    """``monai.losses.MaskedLoss``: the loss of input and target, both multiplied by the mask.

    Zeros take part as predictions and as labels. :class:`medloss.MaskedLoss` leaves the voxels out instead.
    """

    def __init__(
        self, loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor] | _Loss, *loss_args: Any, **loss_kwargs: Any
    ) -> None:
        super().__init__()
        self.loss: Any = loss(*loss_args, **loss_kwargs) if inspect.isclass(loss) else loss
        if not callable(self.loss):
            raise ValueError(f"loss must be callable, not {type(self.loss).__name__}")

    def forward(self, input: torch.Tensor, target: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        """The loss under the mask, B 1 or 1 1 [spatial]; without a mask, the loss."""
        if not usable(input, target, mask) or mask is None:  # it warns
            return self.loss(input, target)
        return self.loss(multiplied(input, mask), multiplied(target, mask))


def usable(input: torch.Tensor, target: torch.Tensor, mask: torch.Tensor | None) -> bool:
    """Whether there is a mask; it must fit, more or less."""
    if mask is None:
        warnings.warn("MaskedLoss was given no mask: every voxel counts.", stacklevel=4)
        return False
    sizes = f"mask has shape {shape(mask)} and input {shape(input)}"
    if input.dim() != mask.dim():
        warnings.warn(f"{sizes}: their numbers of axes differ.", stacklevel=4)
    if mask.shape[0] not in (1, input.shape[0]):
        raise ShapeError(f"{sizes}: the mask's batch must be 1 or the input's")
    if target.dim() > 1:
        if mask.shape[1] != 1:
            raise ShapeError(f"{sizes}: the mask must have one channel")
        if input.shape[2:] != mask.shape[2:]:
            warnings.warn(f"{sizes}: their spatial sizes differ.", stacklevel=4)
    return True
