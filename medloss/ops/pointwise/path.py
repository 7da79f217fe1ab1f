"""A path of ``pointwise``: one kernel for two images, another one for logits and labels."""

from __future__ import annotations

from torch import Tensor

from medloss.ops.dispatch import FastPath
from medloss.ops.pointwise.reference import COMPARISONS, Arguments


class PointwisePath(FastPath[Arguments]):
    """The path of the penalty's kind.

    Args:
        residuals: compares two images.
        likelihoods: compares logits with labels.
    """

    def __init__(self, residuals: FastPath[Arguments], likelihoods: FastPath[Arguments]) -> None:
        self.name, self._residuals, self._likelihoods = residuals.name, residuals, likelihoods

    def _of(self, args: Arguments) -> FastPath[Arguments]:
        return self._residuals if args.penalty in COMPARISONS else self._likelihoods

    def reasons(self, args: Arguments, needs: tuple[str, ...] | None = None) -> list[str]:
        """Why the kernel cannot serve; empty where it can."""
        return self._of(args).reasons(args, needs)

    def forward(self, args: Arguments) -> Tensor:
        """The map or its sums."""
        return self._of(args).forward(args)

    def backward(self, grad: Tensor, args: Arguments) -> Tensor:
        """The gradient of input."""
        return self._of(args).backward(grad, args)

    def backward_of(self, name: str, grad: Tensor, args: Arguments) -> Tensor:
        """The gradient of the target of a comparison."""
        return self._of(args).backward_of(name, grad, args)
