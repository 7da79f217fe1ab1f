"""Sums of label losses that look at the voxels in ways of their own."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from medloss import checks
from medloss.base import LabelLoss, Term
from medloss.ops.masking import accumulation_dtype
from medloss.reduction import times
from medloss.segmentation.compound import Part, part_of


class Mixture(LabelLoss):
    """A weighted sum of label losses with common options and named terms, each with a look of its own at the voxels.

    A subclass names its parts in ``__post_init__``. ``reduction`` is ``"mean"`` or ``"sum"``, as the parts have values
    of unlike shapes.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.choice("reduction", self.reduction, ("mean", "sum"))

    def _part(self, kind: type[Part], **changes: Any) -> Part:
        """A loss with the options that it shares with this one."""
        return part_of(self, kind, **changes)

    def _mix(self, parts: dict[str, tuple[float, LabelLoss]]) -> None:
        self._shares = {name: float(share) for name, (share, _) in parts.items()}
        self._parts = nn.ModuleDict({name: loss for name, (_, loss) in parts.items()})

    def terms(self, input: Tensor, target: Tensor, mask: Tensor | None = None) -> dict[str, Term]:
        """Each term by name: raw, weight, and weight times raw."""
        input = checks.image_like("input", input)
        input = input.to(accumulation_dtype(input))  # the gradients of the parts are added in this precision
        raw = {name: part(input, target, mask) for name, part in self._parts.items()}
        return {name: Term(value, self._shares[name], times(self._shares[name], value)) for name, value in raw.items()}

    def forward(self, input: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        """The sum of the weighted terms."""
        values = [term.value for term in self.terms(input, target, mask).values()]
        return sum(values[1:], start=values[0])
