"""``medloss register train``: read and check everything, then train, validate and leave a run folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from medloss.apps.common import application, processes
from medloss.apps.common.batches import Batches
from medloss.apps.common.compute import pick_device
from medloss.apps.common.config import as_mapping
from medloss.apps.common.engine import Validation
from medloss.apps.common.origin import describe_origin
from medloss.apps.common.output import RunFolder
from medloss.apps.common.random_state import seed_epoch
from medloss.apps.registration.config import RegistrationConfig
from medloss.apps.registration.data import PairDataset, collate
from medloss.apps.registration.files import train_and_valid
from medloss.apps.registration.losses import RegistrationLoss
from medloss.apps.registration.networks import build_network
from medloss.apps.registration.transform import ToDisplacement, warp
from medloss.apps.registration.validation import Validator


class Terms:
    """``terms(batch)``: every loss term of the field that the network predicts for a batch."""

    def __init__(self, network: nn.Module, loss: RegistrationLoss, config: RegistrationConfig) -> None:
        self.network, self.loss = network, loss
        self.of_velocity = config.regularise == "velocity"
        self.to_displacement = ToDisplacement(config.model.output, config.model.integration_steps)

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        field = self.network(torch.cat([batch["moving"], batch["fixed"]], dim=1))
        # positions need more than the 8 bits of bfloat16
        with torch.autocast(field.device.type, enabled=False):
            return self._of(field.float(), batch)

    def _of(self, field: Tensor, batch: Mapping[str, Any]) -> dict[str, Any]:
        ddf = self.to_displacement(field)
        labels = None
        if "fixed_label" in batch and "label" in self.loss.groups:
            labels = (warp(batch["moving_label"], ddf), batch["fixed_label"])
        return self.loss.terms(
            images=(warp(batch["moving"], ddf), batch["fixed"]),
            labels=labels,
            field=field if self.of_velocity else ddf,
            spacing=batch["spacing"],
        )


class RegistrationTask(application.Task):
    """The training of a registration network: all pairs read and checked."""

    def __init__(self, config: RegistrationConfig) -> None:
        self.config = config
        self.device = pick_device(config.device, config.threads)
        train_pairs, valid_pairs = train_and_valid(config.data, config.seed)
        labels = config.data.labels
        self.pairs = PairDataset(train_pairs, config.data, sample=labels is not None and labels.sample == "one").load()
        self.valid = PairDataset(valid_pairs, config.data, sample=False).load()
        if config.train.batch > 1:  # pairs of unlike sizes make no batch: said now, not in the middle of an epoch
            collate([self.pairs[index] for index in range(len(self.pairs))])
        seed_epoch(config.seed, 0)
        self.network = build_network(config.model).to(self.device)
        self.loss = RegistrationLoss(config.loss).to(self.device)
        batches = Batches(len(self.pairs), config.train.batch, config.seed)
        self.loader = DataLoader(
            self.pairs, batch_sampler=batches, num_workers=config.train.workers, collate_fn=collate
        )
        self._terms = Terms(self.network, self.loss, config)
        self.validator = Validator(self.valid, self._terms, self.device) if len(self.valid) else None

    def terms(self, batch: Mapping[str, Any]) -> Mapping[str, Any]:
        return self._terms(batch)

    def origin(self) -> dict[str, Any]:
        parts = {"train": self.pairs.pairs, "valid": self.valid.pairs}
        files = {pair.name: [path for path in pair[1:] if path is not None] for part in parts.values() for pair in part}
        names = {part: [pair.name for pair in pairs] for part, pairs in parts.items()}
        return describe_origin(as_mapping(self.config), files, names)

    def validation(self, run: RunFolder) -> Validation | None:
        validator, chosen = self.validator, self.config.validate_
        if validator is None:
            return None

        def measured(epoch: int, is_best: bool) -> None:
            if is_best:
                validator.keep(run.previews / f"epoch_{epoch:04d}.png")

        return Validation(
            validator,
            validator.metric,
            chosen.every,
            higher_is_better=validator.metric == "dice",
            keep=chosen.keep,
            measured=measured,
        )

    def facts(self) -> str:
        count = sum(parameter.numel() for parameter in self.network.parameters())
        return (
            f"{len(self.pairs)} {self.config.data.kind} pairs to train on, {len(self.valid)} held out; "
            f"{self.config.model.name} with {count:,} parameters predicts a {self.config.model.output} on {self.device}"
        )

    def before(self) -> str:
        return self.validator.before() if self.validator else "no pairs held out: only last.pt will be written"

    def finish(self, run: RunFolder) -> None:
        if self.validator:
            self.validator.draw()

    def trial(self, batch: Mapping[str, Any]) -> list[str]:
        parts = (("train", self.pairs.pairs), ("valid", self.valid.pairs))
        return [f"{part}: {' '.join(pair.name for pair in pairs)}" for part, pairs in parts]


def train(
    config: RegistrationConfig,
    run_path: Path | str,
    resume: bool = False,
    progress: bool = True,
    allow_changes: bool = False,
) -> RunFolder:
    """Train as ``config`` says into a run folder, or go on with the one at ``run_path``.

    All pairs are read and checked before the folder is made: a faulty configuration or data set leaves nothing behind.

    A run is resumed only with the data, split, losses and network that it was made of, unless ``allow_changes`` is set.
    """
    if resume:
        RunFolder.open(run_path)
    with processes.joined():
        task = RegistrationTask(config)
        return application.train(task, run_path, resume=resume, progress=progress, allow_changes=allow_changes)


def dry_run(config: RegistrationConfig) -> str:
    """One training step without writing anything: what was found, sizes and times."""
    return application.dry_run(RegistrationTask(config))
