"""kornia's structural similarity at several widths, mixed with the absolute difference."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from medloss import image as images
from medloss.compat.kornia.base import ShapeError, check, pair, ranked
from medloss.reduction import REDUCTIONS


class MS_SSIMLoss(images.MSSSIML1Loss):
    """``kornia.losses.MS_SSIMLoss`` over :class:`medloss.MSSSIML1Loss`, of planes; ``"none"`` gives B H W.

    The last sigma is the widest window's, and says how far all reach, whatever the order; zeros lie beyond the border.
    A batch of one stands beside every sample of the other.

    >>> MS_SSIMLoss(reduction="none")(torch.rand(2, 3, 5, 5), torch.rand(2, 3, 5, 5)).shape
    torch.Size([2, 5, 5])
    """

    def __init__(
        self,
        sigmas: Sequence[float] = (0.5, 1.0, 2.0, 4.0, 8.0),
        data_range: float = 1.0,
        K: tuple[float, float] = (0.01, 0.03),
        alpha: float = 0.025,
        compensation: float = 200.0,
        reduction: str = "mean",
    ) -> None:
        # the native options, which kornia does not limit, beside its own attributes
        self.sigmas, self.k1, self.k2 = tuple(sigmas), K[0], K[1]
        self.DR: float = data_range
        self.C1: float = (K[0] * data_range) ** 2
        self.C2: float = (K[1] * data_range) ** 2
        self.pad = int(2 * sigmas[-1])
        self.alpha: float = alpha
        self.compensation: float = compensation
        self.reduction: str = reduction
        self.border = "zero"
        self.num_scales: int = len(sigmas)

    __repr__ = nn.Module.__repr__

    @property  # type: ignore[misc]  # one number under two names, the peer's and ours
    def data_range(self) -> float:
        """By its native name."""
        return self.DR

    def forward(self, img1: torch.Tensor, img2: torch.Tensor) -> torch.Tensor:
        """The loss."""
        x, y = pair(img1, img2, fault=TypeError)
        for name, tensor in (("img1", x), ("img2", y)):
            ranked(name, tensor, "BCHW", ValueError)
        fits = x.shape[1:] == y.shape[1:] and (len(x) == len(y) or 1 in (len(x), len(y)))
        message = f"img1 has shape {list(x.shape)} and img2 {list(y.shape)}: they may differ in a batch of 1 alone"
        check(fits, message, ShapeError)
        message = f"reduction={self.reduction!r} is unknown: choose one of {REDUCTIONS}"
        check(self.reduction in REDUCTIONS, message, NotImplementedError)
        batch = max(len(x), len(y))
        return super().forward(*(image.expand(batch, *image.shape[1:]) for image in (x, y))).to(x.dtype)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        state_dict.pop(prefix + "_g_masks", None)  # a buffer of earlier releases, which follows from the sigmas
        super()._load_from_state_dict(state_dict, prefix, *args)
