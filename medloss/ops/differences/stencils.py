"""Energies as terms of weighted differences of pairs of voxels: what the Triton kernels are made of."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NamedTuple

Offset = tuple[int, ...]
Voxel = tuple[Offset, int]
"""Where it lies from the centre of a stencil, and its component."""


class Pair(NamedTuple):
    """A weighted difference of two voxels of a component."""

    ahead: Offset
    behind: Offset
    weight: float = 1.0
    component: int = 0


class Term(NamedTuple):
    """A factor, and the pairs whose sum is squared."""

    factor: float
    pairs: list[Pair]


def taps_of(term: Term) -> dict[Voxel, float]:
    """Each voxel that a term touches, and its weight."""
    found: dict[Voxel, float] = {}
    for pair in term.pairs:
        for offset, weight in ((pair.ahead, pair.weight), (pair.behind, -pair.weight)):
            found[offset, pair.component] = found.get((offset, pair.component), 0.0) + weight
    return found


def voxels_of(terms: list[Term]) -> list[Voxel]:
    """Each voxel that any term touches, once."""
    return list(dict.fromkeys(voxel for term in terms for voxel in taps_of(term)))


def composed(terms: list[Term]) -> dict[Offset, float]:
    """The gradient of the sum of all squares, of one component, as one stencil.

    The derivative of a squared term by a voxel is twice the term's sum, by the weight of that voxel in it; the sum is
    over all centres whose stencil touches the voxel. Weights that cancel stay: a NaN there is one of the gradient.
    """
    found: dict[Offset, float] = {}
    for term in terms:
        taps = taps_of(term)
        for (own, _), weight in taps.items():
            for (other, _), share in taps.items():
                away = tuple(b - a for a, b in zip(own, other))
                found[away] = found.get(away, 0.0) + 2 * term.factor * weight * share
    return found


def terms_of(
    energy: str, stencil: str, axis_scale: Sequence[float], component_scale: Sequence[float], lame: Sequence[float]
) -> list[Term]:
    """The terms of an energy, whose definitions are in :func:`medloss.ops.differences.differences`."""
    rank, axes = len(axis_scale), [axis for axis, scale in enumerate(axis_scale) if scale]
    low, high = (-1, 1) if stencil == "central" else (0, 1)
    step, zero = 2 if stencil == "wide" else 1, (0,) * rank

    def at(moves: dict[int, int]) -> Offset:
        return tuple(moves.get(axis, 0) for axis in range(rank))

    def first(axis: int, weight: float = 1.0, component: int = 0) -> Pair:
        return Pair(at({axis: high}), at({axis: low}), weight, component)

    def second(axis: int, weight: float = 1.0) -> list[Pair]:
        return [Pair(at({axis: move}), zero, weight) for move in (step, -step)]

    rates = [scale / (high - low) for scale in axis_scale]
    bends = [(scale / step) ** 2 for scale in axis_scale]
    if energy in ("diffusion", "variation"):
        return [Term(rates[axis] ** 2 if energy == "diffusion" else abs(rates[axis]), [first(axis)]) for axis in axes]
    if energy == "curvature":
        return [Term(1.0, [pair for axis in axes for pair in second(axis, bends[axis])])]
    if energy == "bending":
        terms = [Term(bends[axis] ** 2, second(axis)) for axis in axes]
        for i, j in itertools.combinations(axes, 2):
            twist = [Pair(at({i: by, j: 1}), at({i: by, j: -1}), by) for by in (1, -1)]
            terms.append(Term(2 * (axis_scale[i] * axis_scale[j] / 4) ** 2, twist))
        return terms
    slopes = [[first(j, rates[j] * component_scale[k], k) for k in range(rank)] for j in range(rank)]
    terms = [Term(lame[0] / 2, [slopes[j][j] for j in range(rank)])]
    terms += [Term(lame[1], [slopes[j][j]]) for j in range(rank)]
    pairs = itertools.combinations(range(rank), 2)
    return terms + [Term(lame[1] / 2, [slopes[j][k], slopes[k][j]]) for j, k in pairs]
