"""The frame of every training: what differs between the applications is a :class:`Task`, the rest is said here once."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Events

from medloss.apps.common import processes
from medloss.apps.common.checkpoints import load_checkpoint, load_state
from medloss.apps.common.config import as_mapping, dump_config
from medloss.apps.common.engine import Trainer, Validation, build_trainer, to_device
from medloss.apps.common.errors import UserError
from medloss.apps.common.listing import LeftOut, describe_left_out
from medloss.apps.common.origin import leaves, open_run
from medloss.apps.common.output import RunFolder, write_text
from medloss.apps.common.random_state import seed_epoch
from medloss.apps.common.tracking import Tracker, check_installed
from medloss.apps.common.training import TrainConfig


class Task:
    """A training with its data read and checked and its network and losses built; an application subclasses it.

    Attributes:
        config: the complete configuration, with ``seed`` and ``train``.
        network: the network, on ``device``.
        loss: the losses, whose schedules ``set_epoch`` moves.
        loader: training batches, dictionaries.
        device: where it is trained.
        left_out: files of the data set that are not used.
        draws: whether :meth:`finish` leaves pictures ``previews/epoch_NNNN*`` of the best epoch.
    """

    config: Any
    network: torch.nn.Module
    loss: Any
    loader: Any
    device: torch.device
    left_out: Sequence[LeftOut] = ()
    draws: bool = True

    def terms(self, batch: Mapping[str, Any]) -> Mapping[str, Any]:
        """Every loss term of a batch on ``device``."""
        raise NotImplementedError

    def origin(self) -> dict[str, Any]:
        """What the run is made of; see :mod:`medloss.apps.common.origin`."""
        raise NotImplementedError

    def validation(self, run: RunFolder) -> Validation | None:
        """How to validate; None where no case is held out."""
        raise NotImplementedError

    def facts(self) -> str:
        """The data and the network in a line."""
        raise NotImplementedError

    def before(self) -> str:
        """A line on where the training starts from, for the log; may be empty."""
        return ""

    def finish(self, run: RunFolder) -> None:
        """What is drawn or written at the end."""

    def trial(self, batch: Mapping[str, Any]) -> list[str]:
        """Lines of a dry run beside those of the training step: sizes, a validation, the cases."""
        return []

    def guard(self) -> contextlib.AbstractContextManager[Any]:
        """Around the training: may translate what the data raise."""
        return contextlib.nullcontext()


def train(task: Task, path: Path | str, *, resume: bool, progress: bool, allow_changes: bool) -> RunFolder:
    """Train a task into a run folder, or go on with the one at ``path``.

    Raises:
        UserError: nothing to resume, or a run that was made of something else and ``allow_changes`` is False.
    """
    config: TrainConfig = task.config.train
    if config.mlflow is not None and processes.is_main():
        check_installed()
    run = _open(task, path, resume, allow_changes)
    validation = task.validation(run)
    trainer = build_trainer(
        run=run,
        network=task.network,
        loader=task.loader,
        terms=_checked(task),
        config=config,
        device=task.device,
        seed=task.config.seed,
        loss=task.loss,
        validation=validation,
        progress=progress,
    )
    if resume:
        run.log(f"resumed after epoch {trainer.resume()}")
        if processes.is_main():
            write_text(run.config, dump_config(task.config))
    if processes.is_main():
        _introduce(task, run)
    with task.guard(), _tracked(task, trainer, run):
        trainer.run()
    if processes.is_main():
        task.finish(run)
    if resume and validation is not None and task.draws and processes.count() == 1:
        _draw_best(task, validation, run)
    run.log(f"done: {run.path}")
    return run


@contextlib.contextmanager
def _tracked(task: Task, trainer: Trainer, run: RunFolder) -> Iterator[None]:
    """Each epoch goes to MLflow, too, where ``train.mlflow`` asks for it."""
    if task.config.train.mlflow is None or not processes.is_main():
        yield
        return
    tracker = Tracker(run, task.config.train.mlflow, dict(leaves(as_mapping(task.config))))
    trainer.engine.add_event_handler(Events.EPOCH_COMPLETED, lambda _: tracker.add(trainer.history.rows[-1]))
    finished = False
    try:
        yield
        finished = True
    finally:
        tracker.close(finished)


def _draw_best(task: Task, validation: Validation, run: RunFolder) -> None:
    """Measure and draw the best epoch once more where the process that measured it was killed before it drew."""
    best = run.best()
    if best is None:
        return
    state = load_checkpoint(best)
    epoch = int(state["epoch"])
    if any(run.previews.glob(f"epoch_{epoch:04d}*")):
        return
    load_state(task.network, state, "network", best)
    with task.guard():
        validation.measure()
    if validation.measured:
        validation.measured(epoch, True)
    task.finish(run)


def _open(task: Task, path: Path | str, resume: bool, allow_changes: bool) -> RunFolder:
    """The run folder, which the first of several processes makes."""
    opened = ""
    if processes.is_main():
        opened = str(open_run(path, task.config, task.origin(), task.device, resume, allow_changes).path)
    return RunFolder(Path(processes.from_main(opened)))


def _introduce(task: Task, run: RunFolder) -> None:
    together = f"{processes.count()} processes, each with its share of every batch" if processes.count() > 1 else ""
    for line in (f"run folder {run.path}", task.facts(), together, task.before()):
        if line:
            run.log(line)


def dry_run(task: Task) -> str:
    """One training step without writing anything: what was found, sizes and times."""
    seed_epoch(task.config.seed, 1, task.loader.dataset)
    with task.guard():
        batch = to_device(next(iter(task.loader)), task.device)
    started = time.perf_counter()
    terms = _checked(task)(batch)
    torch.stack([term.value for term in terms.values()]).sum().backward()
    seconds = time.perf_counter() - started
    volumes = {key: value for key, value in batch.items() if isinstance(value, torch.Tensor) and value.ndim > 2}
    sizes = ", ".join(f"{key} {tuple(value.shape)}" for key, value in volumes.items())
    lines = [
        task.facts(),
        f"batch: {sizes}",
        "weighted loss: " + ", ".join(f"{name} {float(term.value.detach()):.4f}" for name, term in terms.items()),
        f"one training step: {seconds:.2f} s (the first one, with warm-up)",
        *task.trial(batch),
    ]
    if task.device.type == "cuda":
        lines.append(f"peak memory: {torch.cuda.max_memory_allocated() / 2**30:.2f} GiB")
    return "\n".join([*lines, *describe_left_out(task.left_out)])


def _checked(task: Task) -> Callable[[Mapping[str, Any]], Mapping[str, Any]]:
    """The terms of a batch; a loss that does not fit the data is the configuration's fault."""

    def terms(batch: Mapping[str, Any]) -> Mapping[str, Any]:
        try:
            return task.terms(batch)
        except (ValueError, TypeError) as error:
            raise UserError(f"the losses of the configuration do not fit the data: {error}") from error

    return terms
