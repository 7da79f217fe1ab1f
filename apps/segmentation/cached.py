"""Prepared volumes on disk: read and resampled once, for data sets that memory cannot hold."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from monai.data import Dataset
from monai.transforms import Compose
from monai.transforms.traits import RandomizableTrait

from medloss.apps.common.config import as_mapping
from medloss.apps.common.output import atomic_write
from medloss.apps.segmentation.data_config import Data

PREPARING = ("labels", "ignore", "region_order", "label_channels", "channels", "spacing", "intensity", "read")
"""Keys of the data section that decide what a prepared volume is."""


class DiskCache(Dataset):
    """Items whose transforms up to the first random one are kept in ``data.cache_folder``, one file for each.

    A file is written whole or not at all. It is named by the settings and by size and time of the case's files: what
    was made of others is made anew beside it. MONAI's ``PersistentDataset`` moves its files between file systems, which
    a killed process leaves half done.
    """

    def __init__(self, items: Sequence[Mapping[str, Any]], transform: Compose, data: Data) -> None:
        super().__init__(list(items), transform)
        assert data.cache_folder is not None
        self.folder = Path(data.cache_folder)
        settings = as_mapping(data)
        self.fixed = next(
            (at for at, step in enumerate(transform.transforms) if isinstance(step, RandomizableTrait)),
            len(transform.transforms),
        )
        steps = [type(step).__name__ for step in transform.transforms[: self.fixed]]
        self.how = json.dumps([steps, {key: settings[key] for key in PREPARING}], sort_keys=True)

    def _transform(self, index: int) -> Any:
        file = self.folder / f"{self._name(self.data[index])}.pt"
        if file.is_file():
            item = torch.load(file, weights_only=False)
        else:
            item = self.transform(self.data[index], end=self.fixed)
            with atomic_write(file) as temporary:
                torch.save(item, temporary)
        return self.transform(item, start=self.fixed)

    def _name(self, item: Mapping[str, Any]) -> str:
        told: dict[str, Any] = {}
        for key, value in item.items():
            paths = [str(each) for each in (value if isinstance(value, list) else [value])]
            told[key] = value.tolist() if isinstance(value, torch.Tensor) else [(path, *_stamp(path)) for path in paths]
        return hashlib.sha256(json.dumps([self.how, told], sort_keys=True).encode()).hexdigest()


def _stamp(path: str) -> tuple[int, int]:
    """Size and time of a file; of anything else, nothing."""
    file = Path(path)
    if not file.is_file():
        return 0, 0
    stat = file.stat()
    return stat.st_size, stat.st_mtime_ns
