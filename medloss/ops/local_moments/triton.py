"""The GPU path of ``local_moments`` and ``local_ssim``: says what the kernels can take, and what they are to do."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from medloss.ops import triton_path
from medloss.ops.local_moments.windows import CORRELATION, SSIM, axes_of, window_misfits
from medloss.ops.voxels import accumulation_dtype


class Problem(NamedTuple):
    """Images as volumes of planes, rows and columns, and what is asked of their windows."""

    input: Tensor
    target: Tensor
    mask: Tensor | None
    shared: int
    sizes: tuple[int, int, int]
    windows: tuple[tuple[float, ...], tuple[float, ...], tuple[float, ...]]
    margins: tuple[int, int, int]
    kind: int
    renormalise: bool
    luminance: bool
    constants: tuple[float, float]
    dtype: torch.dtype
    reduce: bool

    @property
    def volumes(self) -> int:
        """Pairs of images."""
        return self.input.shape[0] * self.input.shape[1]

    @property
    def weighed(self) -> bool:
        """Whether windows count what they hold."""
        return self.renormalise or self.mask is not None


class TritonLocalMoments:
    """Separable windows, whose sums exist for a slab of planes at a time."""

    name = "triton"

    def reasons(self, args: tuple[Any, ...], needs: tuple[bool, ...] | None = None) -> list[str]:
        """Why the kernels cannot serve; empty where they can."""
        return triton_path.reasons(args[0]) + window_misfits(args[0], [list(args[3])], needs)

    def forward(self, args: tuple[Any, ...]) -> Tensor:
        """The map, or B C with ``reduce``."""
        return _forward(self._problem(args))

    def backward(self, grad: Tensor, args: tuple[Any, ...]) -> Tensor:
        """The gradient of input, in its dtype."""
        return _backward(self._problem(args), grad)

    def backward_of(self, index: int, grad: Tensor, args: tuple[Any, ...]) -> Tensor:
        """The gradient of the target: the correlation is that of the two images in the other order."""
        return _backward(_swapped(self._problem(args)), grad)

    def _problem(self, args: tuple[Any, ...]) -> Problem:
        input, target, mask, window, renormalise, smooth_nr, smooth_dr, reduce = args
        windows = [list(window)] * (input.ndim - 2)
        constants = (smooth_nr, smooth_dr)
        return _problem(input, target, mask, windows, None, CORRELATION, renormalise, True, constants, reduce)


class TritonLocalSSIM:
    """SSIM of one window, by the same kernels."""

    name = "triton"

    def reasons(self, args: tuple[Any, ...], needs: tuple[bool, ...] | None = None) -> list[str]:
        """Why the kernels cannot serve; empty where they can."""
        input, _, mask, weights, sizes, border, *_ = args
        windows = axes_of(weights, sizes)[: input.ndim - 2]
        found = triton_path.reasons(input) + window_misfits(input, windows, needs)
        if len(sizes) != input.ndim - 2:
            found.append("a product over several windows has no triton kernel")
        if mask is None and border == "reflect":
            found.append("a border that reflects has no triton kernel")
        return found

    def forward(self, args: tuple[Any, ...]) -> Tensor:
        """The map (of the valid windows alone where the border says so), or B C with ``reduce``."""
        return _forward(self._problem(args))

    def backward(self, grad: Tensor, args: tuple[Any, ...]) -> Tensor:
        """The gradient of input, in its dtype."""
        return _backward(self._problem(args), grad)

    def backward_of(self, index: int, grad: Tensor, args: tuple[Any, ...]) -> Tensor:
        """The gradient of the target: SSIM is that of the two images in the other order."""
        return _backward(_swapped(self._problem(args)), grad)

    def _problem(self, args: tuple[Any, ...]) -> Problem:
        input, target, mask, weights, sizes, border, c1, c2, luminance, reduce = args
        windows = axes_of(weights, sizes)
        margins = [size // 2 for size in sizes] if border == "valid" and mask is None else None
        renormalise = border == "renormalise"
        return _problem(input, target, mask, windows, margins, SSIM, renormalise, luminance, (c1, c2), reduce)


def _problem(
    input: Tensor, target: Tensor, mask: Tensor | None, windows: list[list[float]], margins: list[int] | None,
    kind: int, renormalise: bool, luminance: bool, constants: tuple[float, float], reduce: bool,
) -> Problem:  # fmt: skip
    batch, channels, *spatial = input.shape
    missing = 3 - len(spatial)
    shared = 1
    if mask is not None:
        shared = channels if mask.shape[1] == 1 else 1
        mask = mask.detach().expand(batch, mask.shape[1], *spatial).contiguous()
        mask = mask.view(torch.uint8) if mask.dtype == torch.bool else mask
    return Problem(
        input.detach().contiguous(), target.detach().contiguous(), mask, shared,
        (1,) * missing + tuple(spatial), ((1.0,),) * missing + tuple(map(tuple, windows)),
        (0,) * missing + tuple(margins or [0] * len(spatial)), kind, renormalise, luminance, constants,
        accumulation_dtype(input), reduce,
    )  # fmt: skip


def _swapped(problem: Problem) -> Problem:
    return problem._replace(input=problem.target, target=problem.input)


def _forward(problem: Problem) -> Tensor:
    from medloss.ops.local_moments import walk

    return walk.forward(problem)


def _backward(problem: Problem, grad: Tensor) -> Tensor:
    from medloss.ops.local_moments import walk

    return walk.backward(problem, grad)
