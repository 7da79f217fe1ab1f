"""What the CPU kernels over a labelled volume share: which volumes they take, and the operands of a call."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from medloss.ops import native
from medloss.ops.masking import accumulation_dtype
from medloss.ops.misfits import dtype_misfits

ACTIVATIONS = {"none": 0, "sigmoid": 1, "softmax": 2}
TYPES = {torch.float32: 0, torch.float64: 0, torch.bfloat16: 1, torch.float16: 2}
"""Codes of the input's types, as in half_precision.hpp; the arithmetic is in float32, or float64 for double."""
MAX_CLASSES = 1024


def label_misfits(input: Tensor, target: Tensor, mask: Tensor | None, indexed: bool) -> list[str]:
    """Why a kernel cannot take the volume; empty where it can."""
    found = [] if input.dtype in TYPES else dtype_misfits(TYPES, input=input)
    if input.numel() == 0 or voxel_stride(input) is None:
        found.append(f"input's strides {input.stride()} do not run through the voxels evenly")
    if mask is not None and mask.shape[1] != 1:
        found.append("mask has a weight per class, the kernel takes one per voxel")
    if indexed and target.dtype not in native.LABELS:
        found.append(f"labels are {target.dtype}")
    if input.shape[1] > MAX_CLASSES:
        found.append(f"{input.shape[1]} classes are more than {MAX_CLASSES}")
    return found


def label_operands(
    input: Tensor, target: Tensor, mask: Tensor | None, activation: str, indexed: bool, ignore_index: int | None
) -> tuple[Tensor | int | None, ...]:
    """The first operands of a kernel: the volume as it lies, its labels, and the mask."""
    dtype = accumulation_dtype(input)
    batch, classes, *spatial = input.shape
    per_sample, per_class, *_ = input.stride()
    labels = (target if indexed else target.to(dtype)).contiguous()
    if mask is not None:
        mask = mask.to(dtype).expand(batch, 1, *spatial).contiguous()
    kind = native.LABELS[target.dtype] if indexed else -1
    ignore = ignore_index if indexed else None
    return (
        input, TYPES[input.dtype], batch, classes, math.prod(spatial), per_sample if batch > 1 else 0, per_class,
        voxel_stride(input), labels, kind, mask, int(ignore is not None), 0 if ignore is None else int(ignore),
        ACTIVATIONS[activation],
    )  # fmt: skip


def gradient_like(input: Tensor) -> tuple[Tensor, Tensor]:
    """An empty gradient that a kernel fills as it reads the input, dense, and the same in the input's order of axes."""
    last = voxel_stride(input) != 1 and input.ndim > 2
    laid = torch.empty_like(input.movedim(1, -1) if last else input, memory_format=torch.contiguous_format)
    return laid, laid.movedim(-1, 1) if last else laid


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
