"""A drop-in and its peer side by side: made by the same call, held to the same value, gradient, shape and warnings."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import monai.losses
import torch
from hypothesis import strategies as st
from torch import Tensor

import medloss.compat.monai as drop_ins

BOOL = st.booleans()
SEED = st.integers(0, 99)
REDUCTION = st.sampled_from(["mean", "sum", "none"])
SPATIAL = st.sampled_from([(5, 6), (4, 5, 6)])
SMOOTH = st.sampled_from([0.0, 1e-5, 0.5])
ACTIVATION = st.sampled_from(["softmax", "sigmoid", "other_act", "none"])
TARGET = st.sampled_from(["indices", "one-hot", "soft", "bytes"])
CLASSES = 4


class Outcome(NamedTuple):
    """What a call gave."""

    value: Tensor
    gradient: Tensor | None
    warned: list[type[Warning]]


def call(loss: Callable[..., Tensor], *tensors: Tensor) -> Outcome:
    """Value, gradient of the first tensor under a fixed cotangent, and the categories of the warnings."""
    first = tensors[0].clone().requires_grad_(tensors[0].is_floating_point())
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        value = loss(first, *tensors[1:])
    gradient = None
    if value.requires_grad:
        cotangent = torch.linspace(0.5, 1.5, value.numel(), dtype=value.dtype).view(value.shape)
        gradient = torch.autograd.grad(value, first, cotangent)[0]
    # MONAI indexes by lists in deform.py, of which PyTorch warns
    told = [w.category for w in caught if "non-tuple sequence" not in str(w.message)]
    return Outcome(value.detach(), gradient, told)


def agree(ours: Tensor, theirs: Tensor) -> None:
    """Entries of a gradient are sums whose terms may cancel: they are measured by the largest one."""
    largest = theirs.abs().max().item() if theirs.numel() else 0.0
    torch.testing.assert_close(ours.to(theirs.dtype), theirs, rtol=3e-4, atol=3e-6 * max(1.0, largest))


def same(
    name: str, options: dict[str, Any], *tensors: Tensor, first: Sequence[Any] = (), gradient: bool = True
) -> Outcome:
    """Hold the drop-in to its peer; returns what the drop-in gave."""
    mine, peers = (call(getattr(package, name)(*first, **options), *tensors) for package in (drop_ins, monai.losses))
    assert mine.value.shape == peers.value.shape
    agree(mine.value, peers.value)
    assert mine.warned == peers.warned
    if gradient:
        assert (mine.gradient is None) == (peers.gradient is None)
        if mine.gradient is not None:
            agree(mine.gradient, peers.gradient)
    return mine


def segmentation(
    seed: int, spatial: tuple[int, ...], target: str = "indices", classes: int = CLASSES, batch: int = 2
) -> tuple[Tensor, Tensor]:
    """Logits, and a target of indices, one-hot, soft memberships, or one-hot bytes."""
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(batch, classes, *spatial, generator=generator)
    if target == "soft":
        return logits, torch.softmax(2 * torch.randn(logits.shape, generator=generator), 1)
    labels = torch.randint(0, classes, (batch, 1, *spatial), generator=generator)
    if target == "indices":
        return logits, labels
    onehot = torch.nn.functional.one_hot(labels[:, 0], classes).movedim(-1, 1)
    return logits, onehot.float() if target == "one-hot" else onehot.to(torch.uint8)


def activated(activation: str) -> dict[str, Any]:
    """The options of an activation; ``other_act`` is one that gives probabilities."""
    if activation == "none":
        return {}
    return {activation: halved if activation == "other_act" else True}


def halved(logits: Tensor) -> Tensor:
    """An activation of the caller's own."""
    return torch.tanh(logits) / 2 + 0.5


def probabilities(logits: Tensor, activation: str) -> Tensor:
    """Without an activation the input is one's own probabilities."""
    return torch.softmax(logits, 1) if activation == "none" else logits


def weights(kind: str, include_background: bool, classes: int = CLASSES) -> Any:
    """Class weights as MONAI wants them: none for a background that does not count."""
    each = [0.5, 2.0, 1.0, 3.0][:classes]
    counted = each if include_background else each[1:]
    return {"none": None, "one": 1.5, "list": counted, "tensor": torch.tensor(counted)}[kind]
