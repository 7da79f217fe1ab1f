"""What losses over distances share: the size of a voxel, and distance maps that were computed before."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from medloss import checks
from medloss.labels import view_labels
from medloss.map_loss import LabelMaps, MapLoss
from medloss.ops.masking import accumulation_dtype, blank
from medloss.ops.operator import without_autocast

INSIDE = 0.5
"""Above this membership or probability a voxel lies inside a region, where a border is drawn around it."""


class DistanceLoss(MapLoss):
    """A label loss over distances: ``loss(input, target, mask=None, spacing=None, distance_map=None)``.

    Args:
        spacing: size of a voxel along each axis (one number for all): distances are in its unit. The argument of
            ``forward`` goes before this option.
    """

    spacing: Iterable[float] | float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.voxel_sizes(self.spacing, None)

    def compare(self, maps: LabelMaps, spacing: list[float], distance_map: Tensor | None) -> Tensor:
        """The value of each sample and class, B N; ``distance_map`` B N [spatial] is zero where nothing counts."""
        raise NotImplementedError

    def forward(
        self,
        input: Tensor,
        target: Tensor,
        mask: Tensor | None = None,
        *,
        spacing: Iterable[float] | float | None = None,
        distance_map: Tensor | None = None,
    ) -> Tensor:
        """The loss. See the class for shapes and errors."""
        view = view_labels(input, target, mask, **self.sweep)
        sizes = checks.voxel_sizes(self.spacing if spacing is None else spacing, view.input.ndim - 2)
        given = None if distance_map is None else fitting_map("distance_map", distance_map, view.input)
        with without_autocast(view.input.device.type):
            return self._reduced(view, spacing=sizes, distance_map=given)


def fitting_map(name: str, given: Any, input: Tensor) -> Tensor:
    """A precomputed map B N [spatial] of the input's shape, without gradient."""
    given = checks.plain(name, given)
    checks.same_device(name, given, input)
    if given.ndim == input.ndim - 1 and input.shape[2:] == (1,):  # batch x classes: one voxel each
        given = given.unsqueeze(-1)
    checks.same_shape(name, given, input)
    return checks.without_gradient(name, given)


def counted(given: Tensor, maps: LabelMaps) -> Tensor:
    """A precomputed map of the classes that count, in the maps' dtype, zero where nothing counts."""
    given = given[:, given.shape[1] - maps.input.shape[1] :]
    return blank(given.to(accumulation_dtype(maps.input)), maps.weight)


def inside(probabilities: Tensor) -> Tensor:
    """The region of each class: where its probability or membership is above :data:`INSIDE`."""
    return torch.gt(probabilities.detach(), INSIDE)
