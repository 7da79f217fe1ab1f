"""The table of loss cases: one row for each way in which a loss is held to the contract.

Every exported loss has at least the row of its kind, so that a new one is covered the day it is exported. A row of
``OPTIONS`` replaces it where a loss has options worth their own row. A cell of the matrix that does not apply to a row
says why, in ``not_applicable``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

import medloss
from medloss.names import losses

CLASSES = 3
SHAPES = {1: (24,), 2: (9, 10), 3: (9, 8, 10)}
MULTICLASS = {"softmax": True, "to_onehot_y": True}

OPTIONS: dict[str, list[dict[str, Any]]] = {
    "DiceLoss": [
        MULTICLASS,
        {**MULTICLASS, "include_background": False},
        {**MULTICLASS, "batch": True},
        {**MULTICLASS, "squared_pred": True, "weight": [1.0, 2.0, 0.5]},
        {**MULTICLASS, "jaccard": True, "soft_label": True},
        {**MULTICLASS, "empty": "skip"},
        {"sigmoid": True},
    ],
    "DiceCELoss": [
        MULTICLASS,
        {**MULTICLASS, "include_background": False, "weight": [1.0, 2.0, 0.5], "label_smoothing": 0.1},
        {"sigmoid": True, "batch": True},
    ],
    "CrossEntropyLoss": [
        {"to_onehot_y": True},
        {"to_onehot_y": True, "weight": [1.0, 2.0, 0.5], "label_smoothing": 0.1},
        {"sigmoid": True, "include_background": False},
    ],
    "FocalLoss": [
        {"to_onehot_y": True},
        {"to_onehot_y": True, "softmax": True, "alpha": 0.25, "weight": [1.0, 2.0, 0.5]},
        {"gamma": 0.5, "alpha": [0.2, 0.3, 0.5], "include_background": False},
    ],
    "TverskyLoss": [{**MULTICLASS, "alpha": 0.3, "beta": 0.7}],
    "LocalNormalizedCrossCorrelationLoss": [
        {"kernel_size": 3, "border": "renormalise"},
        {"kernel_size": 5, "kernel_type": "gaussian"},
        {"kernel_size": 5, "kernel_type": "triangular"},
    ],
    "DiffusionLoss": [{}, {"stencil": "forward", "spacing": 2.0}],
    "BendingEnergyLoss": [{}, {"stencil": "wide"}, {"normalize": True}],
}
BY_KIND: dict[str, dict[str, Any]] = {"label": MULTICLASS, "image": {}, "field": {}}
NEIGHBOURHOOD = ("LocalNormalizedCrossCorrelationLoss", "DiffusionLoss", "BendingEnergyLoss")
"""Losses whose value at a voxel depends on its neighbours."""
SAVED = {"label": 1.6, "image": 2.1, "field": 1.1}
"""Bytes kept for the backward pass, over those of the first tensor: the inputs and no more, by kind (labels of 64 bits
stand beside three float32 channels)."""


@dataclass(frozen=True)
class LossCase:
    """A loss with some options, and how to call it."""

    name: str
    kind: str
    options: dict[str, Any] = field(hash=False)

    def __str__(self) -> str:
        told = ",".join(f"{key}={value}" for key, value in self.options.items() if key not in MULTICLASS)
        return f"{self.name}({told})"

    @property
    def neighbourhood(self) -> bool:
        """Whether a voxel's neighbours matter."""
        return self.name in NEIGHBOURHOOD

    @property
    def indexed(self) -> bool:
        """Whether the target holds class indices."""
        return bool(self.options.get("to_onehot_y"))

    def make(self, **changes: Any) -> medloss.Loss:
        """A new loss."""
        return getattr(medloss, self.name)(**{**self.options, **changes})

    def with_options(self, **changes: Any) -> LossCase:
        """The row with other options."""
        return replace(self, options={**self.options, **changes})

    def without(self, *names: str) -> LossCase:
        """The row without some options."""
        return replace(self, options={key: value for key, value in self.options.items() if key not in names})

    def accepts(self, option: str) -> bool:
        """Whether the loss has an option."""
        return option in getattr(medloss, self.name).__dataclass_fields__

    def inputs(self, rank: int = 3, batch: int = 2, dtype: torch.dtype = torch.float32, seed: int = 0) -> list[Tensor]:
        """Tensors that the loss takes before the mask."""
        generator = torch.Generator().manual_seed(seed)
        shape = SHAPES[rank]
        if self.kind == "field":
            return [torch.randn(batch, rank, *shape, generator=generator, dtype=dtype)]
        if self.kind == "image":
            return [torch.rand(batch, 2, *shape, generator=generator, dtype=dtype) for _ in range(2)]
        logits = torch.randn(batch, CLASSES, *shape, generator=generator, dtype=dtype)
        if self.indexed:
            return [logits, torch.randint(0, CLASSES, (batch, 1, *shape), generator=generator)]
        return [logits, (torch.rand(batch, CLASSES, *shape, generator=generator) > 0.5).to(dtype)]


def cases(*kinds: str, when: Callable[[LossCase], bool] = lambda case: True) -> list[LossCase]:
    """The rows of some kinds, all without any."""
    rows = []
    for kind in kinds or ("label", "image", "field"):
        for loss in losses(kind).values():
            for options in OPTIONS.get(loss.__name__, [BY_KIND[kind]]):
                rows.append(LossCase(loss.__name__, kind, options))
    return [row for row in rows if when(row)]


def value_and_gradient(
    loss: Callable[..., Tensor], tensors: list[Tensor], mask: Tensor | None = None, seed: int = 1
) -> tuple[Tensor, Tensor]:
    """The loss and the gradient of its first tensor, with a random cotangent where the loss has a shape."""
    first = tensors[0].detach().clone(memory_format=torch.preserve_format).requires_grad_()
    arguments = [first, *tensors[1:]]
    value = loss(*arguments) if mask is None else loss(*arguments, mask=mask)
    cotangent = torch.randn(value.shape, generator=torch.Generator().manual_seed(seed)).to(value.dtype)
    (gradient,) = torch.autograd.grad(value, first, cotangent if value.ndim else torch.ones_like(value))
    return value.detach(), gradient


def box_mask(tensor: Tensor) -> tuple[Tensor, tuple[slice, ...]]:
    """A mask B 1 [spatial] that is one on a box, and the box."""
    box = (slice(None), slice(None), *(slice(1, size - 2) for size in tensor.shape[2:]))
    mask = torch.zeros(tensor.shape[0], 1, *tensor.shape[2:], dtype=torch.bool)
    mask[box] = True
    return mask, box
