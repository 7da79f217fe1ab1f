"""The GPU path of the statistics of windows."""

from __future__ import annotations

from torch import Tensor

from medloss.ops import triton_path
from medloss.ops.dispatch import KeepingPath
from medloss.ops.local_moments import volumes
from medloss.ops.local_moments.arguments import Arguments, misfits
from medloss.ops.local_moments.problem import problem_of


class TritonWindows(KeepingPath[Arguments], triton_path.TritonPath[Arguments]):
    """All of them: what is kept for the gradient is the level of each volume."""

    differentiable = ("input", "target")

    def unfit(self, args: Arguments) -> list[str]:
        """Why the kernels cannot take these arguments; empty where they can."""
        return misfits(args)

    def forward_keeping(self, args: Arguments) -> tuple[Tensor, tuple[Tensor, ...]]:
        """The map or its sums, and the level of each volume."""
        result, level = volumes.forward(problem_of(args))
        return result, (level,)

    def backward(self, grad: Tensor, args: Arguments) -> Tensor:
        """The gradient of input, in its dtype."""
        return volumes.backward(problem_of(args), grad)

    def backward_from(self, kept: tuple[Tensor, ...], grad: Tensor, args: Arguments) -> Tensor:
        """The same, by the levels of the forward pass."""
        return volumes.backward(problem_of(args), grad, *kept)

    def backward_of(self, name: str, grad: Tensor, args: Arguments) -> Tensor:
        """The gradient of the target: each statistic is that of the two images in the other order."""
        problem = problem_of(args)
        return volumes.backward(problem._replace(input=problem.target, target=problem.input), grad)
