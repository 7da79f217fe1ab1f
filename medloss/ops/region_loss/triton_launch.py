"""The GPU path of ``region_loss``: the sweep of ``region_sums``, then one program for the value and the slopes."""

from __future__ import annotations

import torch
from torch import Tensor

from medloss.ops import triton_path
from medloss.ops.dispatch import KeepingPath
from medloss.ops.region_loss.reference import Arguments
from medloss.ops.region_sums.triton_launch import TritonRegionSums
from medloss.ops.triton_numbers import packed


class TritonRegionLoss(KeepingPath[Arguments], triton_path.TritonPath[Arguments]):
    """Keeps the slopes of the columns, B N numbers each, for the backward sweep."""

    sums = TritonRegionSums()

    def unfit(self, args: Arguments) -> list[str]:
        """Why the kernels cannot take these arguments; empty where they can."""
        return self.sums.unfit(args.volume)

    def forward_keeping(self, args: Arguments) -> tuple[Tensor, tuple[Tensor, ...]]:
        """The value, and its slope along each column."""
        from medloss.ops.region_loss import triton_kernels as kernels

        columns = self.sums.forward(args.volume)
        batch, classes, _ = columns.shape
        value, slopes = columns.new_empty(()), torch.empty_like(columns)
        factors, positive, negative = args.factors, args.positive, args.negative
        given = [columns if tensor is None else tensor.contiguous() for tensor in (factors, positive, negative)]
        entries = (*(args.quotient or [0.0] * kernels.BEFORE_SHARE.value), *args.share)
        with triton_path.on_device(columns):
            kernels.region_loss[(1,)](
                columns, packed(entries, torch.float64), *given, value, slopes, batch,
                QUOTIENT=tuple(number != 0 for number in args.quotient),
                SHARE=tuple(number != 0 for number in args.share), CLASSES=classes,
                C=1 << (classes - 1).bit_length(), FIRST=args.first, JOINED=args.joined, SKIP=args.skip,
                SHARE_FIRST=args.share_first, MEAN=args.mean, FACTORS=factors is not None,
                POSITIVE=positive is not None, NEGATIVE=negative is not None, **configuration(batch, classes),
            )  # fmt: skip
        return value, (slopes,)

    def backward_from(self, kept: tuple[Tensor, ...], grad: Tensor, args: Arguments) -> Tensor:
        """The gradient of input from the slopes."""
        return self.sums.backward(kept[0] * grad, args.volume)


def configuration(batch: int, classes: int) -> dict[str, int]:
    """Samples that the program looks at together, and its warps: a batch of images at once, few volumes by few."""
    padded = 1 << (classes - 1).bit_length()
    rows = 2 if batch <= 2 else max(2, min(64, 512 // padded))
    return {"ROWS": rows, "num_warps": max(1, min(8, rows * padded // 64))}
