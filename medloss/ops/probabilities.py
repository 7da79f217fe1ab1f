"""Softmax and sigmoid in plain torch whose results and gradients keep their digits where one class is certain.

``1 - p`` of a class that is nearly certain has no digits left in float32, and neither has ``p (s - sum p s)``, the
gradient of a softmax. Here every logit is measured from the largest one: the complement of the most probable class is
the sum of the others, and what autograd makes of that subtracts nothing that is nearly equal.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from medloss.ops.operator import transformed

FORBIDDEN = -1e4
"""What a logit of minus infinity, a forbidden class, is taken for."""


class Likelihoods(NamedTuple):
    """What losses want of logits, all of the logits' shape.

    Attributes:
        p: probabilities.
        q: 1 - p, as precise as p.
        true: minus the logarithm of p.
        false: minus the logarithm of 1 - p. Zeros for a softmax, unless it was asked for.
    """

    p: Tensor
    q: Tensor
    true: Tensor
    false: Tensor


def _raised(logits: Tensor) -> Tensor:
    """FORBIDDEN for minus infinity; ten times as fast on a CPU as a comparison and ``torch.where``."""
    return torch.nan_to_num(logits, nan=torch.nan, posinf=torch.inf, neginf=FORBIDDEN)


class _Floor(torch.autograd.Function):
    """A logit of minus infinity becomes finite; the gradient passes as if it had been."""

    generate_vmap_rule = True

    @staticmethod
    def forward(logits: Tensor) -> Tensor:
        return _raised(logits)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return grad

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor) -> Tensor:
        return tangent.clone()


def finite(logits: Tensor) -> Tensor:
    """The logits with :data:`FORBIDDEN` for minus infinity, which has no slope to compute with.

    >>> finite(torch.tensor([-torch.inf, 2.0])).tolist()
    [-10000.0, 2.0]
    """
    if torch.compiler.is_compiling():
        return torch.where(logits == -torch.inf, FORBIDDEN, logits)
    return _Floor.apply(logits)


def likelihoods(logits: Tensor, activation: str, both: bool = False) -> Likelihoods:
    """Probabilities and likelihoods of logits B C [spatial].

    Args:
        logits: B C [spatial]; probabilities where ``activation="none"``, which have no logarithms here.
        activation: ``"softmax"``, ``"sigmoid"`` or ``"none"``.
        both: minus the logarithm of 1 - p for a softmax too.

    >>> logits = torch.tensor([[[20.0], [0.0]]])
    >>> likelihoods(logits, "softmax").q  # e^-20 of the first class; 1 - p would be 0
    tensor([[[2.0612e-09],
             [1.0000e+00]]])
    """
    if activation == "softmax":
        return _of_softmax(finite(logits), both)
    if activation == "sigmoid":
        logits, logsigmoid = finite(logits), torch.nn.functional.logsigmoid
        p, q = logsigmoid(logits), logsigmoid(-logits)  # the slope of torch's own sigmoid is p (1 - p)
        return Likelihoods(p.exp(), q.exp(), -p, -q)
    nothing = torch.zeros_like(logits)
    return Likelihoods(logits, 1 - logits, nothing, nothing)


def largest(map: Tensor) -> Tensor:
    """The class of each voxel that has the most, B 1 [spatial], the first of several.

    On the CPU ``argmax`` along this axis takes ten times as long as ``max``, which tells the place beside the value.

    >>> largest(torch.tensor([[[0.2], [0.4], [0.4]]]))
    tensor([[[1]]])
    """
    return map.detach().max(1, keepdim=True).indices


def of_largest(values: Tensor, p: Tensor) -> Tensor:
    """The values of each voxel's most probable class, B 1 [spatial], the largest of several such classes.

    ``max`` with its places and ``gather`` take five times as long on a CPU, and so does a comparison: here every other
    class is taken down by more than any value is apart.

    >>> of_largest(torch.tensor([[[3.0], [1.0], [2.0]]]), torch.tensor([[[0.2], [0.4], [0.4]]]))
    tensor([[[2.]]])
    """
    behind = (p - p.amax(1, keepdim=True)).detach()
    return torch.add(values, behind, alpha=torch.finfo(p.dtype).max).amax(1, keepdim=True)


def _of_softmax(logits: Tensor, both: bool) -> Likelihoods:
    at = largest(logits)
    is_top = torch.zeros_like(logits, dtype=torch.bool).scatter(1, at, True)
    top = logits.gather(1, at)
    behind = logits - top + 0 * top.detach()  # beside an infinite one nothing is a number
    behind = torch.where(is_top, behind.detach(), behind)  # 0 without a slope, or NaN
    shares = behind.exp()
    odds = shares.masked_fill(is_top, 0)
    rest = odds.sum(1, keepdim=True)
    others = odds / (1 + rest)
    other = others.sum(1, keepdim=True)  # so that autograd takes the slope of the top from those of the others first
    p, q = torch.where(is_top, shares.detach() - other, others), torch.where(is_top, other, 1 - others)
    true = torch.log1p(rest) - behind
    if not both:
        return Likelihoods(p, q, true, torch.zeros_like(logits))
    # the others may be too small for their sum, not for its logarithm; beside one class there are none
    least = FORBIDDEN if logits.shape[1] == 1 else -torch.inf
    lost = torch.log1p(rest) - behind.masked_fill(is_top, least).logsumexp(1, keepdim=True)
    false = torch.where(is_top, lost, -torch.log1p(-others))
    return Likelihoods(p, q, true, false)


class _Softmax(torch.autograd.Function):
    """A softmax that keeps its result alone."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor) -> Tensor:
        p = torch.softmax(_raised(logits), 1)
        ctx.save_for_backward(p)
        return p

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (p,) = ctx.saved_tensors
        shares = (grad - of_largest(grad, p)).mul_(p)  # 0 for the most probable class
        return shares.addcmul_(p, shares.sum(1, keepdim=True), value=-1)


class _Sigmoid(torch.autograd.Function):
    """A sigmoid that keeps its logits alone."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor) -> Tensor:
        ctx.save_for_backward(logits)
        return torch.sigmoid(logits)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (logits,) = ctx.saved_tensors
        p, q = likelihoods(logits, "sigmoid")[:2]
        return grad * (p * q)


def probabilities(logits: Tensor, activation: str) -> Tensor:
    """The probabilities of :func:`likelihoods` with little kept for the backward pass; for maps of a whole volume."""
    if activation == "none":
        return logits
    if transformed() or torch.compiler.is_compiling():
        return likelihoods(logits, activation).p
    return (_Softmax if activation == "softmax" else _Sigmoid).apply(logits)


def complement(p: Tensor, logits: Tensor, activation: str) -> Tensor:
    """1 - p of the probabilities B C [spatial] of all classes, as precise as they are."""
    if activation == "sigmoid":
        return probabilities(-logits, activation)
    if activation == "none":
        return 1 - p
    is_top = torch.zeros_like(p, dtype=torch.bool).scatter(1, largest(p), True)
    return torch.where(is_top, p.masked_fill(is_top, 0).sum(1, keepdim=True), 1 - p)
