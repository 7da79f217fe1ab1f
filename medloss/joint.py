"""Sums of losses: raw values by name, weighted terms, their sum. Losses that look at voxels alike share one sweep."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar, cast

from torch import Tensor, nn

from medloss import checks
from medloss.base import LabelLoss, Term, compute_region_sums
from medloss.labels import view_labels
from medloss.options import options
from medloss.reduction import times

Part = TypeVar("Part", bound=LabelLoss)


def weighted(raw: Mapping[str, Tensor], weights: Mapping[str, float]) -> dict[str, Term]:
    """Each term by name: raw, weight, and weight times raw."""
    return {name: Term(value, weights[name], times(weights[name], value)) for name, value in raw.items()}


def total(terms: Iterable[Term]) -> Tensor:
    """The sum of at least one term."""
    first, *others = [term.value for term in terms]
    return sum(others, start=first)


def raw_values(
    losses: Mapping[str, nn.Module], *args: Any, own: Mapping[str, Mapping[str, Any]] | None = None, **kwargs: Any
) -> dict[str, Tensor]:
    """The value of each loss of the same arguments; label losses that look at them alike share one sweep.

    ``own`` has further arguments of single losses, by name; losses that share a sweep take none.
    """
    raw: dict[str, Tensor] = {}
    for names in _groups(losses):
        group: list[Any] = [losses[name] for name in names]
        if len(group) == 1:
            raw[names[0]] = group[0](*args, **kwargs, **(own or {}).get(names[0], {}))
            continue
        told: dict[str, Any] = kwargs | group[0].sweep
        view = view_labels(*args, **told)
        sums = compute_region_sums(view, group)
        raw |= {name: loss.evaluate(view, sums) for name, loss in zip(names, group)}
    return {name: raw[name] for name in losses}


def _groups(losses: Mapping[str, nn.Module]) -> list[list[str]]:
    """The names of losses that share a sweep, together."""
    groups: list[list[str]] = []
    for name, loss in losses.items():
        home = next((group for group in groups if _alike(losses[group[0]], loss)), None)
        if home is None:
            groups.append([name])
        else:
            home.append(name)
    return groups


def _alike(one: nn.Module, other: nn.Module) -> bool:
    """Whether two losses can be evaluated from one sweep."""
    if not isinstance(one, LabelLoss) or not isinstance(other, LabelLoss):
        return False
    simple = type(one).forward is LabelLoss.forward and type(other).forward is LabelLoss.forward
    return simple and one.sweep == other.sweep and getattr(one, "gamma", None) == getattr(other, "gamma", None)


class SumOfLosses(LabelLoss):
    """A weighted sum of label losses with common options and named terms.

    A subclass names its parts by :meth:`_compose` in ``__post_init__``. ``reduction`` is ``"mean"`` or ``"sum"``, as
    the parts have values of unlike shapes.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.choice("reduction", self.reduction, ("mean", "sum"))

    def _part(self, kind: type[Part], **changes: Any) -> Part:
        """A loss with the options that it shares with this one."""
        common = {name: getattr(self, name) for name in options(kind) if name in options(self)}
        return kind(**(common | changes))

    def _compose(self, parts: dict[str, tuple[float, LabelLoss]]) -> None:
        for name, (weight, _) in parts.items():
            checks.at_least(f"weight of {name}", weight, 0)
        self._weights = {name: float(weight) for name, (weight, _) in parts.items()}
        # a ModuleDict, to which a type checker knows no kind of module
        self._parts = cast("dict[str, LabelLoss]", nn.ModuleDict({name: loss for name, (_, loss) in parts.items()}))

    def _raw(self, input: Tensor, target: Tensor, mask: Tensor | None) -> dict[str, Tensor]:
        """The value of each part."""
        return raw_values(self._parts, input, target, mask)

    def terms(self, input: Tensor, target: Tensor, mask: Tensor | None = None) -> dict[str, Term]:
        """Each term by name: raw, weight, and weight times raw."""
        return weighted(self._raw(input, target, mask), self._weights)

    def forward(self, input: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        """The sum of the weighted terms."""
        return total(self.terms(input, target, mask).values())
