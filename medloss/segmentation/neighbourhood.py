"""How the classes share the neighbourhood of each voxel, and the windows that say what a neighbourhood is."""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor

from medloss.labels import LabelView
from medloss.ops.local_moments.reference import pad, smooth
from medloss.ops.masking import accumulation_dtype, blank, membership, voxel_weight


def mean_window(size: int) -> list[float]:
    """Equal weights that sum to 1."""
    return [1 / size] * size


def gaussian_window(sigma: float) -> list[float]:
    """A Gaussian integrated over each voxel and cut off at 4 sigma."""
    tail = int(4 * sigma + 0.5)
    edges = [math.erf((x - 0.5) / (sigma * math.sqrt(2))) for x in range(-tail, tail + 2)]
    return [(high - low) / 2 for low, high in itertools.pairwise(edges)]


def sampled_gaussian(size: int, sigma: float) -> list[float]:
    """A Gaussian at the voxels' centres, of weights that sum to 1."""
    weights = [math.exp(-((x - size // 2) ** 2) / (2 * sigma**2)) for x in range(size)]
    return [weight / sum(weights) for weight in weights]


def seen(view: LabelView) -> tuple[Tensor, Tensor | None]:
    """The memberships B N [spatial], zero where nothing counts, and the weight of each voxel or None."""
    dtype = accumulation_dtype(view.input)
    weight = voxel_weight(view.target, view.mask, view.indexed, view.ignore_index, dtype)
    members = membership(view.target, view.input.shape[1], view.indexed, dtype)
    return blank(members, weight), weight


def window_sums(map: Tensor, window: list[float], border: str) -> Tensor:
    """Weighted sums of B N [spatial] over the window around each voxel, with zeros or the nearest voxel beyond it."""
    tail = len(window) // 2
    if border == "replicate":
        map = torch.nn.functional.pad(map, [tail, tail] * (map.ndim - 2), mode="replicate")
    else:
        map = pad(map, tail)
    return smooth(map.unsqueeze(0), [window] * (map.ndim - 2), padded=True)[0]


def presence(members: Tensor, weight: Tensor | None) -> Tensor:
    """Ones where voxels are there to be counted in a window, B 1 or B N [spatial].

    Valid voxels count alike: what share a class has does not depend on how much its voxels matter.
    """
    return torch.ones_like(members[:, :1]) if weight is None else (weight > 0).to(members.dtype)


def proportions(members: Tensor, weight: Tensor | None, window: list[float], border: str) -> Tensor:
    """The share of each class in the window around each voxel, B N [spatial]; 0 where the window holds no voxel.

    What is masked lies beyond the border: with ``"zero"`` both are voxels of no class, with ``"background"`` of class
    0, else the share is that of the voxels that are there.
    """
    total = window_sums(members, window, border)
    if border == "zero":
        return total
    mass = window_sums(presence(members, weight), window, border)
    if border == "background":
        beyond = (sum(window) ** (members.ndim - 2) - mass).expand_as(total)[:, :1]
        return torch.cat([total[:, :1] + beyond, total[:, 1:]], 1)
    return torch.where(mass > 0, total, torch.zeros_like(total)) / torch.where(mass > 0, mass, torch.ones_like(mass))
