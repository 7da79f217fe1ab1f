"""From files to what the network sees: pairs read, checked, and laid on one grid."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from medloss.apps.common.errors import UserError
from medloss.apps.common.images import Volume, check_same_grid
from medloss.apps.common.labels import integer_dtype, label_values, load_label_channels, load_labels
from medloss.apps.common.reading import DEFAULT, Reading
from medloss.apps.registration.config import Data, Labels
from medloss.apps.registration.files import PairFiles
from medloss.apps.registration.geometry import INITIALISERS, grid_points, pull
from medloss.apps.registration.intensity import load_intensities, rescale
from medloss.apps.registration.output import Pair, as_tensor
from medloss.apps.registration.pyramid import grid_spacing, resize


class PairDataset(Dataset):
    """Prepared pairs, read once and kept in memory.

    Each is a dictionary: ``fixed`` and ``moving`` ``(1, *grid)``, ``spacing`` ``(3,)`` in mm of that grid, and with
        labels
    ``fixed_label`` and ``moving_label`` ``(N, *grid)``; ``sample`` draws one of the N regions anew each time.
    """

    def __init__(self, pairs: Sequence[PairFiles], data: Data, sample: bool) -> None:
        self.pairs, self.data, self.sample = list(pairs), data, sample
        self.cache: list[dict[str, Any]] | None = None

    def load(self) -> PairDataset:
        """Read and check everything now, so that a fault in the last file does not come an hour later."""
        classes = all_classes(self.pairs, self.data.labels, self.data.read)
        self.cache = [
            prepare(load_files(files, self.data.labels, classes, self.data.read), self.data) for files in self.pairs
        ]
        return self

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> dict[str, Any]:
        cache = self.load().cache if self.cache is None else self.cache
        assert cache is not None
        item = dict(cache[index])
        if self.sample and "fixed_label" in item:
            region = int(torch.randint(item["fixed_label"].shape[0], ()))
            item |= {key: item[key][region : region + 1] for key in ("fixed_label", "moving_label")}
        return item


def collate(items: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Stack a batch; where pairs have unlike numbers of regions, empty ones are added."""
    shapes = {tuple(item["fixed"].shape) for item in items}
    if len(shapes) > 1:
        raise UserError(
            f"a batch of fixed images of unlike shapes {sorted(shapes)}: set train.batch=1, or data.size to one grid"
        )
    batch = {}
    for key in items[0]:
        values = [item[key] for item in items]
        if key.endswith("label"):
            most = max(value.shape[0] for value in values)
            values = [torch.cat([v, v.new_zeros(most - v.shape[0], *v.shape[1:])]) for v in values]
        batch[key] = torch.stack(values)
    return batch


def all_classes(
    pairs: Sequence[PairFiles], labels: Labels | None, reading: Reading = DEFAULT
) -> tuple[int, ...] | None:
    """The classes of label maps: as configured, or all that any of the files holds; None for masks and without
    labels.
    """
    if labels is None or (labels.kind == "masks" and not labels.classes):
        return None
    if labels.classes:
        return tuple(labels.classes)
    paths = {path for pair in pairs for path in (pair.fixed_label, pair.moving_label) if path}
    found = {int(value) for path in paths for value in label_values(load_labels(path, reading).array)}
    return tuple(sorted(found - {0}))


def load_files(
    files: PairFiles, labels: Labels | None, classes: tuple[int, ...] | None, reading: Reading = DEFAULT
) -> Pair:
    """Read a pair; labels come as ``(i, j, k)`` maps or ``(C, i, j, k)`` masks."""
    fixed, moving = (load_intensities(path, reading) for path in (files.fixed, files.moving))
    if labels is None or files.fixed_label is None or files.moving_label is None:
        return Pair(files.name, fixed, moving)
    read = load_map if labels.kind == "map" else _load_masks
    both = [
        read(path, image, image_path, reading)
        for path, image, image_path in (
            (files.fixed_label, fixed, files.fixed),
            (files.moving_label, moving, files.moving),
        )
    ]
    if both[0].ndim == 4 and both[0].shape[0] != both[1].shape[0]:
        raise UserError(
            f"{files.fixed_label} has {both[0].shape[0]} regions and {files.moving_label} {both[1].shape[0]}: "
            "the channels of a pair's label files must correspond one to one"
        )
    if both[0].ndim == 4 and classes and max(classes) >= both[0].shape[0]:
        raise UserError(
            f"{files.fixed_label} has {both[0].shape[0]} regions, and data.labels.classes asks for number "
            f"{max(classes)}: regions of masks are counted from 0"
        )
    return Pair(files.name, fixed, moving, both[0], both[1], classes)


def prepare(pair: Pair, data: Data) -> dict[str, Any]:
    """Lay the moving image and both labels on the fixed grid (or on ``data.size`` over it), intensities rescaled."""
    fixed, moving = pair.fixed, pair.moving
    shape = data.size or fixed.array.shape
    points = grid_points(fixed.array.shape)
    initial = INITIALISERS[data.initialise](fixed, moving)
    matrix = np.linalg.inv(moving.affine) @ initial @ fixed.affine

    def on_grid(channels: Tensor, pulled: bool) -> Tensor:
        channels = pull(channels, matrix, points) if pulled else channels
        return resize(channels[None], shape)[0]

    item: dict[str, Any] = {
        "fixed": on_grid(rescale(as_tensor(fixed))[None], pulled=False),
        "moving": on_grid(rescale(as_tensor(moving))[None], pulled=True),
        "spacing": torch.tensor(grid_spacing(fixed.array.shape, fixed.spacing, shape)),
    }
    if pair.fixed_label is not None and pair.moving_label is not None:
        item["fixed_label"] = on_grid(as_channels(pair.fixed_label, pair.classes), pulled=False)
        item["moving_label"] = on_grid(as_channels(pair.moving_label, pair.classes), pulled=True)
    return item


def as_channels(label: Tensor, classes: Sequence[int] | None) -> Tensor:
    """Probabilities ``(N, i, j, k)`` of the ``classes`` of a map (no background), or of those channels of masks."""
    if label.ndim == 4:
        return (label if classes is None else label[list(classes)]).float()
    return torch.stack([label == value for value in classes or ()]).float()


def load_map(path: Path, image: Volume, image_path: Path, reading: Reading = DEFAULT) -> Tensor:
    """An integer label map ``(i, j, k)`` that lies on the grid of its image; UserError otherwise."""
    volume = load_labels(path, reading)
    check_same_grid(volume, image, f"label map {path}", f"its image {image_path}", reading)
    return integers(volume.array)


def _load_masks(path: Path, image: Volume, image_path: Path, reading: Reading = DEFAULT) -> Tensor:
    """DeepReg's label files: ``(C, i, j, k)`` of 0 and 1 from a 3D or 4D file.

    They have no header worth the name: their arrays alone must agree with the image's.
    """
    array = load_label_channels(path, reading).array
    if array.shape[:3] != image.array.shape:
        shape = image.array.shape
        raise UserError(f"labels {path} have shape {array.shape}, but image {image_path} {shape}: they must agree")
    strange = np.setdiff1d(np.unique(array), [0, 1])
    if strange.size:
        raise UserError(
            f"{path} holds {strange[0]:g}, expected masks of 0 and 1; for an integer map set data.labels.kind: map"
        )
    return torch.from_numpy(np.ascontiguousarray(np.moveaxis(array.astype(np.uint8), -1, 0)))


def integers(array: np.ndarray) -> Tensor:
    """Labels as int32, or as int64 where an id needs it."""
    return torch.from_numpy(np.ascontiguousarray(array, dtype=integer_dtype(array)))
