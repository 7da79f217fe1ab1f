"""What is measured: for each row a pair of tensors, our loss, the same loss of each peer, and a floor.

A peer is a function that makes the loss, so that a missing package leaves a gap and no error. Rows with ``labels`` are
of segmentations (the unit of memory is the logits), the others of images or fields (the unit is the first tensor).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from medloss.apps.losses.measure import step as step
from medloss.apps.losses.peers import Maker as Maker


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        name: how the row is called on the command line.
        kind: ``"labels"``, ``"images"`` or ``"field"``.
        shape: spatial axes.
        ours: makes our loss; it takes (input, target).
        peers: name -> what makes theirs.
        classes: channels of the logits.
        batch: samples.
        target: what the target is: ``"index"`` B 1 [spatial], ``"flat"`` B [spatial], ``"blobs"`` a few balls.
        layout: ``"contiguous"`` or ``"channels_last"``.
        warm: longest axis of the volumes that everything is loaded with before memory is measured.
        labels: the type of index targets.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    ours: Maker
    peers: dict[str, Maker] = field(default_factory=dict)
    classes: int = 14
    batch: int = 1
    target: str = "index"
    layout: str = "contiguous"
    warm: int = 24
    labels: torch.dtype = torch.int64


def tensors(row: Row, dtype: torch.dtype = torch.float32, seed: int = 0, device: str = "cpu") -> list[Tensor]:
    """Input and target of a row, made where they are needed: a gigabyte of random numbers takes a processor seconds."""
    generator = torch.Generator(device).manual_seed(seed)
    made = {"generator": generator, "device": device}
    if row.kind == "field":
        return [torch.randn(row.batch, len(row.shape), *row.shape, **made).to(dtype)]
    if row.kind == "images":
        return [torch.rand(row.batch, 1, *row.shape, **made).to(dtype) for _ in range(2)]
    logits = torch.randn(row.batch, row.classes, *row.shape, **made).to(dtype)
    if row.layout == "channels_last":
        logits = logits.movedim(1, -1).contiguous().movedim(-1, 1)
    if row.target == "blobs":
        labels = balls(row).to(device)
    else:
        labels = torch.randint(0, max(row.classes, 2), (row.batch, 1, *row.shape), **made)
    labels = labels.to(row.labels)
    return [logits, labels[:, 0] if row.target == "flat" else labels]


def balls(row: Row) -> Tensor:
    """A ball for each class, so that distances and skeletons have something to find."""
    grid = torch.stack(torch.meshgrid(*(torch.arange(size) for size in row.shape), indexing="ij"))
    labels = torch.zeros(row.shape, dtype=torch.long)
    for label in range(1, max(row.classes, 2)):
        centre = torch.tensor([size * (label + 1) / (max(row.classes, 2) + 2) for size in row.shape])
        inside = ((grid - centre.view(-1, *[1] * len(row.shape))) ** 2).sum(0) < (min(row.shape) / 6) ** 2
        labels[inside] = label
    return labels.expand(row.batch, 1, *row.shape).contiguous()


def floor(inputs: list[Tensor]) -> None:
    """The least that any loss of these tensors must do: read the input, then read it again and write its gradient."""
    inputs[0].sum()
    inputs[0].clone()
