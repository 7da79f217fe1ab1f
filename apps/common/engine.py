"""The training engine of every application: MONAI's trainer on ignite around one function that computes the loss terms.

:func:`build_trainer` puts together mixed precision, gradient accumulation and clipping, the learning rate schedule,
weight schedules of the loss, validation, checkpoints with exact resume, the history and the progress bar. A training
is exact in this sense: stopped after any epoch and resumed, it gives bit for bit the weights of an undisturbed run
(same machine, same number of threads).
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import torch
from ignite.engine import Engine, Events
from ignite.handlers import ProgressBar
from monai.engines import SupervisedTrainer
from monai.utils import CommonKeys

from medloss.apps.common import processes
from medloss.apps.common.averaging import Trained, WeightAverage
from medloss.apps.common.checkpoints import Checkpoints
from medloss.apps.common.history import History
from medloss.apps.common.output import RunFolder
from medloss.apps.common.pace import Pace
from medloss.apps.common.pace_lines import epoch_line, shown
from medloss.apps.common.random_state import seed_epoch
from medloss.apps.common.training import TrainConfig, build_optimizer, build_schedule

AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}
Terms = Callable[[dict[str, Any]], Mapping[str, Any]]


@dataclass
class Validation:
    """When and how to validate: ``measure()`` returns metrics by name, ``metric`` is the one that picks the best.

    ``measured(epoch, is_best)`` is called before the checkpoints of that epoch are written (previews, tables).
    ``pictures()`` gives grey pictures (rows, columns), 0 to 1, of the last validation by name, for TensorBoard.
    ``share`` bounds the share of the time that validations take; ``patience`` of them in a row without a better one end
    the training.
    """

    measure: Callable[[], Mapping[str, float]]
    metric: str
    every: int = 1
    higher_is_better: bool = True
    keep: int = 1
    measured: Callable[[int, bool], None] | None = None
    pictures: Callable[[], Mapping[str, Any]] | None = None
    share: float = 1.0
    patience: int | None = None


class Trainer:
    """A MONAI engine with what surrounds it; :meth:`run` trains to the end, and :attr:`engine` takes more handlers."""

    def __init__(
        self,
        engine: SupervisedTrainer,
        checkpoints: Checkpoints,
        run: RunFolder,
        pace: Pace,
        average: WeightAverage | None = None,
    ):
        self.engine, self.checkpoints, self.run_folder = engine, checkpoints, run
        self.pace, self.average = pace, average
        self.patience: int | None = None
        self.history: History  # opened by :meth:`run`, when it is known whether this is a resumed one
        self.rows: list[dict[str, Any]] = []

    def resume(self) -> int:
        """Go on from ``checkpoints/last.pt``; returns the number of finished epochs."""
        state = self.engine.state
        state.epoch, state.iteration, self.rows = self.checkpoints.load()
        return state.epoch

    def run(self) -> None:
        """Train until the last epoch. After an interruption, ``last.pt`` holds the last finished epoch."""
        state = self.engine.state
        self.history = History(self.run_folder, state.epoch, self.rows)
        self.pace.start()
        try:
            if state.epoch == 0:
                self.checkpoints.save(0, 0)
            if not (state.epoch and (processes.from_main(self.pace.is_last(state.epoch)) or self.is_stale())):
                self.engine.run()
        finally:
            self.history.close()

    def measured_weights(self) -> contextlib.AbstractContextManager[None]:
        """Within it the network has the weights that are measured and kept: their average where there is one."""
        return self.average.in_place() if self.average is not None else contextlib.nullcontext()

    def is_stale(self) -> bool:
        """Whether the last validations, as many as the patience goes, have brought no better one."""
        patience, metric, sign = self.patience, self.checkpoints.metric, self.checkpoints.sign
        if patience is None or not self.checkpoints.saved:
            return False
        scores = [row[metric] for row in self.history.rows if row.get(metric) is not None]
        best = max(range(len(scores)), key=lambda index: sign * scores[index])
        if len(scores) - 1 - best < patience:
            return False
        self.run_folder.log(f"{patience} validations without a better {metric}: the training ends")
        return True


def build_trainer(
    *,
    run: RunFolder,
    network: torch.nn.Module,
    loader: Any,
    terms: Terms,
    config: TrainConfig,
    device: torch.device,
    seed: int = 0,
    loss: Any = None,
    validation: Validation | None = None,
    progress: bool = True,
) -> Trainer:
    """Build the trainer of ``network`` on ``loader``.

    Args:
        run: where checkpoints, history and log go.
        loader: a sized ``DataLoader`` of dictionary batches; its ``dataset`` is seeded anew for each epoch.
        terms: ``terms(batch)`` applies the network to a batch (already on ``device``) and returns
            ``{name: Term(raw, weight, value)}``, as ``WeightedSum.terms`` does; the sum of the values is minimised.
        loss: an object with ``set_epoch(epoch)`` whose weights follow a schedule, counted from 0.
        validation: how to measure; without it only ``last.pt`` is written.
    """
    epochs, updates = config.count_epochs(len(loader)), -(-len(loader) // config.accumulate)
    processes.same_start(network)
    if isinstance(loss, torch.nn.Module):
        processes.share_statistics(loss)
    optimizer = build_optimizer(config.optimizer, network.parameters())
    picked = validation or Validation(dict, "none")
    pace = Pace(epochs, None if config.minutes is None else 60 * config.minutes, picked.share)
    used = (lambda: processes.from_main(pace.fraction())) if config.minutes else None
    schedule = build_schedule(config.schedule, optimizer, epochs, updates, used)
    average = WeightAverage(network, config.ema) if config.ema else None
    scaler = torch.amp.GradScaler(device.type, enabled=config.precision == "fp16")
    update = Update(network, optimizer, schedule, scaler, terms, config, device, average)
    engine = _engine(update, loader, epochs, loss)
    objects: dict[str, Any] = {"network": average or network}
    objects |= {"optimizer": optimizer, "schedule": schedule, "scaler": scaler, **_more(config, average, pace)}
    checkpoints = Checkpoints(run, objects, picked.metric, 1.0 if picked.higher_is_better else -1.0, picked.keep)
    trainer = Trainer(engine, checkpoints, run, pace, average)
    trainer.patience = picked.patience
    _attach(trainer, loader, seed, loss, validation, schedule)
    if progress and processes.is_main():
        ProgressBar(desc="train", disable=None).attach(
            engine, output_transform=lambda output: shown(engine.state.epoch, pace, output)
        )
    return trainer


@dataclass
class Update:
    """One training step: forward under autocast, scaled backward, an optimizer update every ``accumulate`` steps."""

    network: torch.nn.Module
    optimizer: torch.optim.Optimizer
    schedule: Any
    scaler: Any
    terms: Terms
    config: TrainConfig
    device: torch.device
    average: WeightAverage | None = None

    def __call__(self, engine: Engine, batch: Mapping[str, Any]) -> dict[str, torch.Tensor]:
        length, size = cast(int, engine.state.epoch_length), self.config.accumulate
        step = (engine.state.iteration - 1) % length
        if step % size == 0:
            self.optimizer.zero_grad(set_to_none=True)
        self.network.train()
        dtype = AUTOCAST.get(self.config.precision)
        with torch.autocast(self.device.type, dtype=dtype, enabled=dtype is not None):
            parts = self.terms(to_device(batch, self.device))
            total = sum(part.value for part in parts.values())
        group = min(size, length - step // size * size)  # the last group of an epoch may be smaller
        self.scaler.scale(total / group).backward()
        if (step + 1) % size == 0 or step + 1 == length:
            self._update()
        output: dict[str, torch.Tensor] = {CommonKeys.LOSS: total.detach()}
        for name, part in parts.items():
            output |= {f"{name}_raw": _detached(part.raw), f"{name}_weight": _detached(part.weight)}
            output[f"{name}_weighted"] = _detached(part.value)
        return output

    def _update(self) -> None:
        processes.average_gradients(self.network)
        if self.config.clip is not None:
            self.scaler.unscale_(self.optimizer)
            torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.config.clip)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.schedule.step()
        if self.average is not None:
            self.average.update()


def _engine(update: Update, loader: Any, epochs: int, loss: Any) -> SupervisedTrainer:
    engine = SupervisedTrainer(
        device=update.device,
        max_epochs=epochs,
        train_data_loader=loader,
        network=update.network,
        optimizer=update.optimizer,
        loss_function=loss,
        epoch_length=len(loader),
        iteration_update=update,
        decollate=False,
    )
    engine.logger.setLevel(logging.CRITICAL)  # exceptions reach the caller: logged too, they are told three times
    return engine


def _more(config: TrainConfig, average: WeightAverage | None, pace: Pace) -> dict[str, Any]:
    """What a checkpoint holds for some trainings alone; after the network, since it puts the network's weights back."""
    trained = {} if average is None else {"trained": Trained(average)}
    return trained if config.minutes is None else {**trained, "pace": pace}


def to_device(batch: Mapping[str, Any], device: torch.device) -> dict[str, Any]:
    """The batch with its tensors on ``device`` and as plain tensors: metadata costs time in every operation."""
    moved = {}
    for name, value in batch.items():
        plain = value.as_tensor() if hasattr(value, "as_tensor") else value
        moved[name] = plain.to(device, non_blocking=True) if isinstance(plain, torch.Tensor) else plain
    return moved


def _attach(trainer: Trainer, loader: Any, seed: int, loss: Any, validation: Validation | None, schedule: Any) -> None:
    """Put the handlers of an epoch on the engine; they run in the order given here."""
    engine, started = trainer.engine, [0.0]

    def start(engine: Engine) -> None:
        started[0] = time.perf_counter()
        _set_epoch(engine.state.epoch, seed, loader, loss)
        trainer.history.start_epoch()

    def finish(engine: Engine) -> None:
        epoch, means, pace = engine.state.epoch, processes.mean(trainer.history.means()), trainer.pace
        processes.average_statistics(engine.network)  # type: ignore[attr-defined]  # MONAI's engine has one
        if means["loss"] - means["loss"] != 0:  # NaN or infinite: stop before the good checkpoint is lost
            advice = "lower train.optimizer.lr or set train.clip"
            raise RuntimeError(f"the loss is {means['loss']} in epoch {epoch}: {advice}")
        pace.add_epoch(time.perf_counter() - started[0])
        row = {"epoch": epoch, "lr": schedule.get_last_lr()[0], **means}
        # the clocks of several processes differ: that of the first one decides
        is_last = processes.from_main(pace.is_last(epoch))
        due = validation if validation and processes.from_main(_is_due(validation, pace, epoch, is_last)) else None
        metrics = _validate(trainer, due) if due else {}
        row |= {"seconds": time.perf_counter() - started[0], **metrics}
        score = metrics.get(due.metric) if due else None
        is_best = trainer.checkpoints.is_best(score)
        if due and due.measured and processes.is_main():
            due.measured(epoch, is_best)
        if due and due.pictures:
            trainer.history.add_pictures(due.pictures(), epoch)
        # last.pt says that the epoch is over; what comes before it is repeated after a kill, what comes after it is
        # made again from it
        trainer.history.rows.append(row)
        trainer.checkpoints.save(epoch, engine.state.iteration, score, trainer.history.rows)
        trainer.history.end_epoch(row)
        trainer.run_folder.log(epoch_line(row, pace, metrics, is_best))
        if is_last or trainer.is_stale():
            engine.terminate()

    engine.add_event_handler(Events.EPOCH_STARTED, start)
    engine.add_event_handler(Events.ITERATION_COMPLETED, lambda engine: trainer.history.add(engine.state.output))
    engine.add_event_handler(Events.EPOCH_COMPLETED, finish)


def _set_epoch(epoch: int, seed: int, loader: Any, loss: Any) -> None:
    seed_epoch(seed, epoch, loader.dataset)
    if hasattr(loader.batch_sampler, "set_epoch"):
        loader.batch_sampler.set_epoch(epoch)
    if hasattr(loss, "set_epoch"):
        loss.set_epoch(epoch - 1)


def _is_due(validation: Validation, pace: Pace, epoch: int, is_last: bool) -> bool:
    return is_last or (epoch % validation.every == 0 and pace.may_validate())


def _validate(trainer: Trainer, validation: Validation) -> dict[str, float]:
    started = time.perf_counter()
    with trainer.measured_weights():
        metrics = dict(validation.measure())
    trainer.pace.add_validation(time.perf_counter() - started)
    return metrics


def _detached(value: Any) -> Any:
    return value.detach() if isinstance(value, torch.Tensor) else value
