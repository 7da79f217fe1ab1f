"""Which cases of the table meet which values: all of them, pairs of them, or a part by turns.

What one function does for many losses is tried in full with the first case that goes through it. Each other case meets
every value of every factor (:func:`pairwise`), or values that differ from case to case (:func:`by_turns`).
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import pytest
from cases import SHAPES, LossCase, cases

import medloss


def ranked(*kinds: str, cell: str, when: Callable[[LossCase], bool] = lambda case: True) -> list[Any]:
    """Every case with every rank that it takes: the arguments of ``parametrize("case,rank", ...)``."""
    return [
        pytest.param(case, rank, id=f"{case}-{rank}D")
        for rank in SHAPES
        for case in cases(*kinds, cell=cell, rank=rank, when=when)
    ]


def ranks_of(case: LossCase) -> list[int]:
    """The ranks that a case takes: an axis of :func:`pairwise`."""
    return [rank for rank in SHAPES if rank >= case.row.least]


def preparation(case: LossCase) -> tuple[Any, ...]:
    """What a loss shares with others: the functions that prepare its tensors and sum over their voxels."""
    cls = getattr(medloss, case.name)
    return (case.kind, *(getattr(cls, name, None) for name in ("forward", "evaluate", "_reduced", "look")))


def representatives(of: Iterable[LossCase]) -> list[LossCase]:
    """The first case of each :func:`preparation`: for dear cells in which what is held is held by what is shared."""
    found: dict[Any, LossCase] = {}
    for case in of:
        found.setdefault(preparation(case), case)
    return list(found.values())


def numbered(of: Iterable[LossCase]) -> list[tuple[LossCase, int]]:
    """Each case with its number among those of its :func:`preparation`: arguments of ``parametrize("case,number")``.

    For cells in which what is held is held by what is shared: a case whose number is 0 is held to all of it, another
    to a part that the number chooses.
    """
    found, numbers = [], Counter[Any]()
    for case in of:
        shared = preparation(case)
        found.append((case, numbers[shared]))
        numbers[shared] += 1
    return found


def combined(number: int, *axes: Sequence[Any]) -> list[tuple[Any, ...]]:
    """Combinations of values, one of each axis: all of them for number 0, and few for any other.

    The few hold every value of every axis. They are others for each number, so that after some numbers, as many as the
    axes have values, every pair has been held.

    >>> combined(1, "abc", "xy"), combined(2, "abc", "xy")
    ([('a', 'y'), ('b', 'x'), ('c', 'y')], [('a', 'x'), ('b', 'y'), ('c', 'x')])
    """
    if number == 0:
        return list(itertools.product(*axes))
    found, steps = [], [math.prod(map(len, axes[1:place])) for place in range(1, len(axes) + 1)]
    for at in range(max(map(len, axes))):
        shifts = [0, *(number // step for step in steps[:-1])]
        found.append(tuple(axis[(at + shift) % len(axis)] for axis, shift in zip(axes, shifts, strict=True)))
    return found


def pairwise(of: Iterable[LossCase], *axes: Sequence[Any] | Callable[[LossCase], Sequence[Any]]) -> list[Any]:
    """Cases with values of some axes: the arguments of ``parametrize("case,dtype,...", ...)``.

    The first case of each :func:`preparation` has all combinations. The others have few of them, in which each case
    meets every value, and each pair of values is met by some. For cells in which what is held is held by what is
    shared; an axis may be a function of the case.
    """
    found = []
    for case, number in numbered(of):
        known = [axis(case) if callable(axis) else axis for axis in axes]
        for values in combined(number, *known):
            told = "-".join(str(value).removeprefix("torch.") for value in values)
            found.append(pytest.param(case, *values, id=f"{case}-{told}"))
    return found


def by_turns(of: Iterable[LossCase], *parts: Sequence[Any]) -> list[Any]:
    """Cases with one value: the arguments of ``parametrize("case,value", ...)``.

    The first case of each :func:`preparation` meets the values of all parts, any other those of one of them by turns.
    """
    found = []
    for case, number in numbered(of):
        values = dict.fromkeys(itertools.chain(*parts)) if number == 0 else parts[number % len(parts)]
        found += [pytest.param(case, value, id=f"{case}-{value}") for value in values]
    return found
