"""From voxels to world and back: pulling the moving image onto the fixed grid, and fields between grids.

Two rules hold everywhere. A DDF ``u`` is in voxels of the fixed grid, and the moving image is read at ``W A_f (x +
u(x))`` where ``A_f`` is the fixed affine and ``W`` a 4 x 4 *initial* map from the fixed to the moving world, found
before the optimisation. The *total* DDF has ``W`` folded into it, so that the moving image is read at ``A_f (x +
total(x))``: that one is written, and ITK applies it to the original moving image.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import nibabel as nib
import numpy as np
import torch
from torch import Tensor

from medloss.apps.common.images import Volume
from medloss.ops import resample


def grid_points(shape: Sequence[int], device: torch.device | None = None) -> Tensor:
    """Voxel coordinates ``(3, *shape)``, float64: at 512 voxels float32 would cost a hundredth of a voxel on the
    way through mm.
    """
    axes = [torch.arange(size, dtype=torch.float64, device=device) for size in shape]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"))


def points_through(matrix: np.ndarray, shape: Sequence[int], device: torch.device | None = None) -> Tensor:
    """Where an affine map takes the voxels of a grid, ``(3, *shape)``, float64: `grid_points`, mapped."""
    found = torch.empty((3, *shape), dtype=torch.float64, device=device)
    axes = [torch.arange(size, dtype=torch.float64, device=device) for size in shape]
    for row, to in zip(np.asarray(matrix, dtype=np.float64), found):
        i, j, k = (axis * float(factor) for axis, factor in zip(axes, row))
        torch.add((i + float(row[3]))[:, None, None] + j[:, None], k, out=to)
    return found


def _transform(matrix: np.ndarray, points: Tensor) -> Tensor:
    if np.array_equal(matrix, np.eye(4)):
        return points
    linear = torch.as_tensor(matrix[:3, :3], dtype=points.dtype, device=points.device)
    offset = torch.as_tensor(matrix[:3, 3], dtype=points.dtype, device=points.device)
    return torch.einsum("ab,b...->a...", linear, points) + offset.reshape(3, 1, 1, 1)


def pull(image: Tensor, matrix: np.ndarray, at: Tensor, mode: str = "bilinear", fill: float | None = None) -> Tensor:
    """Read ``image`` ``(C, i, j, k)`` at the positions ``matrix @ at``, as ITK does: the border reaches half a voxel
    out.

    Args:
        image: any dtype. Integers read by ``"nearest"`` keep their dtype and every digit; the rest comes back as
            float32.
        matrix: 4 x 4, from the space of ``at`` to voxels of the image.
        at: positions ``(3, *shape)``.
        mode: ``"bilinear"`` (which is linear in 3D) or ``"nearest"``.
        fill: value outside the image; None continues the border's.
    Returns: ``(C, *shape)``.
    """
    return pull_at(image, _transform(matrix, at.double()), mode, fill)


def pull_at(image: Tensor, voxels: Tensor, mode: str = "bilinear", fill: float | None = None) -> Tensor:
    """`pull` at voxels of the image, ``(3, *shape)``."""
    if mode == "nearest" and not image.is_floating_point():
        return _pull_nearest(image, voxels, 0 if fill is None else int(fill), fill is not None)
    positions = voxels.float()[None]
    pulled = resample(image[None].float(), positions.round() if mode == "nearest" else positions)[0]
    if fill is not None:
        pulled = torch.where(within(voxels, image.shape[1:]), pulled, pulled.new_tensor(fill))
    return pulled


def within(voxels: Tensor, shape: Sequence[int]) -> Tensor:
    """Which voxel coordinates ``(3, ...)`` lie in an image of ``shape``, which reaches half a voxel beyond its
    centres.
    """
    inside = [(at >= -0.5) & (at <= size - 0.5) for at, size in zip(voxels, shape)]
    return inside[0] & inside[1] & inside[2]


def _pull_nearest(image: Tensor, voxels: Tensor, fill: int, filled: bool) -> Tensor:
    """The entries of ``image`` ``(C, i, j, k)`` nearest to ``voxels``, without a float in between."""
    sizes = torch.tensor(image.shape[1:], dtype=torch.float64, device=image.device).reshape(3, 1, 1, 1)
    index = voxels.round().clamp(min=0).minimum(sizes - 1).long()
    found = image[:, index[0], index[1], index[2]]
    if not filled:
        return found
    return torch.where(within(voxels, image.shape[1:]), found, found.new_tensor(fill))


def pull_moving(moving: Tensor, moving_affine: np.ndarray, total_ddf: Tensor, fixed_affine: np.ndarray) -> Tensor:
    """The original moving image ``(C, i, j, k)`` through a total DDF ``(3, *fixed)`` onto the fixed grid,
    interpolated once.

    Outside the moving image comes its smallest value: 0 for most, air for CT.
    """
    return pull_at(moving, _landed(moving_affine, total_ddf, fixed_affine), fill=float(moving.min()))


class Pulled(NamedTuple):
    """The moving side on the fixed grid: image and label (as `pull_side` took it), and where the image is, boolean."""

    image: Tensor
    label: Tensor | None
    inside: Tensor


def pull_side(
    image: Tensor, label: Tensor | None, moving_affine: np.ndarray, total_ddf: Tensor, fixed_affine: np.ndarray
) -> Pulled:
    """`pull_moving` of an image ``(i, j, k)``, and its label by nearest neighbour: the positions are found once.

    Args:
        label: a map ``(i, j, k)`` or masks ``(C, i, j, k)`` of integers; outside the moving image comes 0.
    """
    at = _landed(moving_affine, total_ddf, fixed_affine)
    pulled = pull_at(image[None], at, fill=float(image.min()))[0]
    if label is not None:
        channels = label.to(at.device).reshape(-1, *label.shape[-3:])
        label = pull_at(channels, at, "nearest", fill=0).reshape(*label.shape[:-3], *at.shape[1:])
    return Pulled(pulled, label, within(at, image.shape))


def seen(shape: Sequence[int], moving_affine: np.ndarray, total_ddf: Tensor, fixed_affine: np.ndarray) -> Tensor:
    """Where a total DDF ``(3, *fixed)`` leads into the moving image of ``shape``; boolean, ``(*fixed)``."""
    return within(_landed(moving_affine, total_ddf, fixed_affine), shape)


def _landed(moving_affine: np.ndarray, total_ddf: Tensor, fixed_affine: np.ndarray) -> Tensor:
    """The voxels of the moving image, ``(3, *fixed)``, to which a total DDF leads."""
    at = grid_points(total_ddf.shape[1:], total_ddf.device) + total_ddf
    return _transform(_between(moving_affine, fixed_affine), at)


def fold_in_initial(ddf: Tensor, initial: np.ndarray, fixed_affine: np.ndarray) -> Tensor:
    """The total DDF ``(3, *shape)``: the initial map ``W`` after the displacement ``u``, as one displacement in
    voxels.
    """
    if np.array_equal(initial, np.eye(4)):
        return ddf
    points = grid_points(ddf.shape[1:], ddf.device)
    return (_transform(np.linalg.inv(fixed_affine) @ initial @ fixed_affine, points + ddf) - points).to(ddf.dtype)


def inverse_on_moving_grid(
    inverse_ddf: Tensor, initial: np.ndarray, fixed_affine: np.ndarray, moving_affine: np.ndarray, shape: Sequence[int]
) -> Tensor:
    """The inverse of a total DDF, on the moving grid and in its voxels: it pulls the fixed image onto the moving one.

    Args:
        inverse_ddf: inverse of ``x + u(x)`` alone, ``(3, *fixed)`` in voxels of the fixed grid.
        shape: of the moving image.
    Returns: ``(3, *shape)``.
    """
    to_fixed = np.linalg.inv(fixed_affine) @ np.linalg.inv(initial) @ moving_affine
    voxels = points_through(to_fixed, shape, inverse_ddf.device)
    landed = voxels + pull_at(inverse_ddf, voxels)
    landed = _transform(_between(moving_affine, fixed_affine), landed)
    return landed.sub_(grid_points(shape, inverse_ddf.device)).to(inverse_ddf.dtype)


def _between(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """From voxels of the other affine to those of the one, exactly the identity where they are equal."""
    return np.eye(4) if np.array_equal(one, other) else np.linalg.inv(one) @ other


def _same_world(fixed: Volume, moving: Volume) -> np.ndarray:
    return np.eye(4)


def _centre_of_mass(volume: Volume) -> np.ndarray:
    weights = np.asarray(volume.array, dtype=np.float64) - float(volume.array.min())
    total = weights.sum() or 1.0
    sums = [weights.sum(axis=tuple(other for other in range(3) if other != axis)) for axis in range(3)]
    voxels = [float(np.arange(len(line)) @ line) / total for line in sums]
    return volume.affine[:3, :3] @ voxels + volume.affine[:3, 3]


def _centres_of_mass(fixed: Volume, moving: Volume) -> np.ndarray:
    initial = np.eye(4)
    initial[:3, 3] = _centre_of_mass(moving) - _centre_of_mass(fixed)
    return initial


def _resized(fixed: Volume, moving: Volume) -> np.ndarray:
    """The two boxes laid over each other, whatever sizes and origins their headers say: DeepReg's rule.

    The directions of the axes are believed: left lies on left, and head on head.
    """
    stretch = np.zeros((4, 4))
    stretch[3, 3] = 1.0
    orientations = [nib.io_orientation(each.affine) for each in (fixed, moving)]
    for axis, (world, sign) in enumerate(orientations[0]):
        other = int(np.flatnonzero(orientations[1][:, 0] == world)[0])
        ratio = moving.array.shape[other] / fixed.array.shape[axis]
        # voxel edges on voxel edges: (x + 1/2) ratio - 1/2, counted from the other end where the axes are opposite
        same = sign == orientations[1][other, 1]
        stretch[other, axis] = ratio if same else -ratio
        stretch[other, 3] = (ratio - 1) / 2 if same else moving.array.shape[other] - (ratio + 1) / 2
    return moving.affine @ stretch @ np.linalg.inv(fixed.affine)


INITIALISERS: dict[str, Callable[[Volume, Volume], np.ndarray]] = {
    "none": _same_world,
    "centre_of_mass": _centres_of_mass,
    "resize": _resized,
}
"""How the moving image comes to lie over the fixed one before any deformation: name to ``(fixed, moving) -> W`` (4
x 4).
"""
