"""The data of a training, checked before anything is written: cases, classes, patch, and the loaders."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from monai.data import CacheDataset, DataLoader
from monai.transforms import Compose, EnsureTyped

from medloss.apps.common.config import as_mapping
from medloss.apps.common.errors import UserError
from medloss.apps.common.listing import LeftOut, tell_left_out
from medloss.apps.common.origin import describe_origin
from medloss.apps.segmentation.cases import Case, find_cases, split_cases
from medloss.apps.segmentation.classes import Classes
from medloss.apps.segmentation.config import Config
from medloss.apps.segmentation.network import choose_patch
from medloss.apps.segmentation.scan import scan
from medloss.apps.segmentation.transforms import IMAGE, LABEL, MASK, fixed_transforms, random_transforms


@dataclass
class Prepared:
    """A complete configuration (labels and patch filled in) with its classes and cases."""

    config: Config
    classes: Classes
    train: list[Case]
    valid: list[Case]
    left_out: list[LeftOut]

    def origin(self) -> dict[str, Any]:
        """What the run is made of, for :mod:`medloss.apps.common.origin`."""
        files = {case.id: (case.image, case.label) for case in (*self.train, *self.valid)}
        parts = {"train": [case.id for case in self.train], "valid": [case.id for case in self.valid]}
        return describe_origin(as_mapping(self.config), files, parts)


def prepare(config: Config) -> Prepared:
    """Read and check every file once, and settle what the configuration left open. Writes nothing."""
    cases, names, left_out = find_cases(config.data)
    tell_left_out(left_out)
    train, valid = split_cases(cases, config.data.valid)
    seen = scan(cases, config.data.labels or names, config.data.ignore, config.data.read)
    patch = choose_patch(config.data.patch, config.model, seen.shapes, seen.spacings, config.data.spacing)
    labels = {name: list(ids) if len(ids) > 1 else ids[0] for name, ids in zip(seen.classes.names, seen.classes.ids)}
    data = config.data.model_copy(update={"labels": labels, "patch": patch})
    return Prepared(config.model_copy(update={"data": data}), seen.classes, train, valid, left_out)


def build_loaders(prepared: Prepared) -> tuple[DataLoader, DataLoader | None]:
    """The training loader (random patches) and the validation loader (whole volumes, one at a time)."""
    config, classes = prepared.config, prepared.classes
    fixed = fixed_transforms(config.data, classes)
    random = random_transforms(config.train, config.data.settled_patch, classes)
    plain = EnsureTyped([IMAGE, LABEL, MASK], track_meta=False, allow_missing_keys=True)  # nobody inverts a patch
    with faults_of_the_data():
        train = _dataset(prepared.train, Compose([*fixed.transforms, plain, *random.transforms]), config)
        valid = _dataset(prepared.valid, fixed, config) if prepared.valid else None
    batch = min(config.train.batch, len(train))
    train_loader = DataLoader(
        train,
        batch_size=batch,
        shuffle=True,
        drop_last=True,
        num_workers=config.train.workers,
        pin_memory=torch.cuda.is_available(),
    )
    return train_loader, None if valid is None else DataLoader(valid, batch_size=1)


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


def _dataset(cases: Sequence[Case], transform: Compose, config: Config) -> CacheDataset:
    items = [{IMAGE: str(case.image), LABEL: str(case.label), "id": case.id} for case in cases]
    return CacheDataset(items, transform, cache_rate=config.data.cache, num_workers=None, progress=False)
