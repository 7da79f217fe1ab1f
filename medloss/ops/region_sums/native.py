"""The CPU path of ``region_sums``: says what ``kernel.c`` can take, and hands it the tensors as they lie."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from medloss.ops import native
from medloss.ops.region_sums.columns import COLUMNS, Terms

ACTIVATIONS = {"none": 0, "sigmoid": 1, "softmax": 2}
MAX_CLASSES = 1024


class NativeRegionSums:
    """Softmax or sigmoid, overlap and likelihood sums in one sweep of C."""

    name = "native"

    def reasons(self, args: tuple[Any, ...], needs: tuple[bool, ...] | None = None) -> list[str]:
        """Why the kernel cannot serve; empty where it can."""
        input, target, mask, activation, indexed, _, terms, _ = args
        if input.device.type != "cpu":
            return [f"input is on {input.device}, the kernel runs on the CPU"]
        found = []
        if native.unavailable():
            found.append(f"there is no native library: {native.unavailable()}")
        elif native.slow_machine():
            found.append("the processor has no AVX2, without which torch is faster")
        if input.dtype not in native.REALS:
            found.append(f"input is {input.dtype}, the kernel takes float32 and float64")
        if not voxels_contiguous(input):
            found.append(f"input's strides {input.stride()} are not those of a contiguous BN[spatial] tensor")
        if terms & Terms.FOCAL:
            found.append("focal sums have no native kernel yet")
        if activation == "none" and terms & (Terms.LIKELIHOOD | Terms.UNIFORM):
            found.append("likelihoods are computed from logits, not from probabilities")
        if mask is not None and mask.shape[1] != 1:
            found.append("mask has a weight per class, the kernel takes one per voxel")
        if indexed and target.dtype not in native.LABELS:
            found.append(f"labels are {target.dtype}")
        if input.shape[1] > MAX_CLASSES:
            found.append(f"{input.shape[1]} classes are more than {MAX_CLASSES}")
        if needs is not None and any(needs[1:]):
            found.append("a gradient of target or mask is asked for")
        return found

    def forward(self, args: tuple[Any, ...]) -> Tensor:
        """B C COLUMNS."""
        input, *_, terms, _ = args
        sums = torch.empty((*input.shape[:2], COLUMNS), dtype=torch.float64)
        operands = self._operands(args)
        native.call("region_sums_forward", input.dtype, *operands, int(terms), sums)
        return sums.to(input.dtype)

    def backward(self, grad: Tensor, args: tuple[Any, ...]) -> Tensor:
        """The gradient of input, in input's dtype and layout."""
        input, *_, terms, _ = args
        cotangent = grad.to(torch.float64).contiguous()
        result = torch.empty_like(input, memory_format=torch.contiguous_format)
        operands = self._operands(args)
        native.call("region_sums_backward", input.dtype, *operands, int(terms), cotangent, result)
        return result

    def _operands(self, args: tuple[Any, ...]) -> tuple[Tensor | int | None, ...]:
        input, target, mask, activation, indexed, ignore_index, _, _ = args
        batch, classes = input.shape[:2]
        voxels = input[0, 0].numel()
        labels = (target if indexed else target.to(input.dtype)).contiguous()
        if mask is not None:
            mask = mask.to(input.dtype).expand(batch, 1, *input.shape[2:]).contiguous()
        kind = native.LABELS[target.dtype] if indexed else -1
        ignore = indexed and ignore_index is not None
        return (
            input.detach(), batch, classes, voxels, input.stride(0) if batch > 1 else 0, labels, kind, mask,
            int(ignore), int(ignore_index) if ignore else 0, ACTIVATIONS[activation],
        )  # fmt: skip


def voxels_contiguous(tensor: Tensor) -> bool:
    """Whether each sample lies as N[spatial] without gaps; samples may lie anywhere."""
    return tensor.numel() > 0 and tensor[0].is_contiguous()
