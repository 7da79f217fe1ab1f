"""``medloss segment train``: check everything, then train, validate and leave a run folder."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import torch

from medloss.apps.common.compute import pick_device
from medloss.apps.common.config import dump_config
from medloss.apps.common.engine import Validation, build_trainer, to_device
from medloss.apps.common.errors import UserError
from medloss.apps.common.listing import describe_left_out
from medloss.apps.common.origin import open_run
from medloss.apps.common.output import RunFolder, write_text
from medloss.apps.common.random_state import seed_epoch
from medloss.apps.segmentation.config import Config
from medloss.apps.segmentation.data import Prepared, build_loaders, faults_of_the_data, prepare
from medloss.apps.segmentation.network import build_inferer, build_network
from medloss.apps.segmentation.supervision import supervised
from medloss.apps.segmentation.transforms import IMAGE, LABEL, MASK
from medloss.apps.segmentation.validation import Validator
from medloss.config import build_loss


class Terms:
    """``terms(batch)``: the network's logits against the label, within the loss mask where there is one."""

    def __init__(self, network: torch.nn.Module, loss: Any):
        self.network, self.loss = network, loss

    def __call__(self, batch: dict[str, Any]) -> Any:
        return self.loss.terms(self.network(batch[IMAGE]), batch[LABEL], mask=batch.get(MASK))


def train(
    config: Config,
    run_path: Path | str,
    resume: bool = False,
    progress: bool = True,
    allow_changes: bool = False,
) -> RunFolder:
    """Train as ``config`` says into a run folder, or go on with the one at ``run_path``.

    A run is resumed only with the data, labels, split, losses and network that it was made of, unless
    ``allow_changes`` is set.

    All files are read and checked, and the volumes cached, before the folder is made: a faulty configuration or data
    set leaves nothing behind. The best checkpoint by validation Dice and the last one stay in ``checkpoints/``.
    """
    if resume:
        RunFolder.open(run_path)
    prepared = prepare(config)
    loaders = build_loaders(prepared)
    device = pick_device(config.device, config.threads)
    network, loss = _build(prepared, device)
    run = open_run(run_path, prepared.config, prepared.origin(), device, resume, allow_changes)
    validator = _validator(prepared, loaders[1], network, device)
    trainer = build_trainer(
        run=run,
        network=network,
        loader=loaders[0],
        terms=Terms(network, loss),
        config=config.train,
        device=device,
        seed=config.seed,
        loss=loss,
        validation=_validation(run, prepared.config, validator),
        progress=progress,
    )
    if resume:
        run.log(f"resumed after epoch {trainer.resume()}")
        write_text(run.config, dump_config(prepared.config))
    _announce(run, prepared, network, device)
    with faults_of_the_data():
        trainer.run()
    if validator is not None:
        validator.draw(run)
    run.log(f"done: {run.path}")
    return run


def dry_run(config: Config) -> str:
    """One training step and one validation volume, without writing anything: what was found, sizes and times."""
    prepared = prepare(config)
    train_loader, valid_loader = build_loaders(prepared)
    device = pick_device(config.device, config.threads)
    network, loss = _build(prepared, device)
    seed_epoch(config.seed, 1, train_loader.dataset)
    batch = to_device(next(iter(train_loader)), device)
    started = time.perf_counter()
    terms = Terms(network, loss)(batch)
    sum(term.value for term in terms.values()).backward()
    lines = [
        _facts(prepared, network, device),
        f"batch: image {tuple(batch[IMAGE].shape)}, label {tuple(batch[LABEL].shape)}",
        "weighted loss: " + ", ".join(f"{name} {float(term.value.detach()):.4f}" for name, term in terms.items()),
        f"one training step: {time.perf_counter() - started:.2f} s (the first one, with warm-up)",
    ]
    if valid_loader is not None:
        volume = next(iter(valid_loader))[IMAGE].as_tensor().to(device)
        started = time.perf_counter()
        with torch.inference_mode():
            build_inferer(prepared.config.predict, prepared.config.data.patch)(volume, network.eval())
        lines.append(f"one validation volume {tuple(volume.shape[2:])}: {time.perf_counter() - started:.2f} s")
    if device.type == "cuda":
        lines.append(f"peak memory: {torch.cuda.max_memory_allocated() / 2**30:.2f} GiB")
    for part, cases in (("train", prepared.train), ("valid", prepared.valid)):
        lines.append(f"{part}: {' '.join(case.id for case in cases)}")
    return "\n".join([*lines, *describe_left_out(prepared.left_out)])


def _build(prepared: Prepared, device: torch.device) -> tuple[torch.nn.Module, Any]:
    seed_epoch(prepared.config.seed, 0)
    network = build_network(prepared.config.model, prepared.classes.count).to(device)
    loss = supervised(build_loss(prepared.config.loss, kind="label"), prepared.config.model.deep_supervision)
    return network, loss.to(device)


def _validator(prepared: Prepared, loader: Any, network: torch.nn.Module, device: torch.device) -> Validator | None:
    if loader is None:
        return None
    inferer = build_inferer(prepared.config.predict, prepared.config.data.patch)
    return Validator(network, loader, inferer, prepared.classes, device, prepared.config.validate_.previews)


def _validation(run: RunFolder, config: Config, validator: Validator | None) -> Validation | None:
    if validator is None:
        return None

    def measured(epoch: int, is_best: bool) -> None:
        if is_best:
            validator.keep(run, epoch)

    return Validation(validator, "dice", config.validate_.every, keep=config.validate_.keep, measured=measured)


def _announce(run: RunFolder, prepared: Prepared, network: torch.nn.Module, device: torch.device) -> None:
    run.log(f"run folder {run.path}")
    run.log(_facts(prepared, network, device))
    if not prepared.valid:
        run.log("no validation cases (data.valid.fraction is 0): only last.pt will be written")


def _facts(prepared: Prepared, network: torch.nn.Module, device: torch.device) -> str:
    config, valid = prepared.config, [case.id for case in prepared.valid]
    held = f"{len(valid)} held out ({valid[0]} .. {valid[-1]})" if valid else "none held out"
    count = sum(parameter.numel() for parameter in network.parameters())
    labels = ", ".join(f"{name} {ids}" for name, ids in config.data.labels.items())
    return (
        f"{len(prepared.train)} cases to train on, {held}; classes: {labels}; patch {list(config.data.patch)}; "
        f"{config.model.name} with {count:,} parameters on {device}"
    )


def load_run(path: Path | str) -> tuple[RunFolder, Config]:
    """A run folder and its configuration."""
    from medloss.apps.common.config import load_config

    run = RunFolder.open(path)
    config = load_config(Config, [run.config])
    if config.data.patch is None or not config.data.labels:
        raise UserError(f"{run.config} is not the configuration of a segmentation run: patch or labels are missing")
    return run, config
