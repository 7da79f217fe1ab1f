"""The ``train:`` section that every application shares, and the optimizer and schedule that it describes."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Literal

import pydantic
import torch

from medloss.apps.common.config import Model

MOST_EPOCHS = 10**6


class OptimizerConfig(Model):
    """Optimizer by name; ``lr`` is the highest learning rate, after the warm-up."""

    name: Literal["adamw", "adam", "sgd"] = "adamw"
    lr: float = pydantic.Field(1e-3, gt=0, le=1e6)
    weight_decay: float = pydantic.Field(1e-5, ge=0, le=100)


class ScheduleConfig(Model):
    """Learning rate over time: ``warmup`` epochs of linear rise, then constant or a cosine down to zero."""

    name: Literal["cosine", "constant"] = "cosine"
    warmup: float = pydantic.Field(0, ge=0, le=MOST_EPOCHS)


class TrainConfig(Model):
    """How long and how to train. ``steps`` (rounded up to whole epochs) wins over ``epochs``."""

    epochs: int = pydantic.Field(20, ge=1, le=MOST_EPOCHS)
    steps: int | None = pydantic.Field(None, ge=1, le=10**9)
    batch: int = pydantic.Field(2, ge=1, le=4096)
    accumulate: int = pydantic.Field(1, ge=1, le=10**6)
    optimizer: OptimizerConfig = OptimizerConfig()
    schedule: ScheduleConfig = ScheduleConfig()
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    clip: float | None = pydantic.Field(1.0, gt=0)
    workers: int = pydantic.Field(0, ge=0, le=256)

    def count_epochs(self, steps_per_epoch: int) -> int:
        """Number of epochs for a loader of ``steps_per_epoch`` batches."""
        return self.epochs if self.steps is None else math.ceil(self.steps / steps_per_epoch)


def build_optimizer(config: OptimizerConfig, parameters: Iterable[torch.nn.Parameter]) -> torch.optim.Optimizer:
    """The optimizer that the configuration names, over ``parameters``."""
    if config.name == "sgd":
        return torch.optim.SGD(parameters, config.lr, momentum=0.99, nesterov=True, weight_decay=config.weight_decay)
    kind = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam}[config.name]
    return kind(parameters, lr=config.lr, weight_decay=config.weight_decay)


def build_schedule(
    config: ScheduleConfig, optimizer: torch.optim.Optimizer, epochs: int, updates_per_epoch: int
) -> torch.optim.lr_scheduler.LambdaLR:
    """Learning rate factor per optimizer update: a warm-up from near zero to 1, then constant or a half cosine to 0."""
    warm, total = round(config.warmup * updates_per_epoch), epochs * updates_per_epoch

    def factor(update: int) -> float:
        if update < warm:
            return (update + 1) / (warm + 1)
        if config.name == "constant":
            return 1.0
        return 0.5 * (1 + math.cos(math.pi * min(1.0, (update - warm) / max(1, total - warm))))

    return torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
