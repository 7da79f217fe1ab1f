"""What is measured: for each row a pair of tensors, our loss, the same loss of each peer, and a floor.

A peer is a function that makes the loss, so that a missing package leaves a gap and no error. Rows with ``labels`` are
of segmentations (the unit of memory is the logits), the others of images or fields (the unit is the first tensor).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

Maker = Callable[[], Callable[..., Tensor]]


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


def tensors(row: Row, dtype: torch.dtype = torch.float32, seed: int = 0) -> list[Tensor]:
    """Input and target of a row."""
    generator = torch.Generator().manual_seed(seed)
    if row.kind == "field":
        return [torch.randn(row.batch, len(row.shape), *row.shape, generator=generator).to(dtype)]
    if row.kind == "images":
        return [torch.rand(row.batch, 1, *row.shape, generator=generator).to(dtype) for _ in range(2)]
    logits = torch.randn(row.batch, row.classes, *row.shape, generator=generator).to(dtype)
    if row.layout == "channels_last":
        logits = logits.movedim(1, -1).contiguous().movedim(-1, 1)
    if row.target == "blobs":
        labels = balls(row)
    else:
        labels = torch.randint(0, max(row.classes, 2), (row.batch, 1, *row.shape), generator=generator)
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


def step(loss: Callable[..., Tensor], inputs: list[Tensor]) -> Tensor:
    """One forward and backward; returns the gradient."""
    first = inputs[0].detach().requires_grad_()
    loss(first, *inputs[1:]).sum().backward()
    return first.grad


def floor(inputs: list[Tensor]) -> None:
    """The least that any loss of these tensors must do: read the input, then read it again and write its gradient."""
    inputs[0].sum()
    inputs[0].clone()


def monai(name: str, *args: Any, **kwargs: Any) -> Maker:
    """A loss of MONAI."""

    def make() -> Callable[..., Tensor]:
        import monai.losses

        return getattr(monai.losses, name)(*args, **kwargs)

    return make


def medloss(name: str, **kwargs: Any) -> Maker:
    """A loss of this package."""

    def make() -> Callable[..., Tensor]:
        import medloss

        return getattr(medloss, name)(**kwargs)

    return make


def kornia(name: str, *args: Any, **kwargs: Any) -> Maker:
    """A function of kornia.losses; index targets lose their channel."""

    def make() -> Callable[..., Tensor]:
        import kornia.losses

        function = getattr(kornia.losses, name)
        return lambda x, y: function(
            x, y[:, 0] if y.ndim == x.ndim and not y.is_floating_point() else y, *args, **kwargs
        )

    return make


def kornia_lovasz() -> Callable[..., Tensor]:
    """kornia's Lovász-Softmax, which takes images alone: volumes are handed over as images of one column."""
    import kornia.losses

    return lambda x, y: kornia.losses.lovasz_softmax_loss(x.flatten(2).unsqueeze(-1), y[:, 0].flatten(1).unsqueeze(-1))


def smp(name: str, **kwargs: Any) -> Maker:
    """A loss of segmentation-models-pytorch, in an environment that has it."""

    def make() -> Callable[..., Tensor]:
        import segmentation_models_pytorch as package

        loss = getattr(package.losses, name)(mode="multiclass", **kwargs)
        return lambda x, y: loss(x.flatten(2).unsqueeze(-1), y[:, 0].flatten(1).unsqueeze(-1))

    return make


def torch_cross_entropy() -> Callable[..., Tensor]:
    """torch's own."""
    return lambda x, y: torch.nn.functional.cross_entropy(x, y[:, 0])


def msssim_package() -> Callable[..., Tensor]:
    """SSIM of pytorch-msssim, in an environment that has it."""
    from pytorch_msssim import SSIM

    return lambda x, y: 1 - SSIM(data_range=1.0, channel=1, spatial_dims=x.ndim - 2)(x, y)
