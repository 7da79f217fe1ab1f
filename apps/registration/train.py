"""``medloss register train``: read and check everything, then train, validate and leave a run folder."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from medloss.apps.common.compute import pick_device
from medloss.apps.common.config import dump_config
from medloss.apps.common.engine import Validation, build_trainer, to_device
from medloss.apps.common.origin import describe_origin, open_run
from medloss.apps.common.output import RunFolder, write_text
from medloss.apps.common.random_state import seed_epoch
from medloss.apps.registration.config import RegistrationConfig
from medloss.apps.registration.data import PairDataset, collate
from medloss.apps.registration.files import train_and_valid
from medloss.apps.registration.losses import RegistrationLoss, total
from medloss.apps.registration.networks import build_network
from medloss.apps.registration.transform import ToDisplacement, warp_layer
from medloss.apps.registration.validation import Validator


class Terms:
    """``terms(batch)``: every loss term of the field that the network predicts for a batch."""

    def __init__(self, network: nn.Module, loss: RegistrationLoss, config: RegistrationConfig) -> None:
        self.network, self.loss = network, loss
        self.of_velocity = config.regularise == "velocity"
        self.to_displacement = ToDisplacement(config.model.output, config.model.integration_steps)
        self.warp = warp_layer()

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        field = self.network(torch.cat([batch["moving"], batch["fixed"]], dim=1))
        # positions need more than the 8 bits of bfloat16
        with torch.autocast(field.device.type, enabled=False):
            return self._of(field.float(), batch)

    def _of(self, field: Tensor, batch: Mapping[str, Any]) -> dict[str, Any]:
        ddf = self.to_displacement(field)
        labels = None
        if "fixed_label" in batch and "label" in self.loss.groups:
            labels = (self.warp(batch["moving_label"], ddf), batch["fixed_label"])
        return self.loss.terms(
            images=(self.warp(batch["moving"], ddf), batch["fixed"]),
            labels=labels,
            field=field if self.of_velocity else ddf,
            spacing=batch["spacing"],
        )


class Prepared(NamedTuple):
    """What a training stands on: data read and checked, network and losses built."""

    loader: DataLoader
    valid: PairDataset
    network: nn.Module
    loss: RegistrationLoss
    device: torch.device


def train(
    config: RegistrationConfig,
    run_path: Path | str,
    resume: bool = False,
    progress: bool = True,
    allow_changes: bool = False,
) -> RunFolder:
    """Train as ``config`` says into a run folder, or go on with the one at ``run_path``.

    A run is resumed only with the data, split, losses and network that it was made of, unless ``allow_changes`` is set.

    All pairs are read and checked before the folder is made: a faulty configuration or data set leaves nothing behind.
    """
    if resume:
        RunFolder.open(run_path)
    prepared = prepare(config)
    run = open_run(run_path, config, _origin(prepared, config), prepared.device, resume, allow_changes)
    terms = Terms(prepared.network, prepared.loss, config)
    validator = Validator(prepared.valid, terms, prepared.device) if len(prepared.valid) else None
    trainer = build_trainer(
        run=run,
        network=prepared.network,
        loader=prepared.loader,
        terms=terms,
        config=config.train,
        device=prepared.device,
        seed=config.seed,
        loss=prepared.loss,
        progress=progress,
        validation=_validation(run, config, validator) if validator else None,
    )
    if resume:
        run.log(f"resumed after epoch {trainer.resume()}")
        write_text(run.config, dump_config(config))
    run.log(facts(prepared, config))
    run.log(validator.before() if validator else "no pairs held out: only last.pt will be written")
    trainer.run()
    if validator:
        validator.draw()
    run.log(f"done: {run.path}")
    return run


def dry_run(config: RegistrationConfig) -> str:
    """One training step without writing anything: what was found, sizes and times."""
    prepared = prepare(config)
    seed_epoch(config.seed, 1, prepared.loader.dataset)
    batch = to_device(next(iter(prepared.loader)), prepared.device)
    started = time.perf_counter()
    terms = Terms(prepared.network, prepared.loss, config)(batch)
    total(terms).backward()
    seconds = time.perf_counter() - started
    sizes = ", ".join(f"{key} {tuple(value.shape)}" for key, value in batch.items() if value.ndim > 2)
    weighted = ", ".join(f"{name} {float(term.value.detach()):.4f}" for name, term in terms.items())
    return "\n".join(
        [
            facts(prepared, config),
            f"batch: {sizes}",
            f"weighted loss: {weighted}",
            f"one training step: {seconds:.2f} s (the first one, with warm-up)",
        ]
    )


def prepare(config: RegistrationConfig) -> Prepared:
    """Read all pairs, build network and losses; every fault of the data is a UserError."""
    train_pairs, valid_pairs = train_and_valid(config.data, config.seed)
    labels = config.data.labels
    dataset = PairDataset(train_pairs, config.data, sample=labels is not None and labels.sample == "one").load()
    valid = PairDataset(valid_pairs, config.data, sample=False).load()
    if config.train.batch > 1:  # pairs of unlike sizes make no batch: said now, not in the middle of an epoch
        collate([dataset[index] for index in range(len(dataset))])
    seed_epoch(config.seed, 0)
    device = pick_device(config.device, config.threads)
    network, loss = build_network(config.model).to(device), RegistrationLoss(config.loss).to(device)
    loader = DataLoader(
        dataset, batch_size=config.train.batch, shuffle=True, num_workers=config.train.workers, collate_fn=collate
    )
    return Prepared(loader, valid, network, loss, device)


def facts(prepared: Prepared, config: RegistrationConfig) -> str:
    """The data and the network in a line."""
    count = sum(parameter.numel() for parameter in prepared.network.parameters())
    return (
        f"{len(prepared.loader.dataset)} {config.data.kind} pairs to train on, {len(prepared.valid)} held out; "
        f"{config.model.name} with {count:,} parameters predicts a {config.model.output} on {prepared.device}"
    )


def _origin(prepared: Prepared, config: RegistrationConfig) -> dict[str, Any]:
    parts = {"train": prepared.loader.dataset.pairs, "valid": prepared.valid.pairs}
    files = {pair.name: [path for path in pair[1:] if path is not None] for pairs in parts.values() for pair in pairs}
    names = {part: [pair.name for pair in pairs] for part, pairs in parts.items()}
    return describe_origin(config.model_dump(mode="json", by_alias=True), files, names)


def _validation(run: RunFolder, config: RegistrationConfig, validator: Validator) -> Validation:
    def measured(epoch: int, is_best: bool) -> None:
        if is_best:
            validator.keep(run.previews / f"epoch_{epoch:04d}.png")

    return Validation(
        validator,
        validator.metric,
        config.validate_.every,
        higher_is_better=validator.metric == "dice",
        keep=config.validate_.keep,
        measured=measured,
    )
