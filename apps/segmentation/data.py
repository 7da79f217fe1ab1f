"""The data of a training, checked before anything is written: cases, classes, patch, and the loaders."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from monai.data import CacheDataset, DataLoader, Dataset
from monai.transforms import Compose, EnsureTyped

from medloss.apps.common import processes
from medloss.apps.common.batches import Batches
from medloss.apps.common.config import LossMapping, as_mapping
from medloss.apps.common.errors import UserError
from medloss.apps.common.listing import LeftOut, tell_left_out
from medloss.apps.common.origin import describe_origin
from medloss.apps.segmentation.augment import SCALES, ForegroundPlacesd, random_transforms
from medloss.apps.segmentation.cached import DiskCache
from medloss.apps.segmentation.case import Case
from medloss.apps.segmentation.cases import find_cases, natural_key, split_cases
from medloss.apps.segmentation.classes import Classes
from medloss.apps.segmentation.config import Config
from medloss.apps.segmentation.data_config import Data
from medloss.apps.segmentation.fingerprint import TRAINED_ON, fingerprint
from medloss.apps.segmentation.intensity import settle
from medloss.apps.segmentation.losses import FROM_DATA, Facts, settle_losses
from medloss.apps.segmentation.network import choose_patch
from medloss.apps.segmentation.scan import Look, Scan, scan, target_spacing
from medloss.apps.segmentation.sizes import size_bounds
from medloss.apps.segmentation.transforms import fixed_transforms
from medloss.apps.segmentation.volumes import IMAGE, LABEL, MASK, PRESENT, WITHIN


@dataclass
class Prepared:
    """A complete configuration (nothing is left open) with its classes and cases, what the files told, and the
    configuration as it was asked for."""

    config: Config
    classes: Classes
    train: list[Case]
    valid: list[Case]
    left_out: list[LeftOut]
    seen: Scan
    asked: Config

    def origin(self) -> dict[str, Any]:
        """What the run is made of, for :mod:`medloss.apps.common.origin`, and what it was trained on."""
        files = {case.id: case.files for case in (*self.train, *self.valid)}
        parts = {"train": [case.id for case in self.train], "valid": [case.id for case in self.valid]}
        made_of = describe_origin(as_mapping(self.config), files, parts)
        return {**made_of, TRAINED_ON: fingerprint(self.seen.of(self.train))}

    @property
    def masked(self) -> bool:
        """Whether every case has a loss mask: an ignore label, or masks ``within``."""
        return self.classes.ignore is not None or any(case.within is not None for case in (*self.train, *self.valid))

    @property
    def partial(self) -> bool:
        """Whether some case annotates some of the classes alone."""
        return any(case.annotated is not None for case in (*self.train, *self.valid))


def prepare(config: Config) -> Prepared:
    """Read and check every file once, and settle what the configuration left open. Writes nothing."""
    data, found = config.data, find_cases(config.data)
    tell_left_out(found.left_out)
    train, valid = split_cases(found.cases, data.valid)
    ignore = found.ignore if data.ignore is None else data.ignore
    seen = scan(
        found.cases,
        data.labels or found.names,
        ignore,
        data.read,
        region_order=data.region_order or found.region_order,
        channels=data.channels or found.channels,
        layers=len(data.label_channels),
    )
    data = _settled(data, seen, seen.of(train), ignore)
    patch = choose_patch(data.patch, config.model, seen.shapes, seen.spacings, data.settled_spacing)
    data = data.model_copy(update={"patch": patch})
    settled = config.model_copy(update={"data": data, "loss": _losses(config, seen, train, data)})
    return Prepared(settled, seen.classes, train, valid, found.left_out, seen, config)


def _losses(config: Config, seen: Scan, train: Sequence[Case], data: Data) -> LossMapping:
    """The losses with what they get from the data."""
    try:
        return settle_losses(config.loss, _facts(seen, train, data, config.train.augment != "none"))
    except ValueError as error:  # what shows only now: regions that dataset.json declares
        raise UserError(str(error)) from error


def completed(prepared: Prepared, config: Config) -> Prepared:
    """What was read, under a configuration that was planned for it: the split and the patch are its own.

    Raises:
        UserError: a patch that does not fit the network, or a split without training cases.
    """
    cases = sorted((*prepared.train, *prepared.valid), key=lambda case: natural_key(case.id))
    train, valid = split_cases(cases, config.data.valid)
    seen, data = prepared.seen, config.data
    patch = choose_patch(data.patch, config.model, seen.shapes, seen.spacings, data.settled_spacing)
    data = data.model_copy(update={"patch": patch})
    update: dict[str, Any] = {"data": data}
    if FROM_DATA in str(prepared.asked.loss):  # weights and bounds of this split and patch
        again = config.model_copy(update={"loss": prepared.asked.loss})
        update["loss"] = _losses(again, seen, train, data)
    return replace(prepared, config=config.model_copy(update=update), train=train, valid=valid)


def _facts(seen: Scan, train: Sequence[Case], data: Data, scaled: bool) -> Facts:
    """What losses may ask of the training cases."""
    classes, counts = seen.classes, Counter[int]()
    for look in seen.of(train):
        counts.update({each: number for each, number in look.counts.items() if each != classes.ignore})
    total = max(counts.total(), 1)
    shares = [sum(counts[each] for each in ids) / total for ids in classes.ids]
    return Facts(
        exclusive=classes.exclusive,
        channels=classes.count,
        shares=[counts[0] / total, *shares] if classes.exclusive else shares,
        partial=any(case.annotated is not None for case in train),
        spacing=data.settled_spacing,
        bounds=size_bounds(train, seen.of(train), classes, data, SCALES[1] if scaled else 1.0),
    )


def _settled(data: Data, seen: Scan, looks: Sequence[Look], ignore: int | None) -> Data:
    """The data section with classes, channels, spacing and intensities as the training cases have them."""
    channels = list(seen.channels)
    named = data.model_copy(update={"channels": channels})
    if len(named.intensities) != named.count_channels:
        raise UserError(f"data.intensity has {len(named.intensities)} entries for {named.count_channels} channel(s)")
    names = channels or [""]
    foreground = [np.concatenate([look.foreground[number] for look in looks]) for number in range(len(names))]
    rules = settle(named.intensities, names, foreground)
    spacing = target_spacing(looks) if data.spacing == "median" else data.spacing
    return named.model_copy(
        update={
            "labels": seen.classes.describe(),
            "ignore": ignore,
            "region_order": list(seen.classes.order) or None,
            "spacing": spacing,
            "intensity": rules[0] if len(rules) == 1 else rules,
        }
    )


def build_loaders(prepared: Prepared, progress: bool = False) -> tuple[DataLoader, DataLoader | None]:
    """The training loader (random patches) and the validation loader (whole volumes, one at a time)."""
    config, classes = prepared.config, prepared.classes
    fixed = fixed_transforms(config.data, classes, prepared.masked)
    random = random_transforms(config.train, config.data.settled_patch)
    plain = EnsureTyped([IMAGE, LABEL, MASK], track_meta=False, allow_missing_keys=True)  # nobody inverts a patch
    cached = [*fixed.transforms, ForegroundPlacesd(), plain]
    with faults_of_the_data():
        train = _dataset(prepared.train, Compose([*cached, *random.transforms]), prepared, progress)
        valid = _dataset(prepared.valid, fixed, prepared, progress) if prepared.valid else None
    size, steps = min(config.train.batch, len(train)), config.train.epoch_steps
    batches = Batches(len(train), size, config.seed, drop_last=True, steps=steps)
    train_loader = DataLoader(
        train,
        batch_sampler=batches,
        num_workers=config.train.workers,
        pin_memory=torch.cuda.is_available(),
    )
    if valid is None:
        return train_loader, None
    return train_loader, DataLoader(valid, batch_size=1, sampler=processes.share(len(valid)))


@contextmanager
def faults_of_the_data() -> Iterator[None]:
    """MONAI wraps what a transform raises; give the user's fault inside it back as it was."""
    try:
        yield
    except RuntimeError as error:
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, UserError):
            cause = cause.__cause__
        if cause is None:
            raise
        raise cause from error


def _dataset(cases: Sequence[Case], transform: Compose, prepared: Prepared, progress: bool) -> Dataset:
    config, classes = prepared.config, prepared.classes
    partial = prepared.partial
    items = [_item(case, classes, partial) for case in cases]
    if config.data.cache_folder is not None:
        return DiskCache(items, transform, config.data)
    shown = progress and sys.stderr.isatty()  # MONAI's bar would fill a log file
    return CacheDataset(
        items, transform, cache_rate=config.data.cache, num_workers=None, progress=shown, copy_cache=False
    )


def _item(case: Case, classes: Classes, partial: bool) -> dict[str, Any]:
    """A case as the transforms take it: paths, and which channels of the network its label says something about."""
    item: dict[str, Any] = {IMAGE: [str(path) for path in case.images], LABEL: str(case.label), "id": case.id}
    if case.within is not None:
        item[WITHIN] = str(case.within)
    if partial:
        named = classes.names if case.annotated is None else case.annotated
        present = [name in named for name in classes.names]
        item[PRESENT] = torch.tensor([True, *present] if classes.exclusive else present)
    return item
