"""The penalties that ``pointwise`` knows: rows of two tables, not files."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from medloss.ops.region_sums.reference import likelihoods, modulators, weighted

RESIDUAL: dict[str, Callable[[Tensor], Tensor]] = {
    "squared": lambda r: r * r,
    "absolute": lambda r: r.abs(),
}
"""Penalties of the residual ``input - target``."""


def likelihood_map(
    logits: Tensor, t: Tensor, activation: str, gamma: float, positive: Tensor | None, negative: Tensor | None
) -> Tensor:
    """Per class and voxel: the likelihood term, times ``(1 - q)**gamma``, with factors on its true and false part."""
    p, true, false = likelihoods(logits, activation)
    true_factor, false_factor = modulators(p, t, true, activation, gamma)
    return _scaled(weighted(t, true_factor * true), positive) + _scaled(weighted(1 - t, false_factor * false), negative)


def _scaled(term: Tensor, factor: Tensor | None) -> Tensor:
    return term if factor is None else term * factor.to(term.dtype).view(1, -1, *[1] * (term.ndim - 2))
