"""The stage before any deformation: a rigid or affine map between the two worlds, found by the image losses."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from medloss.apps.registration.adam import Adam
from medloss.apps.registration.config import Affine
from medloss.apps.registration.geometry import grid_points
from medloss.apps.registration.pyramid import coarser_shape, resize
from medloss.config import build_loss
from medloss.ops import resample

SMALLEST = 20
"""Voxels along an axis below which a level is not made coarser: windows of 11 would see all of it."""


class World(NamedTuple):
    """An image ``(i, j, k)`` of rescaled intensities with its affine, 4 x 4, voxel to RAS mm.

    ``mask``: ``(i, j, k)``, above 0 where to compare.
    """

    image: Tensor
    affine: np.ndarray
    mask: Tensor | None = None


def find_affine(fixed: World, moving: World, initial: np.ndarray, config: Affine) -> np.ndarray:
    """The map ``W``, 4 x 4, from the fixed to the moving world, that the losses prefer to ``initial``.

    Args:
        initial: where to start, 4 x 4.
        config: the model, its levels and its losses.
    Returns: ``initial`` where nothing better was found.
    """
    loss = build_loss(config.loss, kind="image").to(fixed.image.device)
    found = initial
    for factor, iterations, lr in zip(config.pyramid, config.iterations, config.lr, strict=True):
        finest = float(np.linalg.norm(fixed.affine[:3, :3], axis=0).min())
        below, above = _coarse(fixed, finest * factor), _coarse(moving, finest * factor)
        # a coarse level may have misled: each begins with what it likes better
        starts = [_Comparison(below, above, start, loss) for start in (found, initial)]
        compare = min(starts, key=_Comparison.at_start)
        change = _optimise(compare, config.model, iterations, lr).double().numpy()
        found = compare.initial @ compare.scale @ change @ np.linalg.inv(compare.scale)
    return found


def _coarse(world: World, voxel_mm: float) -> World:
    """The image on voxels of about ``voxel_mm``, over the same corner voxels."""
    spacing = np.linalg.norm(world.affine[:3, :3], axis=0)
    finest = min(float(step) * size / SMALLEST for step, size in zip(spacing, world.image.shape))
    shape = coarser_shape(world.image.shape, spacing.tolist(), min(voxel_mm, max(finest, float(spacing.min()))))
    ratio = [(old - 1) / max(new - 1, 1) for old, new in zip(world.image.shape, shape)]
    mask = None if world.mask is None else (resize((world.mask > 0)[None, None].float(), shape)[0, 0] > 0.5).float()
    return World(resize(world.image[None, None], shape)[0, 0], world.affine @ np.diag([*ratio, 1.0]), mask)


class _Comparison:
    """The losses as a function of a map about the centre of the fixed box, in units of half its diagonal."""

    def __init__(self, fixed: World, moving: World, initial: np.ndarray, loss: torch.nn.Module) -> None:
        self.fixed, self.moving, self.loss = fixed.image[None, None], moving.image, loss
        self.masks = fixed.mask, moving.mask
        self.initial = initial
        shape, device = fixed.image.shape, fixed.image.device
        middle = (np.array(shape) - 1) / 2
        centre = fixed.affine[:3, :3] @ middle + fixed.affine[:3, 3]
        reach = float(np.linalg.norm(fixed.affine[:3, :3] * middle))
        self.scale = np.diag([reach, reach, reach, 1.0])
        self.scale[:3, 3] = centre
        to_unit = np.linalg.inv(self.scale) @ fixed.affine
        grid = grid_points(shape, device).float().flatten(1)
        self.points = _apply(torch.as_tensor(to_unit, dtype=torch.float32, device=device), grid)
        outer = np.linalg.inv(moving.affine) @ initial @ self.scale
        self.outer = torch.as_tensor(outer, dtype=torch.float32, device=device)
        self.last = self.points.new_tensor(self.moving.shape).reshape(3, 1) - 0.5

    @torch.no_grad()
    def at_start(self) -> float:
        """The loss of the map that this begins with."""
        value = self(torch.eye(4, device=self.points.device))
        return float("inf") if value is None else float(value)

    def __call__(self, matrix: Tensor) -> Tensor | None:
        """The loss where the moving image is; None where it is nowhere."""
        voxels = _apply(self.outer, _apply(matrix, self.points))
        inside = ((voxels > -0.5) & (voxels < self.last)).all(0).reshape(self.fixed.shape).float()
        positions = voxels.reshape(1, 3, *self.fixed.shape[2:])
        if self.masks[0] is not None:
            inside = inside * self.masks[0]
        if self.masks[1] is not None:
            inside = inside * (resample(self.masks[1][None, None], positions.detach())[0, 0] > 0.5)
        if not bool(inside.any()):
            return None
        return self.loss(resample(self.moving[None, None], positions), self.fixed, mask=inside)


def _optimise(compare: _Comparison, model: str, iterations: int, lr: float) -> Tensor:
    """The best map that Adam met, 4 x 4; the identity is the first."""
    parameters = torch.zeros(6 if model == "rigid" else 12, device=compare.points.device)
    adam = Adam(parameters)
    best, chosen = float("inf"), torch.eye(4)
    for iteration in range(iterations + 1):
        parameters.requires_grad_(True)
        matrix = _matrix(parameters, model)
        value = compare(matrix)
        if value is None:
            break
        if float(value.detach()) < best:
            best, chosen = float(value.detach()), matrix.detach().cpu()
        (gradient,) = torch.autograd.grad(value, parameters)
        adam.step(gradient, lr * (1 - 0.9 * iteration / max(iterations, 1)))
    return chosen


def _apply(matrix: Tensor, points: Tensor) -> Tensor:
    return matrix[:3, :3] @ points + matrix[:3, 3:]


def _matrix(parameters: Tensor, model: str) -> Tensor:
    """4 x 4 from 3 rotations and 3 shifts, or from 9 entries and 3 shifts; zeros are the identity."""
    bottom = parameters.new_tensor([[0.0, 0.0, 0.0, 1.0]])
    if model == "rigid":
        x, y, z = parameters[:3]
        zero = torch.zeros_like(x)
        skew = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero]).reshape(3, 3)
        return torch.cat([torch.cat([torch.linalg.matrix_exp(skew), parameters[3:, None]], 1), bottom])
    linear = torch.eye(3, device=parameters.device) + parameters[:9].reshape(3, 3)
    return torch.cat([torch.cat([linear, parameters[9:, None]], 1), bottom])
