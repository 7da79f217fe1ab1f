"""The GPU path of ``region_sums``: says what ``triton_kernels.py`` can take, and in which tiles it is given it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from medloss.ops import triton_path, triton_volume
from medloss.ops.masking import accumulation_dtype
from medloss.ops.region_sums.columns import COLUMNS, Column, Terms
from medloss.ops.region_sums.reference import Arguments
from medloss.ops.triton_volume import Volume

MOST_CLASSES = 256
SHORT = (0.0, 1.0, 2.0)
"""Exponents whose powers ``triton_kernels.py`` multiplies."""


class TritonRegionSums(triton_path.TritonPath[Arguments]):
    """Softmax or sigmoid, overlap and likelihood sums in one sweep on a GPU."""

    def unfit(self, args: Arguments) -> list[str]:
        """Why the kernel cannot take these arguments; empty where it can."""
        return triton_volume.misfits(args.input, args.target, args.indexed, MOST_CLASSES) + args.misfits()

    def forward(self, args: Arguments) -> Tensor:
        """B C COLUMNS."""
        from medloss.ops.region_sums import triton_kernels as kernels

        input = args.input
        volume, options = _launch(args)
        columns = options["WRITTEN"]
        tile, warps = configuration(volume.padded, input.element_size(), columns.bit_count())
        # voxels of one thread lie side by side in memory, or a multiple of the threads apart
        rows, fold = side_by_side(input), 4
        if not rows and triton_volume.even_steps(input)[2] == 1:
            tile = max(tile // 2, 1)
            fold = min(max(tile // (32 * warps), 1), 4)  # no more than a thread has: others' would have to be fetched
        programs = volume.programs(tile)
        partials = input.new_empty((volume.batch, programs, volume.classes, COLUMNS), dtype=accumulation_dtype(input))
        sums = partials.new_empty((volume.batch, volume.classes, COLUMNS))
        with triton_path.on_device(input):
            kernels.forward[(programs, volume.batch)](
                *volume.tensors, partials, *volume.numbers, **options, ROWS=rows, C=volume.padded, TILE=tile,
                EVEN=volume.voxels % tile == 0, FOLD=fold, num_warps=warps,
            )  # fmt: skip
            triton_volume.add_rows(partials, sums, COLUMNS, columns)
        return sums

    def backward(self, grad: Tensor, args: Arguments) -> Tensor:
        """The gradient of input, in input's dtype and layout."""
        from medloss.ops.region_sums import triton_kernels as kernels

        input = args.input
        volume, options = _launch(args)
        columns = options["WRITTEN"].bit_count()
        tile, warps = configuration(volume.padded, input.element_size(), columns if columns > 12 else 4)
        gradient = torch.empty_like(input)
        with triton_path.on_device(input):
            kernels.backward[(volume.programs(tile, triton_volume.GRADIENT_PROGRAMS), volume.batch)](
                *volume.tensors, grad.contiguous(), gradient, *volume.numbers, triton_volume.steps(gradient),
                **options, C=volume.padded, TILE=tile, EVEN=volume.voxels % tile == 0,
                num_warps=warps,
            )  # fmt: skip
        return gradient


def side_by_side(input: Tensor) -> bool:
    """Whether a thread loads several voxels at once: where they follow each other, and rows of all classes are aligned.

    Triton knows of alignment by the divisor 16 alone, of strides and of addresses.
    """
    *apart, step = triton_volume.even_steps(input)
    aligned = input.storage_offset() * input.element_size() % 16 == 0 and not any(stride % 16 for stride in apart)
    return step == 1 and aligned


def configuration(classes: int, itemsize: int, columns: int = 4) -> tuple[int, int]:
    """Voxels of a tile and warps of a program, by the padded classes, the bytes of a logit, and how much is computed.

    A thread has 32 logits and all that is made of them in registers; fewer of doubles, and where many columns are
    asked for: what does not fit into 255 registers is spilled.
    """
    warps = 4 if classes <= 64 else 8
    logits = 32 // (2 if itemsize == 8 else 1) // (4 if columns > 12 else 2 if columns > 6 else 1)
    return min(warps * 32 * logits // classes, 1024), warps


def short_power(exponent: float, known: tuple[float, ...] = SHORT) -> float | None:
    """An exponent that kernels have a short way for; None for any other, which they are told when they are launched.

    An exponent may change at every epoch: were all of them compile-time constants, each would be a kernel of its own.
    """
    return exponent if exponent in known else None


def written(terms: int, activation: str) -> int:
    """A bit for each column that the kernel fills; the others are zero, as the false terms are but for the sigmoid."""
    groups = {
        Terms.SQUARES: (Column.INPUT_SQUARES, Column.TARGET_SQUARES, Column.SQUARED_ERROR),
        Terms.DIFFERENCE: (Column.COMMON, Column.SURPLUS, Column.LACK),
        Terms.ERRORS: (Column.FALSE_POSITIVE, Column.FALSE_NEGATIVE),
        Terms.NEGATIVES: (Column.TRUE_NEGATIVE,),
        Terms.LIKELIHOOD: (Column.NLL_TRUE, Column.NLL_FALSE),
        Terms.UNIFORM: (Column.NLL_ALL,),
        Terms.FOCAL: (Column.FOCAL_TRUE, Column.FOCAL_FALSE),
    }
    columns = {Column.OVERLAP, Column.INPUT, Column.TARGET, Column.VOXELS}
    columns |= {column for group, members in groups.items() if terms & group for column in members}
    if activation != "sigmoid":
        columns -= {Column.NLL_FALSE, Column.FOCAL_FALSE}
    return sum(1 << column for column in columns)


def _launch(args: Arguments) -> tuple[Volume, dict[str, Any]]:
    volume = triton_volume.volume(args.input, args.target, args.mask, args.activation, args.indexed, args.ignore_index)
    tiny = torch.finfo(accumulation_dtype(args.input)).tiny
    gamma = float(args.gamma) if args.terms & Terms.FOCAL else 0.0
    focal = {"WRITTEN": written(args.terms, args.activation), "gamma": gamma, "POWER": short_power(gamma), "TINY": tiny}
    return volume, volume.options | focal
