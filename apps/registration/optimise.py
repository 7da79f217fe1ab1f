"""Coarse-to-fine optimisation of a displacement or velocity field by Adam, on views that lie on one grid."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from medloss.apps.common.errors import UserError
from medloss.apps.registration.config import PairConfig
from medloss.apps.registration.losses import RegistrationLoss, numbers, total
from medloss.apps.registration.pyramid import Level, coarser_shape, grid_spacing, plan_levels, resize, resize_field
from medloss.apps.registration.transform import ToDisplacement, warp

DECAY = 0.9
"""Share of the learning rate that is gone at the end of a level: Adam's steps do not shrink by themselves."""

Report = Callable[[dict[str, float]], None]


class Views(NamedTuple):
    """What the losses compare, all ``(1, C, *fixed)``; labels are probabilities, the mask is 1 where to compare."""

    fixed: Tensor
    moving: Tensor
    fixed_label: Tensor | None = None
    moving_label: Tensor | None = None
    mask: Tensor | None = None

    def at(self, shape: Sequence[int]) -> Views:
        """The same on a coarser grid; the mask stays one of 0 and 1."""
        resized = [None if each is None else resize(each, shape) for each in self[2:]]
        if resized[2] is not None:
            resized[2] = (resized[2] > 0.5).float()
        return Views(resize(self.fixed, shape), resize(self.moving, shape), *resized)

    def through(self, ddf: Tensor) -> Views:
        """The moving side read through a displacement ``(1, d, *fixed)`` in voxels."""
        label = None if self.moving_label is None else warp(self.moving_label, ddf)
        return self._replace(moving=warp(self.moving, ddf), moving_label=label)


def optimise(
    views: Views, spacing: Sequence[float], config: PairConfig, report: Report | None = None
) -> tuple[Tensor, list[dict[str, float]]]:
    """The field that the losses ask for, and how it came about.

    Args:
        spacing: mm per axis of the grid of ``views``.
        report: called after each iteration with its row of the history.
    Returns:
        The field ``(1, 3, *control)`` in voxels of its control grid, and one row per iteration: its level, its number
        and every loss term, raw and weighted.
    """
    loss = RegistrationLoss(config.loss).to(views.fixed.device)
    field, history = views.fixed.new_zeros(1, 3, 2, 2, 2), []
    levels = plan_levels(views.fixed.shape[2:], spacing, config.pyramid, config.iterations, config.spacing)
    for number, level in enumerate(levels):
        loss.set_epoch(number)
        control = coarser_shape(level.shape, level.spacing, min(level.spacing) * config.control)
        field = resize_field(field, control).detach().requires_grad_(True)
        terms_of = _Terms(views.at(level.shape), level, grid_spacing(level.shape, level.spacing, control), loss, config)
        optimiser = torch.optim.Adam([field], lr=config.lr, eps=1e-12)  # gradients are small: a mean over voxels
        for iteration in range(level.iterations):
            for group in optimiser.param_groups:
                group["lr"] = config.lr * (1 - DECAY * iteration / level.iterations)
            optimiser.zero_grad(set_to_none=True)
            terms = terms_of(field)
            value = total(terms)
            if not torch.isfinite(value):
                raise UserError(_not_finite(number, iteration, numbers(terms)))
            value.backward()
            optimiser.step()
            history.append({"level": number, "iteration": iteration, "loss": float(value.detach()), **numbers(terms)})
            if report:
                report(history[-1])
    return field.detach(), history


def _not_finite(level: int, iteration: int, terms: dict[str, float]) -> str:
    odd = [name for name, value in terms.items() if value - value != 0 and not name.endswith("_weighted")]
    return (
        f"the optimisation stopped: {', '.join(odd) or 'the loss'} is not finite at level {level + 1}, iteration "
        f"{iteration + 1}; lower lr, or look at the intensities of both images (is one of them almost empty?)"
    )


class _Terms:
    """The loss terms of a field at one level."""

    def __init__(
        self, views: Views, level: Level, control_spacing: Sequence[float], loss: RegistrationLoss, config: PairConfig
    ) -> None:
        self.views, self.level, self.control_spacing, self.loss = views, level, control_spacing, loss
        self.of_velocity = config.regularise == "velocity"
        self.to_displacement = ToDisplacement(config.transform, config.integration_steps)

    def __call__(self, field: Tensor) -> dict[str, Any]:
        views, coarse = self.views, self.to_displacement(field)
        ddf = resize_field(coarse, self.level.shape)
        labels = None
        if views.fixed_label is not None and views.moving_label is not None and "label" in self.loss.groups:
            labels = (warp(views.moving_label, ddf), views.fixed_label)
        return self.loss.terms(
            images=(warp(views.moving, ddf), views.fixed),
            labels=labels,
            field=field if self.of_velocity else coarse,
            spacing=self.control_spacing,
            mask=views.mask,
        )
