"""What losses over instances share: which voxels belong to which instance, and sums over each."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from medloss import checks
from medloss.ops import components, nearest_source


def own_instances(inside: Tensor, valid: Tensor | None, connectivity: int | None) -> Tensor:
    """The connected components of each region B N [spatial], of the voxels that count; 0 outside."""
    return components(inside if valid is None else inside & valid, connectivity)


def fitting_instances(given: Any, input: Tensor) -> Tensor:
    """A map of instances B N or B 1 [spatial], of any integer or whole-numbered type.

    Raises:
        ShapeError: it does not fit the input.
    """
    given = checks.plain("instances", given)
    checks.same_device("instances", given, input)
    if given.ndim == input.ndim - 1:
        given = given.unsqueeze(1) if input.shape[2:] == given.shape[1:] else given.unsqueeze(-1)
    channels = 1 if given.ndim == input.ndim and given.shape[1] == 1 else input.shape[1]
    expected = (input.shape[0], channels, *input.shape[2:])
    if given.shape != expected:
        raise checks.ShapeError(
            f"instances has shape {checks.shape(given)} and input {checks.shape(input)}: expected one number per "
            "voxel, in one channel or one per class"
        )
    return checks.without_gradient("instances", given).to(torch.int64)


def of_classes(given: Tensor, inside: Tensor, valid: Tensor | None) -> Tensor:
    """Precomputed instances of the classes that count, B N [spatial]: of their regions, and of voxels that count."""
    channels = inside.shape[1]
    given = given if given.shape[1] == 1 else given[:, given.shape[1] - channels :]
    inside = inside if valid is None else inside & valid
    return torch.where(inside, given, 0)


def cells(instances: Tensor, spacing: list[float]) -> Tensor:
    """The instance nearest to each voxel, B N [spatial], ties to the one that comes first; 0 where there is none."""
    nearest = nearest_source(instances > 0, spacing).flatten(2)
    found = instances.flatten(2).gather(2, nearest.clamp_min(0))
    return torch.where(nearest >= 0, found, 0).view(instances.shape)


def sums_by(slots: Tensor, maps: list[Tensor], count: int) -> list[Tensor]:
    """The sums of maps B N [spatial] in each of ``count`` slots, B N count.

    One scatter for all instances at once, whose cost does not grow with their number. Summed in double: one by one
    in single precision, millions of small probabilities would be lost to a sum that has grown large.
    """
    batch, channels = slots.shape[:2]
    rows = count * torch.arange(batch * channels, device=slots.device).view(batch, channels, 1)
    index = (slots.flatten(2) + rows).flatten()
    nothing = torch.zeros(batch * channels * count, dtype=torch.float64, device=slots.device)
    sums = (nothing.scatter_add(0, index, values.to(torch.float64).flatten()) for values in maps)
    return [total.view(batch, channels, count).to(maps[0].dtype) for total in sums]
