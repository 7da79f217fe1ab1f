"""What the Triton paths of the statistics of windows are given: images as volumes, windows, and the statistic."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from medloss.ops.axes import planes_first
from medloss.ops.local_moments.arguments import STRUCTURE, Arguments, border_of, lost, scales_of
from medloss.ops.masking import accumulation_dtype
from medloss.ops.triton_tiles import shared_weight

Windows = tuple[tuple[float, ...], tuple[float, ...], tuple[float, ...]]


class Problem(NamedTuple):
    """Images as volumes of planes, rows and columns, and what is computed of their windows."""

    input: Tensor
    target: Tensor
    mask: Tensor | None
    shared: int
    sizes: tuple[int, int, int]
    scales: tuple[Windows, ...]
    margins: tuple[int, int, int]
    kind: int
    renormalise: bool
    reflect: bool
    constants: tuple[float, float]
    dtype: torch.dtype
    reduce: bool

    @property
    def volumes(self) -> int:
        """Pairs of images."""
        return self.input.shape[0] * self.input.shape[1]

    @property
    def windows(self) -> Windows:
        """The weights along each axis, of the one window."""
        return self.scales[0]

    @property
    def weighed(self) -> bool:
        """Whether windows count what they hold."""
        return self.renormalise or self.mask is not None

    @property
    def images(self) -> tuple[Tensor, Tensor, Tensor]:
        """Both images and the mask; where there is none, something in its place."""
        return self.input, self.target, self.input if self.mask is None else self.mask

    @property
    def inner(self) -> tuple[int, ...]:
        """The shape of a map of the windows that count."""
        sizes = [size - 2 * margin for size, margin in zip(self.sizes, self.margins)]
        return *self.input.shape[:2], *placed_back(sizes, self.input.ndim - 2)

    def scale(self, at: int) -> Problem:
        """One factor of a product: all but the last are without luminance."""
        last = at == len(self.scales) - 1
        return self._replace(scales=(self.scales[at],), kind=self.kind if last else STRUCTURE)


def placed_back(axes: list[Any], rank: int) -> tuple[Any, ...]:
    """The axes that images have."""
    return {1: (axes[2],), 2: (axes[0], axes[2]), 3: tuple(axes)}[rank]


def problem_of(args: Arguments) -> Problem:
    """The problem of an operator's arguments."""
    input, (kind, *constants) = args.input, args.statistic
    weight, shared = shared_weight(args.mask, input)
    mask, border = (None, border_of(args)) if args.mask is None else (weight, "renormalise")
    scales = tuple(planes_first([tuple(window) for window in scale], (1.0,)) for scale in scales_of(args))
    return Problem(
        input.detach().contiguous(), args.target.detach().contiguous(), mask, shared, planes_first(input.shape[2:], 1),
        scales, planes_first(lost(args), 0), kind, border == "renormalise", border == "reflect",
        (constants[0], constants[1]), accumulation_dtype(input), args.reduce,
    )  # fmt: skip
