"""The CPU path of ``region_loss``: the sweep of ``region_sums``, then one call for the value and the slopes."""

from __future__ import annotations

from array import array
from typing import Any

import torch
from torch import Tensor

from medloss.ops import native
from medloss.ops.dispatch import KeepingPath
from medloss.ops.region_sums.cpu import NativeRegionSums

OF_SUMS = 8
"""The arguments that are those of ``region_sums``."""


class NativeRegionLoss(KeepingPath, native.NativePath):
    """Keeps the slopes of the columns, B N numbers each, for the backward sweep."""

    sums = NativeRegionSums()

    def unfit(self, args: tuple[Any, ...], needs: tuple[bool, ...] | None) -> list[str]:
        """Why the kernels cannot take these arguments; empty where they can."""
        return self.sums.unfit(args[:OF_SUMS], needs)

    def forward_keeping(self, args: tuple[Any, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
        """The value, and its slope along each column."""
        columns = self.sums.forward(args[:OF_SUMS])
        quotient, factors, first, joined, skip, share, positive, negative, share_first, mean = args[OF_SUMS:]
        batch, classes, _ = columns.shape
        dtype = columns.dtype
        factors, positive, negative = (
            None if given is None else given.to(dtype).contiguous() for given in (factors, positive, negative)
        )
        numbers = array("d", [*quotient, *share])
        value, slopes = columns.new_empty(()), torch.empty_like(columns)
        native.call(
            "region_loss", dtype, columns, batch, classes, numbers, int(bool(quotient)), factors, first, int(joined),
            int(skip), int(bool(share)), positive, negative, share_first, int(mean), value, slopes,
        )  # fmt: skip
        return value, (slopes,)

    def backward_from(self, kept: tuple[Tensor, ...], grad: Tensor, args: tuple[Any, ...]) -> Tensor:
        """The gradient of input from the slopes."""
        return self.sums.backward(kept[0] * grad, args[:OF_SUMS])
