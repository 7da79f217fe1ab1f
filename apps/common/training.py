"""The ``train:`` section that every application shares, and the optimizer and schedule that it describes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Literal

import pydantic
import torch

from medloss.apps.common import optimizers
from medloss.apps.common.config import Model

MOST_EPOCHS = 10**6


class OptimizerConfig(Model):
    """Optimizer by name; ``lr`` is the highest learning rate, after the warm-up."""

    name: Literal["adamw", "adam", "sgd"] = "adamw"
    """``sgd`` has Nesterov's momentum of 0.99, as in nnU-Net."""
    lr: float = pydantic.Field(1e-3, gt=0, le=1e6)
    """The highest learning rate."""
    weight_decay: float = pydantic.Field(1e-5, ge=0, le=100)
    """Decay of the weights in each step, decoupled from the gradient."""


class ScheduleConfig(Model):
    """Learning rate over time: ``warmup`` epochs of linear rise, then constant, or down to zero.

    ``cosine``: half a period of a cosine. ``poly``: the share of the training that is left, to the power of 0.9, as in
    nnU-Net.
    """

    name: Literal["cosine", "poly", "constant"] = "cosine"
    """Shape of the learning rate after the warm-up."""
    warmup: float = pydantic.Field(0, ge=0, le=MOST_EPOCHS)
    """Epochs of linear rise."""


class TrainConfig(Model):
    """How long and how to train.

    The length is given by one of ``minutes`` (time on the clock, validation included), ``steps`` (rounded up to whole
    epochs) and ``epochs``, which win in this order. An epoch is ``epoch_steps`` steps, or one pass over the cases
    where that is left open. A run by ``minutes`` that is resumed has the time that it did not use yet; its learning
    rate follows the clock, so that only ``steps`` and ``epochs`` give the same weights again.

    ``ema``: the network that is measured and kept is an average of the weights of the last steps, each of which counts
    this factor less than the one after it (0.99: about the last hundred); 0: the weights themselves.
    """

    epochs: int = pydantic.Field(20, ge=1, le=MOST_EPOCHS)
    """Length in epochs, if neither ``minutes`` nor ``steps`` is given."""
    steps: int | None = pydantic.Field(None, ge=1, le=10**9)
    """Length in steps, rounded up to whole epochs."""
    minutes: float | None = pydantic.Field(None, gt=0, le=10**6)
    """Length in minutes on the clock, validation included."""
    epoch_steps: int | None = pydantic.Field(None, ge=1, le=10**6)
    """Steps of an epoch; null: one pass over the cases."""
    ema: float = pydantic.Field(0.0, ge=0, lt=1)
    """Decay of the moving average of the weights, which is validated and saved; 0: no average."""
    batch: int = pydantic.Field(2, ge=1, le=4096)
    """Cases in a step."""
    accumulate: int = pydantic.Field(1, ge=1, le=10**6)
    """Steps whose gradients are averaged before the weights change."""
    optimizer: OptimizerConfig = OptimizerConfig()
    schedule: ScheduleConfig = ScheduleConfig()
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    """Precision of the network; losses always add up in float32."""
    clip: float | None = pydantic.Field(1.0, gt=0)
    """Largest norm of the gradient; a larger gradient is scaled down to it."""
    workers: int = pydantic.Field(0, ge=0, le=256)
    """Processes that prepare batches; 0: the process of the training does it."""

    mlflow: str | None = pydantic.Field(None, min_length=1, max_length=200)
    """Name of an MLflow experiment: the run is also kept in a local store, mlflow.db beside the run folder."""

    def count_epochs(self, steps_per_epoch: int) -> int:
        """Number of epochs for a loader of ``steps_per_epoch`` batches; the most there can be where time decides."""
        if self.minutes is not None:
            return MOST_EPOCHS
        return self.epochs if self.steps is None else math.ceil(self.steps / steps_per_epoch)


def build_optimizer(config: OptimizerConfig, parameters: Iterable[torch.nn.Parameter]) -> torch.optim.Optimizer:
    """The optimizer that the configuration names, over ``parameters``."""
    if config.name == "sgd":
        return optimizers.SGD(parameters, config.lr, momentum=0.99, nesterov=True, weight_decay=config.weight_decay)
    kind = {"adamw": optimizers.AdamW, "adam": optimizers.Adam}[config.name]
    return kind(parameters, lr=config.lr, weight_decay=config.weight_decay)


def build_schedule(
    config: ScheduleConfig,
    optimizer: torch.optim.Optimizer,
    epochs: int,
    updates_per_epoch: int,
    used: Callable[[], float] | None = None,
) -> torch.optim.lr_scheduler.LambdaLR:
    """Learning rate factor per optimizer update: a warm-up from near zero to 1, then as the schedule says.

    ``used`` tells the share of the training that is over, where time and not the number of updates decides.
    """
    warm, total = round(config.warmup * updates_per_epoch), epochs * updates_per_epoch

    def factor(update: int) -> float:
        if update < warm:
            return (update + 1) / (warm + 1)
        done = used() if used is not None else (update - warm) / max(1, total - warm)
        if config.name == "constant":
            return 1.0
        if config.name == "poly":
            return float(max(0.0, 1.0 - done) ** 0.9)
        return 0.5 * (1 + math.cos(math.pi * min(1.0, done)))

    return torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
