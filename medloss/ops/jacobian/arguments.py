"""What the Jacobian's operators and ``hyperelastic`` are given, and what each asks of the kernels that all share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor

from medloss.ops.differences.reference import interior_sizes


class Call(NamedTuple):
    """What the operators ask of the kernels, each from its own arguments."""

    mode: str
    field: Tensor
    mask: Tensor | None
    stencil: str
    axis_scale: Sequence[float]
    border: str
    reduce: bool = False
    floor: float = 1.0
    prices: Sequence[float] = (0.0, 0.0, 0.0)

    def inner(self) -> list[int]:
        """How many stencils there are along each axis."""
        return interior_sizes(self.field, self.stencil, self.axis_scale, self.border)

    def misfits(self) -> list[str]:
        """Why no kernel can take the call; empty where one can."""
        field, mask, found = self.field, self.mask, []
        if not 3 <= field.ndim <= 5 or field.shape[1] != field.ndim - 2:
            found.append("the kernel takes one component for each of 1 to 3 axes")
        elif not all(self.axis_scale):
            found.append("an axis is not differentiated")
        elif min(self.inner()) < 1 or field.numel() == 0:
            found.append("no stencil lies inside")
        if mask is not None and (mask.shape[2:] != field.shape[2:] or mask.shape[0] not in (1, field.shape[0])):
            found.append("the mask does not fit the field")
        return found


class DeterminantArguments(NamedTuple):
    """What ``jacobian_determinant`` is given."""

    field: Tensor
    mask: Tensor | None
    stencil: str
    axis_scale: list[float]
    border: str

    def call(self) -> Call:
        """The determinants of each simplex."""
        return Call("determinant", self.field, self.mask, self.stencil, self.axis_scale, self.border)


class PenaltyArguments(NamedTuple):
    """What ``jacobian_penalty`` is given."""

    field: Tensor
    mask: Tensor | None
    penalty: str
    floor: float
    stencil: str
    axis_scale: list[float]
    border: str
    reduce: bool

    def call(self) -> Call:
        """What the determinants cost."""
        of_field = (self.field, self.mask, self.stencil, self.axis_scale, self.border)
        return Call(self.penalty, *of_field, self.reduce, self.floor)


class HyperelasticArguments(NamedTuple):
    """What ``hyperelastic`` is given."""

    field: Tensor
    mask: Tensor | None
    prices: list[float]
    floor: float
    stencil: str
    axis_scale: list[float]
    border: str
    reduce: bool

    def call(self) -> Call:
        """What lengths, areas and volumes cost."""
        of_field = (self.field, self.mask, self.stencil, self.axis_scale, self.border)
        return Call("hyperelastic", *of_field, self.reduce, self.floor, self.prices)


Arguments = DeterminantArguments | PenaltyArguments | HyperelasticArguments
"""What a path of all of them is given."""
