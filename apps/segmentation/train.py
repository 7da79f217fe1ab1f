"""``medloss segment train``: check everything, then train, validate and leave a run folder."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from medloss.apps.common import application, processes
from medloss.apps.common.compute import pick_device, placed
from medloss.apps.common.engine import Validation
from medloss.apps.common.errors import UserError
from medloss.apps.common.memory import peak_bytes
from medloss.apps.common.output import RunFolder
from medloss.apps.common.random_state import seed_epoch
from medloss.apps.segmentation.classes import Classes
from medloss.apps.segmentation.config import Config
from medloss.apps.segmentation.data import Prepared, build_loaders, faults_of_the_data, prepare
from medloss.apps.segmentation.inference import Windows, held_bytes
from medloss.apps.segmentation.network import build_network, build_windows
from medloss.apps.segmentation.supervision import supervised
from medloss.apps.segmentation.terms import loss_terms
from medloss.apps.segmentation.validation import Validator
from medloss.apps.segmentation.volumes import IMAGE
from medloss.composite import WeightedSum
from medloss.config import build_loss


class Terms:
    """``terms(batch)``: the network's logits against the label, within the loss mask where there is one."""

    def __init__(self, network: torch.nn.Module, loss: WeightedSum, classes: Classes):
        self.network, self.loss, self.classes = network, loss, classes

    def __call__(self, batch: Mapping[str, Any]) -> Mapping[str, Any]:
        return loss_terms(self.loss, self.classes, self.network(batch[IMAGE]), batch)


class SegmentationTask(application.Task):
    """The training of a segmentation: all files read and checked, and the volumes cached."""

    def __init__(self, config: Config, progress: bool = False, prepared: Prepared | None = None) -> None:
        self.prepared: Prepared = prepared or prepare(config)
        self.config, self.left_out = self.prepared.config, self.prepared.left_out
        self.device = pick_device(config.device, config.threads)
        self.loader, self.valid_loader = build_loaders(self.prepared, progress)
        seed_epoch(config.seed, 0)
        inputs, outputs = self.config.data.count_channels, self.prepared.classes.count
        self.network = placed(build_network(self.config.model, outputs, inputs), self.device)
        loss = supervised(build_loss(self.config.loss, kind="label"), self.config.model.deep_supervision)
        self.loss = loss.to(self.device)
        self.validator = self._validator()
        self.draws = self.config.validate_.previews > 0
        self._terms = Terms(self.network, self.loss, self.prepared.classes)

    def terms(self, batch: Mapping[str, Any]) -> Mapping[str, Any]:
        return self._terms(batch)

    def origin(self) -> dict[str, Any]:
        return self.prepared.origin()

    def validation(self, run: RunFolder) -> Validation | None:
        validator = self.validator
        if validator is None:
            return None

        def measured(epoch: int, is_best: bool) -> None:
            if is_best:
                validator.keep(run, epoch)

        chosen = self.config.validate_
        return Validation(
            validator,
            "dice",
            chosen.every,
            keep=chosen.keep,
            measured=measured,
            pictures=validator.pictures,
            share=chosen.share,
            patience=chosen.patience,
        )

    def facts(self) -> str:
        config, valid = self.config, [case.id for case in self.prepared.valid]
        held = f"{len(valid)} held out ({valid[0]} .. {valid[-1]})" if valid else "none held out"
        count = sum(parameter.numel() for parameter in self.network.parameters())
        labels = ", ".join(f"{name} {ids}" for name, ids in config.data.labels.items())
        return (
            f"{len(self.prepared.train)} cases to train on, {held}; classes: {labels}; "
            f"patch {list(config.data.patch)}; {config.model.name} with {count:,} parameters on {self.device}"
        )

    def before(self) -> str:
        told = "no validation cases (data.valid.fraction is 0): only last.pt will be written"
        return "" if self.prepared.valid else told

    def finish(self, run: RunFolder) -> None:
        if self.validator is not None:
            self.validator.draw(run)

    def trial(self, batch: Mapping[str, Any]) -> list[str]:
        lines = []
        if self.valid_loader is not None:
            volume = next(iter(self.valid_loader))[IMAGE].as_tensor()[0]
            started = time.perf_counter()
            self.network.eval()
            self._windows().indices(volume, self.prepared.classes)
            seconds = time.perf_counter() - started
            shape, classes = tuple(volume.shape[1:]), self.prepared.classes.count
            held = held_bytes(shape, self.config.data.settled_patch, classes) / 2**30
            lines.append(f"one validation volume {shape}: {seconds:.2f} s, {held:.2f} GiB of logits held")
        lines.append(f"peak memory of this process: {peak_bytes() / 2**30:.2f} GiB")
        for part, cases in (("train", self.prepared.train), ("valid", self.prepared.valid)):
            lines.append(f"{part}: {' '.join(case.id for case in cases)}")
        return lines

    def guard(self) -> contextlib.AbstractContextManager[Any]:
        return faults_of_the_data()

    def _validator(self) -> Validator | None:
        if self.valid_loader is None:
            return None
        classes, previews = self.prepared.classes, self.config.validate_.previews
        return Validator(self.network, self.valid_loader, self._windows(), classes, previews)

    def _windows(self) -> Windows:
        data = self.config.data
        return build_windows(self.config.predict, data.settled_patch, [self.network], self.device)


def train(
    config: Config,
    run_path: Path | str,
    resume: bool = False,
    progress: bool = True,
    allow_changes: bool = False,
    prepared: Prepared | None = None,
) -> RunFolder:
    """Train as ``config`` says into a run folder, or go on with the one at ``run_path``.

    All files are read and checked, and the volumes cached, before the folder is made: a faulty configuration or data
    set leaves nothing behind. The best checkpoint by validation Dice and the last one stay in ``checkpoints/``.

    A run is resumed only with the data, labels, split, losses and network that it was made of, unless
    ``allow_changes`` is set. ``prepared``: the data that ``config`` was planned for, which are not read again then.
    """
    if resume:
        RunFolder.open(run_path)
    with processes.joined():
        task = SegmentationTask(config, progress, prepared)
        return application.train(task, run_path, resume=resume, progress=progress, allow_changes=allow_changes)


def dry_run(config: Config, prepared: Prepared | None = None) -> str:
    """One training step and one validation volume, without writing anything: what was found, sizes and times."""
    return application.dry_run(SegmentationTask(config, prepared=prepared))


def load_run(path: Path | str) -> tuple[RunFolder, Config]:
    """A run folder and its configuration."""
    from medloss.apps.common.config import load_config

    run = RunFolder.open(path)
    config = load_config(Config, [run.config])
    if config.data.patch is None or not config.data.labels:
        raise UserError(f"{run.config} is not the configuration of a segmentation run: patch or labels are missing")
    return run, config
