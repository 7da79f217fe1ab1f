"""What a deformation does: Jacobian determinant, folding, SDlogJ, errors in mm, inverse consistency.

A field is ``(d, *spatial)`` in voxels, components in index order, as MONAI's ``Warp`` takes it. Arrays and tensors
are both taken; maps come back as NumPy arrays, numbers as floats. The determinant is the same in voxels and in mm,
since ``det(A J A^-1) = det(J)``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from scipy.ndimage import map_coordinates
from torch import Tensor

from medloss import ops

Array = Any  # a NumPy array or a tensor

DEFINITIONS = {
    "folding_percent": "share of voxels whose Jacobian determinant is <= 0, in percent (central differences, one-sided "
    "ones at the border)",
    "folding_inside_percent": "the same without the outermost layer of voxels, where differences are one-sided",
    "sdlogj": "standard deviation of ln(J) over the voxels that do not fold (J > 0); folding_percent counts the others",
    "sdlogj_l2r": "Learn2Reg's variant: deviation of ln(J + 3) without a border of 2; not comparable with sdlogj",
    "jacobian_min": "smallest Jacobian determinant",
    "inverse_consistency_mm": "mean distance in mm between a point and its image under the field and then its inverse",
}


def _numpy(values: Array) -> np.ndarray:
    return np.asarray(values.detach().cpu() if hasattr(values, "detach") else values, dtype=np.float64)


@torch.no_grad()
def jacobian_determinant(ddf_voxels: Array) -> np.ndarray:
    """Determinant of the Jacobian of ``x + ddf(x)``: ``(d, *spatial)`` in voxels to ``(*spatial)``.

    1 keeps volume, <= 0 folds. Central differences, one-sided ones at the border: a linear field is exact everywhere.
    """
    field = torch.as_tensor(ddf_voxels).detach().cpu()
    field = field if field.dtype == torch.float64 else field.float()
    dimensions = field.shape[0]
    if field.ndim != dimensions + 1 or min(field.shape[1:]) < 2:
        raise ValueError(f"expected a field (d, *spatial) of 2 voxels or more per axis, got shape {tuple(field.shape)}")
    for axis in range(1, field.ndim):
        field = continued(field, axis)
    return ops.jacobian_determinant(field[None], stencil="central", axis_scale=[1.0] * dimensions)[0, 0].numpy()


def continued(field: Tensor, axis: int) -> Tensor:
    """One voxel more at both ends, on the line through the last two: central differences there are one-sided ones."""
    first, second, *_ = field.split(1, axis)
    *_, before, last = field.split(1, axis)
    return torch.cat([2 * first - second, field, 2 * last - before], axis)


def _select(values: np.ndarray, mask: Array | None, border: int) -> np.ndarray:
    inner = (slice(border, -border or None),) * values.ndim
    return values[inner][_numpy(mask)[inner] > 0] if mask is not None else values[inner].ravel()


def folding_percent(jacobian: Array, mask: Array | None = None, border: int = 0) -> float:
    """Percent of voxels whose determinant is <= 0, within ``mask`` and without ``border`` voxels at each side."""
    return float(100.0 * np.mean(_select(_numpy(jacobian), mask, border) <= 0.0))


def sd_log_jacobian(jacobian: Array, mask: Array | None = None, variant: str = "plain") -> float:
    """Standard deviation of the logarithm of the determinant: how unevenly the field changes volume; 0 for a rigid one.

    Args:
        jacobian: ``(*spatial)``, of `jacobian_determinant`.
        mask: ``(*spatial)``, where to look; everywhere without it.
        variant: ``"plain"`` is ln(J) over the voxels with J > 0: folded ones have no logarithm, and a number in its
            place would decide the result (`folding_percent` counts them); NaN where all fold. ``"l2r"`` is what
            Learn2Reg's evaluation code computes, ln(J + 3) without a border of 2 voxels. The two are not comparable.
    """
    if variant not in ("plain", "l2r"):
        raise ValueError(f"variant is {variant!r}, expected 'plain' or 'l2r'")
    if variant == "l2r":
        return float(np.log(np.maximum(_select(_numpy(jacobian), mask, 2) + 3.0, 1e-9)).std())
    values = _select(_numpy(jacobian), mask, 0)
    values = values[values > 0]
    return float(np.log(values).std()) if values.size else float("nan")


def _lengths_mm(vectors: np.ndarray, affine: np.ndarray) -> np.ndarray:
    return np.linalg.norm(np.tensordot(np.asarray(affine, dtype=np.float64)[:3, :3], vectors, axes=1), axis=0)


def target_registration_error(
    ddf_voxels: Array, truth_voxels: Array, affine: np.ndarray, mask: Array | None = None
) -> np.ndarray:
    """Distance in mm between a field and the true one, at each voxel ``(*spatial)``, or ``(n,)`` at those within
    ``mask``.
    """
    error = _lengths_mm(_numpy(ddf_voxels) - _numpy(truth_voxels), affine)
    return error if mask is None else error[_numpy(mask) > 0]


def _sample(field: np.ndarray, points: np.ndarray, outside: str = "nearest") -> np.ndarray:
    """The field's vectors ``(3, ...)`` at voxel positions ``(3, ...)``, linear; outside the border's value, or NaN
    for "constant".
    """
    return np.stack([map_coordinates(each, points, order=1, mode=outside, cval=np.nan) for each in field])


def landmark_error(ddf_voxels: Array, fixed_points: Array, moving_points: Array, affine: np.ndarray) -> np.ndarray:
    """Target registration error ``(n,)`` in mm of landmark pairs.

    Args:
        ddf_voxels: ``(3, i, j, k)`` in voxels of the fixed grid.
        fixed_points: ``(n, 3)`` in RAS mm, in the fixed image.
        moving_points: ``(n, 3)`` in RAS mm, in the moving image.
        affine: 4 x 4 of the fixed grid.
    """
    affine = np.asarray(affine, dtype=np.float64)
    voxels = np.linalg.inv(affine)[:3] @ np.vstack([_numpy(fixed_points).T, np.ones(len(fixed_points))])
    mapped = affine[:3, :3] @ (voxels + _sample(_numpy(ddf_voxels), voxels)) + affine[:3, 3:]
    return np.linalg.norm(mapped - _numpy(moving_points).T, axis=0)


def inverse_consistency(
    forward_voxels: Array, inverse_voxels: Array, affine: np.ndarray, inverse_affine: np.ndarray | None = None
) -> np.ndarray:
    """Distance in mm ``(*spatial)`` between each voxel and where it comes back to, by the field and then by its
    inverse.

    Args:
        forward_voxels: ``(3, *fixed)`` in voxels of the grid of ``affine`` (4 x 4).
        inverse_voxels: ``(3, *moving)`` in voxels of the grid of ``inverse_affine``, by default the same one.
    Returns: 0 is perfect; NaN where the field leads out of the inverse's grid.
    """
    affine = np.asarray(affine, dtype=np.float64)
    inverse_affine = affine if inverse_affine is None else np.asarray(inverse_affine, dtype=np.float64)
    forward = _numpy(forward_voxels)
    landed = np.einsum("ab,b...->a...", affine[:3, :3], np.indices(forward.shape[1:]) + forward)
    landed += affine[:3, 3].reshape(3, 1, 1, 1)
    to_inverse = np.linalg.inv(inverse_affine)
    voxels = np.einsum("ab,b...->a...", to_inverse[:3, :3], landed) + to_inverse[:3, 3].reshape(3, 1, 1, 1)
    back = np.einsum("ab,b...->a...", inverse_affine[:3, :3], _sample(_numpy(inverse_voxels), voxels, "constant"))
    return np.linalg.norm(np.einsum("ab,b...->a...", affine[:3, :3], forward) + back, axis=0)


def describe(ddf_voxels: Array, mask: Array | None = None) -> tuple[dict[str, float], np.ndarray]:
    """The numbers of `DEFINITIONS` that need the field alone, and its Jacobian map."""
    jacobian = jacobian_determinant(ddf_voxels)
    numbers = {
        "folding_percent": folding_percent(jacobian, mask),
        "folding_inside_percent": folding_percent(jacobian, mask, border=1)
        if min(jacobian.shape) > 2
        else float("nan"),
        "sdlogj": sd_log_jacobian(jacobian, mask),
        "sdlogj_l2r": sd_log_jacobian(jacobian, mask, variant="l2r"),
        "jacobian_min": float(jacobian.min()),
    }
    return numbers, jacobian
