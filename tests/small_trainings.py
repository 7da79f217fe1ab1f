"""Trainings of some milliseconds by the engine of the applications, for its tests."""

from __future__ import annotations

from typing import NamedTuple

import torch
from monai.data import DataLoader, Dataset
from monai.transforms import RandGaussianNoised

from medloss.apps.common.engine import build_trainer
from medloss.apps.common.training import ScheduleConfig, TrainConfig


class Term(NamedTuple):
    raw: torch.Tensor
    weight: float
    value: torch.Tensor


class Loss:
    epochs: list[int]

    def __init__(self):
        self.epochs = []

    def set_epoch(self, epoch):
        self.epochs.append(epoch)


def make(run, epochs, *, noise=True, stop_at=None, validation=None, loss=None, cases=6, **options):
    torch.manual_seed(7)
    network = torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.Dropout(0.2 * noise), torch.nn.Linear(8, 1))
    generator = torch.Generator().manual_seed(1)
    items = [{"x": torch.randn(3, generator=generator)} for _ in range(cases)]
    dataset = Dataset(items, RandGaussianNoised("x", prob=0.5, std=0.3) if noise else None)

    def terms(batch):
        if stop_at is not None and trainer.engine.state.iteration == stop_at:
            raise KeyboardInterrupt
        value = (network(batch["x"]) - batch["x"].sum(1, keepdim=True)).square().mean()
        return {"mse": Term(value, 0.5, 0.5 * value)}

    config = TrainConfig(epochs=epochs, **{"batch": 2, "schedule": ScheduleConfig(name="constant"), **options})
    trainer = build_trainer(
        run=run,
        network=network,
        loader=DataLoader(dataset, batch_size=config.batch, shuffle=noise),
        terms=terms,
        config=config,
        device=torch.device("cpu"),
        seed=3,
        loss=loss,
        validation=validation,
        progress=False,
    )
    return trainer, network


def equal(first, second):
    pairs = zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)
