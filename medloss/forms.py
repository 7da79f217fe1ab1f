"""The formula of a region loss, read: a quotient of linear forms of each region's sums, or none.

``finalise`` is arithmetic on the sums. Given symbols in place of numbers, it says itself whether it is such a quotient:
the formula stands once, for the torch that can be differentiated any number of times and for the kernel that does it
in one step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from torch import Tensor

from medloss.ops import COLUMNS, share_sums
from medloss.sums import RegionSums


class Symbol:
    """Something that is added and multiplied, and never looked at."""

    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        raise TypeError("a symbol cannot be compared")

    def __bool__(self) -> bool:
        raise TypeError("a symbol is neither true nor false")

    def __radd__(self, other: Any) -> Any:
        return self + other

    def __sub__(self, other: Any) -> Any:
        return self + -1 * other

    def __rsub__(self, other: Any) -> Any:
        return -1 * self + other

    def __rmul__(self, other: Any) -> Any:
        return self * other

    def __neg__(self) -> Any:
        return -1 * self


class Linear(Symbol):
    """A linear form of the columns, and a constant."""

    def __init__(self, coefficients: Mapping[int, float], constant: float = 0.0) -> None:
        self.coefficients, self.constant = coefficients, constant

    def __add__(self, other: Any) -> Any:
        if isinstance(other, (int, float)):
            return Linear(self.coefficients, self.constant + other)
        if not isinstance(other, Linear):
            return NotImplemented
        sums = dict(self.coefficients)
        for column, value in other.coefficients.items():
            sums[column] = sums.get(column, 0.0) + value
        return Linear(sums, self.constant + other.constant)

    def __mul__(self, other: Any) -> Any:
        if not isinstance(other, (int, float)):
            return NotImplemented
        return Linear({column: value * other for column, value in self.coefficients.items()}, self.constant * other)

    def __truediv__(self, other: Any) -> Any:
        if isinstance(other, Linear):
            return Quotient(self, other)
        return self * (1 / other) if isinstance(other, (int, float)) else NotImplemented

    def numbers(self) -> list[float]:
        """The coefficient of each column."""
        found = [0.0] * COLUMNS
        for column, value in self.coefficients.items():
            found[int(column)] = value  # a compiler cannot index by an enumeration
        return found


class Quotient(Symbol):
    """A linear form over another, and a constant."""

    def __init__(self, above: Linear, below: Linear, offset: float = 0.0) -> None:
        self.above, self.below, self.offset = above, below, offset

    def __add__(self, other: Any) -> Any:
        if not isinstance(other, (int, float)):
            return NotImplemented
        return Quotient(self.above, self.below, self.offset + other)

    def __mul__(self, other: Any) -> Any:
        if not isinstance(other, (int, float)):
            return NotImplemented
        return Quotient(self.above * other, self.below, self.offset * other)

    def __truediv__(self, other: Any) -> Any:
        return self * (1 / other) if isinstance(other, (int, float)) else NotImplemented

    def numbers(self) -> list[float]:
        """As ``region_loss`` takes them, but for the weight of the term."""
        return [self.offset, self.above.constant, self.below.constant, *self.above.numbers(), *self.below.numbers()]


class _Columns:
    """Columns that are symbols."""

    def select(self, _: int, column: int) -> Linear:
        return Linear({column: 1.0})

    def detach(self) -> _Columns:
        return self


def read(finalise: Any) -> Quotient | None:
    """The quotient that a formula is; None where it is something else."""
    try:
        found = finalise(RegionSums(cast(Tensor, _Columns())))
    except (TypeError, AttributeError):  # it did to a symbol what cannot be done to one
        return None
    return found if isinstance(found, Quotient) else None


def read_once(loss: Any) -> list[float] | None:
    """The numbers of a loss's ``finalise`` where it is a quotient, read once for the options that the loss has now.

    To read it takes a twentieth of a step on 16^3 voxels. A class of somebody else is read at each call: its formula
    may look at more than options.
    """
    known = vars(loss).get("_formula")
    if known is not None and known[0] is loss._given:
        return known[1]
    found = read(loss.finalise)
    numbers = None if found is None else found.numbers()
    if type(loss).__module__.startswith("medloss."):
        vars(loss)["_formula"] = loss._given, numbers
    return numbers


@dataclass(frozen=True)
class RegionForm:
    """A quotient of each region, as ``region_loss`` takes it: its numbers without the weight of the term."""

    quotient: Sequence[float]
    factors: Tensor | None
    first: int
    joined: bool
    skip: bool

    def options(self, weight: float) -> dict[str, Any]:
        """What ``region_loss`` is told of it, as a term of this weight."""
        numbers = [weight, *self.quotient]
        return {
            "quotient": numbers, "factors": self.factors, "first": self.first, "joined": self.joined, "skip": self.skip,
        }  # fmt: skip


@dataclass(frozen=True)
class Share:
    """One linear form of all columns over another, both over the classes from ``first`` on.

    ``positive`` and ``negative`` are the factors of each class on what is true and what is false.
    """

    above: Mapping[int, float]
    below: Mapping[int, float]
    positive: Tensor | None
    negative: Tensor | None
    first: int

    def options(self, weight: float) -> dict[str, Any]:
        """What ``region_loss`` is told of it, as a term of this weight."""
        return {
            "share": self._numbers(weight), "positive": self.positive, "negative": self.negative,
            "share_first": self.first,
        }  # fmt: skip

    def _numbers(self, weight: float) -> list[float]:
        return [weight, *Linear(self.above).numbers(), *Linear(self.below).numbers()]

    def sums(self, sums: RegionSums) -> tuple[Tensor, Tensor]:
        """Both forms of sums that begin with the class ``first``."""
        return share_sums(sums.column, self._numbers(1.0), self.positive, self.negative, self.first)
