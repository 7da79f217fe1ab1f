"""The training engine of every application: MONAI's trainer on ignite around one function that computes the loss terms.

:func:`build_trainer` puts together mixed precision, gradient accumulation and clipping, the learning rate schedule,
weight schedules of the loss, validation, checkpoints with exact resume, the history and the progress bar. A training
is exact in this sense: stopped after any epoch and resumed, it gives bit for bit the weights of an undisturbed run
(same machine, same number of threads).
"""

from __future__ import annotations

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

from medloss.apps.common.checkpoints import Checkpoints
from medloss.apps.common.history import History
from medloss.apps.common.output import RunFolder
from medloss.apps.common.random_state import seed_epoch
from medloss.apps.common.training import TrainConfig, build_optimizer, build_schedule

AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}
Terms = Callable[[dict[str, Any]], Mapping[str, Any]]


@dataclass
class Validation:
    """When and how to validate: ``measure()`` returns metrics by name, ``metric`` is the one that picks the best.

    ``measured(epoch, is_best)`` is called before the checkpoints of that epoch are written (previews, tables).
    """

    measure: Callable[[], Mapping[str, float]]
    metric: str
    every: int = 1
    higher_is_better: bool = True
    keep: int = 1
    measured: Callable[[int, bool], None] | None = None


class Trainer:
    """A MONAI engine with what surrounds it; :meth:`run` trains to the end, and :attr:`engine` takes more handlers."""

    def __init__(self, engine: SupervisedTrainer, checkpoints: Checkpoints, run: RunFolder):
        self.engine, self.checkpoints, self.run_folder = engine, checkpoints, run
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
        try:
            if state.epoch == 0:
                self.checkpoints.save(0, 0)
            if state.epoch < state.max_epochs:
                self.engine.run()
        finally:
            self.history.close()


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
    epochs, length = config.count_epochs(len(loader)), len(loader)
    optimizer = build_optimizer(config.optimizer, network.parameters())
    schedule = build_schedule(config.schedule, optimizer, epochs, -(-length // config.accumulate))
    scaler = torch.amp.GradScaler(device.type, enabled=config.precision == "fp16")
    update = Update(network, optimizer, schedule, scaler, terms, config, device)
    engine = SupervisedTrainer(
        device=device,
        max_epochs=epochs,
        train_data_loader=loader,
        network=network,
        optimizer=optimizer,
        loss_function=loss,
        epoch_length=length,
        iteration_update=update,
        decollate=False,
    )
    engine.logger.setLevel(logging.CRITICAL)  # exceptions reach the caller: logged too, they are told three times
    objects = {"network": network, "optimizer": optimizer, "schedule": schedule, "scaler": scaler}
    picked = validation or Validation(dict, "none")
    checkpoints = Checkpoints(run, objects, picked.metric, 1.0 if picked.higher_is_better else -1.0, picked.keep)
    trainer = Trainer(engine, checkpoints, run)
    _attach(trainer, loader, seed, loss, validation, schedule)
    if progress:
        ProgressBar(desc="train", disable=None).attach(
            engine, output_transform=lambda output: {"loss": float(output["loss"])}
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
        if self.config.clip is not None:
            self.scaler.unscale_(self.optimizer)
            torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.config.clip)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.schedule.step()


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
        seed_epoch(seed, engine.state.epoch, loader.dataset)
        trainer.history.start_epoch()
        if hasattr(loss, "set_epoch"):
            loss.set_epoch(engine.state.epoch - 1)

    def finish(engine: Engine) -> None:
        epoch, epochs = engine.state.epoch, cast(int, engine.state.max_epochs)
        means = trainer.history.means()
        if means["loss"] - means["loss"] != 0:  # NaN or infinite: stop before the good checkpoint is lost
            advice = "lower train.optimizer.lr or set train.clip"
            raise RuntimeError(f"the loss is {means['loss']} in epoch {epoch}: {advice}")
        row = {"epoch": epoch, "lr": schedule.get_last_lr()[0], **means}
        due = validation if validation and (epoch % validation.every == 0 or epoch == epochs) else None
        metrics = dict(due.measure()) if due else {}
        row |= {"seconds": time.perf_counter() - started[0], **metrics}
        score = metrics.get(due.metric) if due else None
        is_best = trainer.checkpoints.is_best(score)
        if due and due.measured:
            due.measured(epoch, is_best)
        # last.pt says that the epoch is over; what comes before it is repeated after a kill, what comes after it is
        # made again from it
        trainer.history.rows.append(row)
        trainer.checkpoints.save(epoch, engine.state.iteration, score, trainer.history.rows)
        trainer.history.end_epoch(row)
        trainer.run_folder.log(_line(row, epochs, metrics, is_best))

    engine.add_event_handler(Events.EPOCH_STARTED, start)
    engine.add_event_handler(Events.ITERATION_COMPLETED, lambda engine: trainer.history.add(engine.state.output))
    engine.add_event_handler(Events.EPOCH_COMPLETED, finish)


def _line(row: Mapping[str, Any], epochs: int, metrics: Mapping[str, float], is_best: bool) -> str:
    terms = " ".join(f"{name.removesuffix('_raw')} {row[name]:.4f}" for name in row if name.endswith("_raw"))
    measured = "".join(f"  {name} {value:.4f}" for name, value in metrics.items())
    line = f"epoch {row['epoch']}/{epochs}  loss {row['loss']:.4f} ({terms})  lr {row['lr']:.2e}"
    return f"{line}  {row['seconds']:.1f} s" + measured + ("  (best so far)" if is_best else "")


def _detached(value: Any) -> Any:
    return value.detach() if isinstance(value, torch.Tensor) else value
