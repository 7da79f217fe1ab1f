"""The penalties that ``pointwise`` knows: rows of tables, not files."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from medloss.ops.probabilities import finite, likelihoods
from medloss.ops.region_sums.reference import modulator, weighted

RESIDUAL: dict[str, Callable[[Tensor, float], Tensor]] = {
    "squared": lambda r, _: r * r,
    "absolute": lambda r, _: r.abs(),
    "huber": lambda r, delta: _up_to(r, delta) * (r - _up_to(r, delta) / 2),
    "charbonnier": lambda r, _: r * (r / (torch.hypot(r, torch.ones_like(r)) + 1)),
    "cauchy": lambda r, _: torch.log1p(r * r / 2),
    "geman_mcclure": lambda r, _: 2 * r * r / (r * r + 4),
    "welsch": lambda r, _: -torch.expm1(-(_up_to(r, 40.0) ** 2) / 2),  # flat from there on; of infinity, too
    "general": lambda r, alpha: _general(r, alpha),
    "tukey": lambda r, _: _biweight(_up_to(r, 1.0) ** 2),
}
"""Penalties of the residual ``(input - target) / scale``, with a shape parameter; a small residual keeps its digits."""


def _biweight(x: Tensor) -> Tensor:
    """(1 - (1 - x)^3) / 6 of a square x up to 1."""
    return x * (3 - x * (3 - x)) / 6


def _up_to(r: Tensor, delta: float) -> Tensor:
    return r.clamp(-delta, delta)


def _general(r: Tensor, alpha: float) -> Tensor:
    """|alpha - 2| / alpha ((r^2 / |alpha - 2| + 1)^(alpha / 2) - 1), and its limits at 2, 0 and minus infinity."""
    if alpha == 2:
        return r * r / 2
    if alpha == 0:
        return RESIDUAL["cauchy"](r, alpha)
    if math.isinf(alpha):
        return RESIDUAL["welsch"](r, alpha)
    width = abs(alpha - 2)
    r = _up_to(r, 1e15) if alpha < 0 else r  # flat at infinity
    return width / alpha * torch.expm1(alpha / 2 * torch.log1p(r * r / width))


DIVERGENCE: dict[str, Callable[[Tensor, Tensor, float], Tensor]] = {
    "kullback_leibler": lambda p, t, eps: _relative_entropy(t, p, eps),
    "jensen_shannon": lambda p, t, eps: (
        _relative_entropy(p, (p + t) / 2, eps) / 2 + _relative_entropy(t, (p + t) / 2, eps) / 2
    ),
}
"""Divergences of a distribution t from a predicted one p, per voxel; eps is added inside the logarithm."""


def _relative_entropy(p: Tensor, q: Tensor, eps: float) -> Tensor:
    """p log((p + eps) / (q + eps)), and 0 where p is 0."""
    some = p != 0  # not above: a negative entry is a fault that shows as NaN
    p, q = (torch.where(some, z, torch.ones_like(z)) for z in (p, q))
    return torch.where(some, p * ((p + eps).log() - (q + eps).log()), torch.zeros_like(p))


LIKELIHOOD: dict[str, Callable[[Tensor, float], Tensor]] = {
    "poly": lambda nll, epsilon: nll - epsilon * torch.expm1(-nll),
    "power": lambda nll, q: _up_to_one(q * nll) / q,
}
"""Penalties of minus the log-likelihood of what is true; written before an activation: ``"poly_softmax"``."""

LOGITS: dict[str, Callable[[Tensor, Tensor, float], Tensor]] = {
    "margin": lambda z, t, margin: _behind(finite(z), margin),
    "reverse_softmax": lambda z, t, most: likelihoods(z, "softmax").p * -t.clamp_min(math.exp(-most)).log(),
}
"""Penalties of the logits that have no true and false part."""

SMOOTHED = "smoothed_sigmoid"
"""The sigmoid's likelihood of labels that gamma of the others is mixed into."""


def _up_to_one(x: Tensor) -> Tensor:
    """1 - exp(-x) of an x of at least 0, with the digits of a small one and the slope of a large one."""
    near = x < 1
    return torch.where(near, -torch.expm1(-torch.where(near, x, 0.0)), 1 - torch.exp(-x))


def _behind(z: Tensor, margin: float) -> Tensor:
    """How far each logit falls behind the largest, beyond a margin."""
    return torch.relu(z.amax(1, keepdim=True) - z - margin)


def likelihood_map(
    logits: Tensor, t: Tensor, penalty: str, gamma: float, positive: Tensor | None, negative: Tensor | None
) -> Tensor:
    """Per class and voxel: a penalty of the likelihood, with factors on its true and false part.

    A bare activation stands for the likelihood itself, times the focal ``(1 - q)**gamma``.
    """
    form, _, activation = penalty.rpartition("_")
    found = likelihoods(logits, activation)
    true, false = found.true, found.false
    if form in LIKELIHOOD:
        true, false = (LIKELIHOOD[form](nll, gamma) for nll in (true, false))
    elif penalty == SMOOTHED:
        t = gamma + (1 - 2 * gamma) * t
    else:
        factor = modulator(found, t, activation, gamma)
        true, false = factor * true, factor * false
    return _scaled(weighted(t, true), positive) + _scaled(weighted(1 - t, false), negative)


def _scaled(term: Tensor, factor: Tensor | None) -> Tensor:
    return term if factor is None else term * factor.to(term.dtype).view(1, -1, *[1] * (term.ndim - 2))
