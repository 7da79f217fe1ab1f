"""The GPU paths of the statistics of windows: say what the kernels can take, and what they are to do."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from medloss.ops import triton_path
from medloss.ops.dispatch import KeepingPath
from medloss.ops.local_moments import volumes
from medloss.ops.local_moments.problem import Problem, problem_of
from medloss.ops.local_moments.ssim_reference import reach_of, split
from medloss.ops.local_moments.windows import CORRELATION, ERROR, SIGNED, SSIM, STRUCTURE, axes_of, window_misfits


class _TritonWindows(KeepingPath):
    """What the paths share: each says what its problem is."""

    name = "triton"

    def forward_keeping(self, args: tuple[Any, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
        """The same, and the level of each volume."""
        result, level = volumes.forward(self._problem(args))
        return result, (level,)

    def backward(self, grad: Tensor, args: tuple[Any, ...]) -> Tensor:
        """The gradient of input, in its dtype."""
        return volumes.backward(self._problem(args), grad)

    def backward_from(self, kept: tuple[Tensor, ...], grad: Tensor, args: tuple[Any, ...]) -> Tensor:
        """The same, by the levels of the forward pass."""
        return volumes.backward(self._problem(args), grad, *kept)

    def backward_of(self, index: int, grad: Tensor, args: tuple[Any, ...]) -> Tensor:
        """The gradient of the target: each statistic is that of the two images in the other order."""
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
        return problem_of(args, scales, border, CORRELATION, (smooth_nr, smooth_dr), reduce)


class TritonLocalCorrelation(TritonLocalMoments):
    """The correlation with its sign."""

    def _problem(self, args: tuple[Any, ...]) -> Problem:
        input, _, _, window, renormalise, smooth_dr, reduce = args
        scales = [[list(window)] * (input.ndim - 2)]
        return problem_of(args, scales, "renormalise" if renormalise else "zero", SIGNED, (0.0, smooth_dr), reduce)


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
        return problem_of(args, scales, border, SSIM if luminance else STRUCTURE, (c1, c2), reduce)


class TritonLocalError(TritonLocalSSIM):
    """The mean absolute difference."""

    def _problem(self, args: tuple[Any, ...]) -> Problem:
        input, _, _, weights, sizes, border, reduce = args
        return problem_of(args, split(weights, sizes, input.ndim - 2), border, ERROR, (0.0, 0.0), reduce)
