"""``medloss register train``: read and check everything, then train, validate and leave a run folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from medloss.apps.common import application, processes
from medloss.apps.common.compute import pick_device
from medloss.apps.common.config import as_mapping
from medloss.apps.common.engine import Validation
from medloss.apps.common.origin import describe_origin
from medloss.apps.common.output import RunFolder
from medloss.apps.common.random_state import seed_epoch
from medloss.apps.registration.config import RegistrationConfig
from medloss.apps.registration.data import PairBatches, PairDataset, check_shapes, collate
from medloss.apps.registration.files import train_and_valid
from medloss.apps.registration.loading import with_classes
from medloss.apps.registration.losses import Landmarks, RegistrationLoss
from medloss.apps.registration.networks import build_network
from medloss.apps.registration.transform import ToDisplacement, warp
from medloss.apps.registration.validation import Validator


def to_displacement(config: RegistrationConfig) -> ToDisplacement:
    """What makes a displacement of the network's output."""
    return ToDisplacement("dvf" if config.model.output == "dvf" else "ddf", config.model.integration_steps)


class Terms:
    """``terms(batch)``: every loss term of the field that the network predicts for a batch."""

    def __init__(self, network: nn.Module, loss: RegistrationLoss, config: RegistrationConfig) -> None:
        self.network, self.loss = network, loss
        self.of_velocity = config.regularise == "velocity"
        self.to_displacement = to_displacement(config)

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
        points = None
        if "fixed_points" in batch and "points" in self.loss.groups:
            points = Landmarks(batch["fixed_points"], batch["moving_points"], batch["points_mask"], ddf)
        return self.loss.terms(
            images=(warp(batch["moving"], ddf), batch["fixed"]) if "image" in self.loss.groups else None,
            labels=labels,
            points=points,
            field=field if self.of_velocity else ddf,
            spacing=batch["spacing"],
        )


class RegistrationTask(application.Task):
    """The training of a registration network: all pairs read and checked."""

    def __init__(self, config: RegistrationConfig) -> None:
        self.config = config
        self.device = pick_device(config.device, config.threads)
        self.training, valid_pairs = train_and_valid(config.data, config.seed)
        self.config = config = with_classes(config, [*self.training.sources, *valid_pairs])
        labels = config.data.labels
        # a channel for each region costs memory: only where a label loss asks for it
        self.pairs = PairDataset(
            self.training.sources,
            config.data,
            sample=labels is not None and labels.sample == "one",
            regions="channels" if config.loss.label else None,
            augment=config.augment if config.augment.prob or config.augment.noise else None,
            changing=not self.training.fixed,
        ).load()
        kept = "map" if labels is not None and labels.kind == "map" else "channels"
        self.valid = PairDataset(valid_pairs, config.data, regions=kept).load()
        if config.train.batch > 1:  # pairs of unlike sizes make no batch: said now, not in the middle of an epoch
            check_shapes([self.pairs[index]["fixed"].shape for index in range(len(self.pairs))])
        seed_epoch(config.seed, 0)
        self.network = build_network(config.model, config.data.size, config.train.batch).to(self.device)
        self.loss = RegistrationLoss(config.loss).to(self.device)
        batches = PairBatches(self.training, config.train.batch, config.seed, config.train.epoch_steps)
        self.loader = DataLoader(
            self.pairs, batch_sampler=batches, num_workers=config.train.workers, collate_fn=collate
        )
        self._terms = Terms(self.network, self.loss, config)
        self.validator = Validator(self.valid, self._terms, self.device) if len(self.valid) else None

    def terms(self, batch: Mapping[str, Any]) -> Mapping[str, Any]:
        return self._terms(batch)

    def origin(self) -> dict[str, Any]:
        parts = {"train": self.pairs.pairs, "valid": self.valid.pairs}
        files = {
            pair.name: list(dict.fromkeys(path for path in pair[1:] if path is not None))
            for part in parts.values()
            for pair in part
        }
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
            pictures=validator.pictures,
        )

    def facts(self) -> str:
        count = sum(parameter.numel() for parameter in self.network.parameters())
        return (
            f"{len(self.training.of(0))} {self.config.data.kind} pairs in an epoch, {len(self.valid)} held out; "
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
