"""The standard phantom: the same picture for every loss, of which value and gradient are told.

Segmentations have an organ, a thin vessel and two lesions; the prediction has the organ shifted, a gap in the vessel,
one lesion missed and one made up. Images are that organ with texture, the second one shifted; fields have a smooth
bump that folds in its middle; points are on a circle.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from medloss.base import FieldPairLoss, Loss
from medloss.options import options
from medloss.registry import KINDS

SHAPE = (96, 96)
CLASSES = 3
NEEDED: dict[str, dict[str, Any]] = {
    "GeneralizedWassersteinDiceLoss": {"dist_matrix": [[0.0, 1.0, 1.0], [1.0, 0.0, 0.5], [1.0, 0.5, 0.0]]},
    "MarginalDiceCELoss": {"labelled": [0, 2]},
    "ExclusionLoss": {"labelled": [0, 2]},
    "TargetAdaptiveLoss": {"labelled": [0, 2]},
    "SizeConstraintLoss": {"tolerance": 0.1},
    "CenterlineBoundaryDiceLoss": {"iter_": 20},
    "SoftBCELoss": {"softmax": False, "sigmoid": True},
    "LovaszHingeLoss": {"softmax": False, "to_onehot_y": False},
    "MultiScaleSSIMLoss": {"border": "renormalise"},
}
"""Options without which a loss cannot be made, or has nothing to say."""
BINARY = ("LovaszHingeLoss",)
"""Losses of one channel: they see the organ alone."""


class Scene(NamedTuple):
    """A loss and the tensors that it is called with, the first of which has a gradient."""

    loss: Loss
    tensors: list[Tensor]


def kind_of(cls: type[Loss]) -> str:
    """What a loss sees: ``label``, ``image``, ``field`` (and pairs of them) or ``points``."""
    return next(kind for kind, base in KINDS.items() if issubclass(cls, base))


def made(cls: type[Loss], **given: Any) -> Loss:
    """The loss with the options that the phantom asks for: a softmax and index labels where it takes them."""
    known = options(cls)
    standard = {"softmax": True, "to_onehot_y": True} if kind_of(cls) == "label" else {}
    return cls(**{k: v for k, v in {**standard, **NEEDED.get(cls.__name__, {}), **given}.items() if k in known})


def scene(cls: type[Loss], shape: tuple[int, ...] = SHAPE, shift: int | None = None, **given: Any) -> Scene:
    """A loss on the phantom.

    Args:
        cls: the loss.
        shape: spatial axes, 2 or 3 of them.
        shift: None for the standard prediction; else the target itself, moved by so many voxels along the last axis
            (fields: the field times this over 8; points: moved by so many units).
        given: further options of the loss.
    """
    loss, kind = made(cls, **given), kind_of(cls)
    if kind == "points":
        tensors = list(points(shift))
    elif kind == "field":
        tensors = [field(shape, 1.0 if shift is None else shift / 8)]
        if issubclass(cls, FieldPairLoss):
            tensors.append(-0.8 * field(shape, 1.0))
        if cls.__name__ == "CycleConsistencyLoss":
            tensors.append(images(shape, 0)[1])
    elif kind == "image":
        tensors = list(images(shape, shift, heatmaps=cls.__name__.startswith("Heatmap")))
        if cls.__name__ == "InverseDepthSmoothnessLoss":
            tensors[1] = tensors[1].expand(-1, 3, *shape)
    else:
        tensors = list(segmentation(shape, shift))
        if cls.__name__ in BINARY:
            tensors = [tensors[0][:, 1:2] - 2, (tensors[1] == 1).float()]
    return Scene(loss, [tensors[0].contiguous().requires_grad_(), *tensors[1:]])


def places(shape: tuple[int, ...]) -> list[Tensor]:
    """The coordinates of each voxel along each axis, from 0 to 1."""
    return list(torch.meshgrid(*(torch.linspace(0, 1, size) for size in shape), indexing="ij"))


def ball(shape: tuple[int, ...], centre: tuple[float, float], radius: float, edge: float = 0.0) -> Tensor:
    """A disc, or a ball in the middle of the first axis; with an edge it fades over so wide a border."""
    *first, row, column = places(shape)
    distance = (row - centre[0]) ** 2 + (column - centre[1]) ** 2
    for axis in first:
        distance = distance + (axis - 0.5) ** 2
    inside = radius - distance.sqrt()
    return torch.sigmoid(inside / edge) if edge else (inside > 0).float()


def vessel(shape: tuple[int, ...], gap: bool = False) -> Tensor:
    """A wave of two voxels' radius; with a gap it is cut in two."""
    *first, row, column = places(shape)
    distance = (row - 0.78 - 0.06 * torch.sin(3 * math.pi * column)) ** 2
    for axis in first:
        distance = distance + (axis - 0.5) ** 2
    inside = distance.sqrt() < 2 / shape[-1]
    return (inside & ~((column > 0.45) & (column < 0.55))).float() if gap else inside.float()


def labels(shape: tuple[int, ...], predicted: bool = False) -> Tensor:
    """Class 1 is the organ, class 2 the vessel and the lesions; ``predicted`` has the mistakes."""
    organ = ball(shape, (0.36, 0.44 if predicted else 0.4), 0.2)
    small = vessel(shape, gap=predicted) + ball(shape, (0.2, 0.75), 0.05)
    small = small + (ball(shape, (0.5, 0.9), 0.04) if predicted else ball(shape, (0.55, 0.72), 0.04))
    return torch.where(small > 0, 2, torch.where(organ > 0, 1, 0))[None, None]


def segmentation(shape: tuple[int, ...], shift: int | None) -> tuple[Tensor, Tensor]:
    """Logits B N [spatial] and index labels B 1 [spatial]."""
    target = labels(shape)
    found = labels(shape, predicted=True) if shift is None else torch.roll(target, shift, -1)
    members = F.one_hot(found[:, 0], CLASSES).movedim(-1, 1).float()
    blur = F.avg_pool2d if len(shape) == 2 else F.avg_pool3d
    return 4 * blur(members, 3, stride=1, padding=1), target


def images(shape: tuple[int, ...], shift: int | None, heatmaps: bool = False) -> tuple[Tensor, Tensor]:
    """Two images B 1 [spatial] with intensities from 0 to 1, the first one moved by 4 voxels or by ``shift``."""
    if heatmaps:
        fixed = ball(shape, (0.5, 0.5), 0.0, 0.03)[None, None]
        fixed = fixed / fixed.sum()
    else:
        ripple = torch.sin(25 * places(shape)[-2]) * torch.sin(25 * places(shape)[-1])
        organ, lesion = ball(shape, (0.4, 0.45), 0.25, 0.01), ball(shape, (0.7, 0.7), 0.1, 0.01)
        fixed = (0.1 + 0.5 * organ + 0.3 * lesion + 0.1 * organ * ripple).clamp(0, 1)[None, None]
    return torch.roll(fixed, 4 if shift is None else shift, -1), fixed


def field(shape: tuple[int, ...], factor: float) -> Tensor:
    """A displacement in voxels, B d [spatial]: a smooth bump along each axis, which folds where the factor is 1."""
    size = shape[-1]
    bump = ball(shape, (0.5, 0.5), 0.2, 0.05)
    parts = [factor * size / 3 * bump * (place - 0.5) * -4 for place in places(shape)]
    return torch.stack(parts)[None]


def points(shift: int | None) -> tuple[Tensor, Tensor]:
    """Twelve points on a circle, B N 2, and the same points elsewhere."""
    angles = torch.arange(12) * (2 * math.pi / 12)
    fixed = 40 + 24 * torch.stack([angles.sin(), angles.cos()], dim=1)
    moved = fixed * 1.1 + 4 if shift is None else fixed + torch.tensor([0.0, float(shift)])
    return moved[None], fixed[None]
