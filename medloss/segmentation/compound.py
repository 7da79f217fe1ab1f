"""Sums of label losses that look at the voxels once."""

from __future__ import annotations

from typing import Any, TypeVar, cast

from torch import Tensor, nn

from medloss import checks
from medloss.base import LabelLoss, RegionLoss, Term, compute_region_sums, fused_loss
from medloss.labels import LabelView, view_labels
from medloss.options import options
from medloss.reduction import times
from medloss.sums import RegionSums

Part = TypeVar("Part", bound=LabelLoss)


def part_of(whole: LabelLoss, kind: type[Part], **changes: Any) -> Part:
    """A loss with the options that it shares with another one."""
    common = {name: getattr(whole, name) for name in options(kind) if name in options(whole)}
    return kind(**(common | changes))


class CompoundLoss(RegionLoss):
    """A weighted sum of label losses with common options: one view, one sweep, named terms.

    A subclass makes its parts in ``__post_init__``. ``reduction`` is ``"mean"`` or ``"sum"``, as the parts have values
    of unlike shapes.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.choice("reduction", self.reduction, ("mean", "sum"))
        if self.activation == "none":
            raise ValueError(f"{type(self).__name__} needs logits: pass softmax=True or sigmoid=True")

    def _part(self, kind: type[Part], **changes: Any) -> Part:
        """A loss with the options that it shares with this one."""
        return part_of(self, kind, **changes)

    def _compose(self, parts: dict[str, tuple[float, LabelLoss]]) -> None:
        for name, (weight, _) in parts.items():
            checks.at_least(f"weight of {name}", weight, 0)
        self._weights = {name: float(weight) for name, (weight, _) in parts.items()}
        # a ModuleDict, to which a type checker knows no kind of module
        self._parts = cast("dict[str, LabelLoss]", nn.ModuleDict({name: loss for name, (_, loss) in parts.items()}))

    def terms(self, input: Tensor, target: Tensor, mask: Tensor | None = None) -> dict[str, Term]:
        """Each term by name: raw, weight, and weight times raw."""
        return self._terms(view_labels(input, target, mask, **self.sweep))

    def _terms(self, view: LabelView) -> dict[str, Term]:
        sums = self._sums(view)
        raw = {name: part.evaluate(view, sums) for name, part in self._parts.items()}
        weights = self._weights
        return {name: Term(value, weights[name], times(weights[name], value)) for name, value in raw.items()}

    def _sums(self, view: LabelView) -> RegionSums:
        """What the parts share of the voxels."""
        return compute_region_sums(view, list(self._parts.values()))

    def forward(self, input: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        """The sum of the weighted terms."""
        view = view_labels(input, target, mask, **self.sweep)
        value = fused_loss(view, [(self._weights[name], part) for name, part in self._parts.items()])
        if value is not None:
            return value
        values = [term.value for term in self._terms(view).values()]
        return sum(values[1:], start=values[0])
