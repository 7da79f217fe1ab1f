"""What the CPU kernels over ``label_tile.h`` share: which volumes they take, and how these are handed over."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from medloss.ops import native
from medloss.ops.region_sums.native import ACTIVATIONS, MAX_CLASSES, TYPES, voxel_stride
from medloss.ops.voxels import accumulation_dtype


def label_reasons(
    input: Tensor, target: Tensor, mask: Tensor | None, indexed: bool, needs: tuple[bool, ...] | None
) -> list[str]:
    """Why a kernel cannot serve the volume; empty where it can."""
    if input.device.type != "cpu":
        return [f"input is on {input.device}, the kernel runs on the CPU"]
    found = []
    if native.unavailable():
        found.append(f"there is no native library: {native.unavailable()}")
    elif native.slow_machine():
        found.append("the processor has no AVX2, without which torch is faster")
    if input.dtype not in TYPES:
        taken = ", ".join(str(dtype).removeprefix("torch.") for dtype in TYPES)
        found.append(f"input is {input.dtype}, the kernel takes {taken}")
    if input.numel() == 0 or voxel_stride(input) is None:
        found.append(f"input's strides {input.stride()} do not run through the voxels evenly")
    if mask is not None and mask.shape[1] != 1:
        found.append("mask has a weight per class, the kernel takes one per voxel")
    if indexed and target.dtype not in native.LABELS:
        found.append(f"labels are {target.dtype}")
    if input.shape[1] > MAX_CLASSES:
        found.append(f"{input.shape[1]} classes are more than {MAX_CLASSES}")
    if needs is not None and any(needs[1:]):
        found.append("a gradient of target or mask is asked for")
    return found


def label_operands(
    input: Tensor, target: Tensor, mask: Tensor | None, activation: str, indexed: bool, ignore_index: int | None
) -> tuple[Any, ...]:
    """The first operands of a kernel: the volume as it lies, its labels, and the mask."""
    dtype = accumulation_dtype(input)
    batch, classes = input.shape[:2]
    strides = (input.stride(0) if batch > 1 else 0, input.stride(1), voxel_stride(input))
    labels = (target if indexed else target.to(dtype)).contiguous()
    kind = native.LABELS[target.dtype] if indexed else -1
    if mask is not None:
        mask = mask.to(dtype).expand(batch, 1, *input.shape[2:]).contiguous()
    ignore = indexed and ignore_index is not None
    return (
        input.detach(), TYPES[input.dtype], batch, classes, input[0, 0].numel(), *strides, labels.detach(), kind,
        mask, int(ignore), int(ignore_index) if ignore else 0, ACTIVATIONS[activation],
    )  # fmt: skip


def gradient_like(input: Tensor) -> tuple[Tensor, Tensor]:
    """An empty gradient that a kernel fills as it reads the input, dense, and the same in the input's order of axes."""
    last = voxel_stride(input) != 1 and input.ndim > 2
    laid = torch.empty_like(input.movedim(1, -1) if last else input, memory_format=torch.contiguous_format)
    return laid, laid.movedim(-1, 1) if last else laid
