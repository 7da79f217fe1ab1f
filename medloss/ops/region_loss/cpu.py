"""The CPU path of ``region_loss``: the sweep of ``region_sums``, then one call for the value and the slopes."""

from __future__ import annotations

import torch
from torch import Tensor

from medloss.ops import native
from medloss.ops.dispatch import KeepingPath
from medloss.ops.region_loss.reference import Arguments
from medloss.ops.region_sums.cpu import NativeRegionSums


class NativeRegionLoss(KeepingPath[Arguments], native.NativePath[Arguments]):
    """Keeps the slopes of the columns, B N numbers each, for the backward sweep."""

    sums = NativeRegionSums()

    def unfit(self, args: Arguments) -> list[str]:
        """Why the kernels cannot take these arguments; empty where they can."""
        return self.sums.unfit(args.volume)

    def forward_keeping(self, args: Arguments) -> tuple[Tensor, tuple[Tensor, ...]]:
        """The value, and its slope along each column."""
        columns = self.sums.forward(args.volume)
        batch, classes, _ = columns.shape
        dtype = columns.dtype
        factors, positive, negative = (
            None if given is None else given.to(dtype).contiguous()
            for given in (args.factors, args.positive, args.negative)
        )
        numbers = native.reals([*args.quotient, *args.share])
        value, slopes = columns.new_empty(()), torch.empty_like(columns)
        native.call(
            "region_loss", dtype, columns, batch, classes, numbers, int(bool(args.quotient)), factors, args.first,
            int(args.joined), int(args.skip), int(bool(args.share)), positive, negative, args.share_first,
            int(args.mean), value, slopes,
        )  # fmt: skip
        return value, (slopes,)

    def backward_from(self, kept: tuple[Tensor, ...], grad: Tensor, args: Arguments) -> Tensor:
        """The gradient of input from the slopes."""
        return self.sums.backward(kept[0] * grad, args.volume)
