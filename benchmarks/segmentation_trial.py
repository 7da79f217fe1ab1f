"""A short training of a segmentation by its ``train`` section: what the series of trials share."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable

import torch

from medloss.apps.common.averaging import WeightAverage
from medloss.apps.common.engine import to_device
from medloss.apps.common.random_state import seed_epoch
from medloss.apps.common.training import build_optimizer, build_schedule
from medloss.apps.segmentation.train import SegmentationTask

Share = Callable[[int], float]
"""The share of a training that is over after so many steps."""


def of_seconds(seconds: float) -> Share:
    """Of a training of so many processor seconds, which begins now."""
    started = time.process_time()
    return lambda done: (time.process_time() - started) / seconds


def of_steps(steps: int) -> Share:
    """Of a training of so many steps."""
    return lambda done: done / steps


def reached(task: SegmentationTask, share: Share) -> dict[str, float]:
    """Dice of the held-out cases after a training; a falling learning rate falls to zero with its end."""
    network, loader, train = task.network, task.loader, task.config.train
    optimizer, average = build_optimizer(train.optimizer, network.parameters()), WeightAverage(network, train.ema)
    done = 0
    schedule = build_schedule(train.schedule, optimizer, 1, len(loader), lambda: share(done))
    for epoch in itertools.count(1):
        seed_epoch(task.config.seed, epoch, loader.dataset)
        loader.batch_sampler.set_epoch(epoch)
        for batch in loader:
            if share(done) >= 1:
                with average.in_place():
                    return {**task.validator(), "steps": done}
            optimizer.zero_grad(set_to_none=True)
            network.train()
            sum(term.value for term in task.terms(to_device(batch, task.device)).values()).backward()
            if train.clip is not None:
                torch.nn.utils.clip_grad_norm_(network.parameters(), train.clip)
            optimizer.step()
            done += 1
            schedule.step()
            average.update()
    raise AssertionError
