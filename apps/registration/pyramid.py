"""Coarse-to-fine levels of any size: volumes and fields between grids whose corner voxels coincide."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from medloss.apps.registration.smoothing import smooth as smoothed

SMALLEST = 8  # voxels along an axis below which a level is not made coarser: nothing is left to see there


class Level(NamedTuple):
    """One level of the pyramid: its ``shape``, its ``spacing`` in mm per axis and its number of ``iterations``."""

    shape: tuple[int, ...]
    spacing: tuple[float, ...]
    iterations: int


def coarser_shape(shape: Sequence[int], spacing: Sequence[float], voxel_mm: float) -> tuple[int, ...]:
    """The shape with which ``shape`` voxels of ``spacing`` mm come to about ``voxel_mm``; an axis that is coarser
    already stays.
    """
    fewer = (round(size * min(1.0, step / voxel_mm)) for size, step in zip(shape, spacing))
    return tuple(min(size, max(less, SMALLEST)) for size, less in zip(shape, fewer))


def plan_levels(
    shape: Sequence[int],
    spacing: Sequence[float],
    factors: Sequence[float],
    iterations: Sequence[int],
    voxel_mm: float | None,
) -> list[Level]:
    """One level for each of ``factors``, multiples of the working voxel ``voxel_mm`` (by default the finest spacing).

    Anisotropic volumes lose resolution first along their finer axes, so that coarse levels are about isotropic.
    """
    working = voxel_mm or min(spacing)
    levels = []
    for factor, count in zip(factors, iterations):
        coarse = coarser_shape(shape, spacing, working * factor)
        levels.append(Level(coarse, grid_spacing(shape, spacing, coarse), count))
    return levels


def grid_spacing(shape: Sequence[int], spacing: Sequence[float], coarse: Sequence[int]) -> tuple[float, ...]:
    """Voxel size in mm of a ``coarse`` grid over the same corner voxels."""
    return tuple(step * (size - 1) / max(less - 1, 1) for step, size, less in zip(spacing, shape, coarse))


def resize(volume: Tensor, shape: Sequence[int], smooth: bool = True) -> Tensor:
    """``(B, C, *spatial)`` on a grid of ``shape`` with the same corner voxels, smoothed before it loses resolution."""
    if tuple(volume.shape[2:]) == tuple(shape):
        return volume
    factors = [(old - 1) / max(new - 1, 1) for old, new in zip(volume.shape[2:], shape)]
    if smooth and max(factors) > 1:
        volume = smoothed(volume, [0.5 * factor if factor > 1 else 0.0 for factor in factors])
    mode = {3: "linear", 4: "bilinear", 5: "trilinear"}[volume.ndim]
    return F.interpolate(volume, tuple(shape), mode=mode, align_corners=True)


def resize_field(field: Tensor, shape: Sequence[int]) -> Tensor:
    """A field ``(B, d, *spatial)`` in voxels on a grid of ``shape``, its vectors in voxels of that grid."""
    if tuple(field.shape[2:]) == tuple(shape):
        return field
    ratio = [(new - 1) / max(old - 1, 1) for old, new in zip(field.shape[2:], shape)]
    return resize(field, shape, smooth=False) * field.new_tensor(ratio).reshape(1, -1, *(1,) * len(ratio))


class Carrier:
    """`resize_field` from a coarse grid to a finer one, and its adjoint, which carries gradients back.

    Products with a matrix for each axis: on a CPU several times faster than torch's interpolation and its gradient.

    Args:
        coarse, fine: shapes of the grids, whose corner voxels coincide.
        like: of the fields' dtype and device.
    """

    def __init__(self, coarse: Sequence[int], fine: Sequence[int], like: Tensor) -> None:
        self.matrices = [_linear(old, new).to(like) for old, new in zip(coarse, fine)]
        ratio = [(new - 1) / max(old - 1, 1) for old, new in zip(coarse, fine)]
        self.ratio = like.new_tensor(ratio).reshape(1, -1, 1, 1, 1)

    def __call__(self, field: Tensor) -> Tensor:
        """A field ``(B, 3, *coarse)`` in voxels as ``(B, 3, *fine)`` in voxels of the fine grid."""
        return _along(self.ratio * field, self.matrices)

    def adjoint(self, gradient: Tensor) -> Tensor:
        """The gradient in the coarse field, ``(B, 3, *coarse)``, from that in the fine one."""
        return self.ratio * _along(gradient, [matrix.T for matrix in self.matrices])


def _linear(old: int, new: int) -> Tensor:
    """Weights of ``old`` points for ``new`` ones between the same ends, ``(new, old)``."""
    place = torch.arange(new, dtype=torch.float64) * (old - 1) / max(new - 1, 1)
    apart = (place[:, None] - torch.arange(old, dtype=torch.float64)).abs()
    return (1 - apart).clamp(min=0)


def _along(volume: Tensor, matrices: Sequence[Tensor]) -> Tensor:
    """``(B, C, i, j, k)`` with each spatial axis multiplied by its matrix."""
    volume = matrices[1] @ (volume @ matrices[2].T)
    return (matrices[0] @ volume.flatten(3)).unflatten(3, volume.shape[3:])
