"""A labelled volume as Triton kernels are given it: pointers, and the strides as they lie. Nothing is copied.

What ``region_sums`` and its like share: which tensors they take, and the arguments that all their kernels begin with.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from medloss.ops.masking import accumulation_dtype
from medloss.ops.misfits import REALS, dtype_misfits

MOST_VOXELS = 2**30
"""Of one sample: a voxel's number is an int32. Offsets have 64 bits."""
PROGRAMS, GRADIENT_PROGRAMS = 1944, 2112
"""Programs of a launch, all samples together. Fixed numbers, so that no result depends on the GPU's size.

Whole waves of the sums of 14 classes, of which a multiprocessor has three programs at a time: 4.9 on an H100 or H200
with 132, 6 on an A100 with 108 (of 2048: 5.2 and 6.3, whose last wave is nearly empty). Of a gradient it has four: 4.0
and 4.9.
"""
MOST_SAMPLES = 65535
"""Of a launch, whose second axis counts no further."""
LABELS = (torch.uint8, torch.bool, torch.int8, torch.int16, torch.int32, torch.int64, *REALS)


def steps(tensor: Tensor) -> tuple[int, int, int] | None:
    """From sample to sample, class to class, voxel to voxel; None where the voxels do not follow evenly."""
    step, expected = 1, None
    for size, stride in zip(reversed(tensor.shape[2:]), reversed(tensor.stride()[2:]), strict=True):
        if size == 1:
            continue
        if expected is None:
            step = stride
        elif stride != expected:
            return None
        expected = stride * size
    # an axis of one entry may have any stride: it is taken for none, as each kind of stride is a kernel of its own
    batch, channel = (tensor.stride(axis) if tensor.shape[axis] > 1 else 0 for axis in (0, 1))
    return batch, channel, step


def even_steps(tensor: Tensor) -> tuple[int, int, int]:
    """The steps of a tensor that :func:`misfits` has looked at."""
    found = steps(tensor)
    assert found is not None, "the voxels do not follow evenly"
    return found


def misfits(input: Tensor, target: Tensor, indexed: bool, most_classes: int) -> list[str]:
    """Why the kernels cannot be given the volume; empty where they can."""
    found = dtype_misfits(REALS, input=input)
    if input.numel() == 0 or steps(input) is None:
        found.append(f"input's strides {input.stride()} do not run through the voxels evenly")
    if input.shape[1] > most_classes:
        found.append(f"{input.shape[1]} classes are more than {most_classes}")
    if input[0, 0].numel() > MOST_VOXELS if input.numel() else False:
        found.append(f"a sample has more than {MOST_VOXELS} voxels")
    if input.shape[0] > MOST_SAMPLES:
        found.append(f"{input.shape[0]} samples are more than {MOST_SAMPLES}")
    if target.dtype not in (LABELS if indexed else (*REALS, torch.bool, torch.uint8)):
        found.append(f"target is {target.dtype}")
    return found


class Volume(NamedTuple):
    """What the kernels are launched with: ``kernel[grid](*volume.tensors, ..., *volume.numbers, **volume.options)``."""

    tensors: tuple[Tensor, Tensor, Tensor]
    numbers: tuple[int | tuple[int, int, int] | None, ...]
    options: dict[str, Any]
    batch: int
    classes: int
    voxels: int

    @property
    def padded(self) -> int:
        """Classes of a tile: the next power of two."""
        return 1 << (self.classes - 1).bit_length()

    def programs(self, tile: int, most: int = 0) -> int:
        """Programs per sample: one for each tile, as long as there are not too many."""
        return min(-(-self.voxels // tile), max((most or PROGRAMS) // self.batch, 1))


def volume(
    input: Tensor, target: Tensor, mask: Tensor | None, activation: str, indexed: bool, ignore_index: int | None
) -> Volume:
    """The arguments that every kernel over a labelled volume begins with."""
    from triton import language

    batch, classes = input.shape[:2]
    target = readable(target.expand(batch, *target.shape[1:]))
    ignore = ignore_index if indexed else None
    weight = input if mask is None else readable(mask.expand(batch, -1, *input.shape[2:]))
    voxels = input[0, 0].numel()
    numbers = (0 if ignore is None else int(ignore), voxels, steps(input), steps(target), steps(weight))
    options = {
        "CLASSES": classes, "INDEXED": indexed, "IGNORE": ignore is not None, "ACTIVATION": activation,
        "MASK": "none" if mask is None else "voxel" if mask.shape[1] == 1 else "class",
        "ACC": language.float64 if accumulation_dtype(input) == torch.float64 else language.float32,
    }  # fmt: skip
    return Volume((input.detach(), target, weight.detach()), numbers, options, batch, classes, voxels)


def readable(tensor: Tensor) -> Tensor:
    """Evenly strided, and truth values as bytes, which Triton has no pointers to."""
    tensor = tensor if steps(tensor) is not None else tensor.contiguous()
    return tensor.view(torch.uint8) if tensor.dtype == torch.bool else tensor.detach()


def add_rows(partials: Tensor, sums: Tensor, columns: int = 1, written: int = 1) -> None:
    """B programs [sums] to B [sums]: the last step of a deterministic sum, in double and in order.

    ``written`` has a bit for each of the ``columns`` of the last axis that the programs filled; the others become zero.
    """
    from medloss.ops import triton_functions

    batch, programs = partials.shape[:2]
    width = sums[0].numel()
    # few columns are for few programs: of many rows each reads many at once, as it waits for memory and nothing else
    rows, wide, warps = (128, 32, 8) if programs > 64 else (16, 128, 4)
    triton_functions.add_rows[(-(-width // wide), batch)](
        partials, sums, programs, width, COLUMNS=columns, WRITTEN=written, ROWS=rows, WIDTH=wide, num_warps=warps
    )
