"""Coarse-to-fine optimisation of a displacement or velocity field by Adam, on views that lie on one grid.

With ``symmetric`` each level but the finest is optimised in both directions, and each of the two fields averaged with
the inverse of the other: what only one direction sees is mostly a fault. The finest level goes forward alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from medloss.apps.common.errors import UserError
from medloss.apps.registration.adam import Adam
from medloss.apps.registration.config import PairConfig, by_lncc
from medloss.apps.registration.direct import Direct, known
from medloss.apps.registration.losses import Landmarks, RegistrationLoss, numbers, total
from medloss.apps.registration.pyramid import Level, coarser_shape, grid_spacing, plan_levels, resize_field
from medloss.apps.registration.search import search
from medloss.apps.registration.transform import ToDisplacement, compose, invert, midway, warp
from medloss.apps.registration.unfold import unfold
from medloss.apps.registration.views import Views

DECAY = 0.9
"""Share of the learning rate that is gone at the end of a level: Adam's steps do not shrink by themselves."""
STALL = 10
"""Iterations whose mean loss is held to that of as many before, to see whether it still falls."""

Report = Callable[[dict[str, float]], None]
History = list[dict[str, float]]
Evaluate = Callable[[Tensor], tuple[dict[str, float], float, Tensor]]


def optimise(
    views: Views,
    spacing: Sequence[float],
    config: PairConfig,
    report: Report | None = None,
    start: Tensor | None = None,
    back: Tensor | None = None,
) -> tuple[Tensor, History]:
    """The displacement that the losses ask for, and how it came about.

    Args:
        spacing: mm per axis of the grid of ``views``.
        report: called after each iteration with its row of the history.
        start: a displacement to begin with, ``(1, 3, *fixed)`` in voxels; without one the discrete search finds it,
            where the configuration asks for that.
        back: the same from the moving to the fixed image; by default the inverse of ``start``.
    Returns:
        The displacement ``(1, 3, *fixed)`` in voxels, which folds nowhere unless ``config.unfold`` is none; and one row
        per iteration: its level, its number, whether it went backward, and every loss term, raw and weighted.
    """
    if start is None and config.search.use and by_lncc(config.loss.image):
        start, back = search(views, config.search)
    elif start is not None and back is None and config.symmetric:
        back = invert(start)
    run = _Run(views, spacing, config, report)
    found = run.displacement(start, back)
    if config.unfold != "none":
        found, _ = unfold(found, one_sided=config.unfold == "one_sided")
    return found, run.history


class _Run:
    """One optimisation, level by level."""

    def __init__(self, views: Views, spacing: Sequence[float], config: PairConfig, report: Report | None) -> None:
        self.views, self.config, self.report = views, config, report
        self.loss = RegistrationLoss(config.loss).to(views.fixed.device)
        shape = views.fixed.shape[2:]
        self.levels = plan_levels(shape, spacing, config.pyramid, config.iterations, config.spacing)
        self.to_displacement = ToDisplacement(config.transform, config.integration_steps)
        self.history: History = []

    def displacement(self, start: Tensor | None, backward: Tensor | None) -> Tensor:
        """On the fixed grid. A velocity of a start is not known: it follows the start's displacement."""
        shape = self.views.fixed.shape[2:]
        if start is not None and self.config.transform == "dvf":
            self.views = self.views.through(start)
            return compose(resize_field(self.to_displacement(self._field(None, None)), shape), start)
        if start is None:
            return resize_field(self.to_displacement(self._field(None, None)), shape)
        return _carried(self._field(start, backward), start, shape)

    def _field(self, start: Tensor | None, back: Tensor | None) -> Tensor:
        """The field of the finest level, ``(1, 3, *control)``."""
        forward = backward = self.views.fixed.new_zeros(1, 3, 2, 2, 2)
        for number, level in enumerate(self.levels):
            self.loss.set_epoch(number)
            voxel, finest = min(level.spacing), min(self.levels[-1].spacing)
            control = coarser_shape(level.shape, level.spacing, self.config.control_mm(voxel, finest))
            forward = _carried(forward, start, control, number == 0)
            backward = _carried(backward, back, control, number == 0)
            here = self.views.at(level.shape)
            forward = self._level(number, level, here, forward)
            if not self.config.symmetric or number + 1 == len(self.levels) or not level.iterations:
                continue
            backward = self._level(number, level, here.swapped(), backward, backward=True)
            if self.config.transform == "dvf":
                forward, backward = (forward - backward) / 2, (backward - forward) / 2
            else:
                forward, backward = midway(forward, backward)
        return forward

    def _level(self, number: int, level: Level, views: Views, field: Tensor, backward: bool = False) -> Tensor:
        """The field after the iterations of a level in one direction."""
        field = field.detach().clone()
        steps = grid_spacing(level.shape, level.spacing, field.shape[2:])
        evaluate = self._evaluation(views, level, steps, field)
        lr, values = self.config.step, []
        adam = Adam(field)
        for iteration in range(level.iterations):
            terms, value, gradient = evaluate(field)
            values.append(value)
            if not abs(value) < float("inf"):
                raise UserError(_not_finite(number, iteration, terms))
            adam.step(gradient, lr * (1 - DECAY * iteration / level.iterations))
            row = {"level": number, "iteration": iteration, "backward": float(backward), "loss": value}
            self.history.append(row | terms)
            if self.report:
                self.report(self.history[-1])
            if _stalled(values, self.config.tolerance):
                break
        return field

    def _evaluation(self, views: Views, level: Level, spacing: Sequence[float], start: Tensor) -> Evaluate:
        """The terms of a level's field, their sum and its gradient: without a graph where the losses are known."""
        terms = _Terms(views, level, spacing, self.loss, self.config, start)
        if self.config.transform == "ddf" and known(self.loss):
            return Direct(self.loss, views.fixed, views.moving, terms.mask, start.shape[2:], spacing)
        return lambda field: _by_autograd(terms, field)


def _by_autograd(terms_of: Callable[[Tensor], dict[str, Any]], field: Tensor) -> tuple[dict[str, float], float, Tensor]:
    field = field.detach().requires_grad_(True)
    terms = terms_of(field)
    value = total(terms)
    (gradient,) = torch.autograd.grad(value, field)
    return numbers(terms), float(value.detach()), gradient


def _carried(field: Tensor, start: Tensor | None, shape: Sequence[int], first: bool = False) -> Tensor:
    """The field on another grid. What came of a start is carried over by itself, so that the start keeps its details.

    Args:
        first: the field is nothing yet, and begins with the start.
    """
    if start is None:
        return resize_field(field, shape)
    if first:
        return resize_field(start, shape)
    return resize_field(field - resize_field(start, field.shape[2:]), shape) + resize_field(start, shape)


def _stalled(values: Sequence[float], tolerance: float) -> bool:
    """Whether the last iterations brought less than a share ``tolerance`` of all that the level has brought."""
    if tolerance <= 0 or len(values) < 2 * STALL:
        return False
    before, last = sum(values[-2 * STALL : -STALL]) / STALL, sum(values[-STALL:]) / STALL
    return before - last <= tolerance * max(values[0] - last, 0.0)


def _not_finite(level: int, iteration: int, terms: dict[str, float]) -> str:
    odd = [name for name, value in terms.items() if value - value != 0 and not name.endswith("_weighted")]
    return (
        f"the optimisation stopped: {', '.join(odd) or 'the loss'} is not finite at level {level + 1}, iteration "
        f"{iteration + 1}; lower lr, or look at the intensities of both images (is one of them almost empty?)"
    )


class _Terms:
    """The loss terms of a field at one level and in one direction."""

    def __init__(
        self,
        views: Views,
        level: Level,
        control_spacing: Sequence[float],
        loss: RegistrationLoss,
        config: PairConfig,
        start: Tensor,
    ) -> None:
        self.views, self.level, self.control_spacing, self.loss = views, level, control_spacing, loss
        self.of_velocity = config.regularise == "velocity"
        self.to_displacement = ToDisplacement(config.transform, config.integration_steps)
        with torch.no_grad():
            self.mask = views.compared(resize_field(self.to_displacement(start), level.shape))

    def __call__(self, field: Tensor) -> dict[str, Any]:
        views, coarse = self.views, self.to_displacement(field)
        ddf = resize_field(coarse, self.level.shape)
        labels = points = None
        if views.fixed_label is not None and views.moving_label is not None and "label" in self.loss.groups:
            labels = (warp(views.moving_label, ddf), views.fixed_label)
        if views.fixed_points is not None and views.moving_points is not None:
            points = self._landmarks(views.fixed_points, views.moving_points, coarse)
        return self.loss.terms(
            images=(warp(views.moving, ddf), views.fixed),
            labels=labels,
            field=field if self.of_velocity else coarse,
            points=points,
            spacing=self.control_spacing,
            mask=self.mask,
        )

    def _landmarks(self, fixed: Tensor, moving: Tensor, coarse: Tensor) -> Landmarks:
        """In voxels of the grid that carries the field, as the losses see it."""
        sizes = zip(coarse.shape[2:], self.level.shape)
        ratio = fixed.new_tensor([(new - 1) / max(old - 1, 1) for new, old in sizes])
        return Landmarks(fixed * ratio, moving * ratio, fixed.new_ones(fixed.shape[:2]), coarse)
