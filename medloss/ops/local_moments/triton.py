"""The GPU paths of the statistics of windows: say what the kernels can take, and what they are to do."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from medloss.ops import triton_path
from medloss.ops.dispatch import KeepingPath
from medloss.ops.local_moments.ssim_reference import reach_of, split
from medloss.ops.local_moments.windows import CORRELATION, ERROR, SIGNED, SSIM, STRUCTURE, axes_of, window_misfits
from medloss.ops.voxels import accumulation_dtype

Windows = tuple[tuple[float, ...], tuple[float, ...], tuple[float, ...]]


class Problem(NamedTuple):
    """Images as volumes of planes, rows and columns, and what is asked of their windows."""

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


def placed(axes: list[Any], missing: Any) -> tuple[Any, Any, Any]:
    """What is said of each axis, as planes, rows and columns. Rows of a plane image are marched as planes are."""
    return {1: (missing, missing, axes[0]), 2: (axes[0], missing, axes[-1]), 3: tuple(axes)}[len(axes)]


def placed_back(axes: list[Any], rank: int) -> tuple[Any, ...]:
    """The axes that images have."""
    return {1: (axes[2],), 2: (axes[0], axes[2]), 3: tuple(axes)}[rank]


class _TritonWindows(KeepingPath):
    """What the paths share: each says what its problem is."""

    name = "triton"

    def forward_keeping(self, args: tuple[Any, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
        """The same, and the level of each volume."""
        from medloss.ops.local_moments import volumes

        result, level = volumes.forward(self._problem(args))
        return result, (level,)

    def backward(self, grad: Tensor, args: tuple[Any, ...]) -> Tensor:
        """The gradient of input, in its dtype."""
        from medloss.ops.local_moments import volumes

        return volumes.backward(self._problem(args), grad)

    def backward_from(self, kept: tuple[Tensor, ...], grad: Tensor, args: tuple[Any, ...]) -> Tensor:
        """The same, by the levels of the forward pass."""
        from medloss.ops.local_moments import volumes

        return volumes.backward(self._problem(args), grad, *kept)

    def backward_of(self, index: int, grad: Tensor, args: tuple[Any, ...]) -> Tensor:
        """The gradient of the target: each statistic is that of the two images in the other order."""
        from medloss.ops.local_moments import volumes

        problem = self._problem(args)
        return volumes.backward(problem._replace(input=problem.target, target=problem.input), grad)

    def _problem(self, args: tuple[Any, ...]) -> Problem:
        raise NotImplementedError


class TritonLocalMoments(_TritonWindows):
    """The squared correlation."""

    def reasons(self, args: tuple[Any, ...], needs: tuple[bool, ...] | None = None) -> list[str]:
        """Why the kernels cannot serve; empty where they can."""
        return triton_path.reasons(args[0]) + window_misfits(args[0], [list(args[3])], needs)

    def _problem(self, args: tuple[Any, ...]) -> Problem:
        input, _, _, window, renormalise, smooth_nr, smooth_dr, reduce = args
        scales = [[list(window)] * (input.ndim - 2)]
        border = "renormalise" if renormalise else "zero"
        return _problem(args, scales, border, CORRELATION, (smooth_nr, smooth_dr), reduce)


class TritonLocalCorrelation(TritonLocalMoments):
    """The correlation with its sign."""

    def _problem(self, args: tuple[Any, ...]) -> Problem:
        input, _, _, window, renormalise, smooth_dr, reduce = args
        scales = [[list(window)] * (input.ndim - 2)]
        return _problem(args, scales, "renormalise" if renormalise else "zero", SIGNED, (0.0, smooth_dr), reduce)


class TritonLocalSSIM(_TritonWindows):
    """SSIM, of one window or as a product."""

    def reasons(self, args: tuple[Any, ...], needs: tuple[bool, ...] | None = None) -> list[str]:
        """Why the kernels cannot serve; empty where they can."""
        input, _, mask, weights, sizes, border, *_ = args
        found = triton_path.reasons(input) + window_misfits(input, axes_of(weights, sizes), needs)
        reach = reach_of(split(weights, sizes, input.ndim - 2))
        if mask is None and border == "reflect" and any(by >= size for by, size in zip(reach, input.shape[2:])):
            found.append(f"windows that reach {reach} voxels mirror more than there is of {tuple(input.shape[2:])}")
        return found

    def _problem(self, args: tuple[Any, ...]) -> Problem:
        input, _, _, weights, sizes, border, c1, c2, luminance, reduce = args
        scales = split(weights, sizes, input.ndim - 2)
        return _problem(args, scales, border, SSIM if luminance else STRUCTURE, (c1, c2), reduce)


class TritonLocalError(TritonLocalSSIM):
    """The mean absolute difference."""

    def _problem(self, args: tuple[Any, ...]) -> Problem:
        input, _, _, weights, sizes, border, reduce = args
        return _problem(args, split(weights, sizes, input.ndim - 2), border, ERROR, (0.0, 0.0), reduce)


def _problem(
    args: tuple[Any, ...], scales: list[list[list[float]]], border: str, kind: int, constants: tuple[float, float],
    reduce: bool,
) -> Problem:  # fmt: skip
    input, target, mask = args[:3]
    batch, channels, *spatial = input.shape
    shared, margins = 1, [0] * len(spatial)
    if mask is not None:
        shared = channels if mask.shape[1] == 1 else 1
        mask = mask.detach().expand(batch, mask.shape[1], *spatial).contiguous()
        mask = mask.view(torch.uint8) if mask.dtype == torch.bool else mask
        border = "renormalise"
    if border == "valid":
        margins = reach_of(scales)
    return Problem(
        input.detach().contiguous(), target.detach().contiguous(), mask, shared, placed(spatial, 1),
        tuple(placed([tuple(window) for window in scale], (1.0,)) for scale in scales), placed(margins, 0), kind,
        border == "renormalise", border == "reflect", constants, accumulation_dtype(input), reduce,
    )  # fmt: skip
