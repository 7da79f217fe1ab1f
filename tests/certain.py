"""Logits of which one class is certain, and gradients held to float64 there: for the contract and for Triton."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from cases import CLASSES
from torch import Tensor

import medloss

SHAPE = (6, 7)
SAMPLES = 2
TOLERANCE = 1e-3
SEEN = 1e-34  # a gradient of this size and the sums that lead to it are normal numbers of float32


def beside(top: Tensor) -> Tensor:
    """One where a class is the one named, B C [spatial]."""
    return (top == torch.arange(CLASSES).view(1, -1, 1, 1)).float()


def situations(distance: float, seed: int = 0) -> Iterator[tuple[str, Tensor, Tensor]]:
    """Logits that lie so far apart, with labels, in the ways that a class can be certain."""
    generator = torch.Generator().manual_seed(seed)
    shape = (SAMPLES, 1, *SHAPE)
    labels, top = (torch.randint(0, CLASSES, shape, generator=generator) for _ in range(2))
    noise = torch.randn(SAMPLES, CLASSES, *SHAPE, generator=generator)
    some = (torch.rand(shape, generator=generator) < 0.5).float()
    one = torch.ones_like(labels)
    yield "right", 0.3 * noise + distance * beside(labels), labels
    yield "wrong", 0.3 * noise + distance * beside((labels + 1) % CLASSES), labels
    yield "mixed", 0.3 * noise + distance * beside(top), labels
    yield "two compete", 0.3 * noise - distance * beside(top), labels
    yield "some", noise * some + (1 - some) * (0.3 * noise + distance * beside(labels)), labels
    yield "one label fills all", 0.3 * noise + distance * beside(one), one
    yield "one label fills all, mixed", 0.3 * noise + distance * beside(top), one


def gradients(
    loss: Any, logits: Tensor, target: Tensor, backend: str | None, dtype: torch.dtype, factors: Sequence[float]
) -> list[Tensor]:
    """The gradient in double, computed in a dtype from the loss times each factor, and divided by it."""
    logits = logits.to(dtype).requires_grad_()
    target = target.to(dtype) if target.is_floating_point() else target
    with medloss.backend(backend):
        value = loss(logits, target).sum()
        return [
            torch.autograd.grad(factor * value, logits, retain_graph=True)[0].double() / factor for factor in factors
        ]


def gradient(loss: Any, logits: Tensor, target: Tensor, backend: str | None, dtype: torch.dtype) -> Tensor:
    """The gradient in double, computed in a dtype."""
    return gradients(loss, logits, target, backend, dtype, [1.0])[0]


def target_of(indexed: bool, labels: Tensor) -> Tensor:
    return labels if indexed else beside(labels)


def hold_to_float64(
    make: Callable[[], Any],
    indexed: bool,
    distance: float,
    backends: Sequence[str | None],
    few: int | None = None,
    together: bool = False,
) -> None:
    """Each entry within a thousandth of itself; but for one in a hundred, of which terms happen to cancel.

    ``few``: the number of situations that are looked at, where all would take long.
    ``together``: as samples of one batch, which is quicker, for a loss whose samples know nothing of each other.
    """
    loss, found = make(), list(situations(distance))[:few]
    names, logits, labels = ([each[at] for each in found] for at in range(3))
    if together:
        names, logits, labels = [" / ".join(names)], [torch.cat(logits)], [torch.cat(labels)]
    for name, z, label in zip(names, logits, labels, strict=True):
        target = target_of(indexed, label)
        right, again = gradients(loss, z, target, "reference", torch.float64, [1.0, 3.0])
        told = (right.abs() > SEEN) & ((again - right).abs() < 1e-6 * right.abs())  # float64 itself can tell
        for backend in backends:
            close = gradient(loss, z, target, backend, torch.float32)
            where = f"{backend or 'default'}, {name}, {distance} apart"
            for part in zip(*(each.split(SAMPLES) for each in (right, told, close)), strict=True):
                _hold(*part, where)


def _hold(right: Tensor, told: Tensor, found: Tensor, where: str) -> None:
    """The entries of one situation."""
    off = ((found - right).abs() / right.abs())[told]
    many = (off > TOLERANCE).sum().item()
    assert many <= 0.01 * off.numel(), f"{where}: {many} of {off.numel()} entries are off, by up to {off.max():.2g}"
    nothing = found[right.abs() < 1e-40].abs()
    assert not nothing.numel() or nothing.max() < SEEN * 10, f"{where}: {nothing.max():.2g} where none is"
