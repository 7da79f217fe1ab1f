"""The cases of the table: one for each way in which a loss is held to the contract.

Every exported loss has at least the case of its kind, so that a new one is covered the day it is exported; a
:class:`row.Row` in ``rows/`` says what is particular to it, and which cells do not apply to it, and why.
"""

from __future__ import annotations

import functools
import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import rows
import torch
from row import CELLS, Row
from torch import Tensor

import medloss
from medloss.options import options
from medloss.registry import losses

CLASSES = 3
SHAPES = {1: (24,), 2: (9, 10), 3: (9, 8, 10)}
POINTS = 7
MULTICLASS = {"softmax": True, "to_onehot_y": True}
KINDS = ("label", "image", "field", "points")
BY_KIND = {
    "label": Row(options=[MULTICLASS]),
    "image": Row(options=[{}], none="element"),
    "field": Row(options=[{}], none="interior", neighbourhood=True),
    "points": Row(options=[{}], none="points"),
}
SAVED = {"label": 1.6, "image": 2.1, "field": 1.1, "points": 4.1}
"""Bytes kept for the backward pass, over those of the first tensor: the inputs and no more, by kind (labels of 64 bits
stand beside three float32 channels)."""


def table() -> dict[str, Row]:
    """Every row by class name."""
    found: dict[str, Row] = {}
    for module in pkgutil.iter_modules(rows.__path__):
        for name, row in importlib.import_module(f"rows.{module.name}").ROWS.items():
            assert name not in found, f"two rows for {name}"
            found[name] = row
    return found


TABLE = table()


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
    def row(self) -> Row:
        """What the table says about the loss."""
        return TABLE.get(self.name, BY_KIND[self.kind])

    @property
    def neighbourhood(self) -> bool:
        """Whether a voxel's neighbours matter."""
        return self.row.neighbourhood

    @property
    def joined(self) -> bool:
        """Whether the batch is more than the mean of its samples."""
        return self.row.joined(self) if callable(self.row.joined) else self.row.joined

    @property
    def none(self) -> str:
        """The shape of ``reduction="none"``; see :class:`row.Row`."""
        return self.row.none(self) if callable(self.row.none) else self.row.none

    @property
    def indexed(self) -> bool:
        """Whether the target holds class indices."""
        return bool(self.options.get("to_onehot_y"))

    def make(self, **changes: Any) -> medloss.Loss:
        """A new loss."""
        return getattr(medloss, self.name)(**{**self.options, **changes})

    def with_options(self, **changes: Any) -> LossCase:
        """The case with other options."""
        return replace(self, options={**self.options, **changes})

    def without(self, *names: str) -> LossCase:
        """The case without some options."""
        return replace(self, options={key: value for key, value in self.options.items() if key not in names})

    def accepts(self, option: str) -> bool:
        """Whether the loss has an option."""
        return option in options(getattr(medloss, self.name))

    def inputs(self, rank: int = 3, batch: int = 2, dtype: torch.dtype = torch.float32, seed: int = 0) -> list[Tensor]:
        """Tensors that the loss takes before the mask."""
        return self.inputs_of(SHAPES[rank], batch, dtype, seed)

    def inputs_of(
        self, shape: tuple[int, ...], batch: int = 2, dtype: torch.dtype = torch.float32, seed: int = 0
    ) -> list[Tensor]:
        """Tensors of some spatial shape that the loss takes before the mask."""
        generator = torch.Generator().manual_seed(seed)
        if self.row.inputs is not None:
            return self.row.inputs(self, shape, batch, dtype, generator)
        if self.kind == "points":
            return [torch.randn(batch, POINTS, len(shape), generator=generator, dtype=dtype) for _ in range(2)]
        if self.kind == "field":
            return [torch.randn(batch, len(shape), *shape, generator=generator, dtype=dtype)]
        if self.kind == "image":
            return [torch.rand(batch, 2, *shape, generator=generator, dtype=dtype) for _ in range(2)]
        logits = torch.randn(batch, CLASSES, *shape, generator=generator, dtype=dtype)
        if self.indexed:
            return [logits, torch.randint(0, CLASSES, (batch, 1, *shape), generator=generator)]
        return [logits, (torch.rand(batch, CLASSES, *shape, generator=generator) > 0.5).to(dtype)]


ONLY = {
    **dict.fromkeys(["ignored label", "nothing ignored", "one-hot", "background", "many voxels"], ("label",)),
    **dict.fromkeys(["certain", "forbidden"], ("label",)),
    "one voxel": ("label", "image"),
    "layouts": ("label", "image", "field"),
    "target gradient": ("image",),
}
"""The kinds of loss that a cell is about; all where it is not named."""


def applies(name: str, kind: str, cell: str) -> str | None:
    """None where a loss is held to a cell, else why it is not: in words, or empty where the cell is not about it."""
    row = TABLE.get(name, BY_KIND[kind])
    if cell in row.without:
        return row.without[cell]
    if kind not in ONLY.get(cell, KINDS):
        return ""
    if cell in ("box mask", "window mask"):
        return None if (cell == "window mask") == row.neighbourhood else ""
    if cell == "processes":
        return None if "process_group" in options(getattr(medloss, name)) else ""
    return None


def cases(
    *kinds: str, cell: str | None = None, rank: int = 3, when: Callable[[LossCase], bool] = lambda case: True
) -> list[LossCase]:
    """The cases of some kinds (all without any), but those whose row says that the cell does not apply."""
    assert cell is None or cell in CELLS, cell
    found = []
    for kind in kinds or KINDS:
        for loss in losses(kind).values():
            row = TABLE.get(loss.__name__, BY_KIND[kind])
            if cell not in row.without and rank >= row.least:
                found += [LossCase(loss.__name__, kind, options) for options in row.options or BY_KIND[kind].options]
    return [case for case in found if when(case)]


@functools.cache
def _first_options() -> dict[tuple[str, str], dict[str, Any]]:
    """The options of the first of all cases, by kind and loss."""
    return {(case.kind, case.name): case.options for case in reversed(cases())}


def is_first(case: LossCase) -> bool:
    """Whether a case is its loss's first: the dear cells run on that one in full, and on the others in part."""
    return _first_options()[case.kind, case.name] is case.options


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


def spatial(case: LossCase, tensor: Tensor) -> tuple[int, ...]:
    """The axes that a mask has behind batch (and channel): the points' own, or the spatial ones."""
    return tuple(tensor.shape[1:2]) if case.kind == "points" else tuple(tensor.shape[2:])


def full_mask(case: LossCase, tensor: Tensor, value: float = 1.0) -> Tensor:
    """A mask of one value: B N of points, or B 1 [spatial]."""
    if case.kind == "points":
        return torch.full(tensor.shape[:2], value)
    return torch.full((tensor.shape[0], 1, *tensor.shape[2:]), value)


def box_mask(tensor: Tensor, kind: str = "") -> tuple[Tensor, tuple[slice, ...]]:
    """A mask that is one on a box (for points: on some of them), and the box."""
    if kind == "points":
        box = (slice(None), slice(1, tensor.shape[1] - 2))
        mask = torch.zeros(tensor.shape[:2], dtype=torch.bool)
    else:
        box = (slice(None), slice(None), *(slice(1, size - 2) for size in tensor.shape[2:]))
        mask = torch.zeros(tensor.shape[0], 1, *tensor.shape[2:], dtype=torch.bool)
    mask[box] = True
    return mask, box
