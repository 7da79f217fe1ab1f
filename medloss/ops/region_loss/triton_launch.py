"""The GPU path of ``region_loss``: the sweep of ``region_sums``, then one program for the value and the slopes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from medloss.ops import triton_path
from medloss.ops.dispatch import KeepingPath
from medloss.ops.region_loss.cpu import OF_SUMS
from medloss.ops.region_sums.triton_launch import TritonRegionSums
from medloss.ops.triton_numbers import packed


class TritonRegionLoss(KeepingPath):
    """Keeps the slopes of the columns, B N numbers each, for the backward sweep."""

    name = "triton"
    sums = TritonRegionSums()

    def reasons(self, args: tuple[Any, ...], needs: tuple[bool, ...] | None = None) -> list[str]:
        """Why the kernels cannot serve; empty where they can."""
        return self.sums.reasons(args[:OF_SUMS], needs)

    def forward_keeping(self, args: tuple[Any, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
        """The value, and its slope along each column."""
        from medloss.ops.region_loss import triton_kernels as kernels

        columns = self.sums.forward(args[:OF_SUMS])
        quotient, factors, first, joined, skip, share, positive, negative, share_first, mean = args[OF_SUMS:]
        batch, classes, _ = columns.shape
        value, slopes = columns.new_empty(()), torch.empty_like(columns)
        given = [columns if tensor is None else tensor.contiguous() for tensor in (factors, positive, negative)]
        entries = (*(quotient or [0.0] * kernels.BEFORE_SHARE.value), *share)
        with triton_path.on_device(columns):
            kernels.region_loss[(1,)](
                columns, packed(entries, torch.float64), *given, value, slopes, batch,
                QUOTIENT=tuple(number != 0 for number in quotient),
                SHARE=tuple(number != 0 for number in share), CLASSES=classes, C=1 << (classes - 1).bit_length(),
                FIRST=first, JOINED=joined, SKIP=skip, SHARE_FIRST=share_first,
                MEAN=mean, FACTORS=factors is not None, POSITIVE=positive is not None, NEGATIVE=negative is not None,
                **configuration(batch, classes),
            )  # fmt: skip
        return value, (slopes,)

    def backward_from(self, kept: tuple[Tensor, ...], grad: Tensor, args: tuple[Any, ...]) -> Tensor:
        """The gradient of input from the slopes."""
        return self.sums.backward(kept[0] * grad, args[:OF_SUMS])


def configuration(batch: int, classes: int) -> dict[str, int]:
    """Samples that the program looks at together, and its warps: a batch of images at once, few volumes by few."""
    padded = 1 << (classes - 1).bit_length()
    rows = 2 if batch <= 2 else max(2, min(64, 512 // padded))
    return {"ROWS": rows, "num_warps": max(1, min(8, rows * padded // 64))}
