"""The CPU path of ``region_sums``: says what ``kernel.c`` can take, and hands it the tensors as they lie."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from medloss.ops import native
from medloss.ops.region_sums.columns import COLUMNS, Terms
from medloss.ops.voxels import accumulation_dtype

ACTIVATIONS = {"none": 0, "sigmoid": 1, "softmax": 2}
TYPES = {torch.float32: 0, torch.float64: 0, torch.bfloat16: 1, torch.float16: 2}
"""Codes of the input's types, as in native.h; the arithmetic is in float32, or float64 for double."""
MAX_CLASSES = 1024
VOXEL_STRIDE = 7
"""Where the step from voxel to voxel stands among the kernel's operands."""


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
        if input.dtype not in TYPES:
            found.append(
                f"input is {input.dtype}, the kernel takes {', '.join(str(t).removeprefix('torch.') for t in TYPES)}"
            )
        if input.numel() == 0 or voxel_stride(input) is None:
            found.append(f"input's strides {input.stride()} do not run through the voxels evenly")
        if activation == "none" and terms & (Terms.LIKELIHOOD | Terms.UNIFORM | Terms.FOCAL):
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
        dtype = accumulation_dtype(input)
        sums = torch.empty((*input.shape[:2], COLUMNS), dtype=dtype)
        native.call("region_sums_forward", dtype, *self._operands(args, dtype), int(terms), sums)
        return sums

    def backward(self, grad: Tensor, args: tuple[Any, ...]) -> Tensor:
        """The gradient of input, in input's dtype and layout."""
        input, *_, terms, _ = args
        dtype = accumulation_dtype(input)
        operands = self._operands(args, dtype)
        cotangent = grad.to(dtype).contiguous()
        # voxels side by side, or channels: the gradient lies as the input does
        last = operands[VOXEL_STRIDE] != 1
        result = torch.empty_like(input.movedim(1, -1) if last else input, memory_format=torch.contiguous_format)
        native.call("region_sums_backward", dtype, *operands, int(terms), cotangent, result)
        return result.movedim(-1, 1) if last else result

    def _operands(self, args: tuple[Any, ...], dtype: torch.dtype) -> tuple[Tensor | int | float | None, ...]:
        input, target, mask, activation, indexed, ignore_index, _, gamma = args
        batch, classes, *spatial = input.shape
        per_sample, per_class, *_ = input.stride()
        labels = (target if indexed else target.to(dtype)).contiguous()
        if mask is not None:
            mask = mask.to(dtype).expand(batch, 1, *spatial).contiguous()
        kind = native.LABELS[target.dtype] if indexed else -1
        ignore = indexed and ignore_index is not None
        return (
            input, TYPES[input.dtype], batch, classes, math.prod(spatial), per_sample if batch > 1 else 0, per_class,
            voxel_stride(input), labels, kind, mask, int(ignore), int(ignore_index) if ignore else 0,
            ACTIVATIONS[activation], float(gamma),
        )  # fmt: skip


def voxel_stride(tensor: Tensor) -> int | None:
    """The step from voxel to voxel where it is one and the same: 1, or the channels of a channels-last tensor."""
    if tensor.is_contiguous():
        return 1
    step, expected = None, None
    for size, stride in zip(reversed(tensor.shape[2:]), reversed(tensor.stride()[2:])):
        if size == 1:
            continue
        if expected is not None and stride != expected:
            return None
        step = stride if step is None else step
        expected = stride * size
    step = 1 if step is None else step
    # whole rows of one class, or voxels with their channels side by side: what the gradient can be laid out like
    if step == 1 or (step == tensor.shape[1] and tensor.stride(1) == 1):
        return step
    return None
